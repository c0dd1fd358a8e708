"""Accepting: validate, route, put on the lanes; or reject with every reason."""

import json

import pytest

from relay.envelope import open_record
from relay.errors import MOST_ERRORS, FieldError, InvalidEventError, UnavailableError
from relay.event import MOST_DESTINATIONS
from relay.intake import REASON_BYTES, Accepted, Intake, Rejected
from tests.factories import DESTINATIONS, EMAIL, NOW, event_data, event_json
from tests.fakes import FakeClock, FakeIntakeQueues


@pytest.fixture
def queues() -> FakeIntakeQueues:
    return FakeIntakeQueues()


@pytest.fixture
def intake(queues: FakeIntakeQueues) -> Intake:
    return Intake(queues, FakeClock(), DESTINATIONS, open_record)


def test_accepted(intake: Intake, queues: FakeIntakeQueues) -> None:
    """A valid event is on the lane of each of its destinations."""
    assert intake.accept(event_json(), "corr-1") == Accepted("evt-1", DESTINATIONS)
    assert [entry.provider for entry in queues.entries] == ["yotpo", "sender"]
    assert {entry.correlation_id for entry in queues.entries} == {"corr-1"}


@pytest.mark.parametrize("keeps", [False, True], ids=["accept", "accept_or_keep"])
def test_a_record_named_and_dated_by_its_door(intake: Intake, queues: FakeIntakeQueues, keeps: bool) -> None:
    """A copy is the same messages, of the same moment, however late it is taken."""

    def take(name: str) -> None:
        record = event_json(occurred_at=...)
        if keeps:
            intake.accept_or_keep(record, record, "corr-1", name, NOW - 60.5)
        else:
            intake.accept(record, "corr-1", name, NOW - 60.5)

    for name in ("record-1", "record-1", "record-2"):
        take(name)
    first, copy, other = (queues.entries[start : start + 2] for start in (0, 2, 4))
    assert copy == first
    assert {entry.deduplication_id for entry in other}.isdisjoint(entry.deduplication_id for entry in first)
    assert {entry.accepted_at for entry in queues.entries} == {NOW - 60.5}
    assert {json.loads(entry.body)["occurred_at"] for entry in queues.entries} == {"2026-11-22T09:58:59Z"}


def test_a_record_without_a_name_is_one_of_its_own(queues: FakeIntakeQueues) -> None:
    """Received now, and no copy of any other."""
    clock = FakeClock()
    intake = Intake(queues, clock, ["yotpo/main"], open_record)
    for _ in range(2):
        clock.pass_by(1)
        intake.accept(event_json())
    first, second = queues.entries
    assert (first.accepted_at, second.accepted_at) == (NOW + 1, NOW + 2)
    assert first.deduplication_id != second.deduplication_id


def test_rejected_with_every_reason(intake: Intake, queues: FakeIntakeQueues) -> None:
    """A bad record reaches no lane and comes back with every field that is wrong."""
    verdict = intake.accept(event_json(type="?", customer={}))
    assert isinstance(verdict, Rejected)
    assert verdict.event_id == "evt-1"
    assert [error.field for error in verdict.errors] == ["type", "customer"]
    assert queues.entries == []
    assert queues.rejects == []


def test_unknown_destination(intake: Intake, queues: FakeIntakeQueues) -> None:
    """A destination this stack does not have is a rejection, not a partial delivery."""
    verdict = intake.accept(event_data(destinations=["yotpo/main", "sender/other"]))
    assert isinstance(verdict, Rejected)
    assert verdict.errors[0].field == "destinations.1"
    assert queues.entries == []


def test_unknown_destinations_are_counted(intake: Intake) -> None:
    """The first are named, and how many more there are."""
    verdict = intake.accept(event_data(destinations=["sender/other"] * MOST_DESTINATIONS))
    assert isinstance(verdict, Rejected)
    *named, last = verdict.errors
    assert [error.field for error in named] == [f"destinations.{index}" for index in range(MOST_ERRORS)]
    assert str(last) == f"body: errors not named here: {MOST_DESTINATIONS - MOST_ERRORS}"


def test_a_reject_is_kept_with_its_original_body(intake: Intake, queues: FakeIntakeQueues) -> None:
    """The body is kept to the byte, with the id and the reasons."""
    body = event_json(type="Order Shipped") + " \n"
    intake.accept_or_keep(body, body)
    (kept,) = queues.rejects
    assert kept.body == body
    assert kept.event_id == "evt-1"
    assert kept.reason == "type: may hold only letters, digits and underscores, such as order_shipped"


def test_an_accepted_record_is_not_kept(intake: Intake, queues: FakeIntakeQueues) -> None:
    """RejectedQueue holds rejects only."""
    assert isinstance(intake.accept_or_keep(event_json(), event_json()), Accepted)
    assert queues.rejects == []


@pytest.mark.parametrize("body", ["", "hello", "[]", "5", '{"id": "a\\ud800"}', '{"id": "a\\u0000"}'])
def test_a_reject_can_be_queued(intake: Intake, queues: FakeIntakeQueues, body: str) -> None:
    """Whatever the id and the reasons hold, SQS takes them as attributes."""
    intake.accept_or_keep(body, body)
    (kept,) = queues.rejects
    for text in (kept.reason, kept.event_id):
        text.encode()
        assert all(c in "\t\n" or c >= " " for c in text)


def test_an_email_as_id_is_not_spread(intake: Intake, queues: FakeIntakeQueues) -> None:
    """A producer that uses an e-mail address as id does not bring it into an attribute."""
    intake.accept_or_keep(event_json(id=EMAIL, type="?"), "")
    assert EMAIL not in queues.rejects[0].event_id


def test_reasons_are_bounded() -> None:
    """A thousand errors fit an attribute, cut at a character."""
    errors = tuple(FieldError(f"properties.ü{index}", "must not be nested") for index in range(1_000))
    reason = Rejected(None, errors).reason
    assert len(reason.encode()) <= REASON_BYTES
    assert reason.endswith("…")


def test_a_lane_that_fails_is_our_failure(intake: Intake, queues: FakeIntakeQueues) -> None:
    """The caller hears of it and tries again; nothing is rejected."""
    queues.fails_for = lambda body: True
    with pytest.raises(UnavailableError):
        intake.accept_or_keep(event_json(), event_json())
    with pytest.raises(UnavailableError):
        intake.accept_or_keep("{", "{")


def test_parsed_json_needs_no_envelope() -> None:
    """By itself, intake takes plain events."""
    queues = FakeIntakeQueues()
    assert isinstance(Intake(queues, FakeClock(), DESTINATIONS).accept(event_data()), Accepted)


def test_errors_read_as_field_and_message() -> None:
    """An error's text is what a person reads: every field with its message."""
    error = InvalidEventError([FieldError("a", "is required"), FieldError("b", "must be text")])
    assert str(error) == "a: is required; b: must be text"
