"""`relay dead` and `relay rejected` on emulators of AWS: nothing lost, nothing sent twice, wherever they end."""

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cli import dead, forget, sweep
from cli.accounts import Account
from cli.command import CommandError, Exit
from cli.dead import Consent, DeadFilter, Filter
from cli.index import Index, State
from cli.stack import Lane, Relay, Where
from cli.sweep import Sweep, depth
from relay.account.forgotten import is_marked, mark
from relay.adapters.dynamodb import REJECTED, DynamoLedger, DynamoLetters
from relay.adapters.sqs import SqsIntakeQueues, SqsLaneQueue
from relay.contract.destination import Destination
from relay.contract.event import parse_event
from relay.handlers.envelope import open_record
from relay.ports import DeadLetter, Record, RejectedRecord
from tests.contract.conftest import Aws, queue_maker
from tests.factories import EMAIL, NOW, event_data
from tests.kinds import FAST

pytestmark = pytest.mark.emulator

YES, ALL = Consent(yes=True), Consent(yes=True, everything=True)


class Stack:
    """A stack's queues and tables without a stack, and the command's view of it."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        seconds = itertools.count()
        self.intake = aws.sqs.create_queue(QueueName=f"{aws.name}-intake")["QueueUrl"]
        self.letters = DynamoLetters(aws.dynamodb, aws.letters, lambda: NOW + next(seconds))
        self.queue = SqsLaneQueue(aws.sqs, aws.lanes[FAST], aws.dead_letters, self.letters)
        self.relay = Relay(Where())
        self.relay.__dict__ |= {
            "sqs": aws.sqs,
            "dynamodb": aws.dynamodb,
            "who": "ana",
            "outputs": {
                "RejectedQueueUrl": aws.rejected,
                "IntakeQueueUrl": self.intake,
                "LettersTableName": aws.letters,
                "LedgerTableName": aws.table,
                "AccountsTableName": aws.accounts,
            },
            "settings": {FAST: SimpleNamespace(destinations=(f"{FAST}/main",))},
            "lanes": {
                name: Lane(name, url, aws.dead_letters if name == FAST else aws.fifo(f"{name}-dead"), "function")
                for name, url in aws.lanes.items()
            },
        }

    def give_up(self, number: int, reason: str = "HTTP 422: bad", **changes: Any) -> DeadLetter:
        """A dead letter in its queue and in the index."""
        data = event_data(id=f"e-{number}", type="order_shipped")
        given = DeadLetter(
            body=json.dumps(data),
            reason=reason,
            destination=Destination(f"{FAST}/main"),
            event_id=f"e-{number}",
            status=422,
            attempts=1,
            deduplication_id=f"m-{number}",
            content_hash=parse_event(data).content_hash,
            accepted_at=NOW - 60.5,
            correlation_id=f"c-{number}",
            event_type="order_shipped",
        )
        letter = replace(given, **changes)
        self.queue.give_up(letter)
        return letter

    def deliver(self, letter: DeadLetter) -> None:
        """The ledger has it as delivered since."""
        ledger = DynamoLedger(self.aws.dynamodb, self.aws.table)
        record = Record(letter.event_id, letter.destination, letter.content_hash, "claimed", "o", "m", version="v")
        ledger.claim(record, now=NOW, overrides=False)
        ledger.settle(replace(record, state="delivered", outcome="delivered"))

    def drain(self, url: str) -> list[Any]:
        """Everything in a queue, also what a FIFO group hides behind ten others; the queue is empty then."""
        found: list[Any] = []
        while messages := self.aws.receive(url):
            found += messages
            for message in messages:
                self.aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def hidden(self) -> int:
        """How many dead letters somebody has in hand."""
        reply = self.aws.sqs.get_queue_attributes(
            QueueUrl=self.aws.dead_letters, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
        )
        return int(reply["Attributes"]["ApproximateNumberOfMessagesNotVisible"])

    def waiting(self, lane: str = FAST) -> set[str]:
        """The letters in the index that wait."""
        return {each.letter for each in Index(self.relay).waiting(lane)}


@pytest.fixture
def stack(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Stack:
    # The emulators look into the whole of a queue at once.
    monkeypatch.setattr(sweep, "WAIT_SECONDS", 0)
    return Stack(aws)


def named(messages: list[Any]) -> list[str]:
    """The ids of the events in these messages."""
    return [json.loads(each["Body"])["id"] for each in messages]


def act(function: Callable[..., Any], stack: Stack, *given: Any) -> Any:
    """What the command answers to programs."""
    return function(stack.relay, *given).data


def test_all_of_a_group_are_seen_by_like_reasons(stack: Stack) -> None:
    """GIVEN 34 dead letters of one group, of which SQS shows ten THEN all are counted, the most numerous first."""
    for number in range(30):
        stack.give_up(number, reason=f"HTTP 422: no order {number} of 'x{number}'")
    for number in range(30, 34):
        stack.give_up(number, reason="passed its expires_at")
    listed = act(dead.list_dead, stack, DeadFilter(where=FAST))
    assert (listed["count"], listed["not in the index"]) == (34, 0)
    assert [(each["reason"], each["count"], each["types"]) for each in listed["groups"]] == [
        ("HTTP 422: no order … of …", 30, {"order_shipped": 30}),
        ("passed its expires_at", 4, {"order_shipped": 4}),
    ]
    assert [each["do"] for each in listed["groups"]] == ["mend, redrive; else drop", "not useful: drop"]


def test_a_redrive_moves_what_is_meant_and_nothing_else(stack: Stack) -> None:
    """GIVEN two reasons in one group WHEN one is redriven THEN its letters are on the lane in their order, with all
    that went with them, and the others are where they were, in theirs.
    """
    letters = [stack.give_up(number, reason="odd" if number % 2 else "even") for number in range(24)]
    done = act(dead.redrive_dead, stack, DeadFilter(reason="odd"), YES)
    assert done["done"] == {"redriven": 12}
    lane = stack.drain(stack.aws.lanes[FAST])
    assert named(lane) == [f"e-{number}" for number in range(1, 24, 2)]
    assert {name: value["StringValue"] for name, value in lane[0]["MessageAttributes"].items()} == {
        "content_hash": letters[1].content_hash,
        "accepted_at": f"{NOW - 60.5:.3f}",
        "correlation_id": "c-1",
    }
    assert lane[0]["Attributes"]["MessageGroupId"] == "main"
    assert stack.waiting() == {f"m-{number}" for number in range(0, 24, 2)}
    assert named(stack.drain(stack.aws.dead_letters)) == [f"e-{number}" for number in range(0, 24, 2)]


def test_what_was_delivered_since_is_not_sent_again(stack: Stack) -> None:
    """GIVEN a dead letter whose very content was delivered since, and one of whose id another content was
    THEN the first is not sent, and the second is."""
    first, second = stack.give_up(1), stack.give_up(2)
    stack.deliver(first)
    stack.deliver(replace(second, content_hash="0" * 64))
    done = act(dead.redrive_dead, stack, DeadFilter(), ALL)
    assert done["done"] == {"delivered since, and not sent again": 1, "redriven": 1}
    assert named(stack.drain(stack.aws.lanes[FAST])) == ["e-2"]
    assert stack.drain(stack.aws.dead_letters) == []


def test_a_drop_is_for_good(stack: Stack) -> None:
    """GIVEN dropped letters THEN they are in no queue, and the index keeps no body but who dropped them."""
    stack.give_up(1)
    stack.give_up(2, reason="passed its expires_at")
    done = act(dead.drop_dead, stack, DeadFilter(reason="expires_at"), YES)
    assert done["done"] == {"dropped": 1}
    assert named(stack.drain(stack.aws.dead_letters)) == ["e-1"]
    (dropped,) = Index(stack.relay).of_event("e-2")
    assert (dropped.state, dropped.body, dropped.settled_by) == (State.DROPPED, None, "ana")


def test_nothing_is_done_without_being_meant(stack: Stack) -> None:
    """GIVEN no filter, nobody to ask, or a dry run THEN nothing is done."""
    stack.give_up(1)
    for which, consent in ((DeadFilter(), YES), (DeadFilter(reason="bad"), Consent())):
        with pytest.raises(CommandError) as refused:
            dead.redrive_dead(stack.relay, which, consent)
        assert refused.value.exit_code is Exit.USAGE
    with pytest.raises(CommandError) as refused:
        forget.forget(stack.relay, "ada@example.com")
    assert refused.value.exit_code is Exit.USAGE
    dry = act(dead.redrive_dead, stack, DeadFilter(), Consent(dry_run=True, everything=True))
    assert dry == {"would": "redrive", "count": 1}
    assert (stack.waiting(), stack.drain(stack.aws.lanes[FAST])) == ({"m-1"}, [])


@pytest.mark.parametrize(
    ("which", "meant"),
    [
        (DeadFilter(where=FAST), {"m-1", "m-2"}),
        (DeadFilter(where=f"{FAST}/other"), {"m-2"}),
        (DeadFilter(event_type="order_shipped"), {"m-1", "m-2"}),
        (DeadFilter(event_type="order_placed"), set()),
        (DeadFilter(event_id="e-1"), {"m-1"}),
        (DeadFilter(reason="BAD"), {"m-1"}),
        (DeadFilter(since="2000-01-01", until="2000-01-02"), set()),
        (DeadFilter(since="2000-01-01T00:00:00Z"), {"m-1", "m-2"}),
    ],
)
def test_filters(stack: Stack, which: DeadFilter, meant: set[str]) -> None:
    """Each narrows what is meant."""
    stack.give_up(1)
    stack.give_up(2, reason="worse", destination=Destination(f"{FAST}/other"))
    listed = act(dead.list_dead, stack, which, True)
    assert {each["letter"] for each in listed["letters"]} == meant


def test_what_sqs_gave_up_is_collected(stack: Stack) -> None:
    """GIVEN a dead letter that SQS put there itself, among others of its group THEN it is said, and after collecting it
    is one like the others, and none is there twice."""
    stack.give_up(1)
    stack.aws.sqs.send_message(
        QueueUrl=stack.aws.dead_letters,
        MessageBody=json.dumps(event_data(id="e-2", type="cart_abandoned")),
        MessageGroupId="main#3",
        MessageDeduplicationId="x",
        MessageAttributes={"content_hash": {"DataType": "String", "StringValue": "ab"}},
    )
    assert act(dead.list_dead, stack, DeadFilter(where=FAST))["not in the index"] == 1
    assert act(dead.collect_dead, stack, DeadFilter(where=FAST))["collected"] == 1
    listed = act(dead.list_dead, stack, DeadFilter(where=FAST), True)
    assert listed["not in the index"] == 0
    (own,) = (each for each in listed["letters"] if each["event_id"] == "e-2")
    assert own["reason"].startswith("SQS gave it up after")
    assert (own["event_type"], own["destination"]) == ("cart_abandoned", f"{FAST}/main")
    done = act(dead.redrive_dead, stack, DeadFilter(event_id="e-2"), YES)
    assert done["done"] == {"redriven": 1}
    (message,) = stack.drain(stack.aws.lanes[FAST])
    assert message["Attributes"]["MessageGroupId"] == "main#3"
    assert named(stack.drain(stack.aws.dead_letters)) == ["e-1"]


def test_what_other_systems_wrote_beside_it_is_in_nobodys_way(stack: Stack) -> None:
    """GIVEN a message with as many attributes as SQS takes, some in our names but none of ours WHEN SQS gave it up
    THEN it is collected, and redriven with what is ours."""
    given = {"content_hash": "ab", "accepted_at": "yesterday", "attempts": "many"}
    given |= {f"a{number}": "theirs" for number in range(6)}
    attributes: Any = {name: {"DataType": "String", "StringValue": value} for name, value in given.items()}
    attributes["a.bytes"] = {"DataType": "Binary", "BinaryValue": b"theirs"}
    queue_maker(stack.aws.endpoint).send_message(
        QueueUrl=stack.aws.dead_letters,
        MessageBody=json.dumps(event_data(id="e-1")),
        MessageGroupId="main",
        MessageDeduplicationId="x",
        MessageAttributes=attributes,
    )
    assert act(dead.collect_dead, stack, DeadFilter(where=FAST))["collected"] == 1
    (message,) = stack.aws.receive(stack.aws.dead_letters, visibility=0)
    kept = message["MessageAttributes"]
    assert len(kept) == 10
    assert {"letter", "swept", *list(given)[:3]} < set(kept)
    assert act(dead.redrive_dead, stack, DeadFilter(event_id="e-1"), YES)["done"] == {"redriven": 1}
    (message,) = stack.drain(stack.aws.lanes[FAST])
    assert {name: each["StringValue"] for name, each in message["MessageAttributes"].items()} == {"content_hash": "ab"}


def reject(stack: Stack, number: int, **changes: Any) -> None:
    """A reject in its queue and in the index."""
    given = RejectedRecord(f'{{"id": "r-{number}"}}', "source: is required", f"r-{number}", NOW, letter=f"j-{number}")
    queues = SqsIntakeQueues(stack.aws.sqs, stack.aws.lanes, stack.aws.rejected, stack.letters)
    assert queues.reject([replace(given, **changes)]) == {}


def test_rejects_go_to_intake_again(stack: Stack) -> None:
    """GIVEN rejects: ours, of a rule that could not be served, and of a call that failed THEN each is collected with
    its reason, and what goes to intake again is the event, as old as it was.
    """
    reject(stack, 1)
    send = stack.aws.sqs.send_message
    rule: Any = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in {"RULE_ARN": "arn:aws:events:rule/shop", "ERROR_CODE": "NO_PERMISSIONS"}.items()
    }
    send(QueueUrl=stack.aws.rejected, MessageBody='{"id": "r-2"}', MessageAttributes=rule)
    failed = {"requestContext": {"condition": "RetriesExhausted"}, "requestPayload": {"id": "r-3"}, "version": "1.0"}
    send(QueueUrl=stack.aws.rejected, MessageBody=json.dumps(failed))
    assert act(dead.collect_rejected, stack)["collected"] == 2
    listed = act(dead.list_rejected, stack, Filter())
    assert {each["reason"]: each["count"] for each in listed["groups"]} == {
        "source: is required": 1,
        "EventBridge could not hand it over: NO_PERMISSIONS (rule arn:aws:events:rule/shop)": 1,
        "an asynchronous call failed three times": 1,
    }
    assert act(dead.redrive_rejected, stack, Filter(), ALL)["done"] == {"redriven": 3}
    sent: dict[str, Any] = {json.loads(each["Body"])["id"]: each for each in stack.drain(stack.intake)}
    assert set(sent) == {"r-1", "r-2", "r-3"}
    assert sent["r-1"]["MessageAttributes"]["accepted_at"]["StringValue"] == f"{NOW:.3f}"
    assert stack.drain(stack.aws.rejected) == []


def test_a_cloud_event_in_attributes_goes_to_intake_again_as_a_whole(stack: Stack) -> None:
    """GIVEN one that SQS gave up THEN what is put back holds its attributes and its data: the body alone is none."""
    told = {"specversion": "1.0", "id": "r-1", "source": "/shop", "type": "com.example.order"}
    attributes: Any = {f"ce-{name}": {"DataType": "String", "StringValue": value} for name, value in told.items()}
    body = json.dumps({"customer": {"email": EMAIL}})
    stack.aws.sqs.send_message(QueueUrl=stack.aws.rejected, MessageBody=body, MessageAttributes=attributes)
    assert act(dead.collect_rejected, stack)["collected"] == 1
    assert act(dead.redrive_rejected, stack, Filter(), ALL)["done"] == {"redriven": 1}
    (sent,) = stack.drain(stack.intake)
    assert open_record(sent["Body"]).id == "/shop:r-1"


def test_what_is_too_large_stays(stack: Stack) -> None:
    """GIVEN a reject of which only the beginning was kept THEN it is not sent, said, and the exit code tells."""
    reject(stack, 1, body="{" + " " * 400_000)
    answer = dead.redrive_rejected(stack.relay, Filter(), ALL)
    assert answer.data["done"] == {"not redriven: too large to be an event": 1}
    assert answer.exit_code is Exit.FAILED
    assert len(stack.drain(stack.aws.rejected)) == 1


def test_one_letter_is_shown_with_what_the_ledger_knows(stack: Stack) -> None:
    """GIVEN a letter's name, or its event's id THEN all that is known; the body only when asked for."""
    letter = stack.give_up(1)
    stack.deliver(letter)
    for name in ("m-1", "e-1"):
        (shown,) = act(dead.show_dead, stack, name)
        assert (shown["reason"], shown["ledger"]["state"]) == ("HTTP 422: bad", "delivered")
        assert "body" not in shown
    (shown,) = act(dead.show_dead, stack, "e-1", True)
    assert shown["body"] == letter.body
    with pytest.raises(CommandError) as missing:
        dead.show_rejected(stack.relay, "e-1")
    assert missing.value.exit_code is Exit.NOT_FOUND


class _InterruptedError(BaseException):
    """A person's Ctrl-C, or the machine's end."""


@pytest.mark.long
@pytest.mark.parametrize("endpoint", ["ministack"], indirect=True)  # some forty runs, most of them with a second's wait
def test_interrupted_anywhere_nothing_is_lost(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a redrive that ends at its first call of AWS, at its second, and so on, before the call or after it took
    effect WHEN it is run again after each THEN every letter is on its lane, once, for SQS drops the copy; nothing was
    done to the others; and the queues are tidy.
    """
    monkeypatch.setattr(sweep, "HIDDEN_SECONDS", 1)
    calls = count_calls(stack)
    for at in range(2, 400):
        stack.drain(stack.aws.dead_letters)
        stack.drain(stack.aws.lanes[FAST])
        meant = {f"e-{at}-{each}" for each in range(2)}
        for each in range(3):
            name = f"{at}-{each}"
            stack.give_up(0, event_id=f"e-{name}", deduplication_id=f"m-{name}", reason="good" if each < 2 else "other",
                          body=json.dumps(event_data(id=f"e-{name}")))  # fmt: skip
        calls.at, calls.made, calls.after = at // 2, 0, bool(at % 2)
        finished = True
        try:
            act(dead.redrive_dead, stack, DeadFilter(reason="good"), YES)
        except _InterruptedError:
            finished = False
        calls.at = 0
        if stack.hidden():
            time.sleep(1.05)  # What it had in hand is seen again then: in two minutes, outside of this test.
        act(dead.redrive_dead, stack, DeadFilter(reason="good"), YES)
        on_the_lane = Counter(named(stack.drain(stack.aws.lanes[FAST])))
        assert set(on_the_lane) == meant, at
        assert set(on_the_lane.values()) == {1}, at
        assert stack.waiting() == {f"m-{at}-2"}, at
        left = named(stack.drain(stack.aws.dead_letters))
        assert set(left) == {f"e-{at}-2"}, at
        act(dead.drop_dead, stack, DeadFilter(reason="other"), YES)
        if finished:
            break
    else:
        pytest.fail("a redrive of two letters needs no 200 calls")
    assert at > 20


