"""What a function reads from its environment."""

import traceback
from typing import Any

import pytest
from pydantic import ValidationError

from relay.providers import PROVIDERS
from relay.providers.sender import Sender
from relay.providers.yotpo import YotpoSettings
from relay.settings import DeliverSettings, IntakeSettings

INTAKE = {
    "RELAY_STAGE": "local",
    "RELAY_DESTINATIONS": "yotpo/main,sender/main",
    "RELAY_LANES": '{"yotpo": "https://sqs/yotpo.fifo", "sender": "https://sqs/sender.fifo"}',
    "RELAY_REJECTED_QUEUE_URL": "https://sqs/rejected",
    "RELAY_LETTERS_TABLE": "letters",
}
DELIVER = {
    "RELAY_STAGE": "local",
    "RELAY_DESTINATIONS": "yotpo/main,sender/main",
    "RELAY_PROVIDER": "yotpo",
    "RELAY_BASE_URL": "https://developers.yotpo.com",
    "RELAY_QUEUE_URL": "https://sqs/yotpo.fifo",
    "RELAY_DEAD_LETTER_QUEUE_URL": "https://sqs/dead.fifo",
    "RELAY_LEDGER_TABLE": "ledger",
    "RELAY_ACCOUNTS_TABLE": "accounts",
    "RELAY_LETTERS_TABLE": "letters",
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
    assert wrong(IntakeSettings, {}) == {"stage", "destinations", "lanes", "rejected_queue_url", "letters_table"}
    assert wrong(DeliverSettings, {}) == {
        "stage",
        "destinations",
        "provider",
        "base_url",
        "queue_url",
        "dead_letter_queue_url",
        "ledger_table",
        "accounts_table",
        "letters_table",
    }


@pytest.mark.parametrize(
    "text", ["yotpo/main", " yotpo/main , sender/main ,", "yotpo/a,yotpo/b", "yotpo/*", "yotpo/main,yotpo/*,sender/*"]
)
def test_destinations_that_do(text: str) -> None:
    """A list with commas; blanks around them do not matter."""
    assert all(
        "/" in n and n == n.strip()
        for n in IntakeSettings.from_environment({**INTAKE, "RELAY_DESTINATIONS": text}).destinations
    )


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ",",
            "yotpo",
            "yotpo/",
            "nobody/main",
            "yotpo/main;sender/main2,x",
            "yotpo/a;sender/b",
            "yotpo/a,yotpo/a",
        ),
        *("*", "*/*", "*/main", "yotpo/**", "yotpo/a*", "yotpo/*,yotpo/*", "nobody/*", "yotpo*"),
    ],
)
def test_destinations_that_do_not(text: str) -> None:
    """A provider that is not there or an account without a name."""
    assert wrong(IntakeSettings, {**INTAKE, "RELAY_DESTINATIONS": text}) == {"destinations"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RELAY_STAGE", ""),
        ("RELAY_STAGE", "Prod"),
        ("RELAY_PROVIDER", "nobody"),
        ("RELAY_BASE_URL", "developers.yotpo.com"),
        ("RELAY_BASE_URL", "ftp://yotpo.com"),
        ("RELAY_BASE_URL", "https://yotpo.com/?a=b"),
        ("RELAY_BASE_URL", "https://yotpo.com/#x"),
        ("RELAY_BASE_URL", "https://yotpo.com\n"),
        ("RELAY_BASE_URL", "https://"),
        ("RELAY_QUEUE_URL", ""),
        ("RELAY_LEDGER_TABLE", ""),
        ("RELAY_MAX_DELIVERY_AGE_HOURS", "0"),
        ("RELAY_MAX_DELIVERY_AGE_HOURS", "121"),
        ("RELAY_MAX_DELIVERY_AGE_HOURS", "soon"),
        ("RELAY_HOLD_SECONDS", "0"),
        ("RELAY_HOLD_SECONDS", "901"),
        ("RELAY_DESTINATION_SETTINGS", ""),
        ("RELAY_DESTINATION_SETTINGS", "[]"),
        ("RELAY_DESTINATION_SETTINGS", '{"nobody": {}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"yotpo": {"colour": "red"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"yotpo": {"identify_by": "name"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"yotpo": {"path": "/no/placeholder"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender/main": {"on_unknown": "panic"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender/main": {"requests": 0}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender": {"mapping": {"types": ["a b"]}}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"yotpo/main": {"mapping": {"require": "consent"}}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender/mian": {"on_unknown": "park"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender/": {"on_unknown": "park"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{" sender": {"on_unknown": "park"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender": {}, "sender": {"on_unknown": "park"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender": {"on_unknown": "park", "on_unknown": "retry"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender": {"window_seconds": NaN}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender": {"window_seconds": 0.000001}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender": {"success_statuses": []}}'),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    """A function with a wrong setting does not start, and says which."""
    assert wrong(DeliverSettings, {**DELIVER, name: value}) == {name.removeprefix("RELAY_").lower()}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RELAY_DESTINATIONS", "sender/main,sender/main", ["sender/main stands twice"]),
        (
            "RELAY_DESTINATIONS",
            "yotpo/a*",
            ["yotpo/a* is not provider/account, or provider/*, of one of: yotpo, sender"],
        ),
        ("RELAY_DESTINATION_SETTINGS", '{"yotpo/*": {}}', ["what holds for every account stands under yotpo"]),
        ("RELAY_DESTINATION_SETTINGS", '{"sender/mian": {}}', ["sender/mian: is neither", "yotpo/main, sender/main"]),
        ("RELAY_DESTINATION_SETTINGS", '{"sender": {}, "sender": {}}', ["sender: stands twice"]),
        ("RELAY_DESTINATION_SETTINGS", '{"sender": {"on_unknown": "x"}}', ["sender.on_unknown: ", "'retry' or 'park'"]),
        (
            "RELAY_DESTINATION_SETTINGS",
            '{"sender": {"mapping": {"drop": ["x"]}, "groups": 0}, "yotpo/x": {}}',
            ["sender.mapping.drop.x: is no property", "sender.groups: ", "yotpo/x: is neither"],
        ),
        ("RELAY_DESTINATION_SETTINGS", '{"yotpo": {"names": {"id": ""}}}', ["yotpo.names.id: ", "1 character"]),
        (
            "RELAY_DESTINATION_SETTINGS",
            '{"sender": {"window_seconds": 0.01}}',
            ["sender.window_seconds", "equal to 0.1"],
        ),
        ("RELAY_DESTINATION_SETTINGS", "{", ["is not JSON"]),
        ("RELAY_BASE_URL", "yotpo.com", ["http:// or https://, a host and perhaps a path, without user, query"]),
        ("RELAY_MAX_DELIVERY_AGE_HOURS", "1000000", ["less than or equal to 120"]),
    ],
)
def test_an_error_says_what_is_allowed(name: str, value: str, said: list[str]) -> None:
    """GIVEN a wrong setting THEN who deploys reads which one it is and what it may be."""
    with pytest.raises(ValidationError) as caught:
        DeliverSettings.from_environment({**DELIVER, name: value})
    assert name.removeprefix("RELAY_").lower() in str(caught.value)
    assert [one for one in said if one not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RELAY_BASE_URL", "https://user:hunter2@host/?x"),
        ("RELAY_BASE_URL", "https://user:hunter2@host"),
        ("RELAY_BASE_URL", "hunter2"),
        ("RELAY_STAGE", "hunter2!"),
        ("RELAY_HOLD_SECONDS", "hunter2"),
        ("RELAY_DESTINATION_SETTINGS", "hunter2"),
        ("RELAY_DESTINATION_SETTINGS", '{"sender": "hunter2"}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender": {"access_token": "hunter2"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"sender": {"requests": "hunter2"}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"yotpo": {"names": {"token": "hunter2"}}}'),
        ("RELAY_DESTINATION_SETTINGS", '{"yotpo": {"path": "hunter2"}}'),
    ],
)
def test_an_error_never_quotes_what_may_be_secret(name: str, value: str) -> None:
    """GIVEN a password where none belongs THEN the function does not start, and its log does not hold it."""
    with pytest.raises(ValidationError) as caught:
        DeliverSettings.from_environment({**DELIVER, name: value})
    assert name.removeprefix("RELAY_").lower() in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("lanes", ["{}", '{"yotpo": "https://sqs/yotpo.fifo"}', '{"yotpo": "u", "sender": ""}'])
