"""Yotpo, App Developer API: create or update a custom customer event.

Known and assumed, sentence by sentence: docs/providers/yotpo.md. What the reference leaves open is a setting.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from relay.contract.event import Event
from relay.contract.fields import iso
from relay.errors import FieldError
from relay.outcome import Outcome
from relay.providers.auth import Query, segment
from relay.providers.base import DestinationSettings, Provider, Repeat
from relay.providers.checks import Check, Verdict
from relay.providers.limits import Limit
from relay.providers.replies import Rule

JsonName = Annotated[str, Field(min_length=1)]


class FieldNames(BaseModel):
    """JSON names of the body's fields, in the reference's order."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    source: JsonName = "source"
    type: JsonName = "type"
    timestamp: JsonName = "timestamp"
    id: JsonName = "id"
    customer: JsonName = "customer"
    phone_number: JsonName = "phone_number"
    email: JsonName = "email"
    customer_properties: JsonName = "custom_properties"
    properties: JsonName = "properties"

    @model_validator(mode="after")
    def _no_name_twice(self) -> Self:
        outer = (self.source, self.type, self.timestamp, self.id, self.customer, self.properties)
        inner = (self.phone_number, self.email, self.customer_properties)
        if len(set(outer)) < len(outer) or len(set(inner)) < len(inner):
            raise ValueError("two fields of one object have the same name")
        return self


class YotpoSettings(DestinationSettings):
    path: str = Field(default="/core/v3/stores/{store_id}/events", pattern=r"\A/[^?#\s]*\{store_id\}[^?#\s]*\z")
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    token_parameter: str = Field(default="access_token", min_length=1)
    wrapper: str = ""
    """The name of the object that all of it is in; empty for none."""
    names: FieldNames = FieldNames()
    identify_by: Literal["email", "phone_number"] = "email"


_STORE = "Yotpo knows no such store: correct store_id (the app key) with relay connect {destination}"
_TOKEN = "the token does not go with the store: relay connect {destination}"  # noqa: S105 it is none


class Yotpo(Provider):
    name = "yotpo"
    address = "https://developers.yotpo.com"
    limits = (Limit(requests=5, window=1.0),)
    credentials = ("store_id", "access_token")
    open_credentials = ("store_id",)
    repeats = Repeat.UPDATES
    quota = "ratelimit"
    backoff = 1.0
    rules = (Rule(Outcome.REJECTED, range(200, 300), body={"success": False}),)
    # Yotpo's page on troubleshooting API calls has these words for a store that it does not know.
    checks = (
        Check(Verdict.ACCOUNT, _STORE, (400, 401, 403, 404), r"find account with app_?key"),
        Check(Verdict.TOKEN, _TOKEN, (400, 401, 403), "invalid_client"),
        Check(Verdict.ACCOUNT, f"{_STORE}, or the setting `path`", (404,), page=False, assumed=True),
    )
    settings_model = YotpoSettings
    settings: YotpoSettings

    def payload(self, event: Event, errors: list[FieldError]) -> dict[str, Any]:
        names = self.settings.names
        if event.occurred_at is None:
            errors.append(FieldError("occurred_at", "is required by Yotpo"))
        customer = self._identifier(event)
        if not customer:
            errors.append(FieldError("customer", "needs an email or a phone_number for Yotpo"))
        if event.customer.properties:
            customer[names.customer_properties] = dict(event.customer.properties)
        payload: dict[str, Any] = {
            names.source: event.source,
            names.type: event.type,
            names.timestamp: iso(event.occurred_at) if event.occurred_at else None,
            names.id: event.id,
            names.customer: customer,
        }
        if event.properties:
            payload[names.properties] = dict(event.properties)
        return {self.settings.wrapper: payload} if self.settings.wrapper else payload

    @property
    def method(self) -> str:
        return self.settings.method

    @property
    def auth(self) -> Query:  # type: ignore[override]  # A setting says by which name.
        return Query("access_token", self.settings.token_parameter)

    def where(self, event: Event, credentials: Mapping[str, str]) -> str:  # noqa: ARG002
        return self.settings.path.replace("{store_id}", segment(credentials["store_id"]))

    def _identifier(self, event: Event) -> dict[str, Any]:
        # Yotpo refuses a customer with both.
        names, customer = self.settings.names, event.customer
        known = [(names.email, customer.email), (names.phone_number, customer.phone_number)]
        if self.settings.identify_by == "phone_number":
            known.reverse()
        return dict([(name, value) for name, value in known if value][:1])
