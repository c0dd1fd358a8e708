"""Which lanes an event goes to, and as what."""

import json
from collections import Counter
from typing import Any

import pytest

from relay.contract.destination import Destination, account_of, is_backfill, recent
from relay.contract.event import parse_event
from relay.contract.parsing import parse_json
from relay.errors import InvalidEventError
from relay.intake.routing import deduplication_id, route
from tests.factories import DESTINATIONS, NOW, make_event

GROUPS = ["main#2", "main#3", "main", "main#1", "main#2", "main#2"]
"""Of the addresses a0@b.io, a1@b.io, …, where there are four."""


def test_without_destinations_every_configured_one() -> None:
    """An event that names none goes to all, in the configured order."""
    entries = route(make_event(), DESTINATIONS, NOW, "corr-1")
    assert [entry.destination for entry in entries] == list(DESTINATIONS)
    assert {entry.correlation_id for entry in entries} == {"corr-1"}


def test_named_destinations_only() -> None:
    """An event goes where it says, once each."""
    event = make_event(destinations=["sender/main", "sender/main"])
    assert [entry.destination for entry in route(event, DESTINATIONS, NOW)] == ["sender/main"]


def test_unknown_destinations() -> None:
    """Each unknown destination is an error at its place; nothing is sent to the known ones."""
    with pytest.raises(InvalidEventError) as caught:
        route(make_event(destinations=["yotpo/main", "yotpo/other", "nobody/main"]), DESTINATIONS, NOW)
    assert [error.field for error in caught.value.errors] == ["destinations.1", "destinations.2"]
    assert all("yotpo/main, sender/main" in error.message for error in caught.value.errors)
    assert caught.value.event_id == "evt-1"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("yotpo/main", True),
        ("yotpo/shop-0417", True),
        ("yotpo/A.b_c-1", True),
        (f"yotpo/{'x' * 64}", True),
        ("sender/main", True),
        ("sender/other", False),
        ("nobody/main", False),
        ("yotpo", False),
        ("yotpo/", False),
        ("yotpo/*", False),
        ("yotpo/***", False),
        ("yotpo/a/b", False),
        ("yotpo/a b", False),
        ("yotpo/ada@example.com", False),
        ("yotpo/\u00fc", False),
        ("yotpo/main\n", False),
        (f"yotpo/{'x' * 65}", False),
        ("*/main", False),
        ("", False),
    ],
    ids=ascii,
)
def test_any_account_of_a_provider(name: str, is_one: bool) -> None:
    """GIVEN `yotpo/*` THEN every account that could have a secret is a destination, and nothing else is."""
    assert Destination(name).is_configured(["yotpo/*", "sender/main"]) is is_one


def test_an_event_goes_to_any_account_it_names() -> None:
    """GIVEN accounts nobody listed THEN an event that names them goes there, and one that names none does not."""
    configured = ["yotpo/main", "yotpo/*", "sender/*"]
    wanted = ["yotpo/shop-0417", "sender/shop-0417", "yotpo/main"]
    sent = route(make_event(destinations=wanted), configured, NOW)
    assert [entry.destination for entry in sent] == wanted
    assert [each.destination.account for each in route(make_event(), configured, NOW)] == ["main"]


def test_an_event_that_goes_nowhere_is_an_error() -> None:
    """GIVEN no destination by name WHEN an event names none either THEN the error says what to do, of which field."""
    with pytest.raises(InvalidEventError) as caught:
        route(make_event(), ["yotpo/*", "sender/*"], NOW)
    (error,) = caught.value.errors
    assert error.field == "destinations"
    assert error.message == "is required: no destination is configured here by name, only yotpo/*, sender/*"
    assert caught.value.event_id == "evt-1"


def test_each_entry_is_complete_in_itself() -> None:
    """A lane message is an event again, for its one destination."""
    for entry in route(make_event(), DESTINATIONS, NOW):
        event = parse_event(parse_json(entry.body))
        assert event.destinations == [entry.destination]
        assert event.id == "evt-1"
        assert entry.content_hash == make_event().content_hash


def test_the_moment_of_intake() -> None:
    """Without `occurred_at` the event happened when it was accepted, and that does not count as content."""
    event = make_event(occurred_at=...)
    first, again = route(event, ["yotpo/main"], NOW)[0], route(event, ["yotpo/main"], NOW + 60)[0]
    assert json.loads(first.body)["occurred_at"] == "2026-11-22T10:00:00Z"
    assert json.loads(again.body)["occurred_at"] == "2026-11-22T10:01:00Z"
    assert first.content_hash == again.content_hash


def test_a_given_moment_stays() -> None:
    """`occurred_at` of the producer is not touched, its offset included."""
    (entry,) = route(make_event(occurred_at="2026-11-22T11:00:00.5+02:00"), ["yotpo/main"], NOW)
    assert json.loads(entry.body)["occurred_at"] == "2026-11-22T11:00:00.500000+02:00"


def test_deduplication_ids() -> None:
    """One record at one destination is one message; two records, or two destinations, are two."""
    ids = [
        deduplication_id("yotpo/main", "record-1", "evt-1", "aa"),
        deduplication_id("sender/main", "record-1", "evt-1", "aa"),
        deduplication_id("yotpo/main", "record-2", "evt-1", "aa"),
        deduplication_id("yotpo/main", "record-1", "evt-2", "aa"),
        deduplication_id("yotpo/main", "record-1", "evt-1", "bb"),
    ]
    assert len(set(ids)) == len(ids)
    assert ids[0] == deduplication_id("yotpo/main", "record-1", "evt-1", "aa")
    assert all(len(each) == 64 for each in ids)