def test_a_lane_that_is_missing(lanes: str) -> None:
    """GIVEN a destination whose provider has no lane THEN intake does not start."""
    assert wrong(IntakeSettings, {**INTAKE, "RELAY_LANES": lanes}) == {"lanes"}


def test_one_url_for_all_lanes() -> None:
    """GIVEN a URL for `*` THEN each provider's has its name in it, but for one that is given by itself."""
    lanes = '{"*": "https://sqs/1/dev-*.fifo", "sender": "https://sqs/1/mine.fifo"}'
    settings = IntakeSettings.from_environment({**INTAKE, "RELAY_LANES": lanes})
    others = {name: f"https://sqs/1/dev-{name}.fifo" for name in PROVIDERS}
    assert settings.lanes == {**others, "sender": "https://sqs/1/mine.fifo"}


def test_lanes_beyond_the_destinations() -> None:
    """The template has a lane for every provider, also where a stack uses one only."""
    settings = IntakeSettings.from_environment({**INTAKE, "RELAY_DESTINATIONS": "sender/main"})
    assert settings.destinations == ("sender/main",)


def test_settings_of_the_other_provider() -> None:
    """One parameter serves all functions, so each sees what is meant for the others, and checks it, too."""
    given = '{"sender/main": {"on_unknown": "park"}, "sender": {"requests": 3}}'
    settings = DeliverSettings.from_environment({**DELIVER, "RELAY_DESTINATION_SETTINGS": given})
    assert settings.provider == "yotpo"
    assert settings.of("sender/main").on_unknown == "park"