class Calls:
    """Interrupts at the call `at`, before it or after it took effect."""

    at, made, after = 0, 0, False


def count_calls(stack: Stack) -> Calls:
    """Counts the calls that leave through the stack's clients."""
    calls = Calls()

    def before(**_: Any) -> None:
        calls.made += 1
        if calls.made == calls.at and not calls.after:
            raise _InterruptedError

    def after(**_: Any) -> None:
        if calls.made == calls.at and calls.after:
            raise _InterruptedError

    for client in (stack.aws.sqs, stack.aws.dynamodb):
        client.meta.events.register("before-send", before)
        client.meta.events.register("after-call", after)
    return calls


def test_a_sweep_twice_changes_nothing(stack: Stack) -> None:
    """GIVEN a tidy queue of several groups WHEN it is swept again and again THEN all is there, once, in each group's
    order, and can be seen at once."""
    for number in range(25):
        stack.give_up(number, group=f"main#{number % 3}")
    for _ in range(2):
        counts = Sweep(stack.relay, FAST).run()
        assert (counts["kept"], counts["deleted"], counts["twice"]) == (25, 0, 0)
    found = stack.drain(stack.aws.dead_letters)
    for group in range(3):
        inside = [each for each in found if each["Attributes"]["MessageGroupId"] == f"main#{group}"]
        assert named(inside) == [f"e-{number}" for number in range(25) if number % 3 == group]
    assert depth(stack.relay, FAST) == 0


