"""Each function's settings, read from its environment once. Nothing else reads the environment."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Json, field_validator

from relay.providers import PROVIDERS
from relay.providers.base import DestinationSettings
from relay.routing import Destination

PREFIX = "RELAY_"


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True)

    stage: str = Field(min_length=1)
    destinations: Annotated[tuple[str, ...], BeforeValidator(_split)] = Field(min_length=1)

    @field_validator("destinations")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if Destination.parse(name).provider not in PROVIDERS or not Destination.parse(name).account:
                raise ValueError(f"{name} is not provider/account of a provider here: {', '.join(PROVIDERS)}")
        return names

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Reads `RELAY_<FIELD>` for every field. Raises pydantic's ValidationError naming what is wrong."""
        given = os.environ if environment is None else environment
        names = {name: PREFIX + name.upper() for name in cls.model_fields}
        return cls.model_validate({name: given[key] for name, key in names.items() if key in given})


class IntakeSettings(_Settings):
    """`lanes` maps each provider to the URL of its lane."""

    lanes: Json[dict[str, str]]
    rejected_queue_url: str


class DeliverSettings(_Settings):
    """`destination_settings` maps a provider (`yotpo`) or a destination (`yotpo/main`, which wins) to its settings."""

    provider: str
    base_url: str = Field(pattern=r"^https?://[^?#\s]+$")
    queue_url: str
    dead_letter_queue_url: str
    ledger_table: str
    max_delivery_age_hours: float = Field(default=72, gt=0)
    hold_seconds: float = Field(default=300, gt=0, le=14_400)
    destination_settings: Json[dict[str, dict[str, Any]]] = Field(default={}, validate_default=False)

    @field_validator("provider")
    @classmethod
    def _exists(cls, name: str) -> str:
        if name not in PROVIDERS:
            raise ValueError(f"{name} is not one of {', '.join(PROVIDERS)}")
        return name

    @field_validator("destination_settings")
    @classmethod
    def _complete(cls, given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, values in given.items():
            provider = PROVIDERS.get(Destination.parse(name).provider)
            if provider is None:
                raise ValueError(f"{name} is neither a provider nor provider/account")
            provider.settings_model.model_validate(values)
        return given

    def of(self, destination: str) -> DestinationSettings:
        """The settings of one destination: its own over its provider's over the defaults."""
        provider = Destination.parse(destination).provider
        merged = {**self.destination_settings.get(provider, {}), **self.destination_settings.get(destination, {})}
        return PROVIDERS[provider].settings_model.model_validate(merged)