def test_a_destinations_own_settings_win() -> None:
    """Its own over its provider's over the defaults."""
    given = '{"yotpo": {"identify_by": "phone_number", "requests": 3}, "yotpo/main": {"requests": 2}}'
    settings = DeliverSettings.from_environment({**DELIVER, "RELAY_DESTINATION_SETTINGS": given})
    main, other = settings.of("yotpo/main"), settings.of("yotpo/other")
    assert (main.requests, other.requests) == (2, 3)
    assert isinstance(main, YotpoSettings)
    assert main.identify_by == "phone_number"
    assert settings.of("sender/main") == Sender.settings_model()


def test_settings_of_an_account_nobody_listed() -> None:
    """GIVEN `yotpo/*` THEN one of its accounts may have settings of its own, and all others the provider's."""
    given = '{"yotpo": {"requests": 3}, "yotpo/shop-0417": {"requests": 2}}'
    environment = {"RELAY_DESTINATIONS": "yotpo/*", "RELAY_DESTINATION_SETTINGS": given}
    settings = DeliverSettings.from_environment({**DELIVER, **environment})
    assert (settings.of("yotpo/shop-0417").requests, settings.of("yotpo/shop-0418").requests) == (2, 3)
    wrong_one = {**environment, "RELAY_DESTINATION_SETTINGS": '{"sender/main": {}}'}
    assert wrong(DeliverSettings, {**DELIVER, **wrong_one}) == {"destination_settings"}


@pytest.mark.parametrize(
    "given", ['{"yotpo": {"groups": 0}}', '{"yotpo": {"groups": 257}}', '{"sender": {"concurrency": 0}}']
)
def test_groups_and_concurrency_have_bounds(given: str) -> None:
    """None at all would stop an account, and each group is one more batch of it."""
    assert wrong(IntakeSettings, {**INTAKE, "RELAY_DESTINATION_SETTINGS": given}) == {"destination_settings"}
    assert wrong(DeliverSettings, {**DELIVER, "RELAY_DESTINATION_SETTINGS": given}) == {"destination_settings"}


def test_intake_and_deliver_see_the_same_groups() -> None:
    """One puts events into the groups of which the other takes its part of the account."""
    given = {"RELAY_DESTINATION_SETTINGS": '{"yotpo": {"groups": 4}, "yotpo/main": {"groups": 2, "concurrency": 8}}'}
    intake = IntakeSettings.from_environment({**INTAKE, **given})
    deliver = DeliverSettings.from_environment({**DELIVER, **given})
    for destination, groups in (("yotpo/main", 2), ("yotpo/other", 4), ("sender/main", 1)):
        assert intake.of(destination).groups == deliver.of(destination).groups == groups
    assert (deliver.of("yotpo/main").concurrency, deliver.of("yotpo/other").concurrency) == (8, None)


def test_intake_needs_the_lane_of_any_account() -> None:
    """GIVEN `sender/*` and no lane of Sender's THEN intake does not start."""
    given = {"RELAY_DESTINATIONS": "yotpo/main,sender/*", "RELAY_LANES": '{"yotpo": "https://sqs/yotpo.fifo"}'}
    assert wrong(IntakeSettings, {**INTAKE, **given}) == {"lanes"}


def test_settings_do_not_change() -> None:
    """Read once, shared by every thread."""
    settings: Any = IntakeSettings.from_environment(INTAKE)
    with pytest.raises(ValidationError):
        settings.stage = "other"
