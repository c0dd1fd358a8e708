"""Each function's settings, read from its environment once. Nothing else reads the environment."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from relay.contract.destination import ACCOUNT, ANY, Destination
from relay.contract.parsing import parse_json
from relay.errors import FieldError, InvalidEventError
from relay.providers import PROVIDERS
from relay.providers.base import DestinationSettings

PREFIX = "RELAY_"

_STAGE = r"^[a-z][a-z0-9-]{0,15}$"
# Without a user and a password, which would be shown wherever the address is.
_BASE_URL = re.compile(r"https?://[^\s?#/@\\]+(/[^\s?#@\\]*)?", re.ASCII)


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _json(value: object) -> object:
    """As strict as an event: no key twice, no NaN."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except InvalidEventError as error:
        raise ValueError(
            "; ".join(each.message if each.field == "body" else str(each) for each in error.errors)
        ) from None


Text = Annotated[str, Field(min_length=1)]


class SettingsError(ValueError):
    """Everything that is wrong with `DestinationSettings`, each at its path."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(map(str, errors)))


class Settings(BaseModel):
    """What both functions have. `destinations` are names (`provider/account`), and providers of which any account will
    do (`provider/*`); `destination_settings` maps a provider or a destination (which wins) to its settings.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)

    stage: str = Field(pattern=_STAGE)
    destinations: Annotated[tuple[str, ...], BeforeValidator(_split)] = Field(min_length=1)
    destination_settings: Annotated[dict[str, dict[str, Any]], BeforeValidator(_json)] = {}

    @field_validator("destinations")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        often = Counter(names)
        for name in names:
            destination = Destination(name)
            if destination.provider not in PROVIDERS or not (
                destination.account == ANY or ACCOUNT.fullmatch(destination.account)
            ):
                raise ValueError(f"{name} is not provider/account, or provider/*, of one of: {', '.join(PROVIDERS)}")
            if often[name] > 1:
                raise ValueError(f"{name} stands twice")
        return names

    @field_validator("destination_settings")
    @classmethod
    def _known_and_right(cls, given: dict[str, dict[str, Any]], info: ValidationInfo) -> dict[str, dict[str, Any]]:
        if wrong := _wrong(given, info.data.get("destinations", ())):
            raise SettingsError(wrong)
        return given

    def of(self, destination: str) -> DestinationSettings:
        """The settings of one destination: its own over its provider's over the defaults."""
        provider = Destination(destination).provider
        merged = {**self.destination_settings.get(provider, {}), **self.destination_settings.get(destination, {})}
        return PROVIDERS[provider].settings_model.model_validate(merged)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Reads `RELAY_<FIELD>` for every field. Raises pydantic's ValidationError naming what is wrong."""
        given = os.environ if environment is None else environment
        names = {name: PREFIX + name.upper() for name in cls.model_fields}
        return cls.model_validate({name: given[key] for name, key in names.items() if key in given})


class IntakeSettings(Settings):
    """`lanes` maps each provider to the URL of its lane; one URL for `*`, with the provider's name where it has a `*`,
    is that of all others.
    """

    lanes: Annotated[dict[str, Text], BeforeValidator(_json)]
    rejected_queue_url: Text
    letters_table: Text

    @field_validator("lanes")
    @classmethod
    def _every_provider_has_one(cls, lanes: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if every := lanes.pop(ANY, ""):
            lanes = {name: every.replace(ANY, name) for name in PROVIDERS} | lanes
        needed = {Destination(name).provider for name in info.data.get("destinations", ())}
        if lacking := sorted(needed - set(lanes)):
            raise ValueError(f"lacks the lane of {', '.join(lacking)}, which destinations name")
        return lanes


class DeliverSettings(Settings):
    """One provider's."""

    provider: str
    base_url: str
    queue_url: Text
    dead_letter_queue_url: Text
    ledger_table: Text
    accounts_table: Text
    letters_table: Text
    max_delivery_age_hours: float = Field(default=72, ge=1, le=120)
    hold_seconds: float = Field(default=300, ge=1, le=900)

    @field_validator("provider")
    @classmethod
    def _exists(cls, name: str) -> str:
        if name not in PROVIDERS:
            raise ValueError(f"{name} is not one of {', '.join(PROVIDERS)}")
        return name

    @field_validator("base_url")
    @classmethod
    def _is_bare(cls, url: str) -> str:
        if not _BASE_URL.fullmatch(url):
            raise ValueError("must be http:// or https://, a host and perhaps a path, without user, query or fragment")
        return url


def _wrong(given: Mapping[str, Mapping[str, Any]], destinations: Sequence[str]) -> list[FieldError]:
    known = frozenset(destinations)
    found: list[FieldError] = []
    for name, values in given.items():
        if Destination(name).account == ANY:
            what = f"what holds for every account stands under {Destination(name).provider}"
        elif name not in PROVIDERS and not Destination(name).is_configured(known):
            what = (
                f"is neither a provider ({', '.join(PROVIDERS)}) nor a destination of this stack "
                f"({', '.join(destinations)})"
            )
        else:
            kind = PROVIDERS[Destination(name).provider]
            try:
                provider = kind(kind.address, kind.settings_model.model_validate(values))
                found += [
                    FieldError(".".join((name, "mapping", *where)), f"makes an event that cannot go there: {why}")
                    for where, why in provider.spoiled()
                ]
            except ValidationError as error:
                # By the names of the settings only: somebody may have put a token there.
                wrong = error.errors(include_input=False, include_url=False)
                found += [FieldError(".".join(map(str, (name, *each["loc"]))), each["msg"]) for each in wrong]
            continue
        found.append(FieldError(name, what))
    return found
