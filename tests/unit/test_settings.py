"""What a function reads from its environment."""

from typing import Any

import pytest
from pydantic import ValidationError

from relay.providers.sender import Sender
from relay.providers.yotpo import YotpoSettings
from relay.settings import DeliverSettings, IntakeSettings

INTAKE = {
    "RELAY_STAGE": "local",
    "RELAY_DESTINATIONS": "yotpo/main,sender/main",
    "RELAY_LANES": '{"yotpo": "https://sqs/yotpo.fifo", "sender": "https://sqs/sender.fifo"}',
    "RELAY_REJECTED_QUEUE_URL": "https://sqs/rejected",
}
DELIVER = {
    "RELAY_STAGE": "local",
    "RELAY_DESTINATIONS": "yotpo/main,sender/main",
    "RELAY_PROVIDER": "yotpo",
    "RELAY_BASE_URL": "https://developers.yotpo.com",
    "RELAY_QUEUE_URL": "https://sqs/yotpo.fifo",
    "RELAY_DEAD_LETTER_QUEUE_URL": "https://sqs/dead.fifo",
    "RELAY_LEDGER_TABLE": "ledger",
    "RELAY_MAX_DELIVERY_AGE_HOURS": "72",
    "RELAY_HOLD_SECONDS": "300",
    "RELAY_DESTINATION_SETTINGS": "{}",
}


def wrong(settings: type[IntakeSettings | DeliverSettings], environment: dict[str, str]) -> set[str]:
    with pytest.raises(ValidationError) as caught:
        settings.from_environment(environment)
    return {str(error["loc"][0]) for error in caught.value.errors()}


def test_intake() -> None:
    """The template's environment, read."""
    settings = IntakeSettings.from_environment(INTAKE)
    assert settings.destinations == ("yotpo/main", "sender/main")
    assert settings.lanes["sender"] == "https://sqs/sender.fifo"


def test_deliver() -> None:
    """The template's environment, read."""
    settings = DeliverSettings.from_environment(DELIVER)
    assert (settings.provider, settings.max_delivery_age_hours, settings.hold_seconds) == ("yotpo", 72, 300)
    assert settings.of("yotpo/main") == YotpoSettings()


def test_the_functions_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument it is the process's environment."""
    for name, value in INTAKE.items():
        monkeypatch.setenv(name, value)
    assert IntakeSettings.from_environment().stage == "local"


def test_defaults() -> None:
    """What the template may leave out."""
    optional = ("RELAY_MAX_DELIVERY_AGE_HOURS", "RELAY_HOLD_SECONDS", "RELAY_DESTINATION_SETTINGS")
    settings = DeliverSettings.from_environment({k: v for k, v in DELIVER.items() if k not in optional})
    assert (settings.max_delivery_age_hours, settings.hold_seconds) == (72, 300)
    assert settings.destination_settings == {}


def test_everything_missing_is_named() -> None:
    """One error names all that is missing."""
    assert wrong(IntakeSettings, {}) == {"stage", "destinations", "lanes", "rejected_queue_url"}
    assert wrong(DeliverSettings, {}) == {
        "stage",
        "destinations",
        "provider",
        "base_url",
        "queue_url",
        "dead_letter_queue_url",
        "ledger_table",
    }


@pytest.mark.parametrize("text", ["yotpo/main", " yotpo/main , sender/main ,", "yotpo/a,yotpo/b"])
def test_destinations_that_do(text: str) -> None:
    """A list with commas; blanks around them do not matter."""
    assert all(
        "/" in n and n == n.strip()
        for n in IntakeSettings.from_environment({**INTAKE, "RELAY_DESTINATIONS": text}).destinations
    )


@pytest.mark.parametrize("text", ["", ",", "yotpo", "yotpo/", "klaviyo/main", "yotpo/main;sender/main2,x"])
def test_destinations_that_do_not(text: str) -> None:
    """A provider that is not there or an account without a name."""
    assert wrong(IntakeSettings, {**INTAKE, "RELAY_DESTINATIONS": text}) == {"destinations"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RELAY_STAGE", ""),
        ("RELAY_PROVIDER", "klaviyo"),
        ("RELAY_BASE_URL", "developers.yotpo.com"),
        ("RELAY_BASE_URL", "ftp://yotpo.com"),
        ("RELAY_BASE_URL", "https://yotpo.com/?a=b"),
        ("RELAY_BASE_URL", "https://yotpo.com/#x"),
        ("RELAY_MAX_DELIVERY_AGE_HOURS", "0"),
        ("RELAY_MAX_DELIVERY_AGE_HOURS", "soon"),
        ("RELAY_HOLD_SECONDS", "0"),
        ("RELAY_HOLD_SECONDS", "43200"),
        ("RELAY_DESTINATION_SETTINGS", ""),
        ("RELAY_DESTINATION_SETTINGS", "[]"),
        ("RELAY_DESTINATION_SETTINGS", '{"klaviyo": {}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"yotpo": {"colour": "red"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"yotpo": {"identify_by": "name"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"yotpo": {"path": "/no/placeholder"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender/main": {"on_unknown": "panic"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender/main": {"requests": 0}}'),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    """A function with a wrong setting does not start, and says which."""
    assert wrong(DeliverSettings, {**DELIVER, name: value}) == {name.removeprefix("RELAY_").lower()}


def test_a_destinations_own_settings_win() -> None:
    """Its own over its provider's over the defaults."""
    given = '{"yotpo": {"identify_by": "phone_number", "requests": 3}, "yotpo/main": {"requests": 2}}'
    settings = DeliverSettings.from_environment({**DELIVER, "RELAY_DESTINATION_SETTINGS": given})
    main, other = settings.of("yotpo/main"), settings.of("yotpo/other")
    assert (main.requests, other.requests) == (2, 3)
    assert isinstance(main, YotpoSettings)
    assert main.identify_by == "phone_number"
    assert settings.of("sender/main") == Sender.settings_model()


def test_settings_do_not_change() -> None:
    """Read once, shared by every thread."""
    settings: Any = IntakeSettings.from_environment(INTAKE)
    with pytest.raises(ValidationError):
        settings.stage = "other"