def test_records_without_a_name_are_not_each_other() -> None:
    """An update taken back within five minutes has the content of the first version: SQS must not drop it."""
    first, again = (route(make_event(), ["yotpo/main"], NOW)[0] for _ in range(2))
    assert first.deduplication_id != again.deduplication_id


@pytest.mark.parametrize("changes", [{}, {"expires_at": "2026-11-23T10:00:00Z"}, {"value": 7}])
def test_two_records_of_one_event_are_two_messages(changes: dict[str, Any]) -> None:
    """Whatever they have in common: the same again, a corrected `expires_at`, or an update."""
    (first,) = route(make_event(), ["yotpo/main"], NOW, "corr-1", "record-1")
    (second,) = route(make_event(**changes), ["yotpo/main"], NOW, "corr-1", "record-2")
    assert first.deduplication_id != second.deduplication_id


@pytest.mark.parametrize("record_id", ["record-1", ""])
def test_one_record_to_two_destinations_is_two_messages(record_id: str) -> None:
    """Named or not."""
    entries = route(make_event(), DESTINATIONS, NOW, "corr-1", record_id)
    assert len({entry.deduplication_id for entry in entries}) == len(DESTINATIONS)
    assert {entry.accepted_at for entry in entries} == {NOW}


def test_copies_of_a_record_are_one_message() -> None:
    """What SQS hands out twice goes on a lane once."""
    first, copy = (route(make_event(), ["yotpo/main"], NOW, "corr-1", "record-1")[0] for _ in range(2))
    assert first.deduplication_id == copy.deduplication_id
    assert first.accepted_at == NOW


@pytest.mark.parametrize(
    ("text", "provider", "account"), [("yotpo/main", "yotpo", "main"), ("yotpo", "yotpo", ""), ("a/b/c", "a", "b/c")]
)
def test_destination(text: str, provider: str, account: str) -> None:
    """Provider before the first slash, account after it."""
    destination = Destination(text)
    assert (destination.provider, destination.account) == (provider, account)


def test_destination_as_text() -> None:
    """Written as it is read."""
    assert Destination.of("yotpo", "main") == "yotpo/main"


def test_what_is_kept_of_a_destination_is_one_thing() -> None:
    """A destination and its name as plain text are the same account: two would have twice its limit."""
    known = recent(lambda _: object())
    assert known("yotpo/main") is known(Destination("yotpo/main"))
    assert known("yotpo/main") is not known("yotpo/other")


def test_the_only_group_of_an_account_has_its_name() -> None:
    """Nothing is new for who has one."""
    assert {Destination("yotpo/main").group(f"id={number}", 1) for number in range(50)} == {"main"}
    assert {entry.group for entry in route(make_event(), DESTINATIONS, NOW)} == {"main"}


def test_history_has_a_group_of_its_own() -> None:
    """Live events do not stand behind it, and it is the account's all the same."""
    groups = {entry.group for entry in route(make_event(backfill=True), DESTINATIONS, NOW)}
    assert groups == {"main#backfill"}
    assert {account_of(group) for group in groups} == {"main"}
    assert all(map(is_backfill, groups))
    assert not any(is_backfill(f"main{number}") for number in ("", "#1", "#255"))


@pytest.mark.parametrize("groups", [2, 3, 64])
def test_groups_of_an_account(groups: int) -> None:
    """GIVEN several THEN the first has the account's name, all are used, alike, and each is the account's."""
    found = Counter(Destination("yotpo/main").group(f"id={number}", groups) for number in range(100 * groups))
    assert set(found) == {"main", *(f"main#{number}" for number in range(1, groups))}
    assert min(found.values()) > 50
    assert set(map(account_of, found)) == {"main"}


def test_a_group_stays_the_same() -> None:
    """Another process, another day: what is on the lane stands in line with what comes."""
    assert [Destination("yotpo/main").group(f"email=a{number}@b.io", 4) for number in range(6)] == GROUPS
    others = [Destination("sender/b").group(f"email=a{number}@b.io", 4) for number in range(6)]
    assert others == [group.replace("main", "b") for group in GROUPS]


@pytest.mark.parametrize(
    ("customer", "line"),
    [
        ({"id": "7", "email": "ada@example.com", "phone_number": "+15551234567"}, "id=7"),
        ({"email": "Ada@Example.com", "phone_number": "+15551234567"}, "email=ada@example.com"),
        ({"phone_number": "+15551234567"}, "phone=+15551234567"),
        ({"provider_ids": {"sender": "s-1"}}, "provider:sender=s-1"),
        ({"provider_ids": {"yotpo": "y-1", "sender": "s-1"}, "phone_number": "+15551234567"}, "phone=+15551234567"),
    ],
)
def test_the_line_that_a_customers_events_stand_in(customer: dict[str, Any], line: str) -> None:
    """The same however an event is written, and one of the names by which order is kept."""
    event = make_event(customer=customer)
    assert event.customer.line == line
    assert line in event.customer.identities