def test_rejects_stay_whole_in_a_sweep(stack: Stack) -> None:
    """GIVEN more rejects than one call shows, half of them dropped THEN the other half is there, to be seen at once."""
    for number in range(24):
        reject(stack, number, reason="odd" if number % 2 else "even")
    act(dead.drop_rejected, stack, Filter(reason="odd"), YES)
    assert sorted(named(stack.drain(stack.aws.rejected))) == sorted(f"r-{number}" for number in range(0, 24, 2))
    assert stack.waiting(REJECTED) == {f"j-{number}" for number in range(0, 24, 2)}


def test_a_long_sweep_goes_to_the_end(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN more rejects than can be gone through in the time that SQS hides what was seen first THEN all are seen."""
    monkeypatch.setattr(sweep, "HIDDEN_SECONDS", 1)
    for number in range(33):
        reject(stack, number)
    counts = Sweep(stack.relay, REJECTED, lambda: time.sleep(0.06)).run()
    assert (counts["kept"], counts["twice"]) == (33, 0)
    assert Counter(named(stack.drain(stack.aws.rejected))) == Counter(f"r-{number}" for number in range(33))


@pytest.mark.parametrize("is_earlier", [True, False])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_two_operators_at_once_lose_nothing(stack: Stack, step: int, is_earlier: bool) -> None:
    """GIVEN a sweep WHEN another operator's comes in between, whichever began first THEN every letter stays, and a
    third sweep finds each of them once."""
    for number in range(25):
        stack.give_up(number)
    steps = itertools.count(1)

    class Slow(Sweep):
        def _receive(self) -> Any:
            if next(steps) == step:
                other.run()
            return super()._receive()

    if is_earlier:
        slow, other = Slow(stack.relay, FAST), Sweep(stack.relay, FAST)
    else:
        other, slow = Sweep(stack.relay, FAST), Slow(stack.relay, FAST)
    slow.run()
    assert Sweep(stack.relay, FAST).run()["kept"] == 25
    assert Counter(named(stack.drain(stack.aws.dead_letters))) == Counter(f"e-{number}" for number in range(25))


def test_of_two_copies_the_same_stays(stack: Stack) -> None:
    """GIVEN a reject twice in its queue WHEN it is swept again and again THEN it is there once."""
    for _ in range(2):
        reject(stack, 1)
    assert [Sweep(stack.relay, REJECTED).run()["kept"] for _ in range(2)] == [1, 1]
    assert len(stack.drain(stack.aws.rejected)) == 1


def test_what_nobody_named_can_be_dropped(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a message without a name, with no room for one WHEN it is collected and dropped THEN it is gone."""
    stack.aws.sqs.send_message(QueueUrl=stack.aws.rejected, MessageBody='{"id": "r-1"}')
    monkeypatch.setattr(sweep, "MOST_BYTES", 1)
    assert [act(dead.collect_rejected, stack)["collected"] for _ in range(2)] == [1, 0]
    assert act(dead.drop_rejected, stack, Filter(), ALL)["queue"] == {"deleted": 1}
    assert stack.drain(stack.aws.rejected) == []


def test_what_sqs_does_not_delete_is_said(stack: Stack) -> None:
    """GIVEN a letter that SQS keeps all the same WHEN it is dropped THEN the command says so."""
    stack.give_up(1)

    def refuse(**given: Any) -> Any:
        return {"Failed": [{"Id": each["Id"]} for each in given["Entries"]]}

    stack.aws.sqs.delete_message_batch = refuse  # type: ignore[method-assign]
    with pytest.raises(CommandError, match=r"1 messages of .* could not be deleted"):
        dead.drop_dead(stack.relay, DeadFilter(), ALL)


def test_a_customer_is_forgotten(stack: Stack) -> None:
    """GIVEN a customer's letters in three places, one not in the index, among others' WHEN forgotten THEN theirs are in
    no queue and no body, others' are where they were, and the receipt does not name them."""
    theirs = json.dumps(event_data(customer={"email": "gone@example.com"}))
    stack.give_up(1, body=theirs)
    stack.give_up(2)
    reject(stack, 1, body='{"email": "Gone@Example.com"')
    reject(stack, 2)
    stack.aws.sqs.send_message(
        QueueUrl=stack.aws.dead_letters, MessageBody=theirs, MessageGroupId="main", MessageDeduplicationId="x"
    )
    assert act(forget.forget, stack, "gone@example.com", "", False, True) == {"would forget": {FAST: 1, REJECTED: 1}}
    receipt = act(forget.forget, stack, "gone@example.com", "", True)
    assert receipt["removed"] | {} == {
        f"the dead letters of {name}": 2 if name == FAST else 0 for name in stack.relay.lanes
    } | {"the rejects": 1}
    assert "gone" not in json.dumps(receipt)
    account = Account(stack.relay, Destination(f"{FAST}/main"))
    (made,) = account.read().forgotten
    assert is_marked([made], f"{FAST}/main", {"email=gone@example.com"}, time.time() - 5)
    assert named(stack.drain(stack.aws.dead_letters)) == ["e-2"]
    assert named(stack.drain(stack.aws.rejected)) == ["r-2"]
    assert all("gone@" not in (each.body or "").lower() for each in Index(stack.relay).everything())
    assert (stack.waiting(), stack.waiting(REJECTED)) == ({"m-2"}, {"j-2"})


def test_marks_are_kept_while_they_are_of_use(stack: Stack) -> None:
    """GIVEN an account that is held, with an old mark and a new one WHEN another customer is to be forgotten
    THEN the old mark goes, the new ones stay, and so does the hold, for as long as nobody ends it."""
    account, now = Account(stack.relay, Destination(f"{FAST}/main")), time.time()
    account.forget(["email=old@example.com"], now - 16 * 86_400)
    account.hold("their maintenance", "ada")
    account.forget(["email=one@example.com"], now - 60)
    account.forget(["email=two@example.com", "phone=+15551234567"], now)
    record = account.read()
    assert record.forgotten == tuple(
        mark(account.destination, each, at)
        for each, at in (
            ("email=one@example.com", now - 60),
            ("email=two@example.com", now),
            ("phone=+15551234567", now),
        )
    )
    assert (record.held, record.version) == ("their maintenance", 4)
    item = stack.aws.dynamodb.get_item(TableName=stack.aws.accounts, Key={"destination": {"S": account.destination}})
    assert "ttl" not in item["Item"]


def test_a_record_that_changes_meanwhile_is_not_undone(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a record that another writes between our look and our write THEN both are in it."""
    account, now = Account(stack.relay, Destination(f"{FAST}/main")), time.time()
    read = Account.read

    def contended(self: Account) -> Any:
        record = read(self)
        if not record.held:
            account.hold("their maintenance", "ada")
        return record

    monkeypatch.setattr(Account, "read", contended)
    account.forget(["email=one@example.com"], now)
    record = read(account)
    assert (record.held, len(record.forgotten)) == ("their maintenance", 1)
