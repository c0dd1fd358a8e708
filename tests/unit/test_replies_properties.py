"""Answers of any kind from every provider: each becomes an outcome of the closed set, whatever it says of the limit the
account's record stays one that can be kept, and nobody waits longer than may be waited.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from relay.account import schedule
from relay.account.account import LONGEST_BACKOFF
from relay.account.schedule import LONGEST_DEFERRAL
from relay.errors import NoAnswerError, NotSentError, TransportError
from relay.outcome import Outcome
from relay.ports import AccountRecord, Reply, Request, Window
from relay.providers import PROVIDERS
from relay.providers.limits import DAY, Budget
from tests.drawing import drawn
from tests.factories import NOW, TOKEN, event_data, lane_record, sqs_batch
from tests.fakes import FakeContext
from tests.unit.harness import Harness
from tests.unit.test_handlers_properties import deliver_handler
from tests.unit.test_ways_in_properties import PLANTED, lines, tells_nothing, written

COMMON = drawn(25, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
every_provider = pytest.mark.parametrize("provider", PROVIDERS)

MOST = 1_000_000
"""No provider is believed that allows more in a window."""

# ---------------------------------------------------------------------------------------------------------- answers

numbers = st.integers(-2, 10**12).map(str) | st.floats().map(str) | st.integers(0, 200).map(str)
dates = (
    st.floats(-1e5, 2e5)
    .map(lambda ahead: datetime.fromtimestamp(NOW + ahead, UTC))
    .flatmap(
        lambda moment: st.sampled_from(
            [
                moment.strftime("%a, %d %b %Y %H:%M:%S GMT"),
                moment.isoformat(),
                moment.strftime("%Y-%m-%d %H:%M:%S"),
                str(int(moment.timestamp())),
                str(int(moment.timestamp() * 1000)),
            ]
        )
    )
)
odd = st.sampled_from(
    [
        "",
        " ",
        "0",
        "-1",
        "NaN",
        "Infinity",
        "1e9",
        "0x10",
        "5, 5",
        "5;w=1",
        " 7 ",
        "٣",
        "²",
        "1_0",
        "1.5",
        "9" * 400,
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "9999-12-31T23:59:59Z",
        "Mon, 99 Foo 2026 99:99:99 GMT",
        "\x00",
        "soon",
    ]
)
policies = st.lists(
    st.builds(
        '"{}";{}={};{}={}'.format,
        st.sampled_from(["a", "b", ""]),
        st.sampled_from("qr"),
        numbers | odd,
        st.sampled_from("wt"),
        numbers | odd,
    ),
    max_size=4,
).map(", ".join)
values = numbers | dates | odd | policies | st.text(max_size=20)
NAMES = [
    *("retry-after", "date", "ratelimit", "ratelimit-policy", "content-type", "content-encoding", "location"),
    *(f"{x}ratelimit-{what}" for x in ("", "x-") for what in ("limit", "remaining", "reset")),
]
headers = st.dictionaries(st.sampled_from(NAMES), values, max_size=6)

quoted = st.sampled_from([*PLANTED, " ".join(PLANTED), TOKEN, f"token {TOKEN} of {PLANTED[0]}", "the customer"])
said = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | quoted,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["success", "message", "error", "errors", "status", "x", PLANTED[0]]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1"])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """What a provider, or what stands before it, may say: JSON, a page, anything; whole, or the beginning."""
    told = st.builds(lambda key, text: {key: text}, st.sampled_from(["message", "error", "errors"]), quoted)
    words = st.builds(json.dumps, told | said, ensure_ascii=st.booleans())
    body = draw(words | st.builds("<html>{}</html>".format, quoted)).encode(draw(encodings), "replace")
    return body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 2)) == 2 else body


statuses = st.sampled_from([200, 201, 202, 204, 302, 400, 401, 403, 404, 408, 409, 422, 425, 429, 500, 502, 503, 504])
replies = st.builds(
    Reply,
    statuses | st.integers(100, 999),
    headers,
    bodies() | st.binary(max_size=40),
    st.sampled_from([True, True, False]),
)
failures = st.sampled_from([NotSentError("ConnectTimeoutError"), NoAnswerError("ReadTimeoutError")])
answers = replies | failures


@dataclass(eq=False)
class Told(Harness):
    """A lane whose provider answers by a script, and then delivers."""

    script: Iterator[Reply | TransportError] = field(default_factory=lambda: iter(()))

    def _answer(self, request: Request) -> Any:
        return next(self.script, Reply(200))


# --------------------------------------------------------------------------------------------------------- the record


def can_be_kept(record: AccountRecord, now: float) -> bool:
    """Whether an account's record is one that anybody can go on with."""
    moments = [getattr(record, each.name) for each in fields(record) if isinstance(getattr(record, each.name), float)]
    return (
        all(map(math.isfinite, moments))
        and all(window_can_be_kept(window) for window in record.windows)
        and record.quiet_until <= now + LONGEST_DEFERRAL
        and record.asked_until <= now + LONGEST_DEFERRAL
        and 0 <= record.rejections <= 1
        and min(record.burst, record.calm, record.patience, record.throttled) >= 0
    )


def window_can_be_kept(window: Window) -> bool:
    moments = [at for at, _ in window.turns]
    return (
        1 <= window.limit <= MOST
        and 0 < window.share <= window.limit
        and 0 <= window.others <= MOST
        and 0 <= window.left <= MOST
        and all(map(math.isfinite, (window.others_until, window.left_until, window.left_at, window.share, *moments)))
        and moments == sorted(moments)
        and all(count >= 1 for _, count in window.turns)
        and len(window.turns) <= schedule.MOST_KEPT
    )


def soon(record: AccountRecord, now: float) -> bool:
    """Whether the next turn comes, within what may be deferred and the longest of its windows."""
    at = schedule.next_turn(record, now)
    return math.isfinite(at) and at <= now + LONGEST_DEFERRAL + 20 * max(window.seconds for window in record.windows)


def budget_is_believable(budget: Budget) -> bool:
    counts = [each for quota in budget.quotas for each in (quota.limit, quota.remaining) if each is not None]
    waits = [budget.retry_after, *(each for quota in budget.quotas for each in (quota.reset_after, quota.window))]
    return all(0 <= count <= MOST for count in counts) and all(0 < wait <= DAY for wait in waits if wait is not None)


@every_provider
@drawn(50, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    replies,
    st.lists(
        st.tuples(st.floats(0, 90), st.integers(1, 12), replies, st.sampled_from(["answered", "throttled", "lost"]))
    ),
)
def test_any_word_of_the_limit_leaves_a_pace(
    provider: str, first: Reply, walk: list[tuple[float, int, Reply, str]]
) -> None:
    """GIVEN any headers in any order of answers THEN what is read is in bounds, and the account's record goes on."""
    subject = PROVIDERS[provider]("https://api.example.com")
    now, record = NOW, schedule.fit(AccountRecord(f"{provider}/main"), subject.terms.limits, NOW)
    for passed, most, reply, became in [(0.0, 1, first, "answered"), *walk]:
        now += passed
        turns, record = schedule.take(record, now, most, now + 5.0)
        budget = subject.budget(reply, now)
        assert budget_is_believable(budget)
        for turn in turns:
            sent_at = max(turn, now)
            if became == "answered":
                record = schedule.answered(schedule.move(record, turn, sent_at, 0.02), budget, sent_at, sent_at + 0.1)
            elif became == "throttled":
                record = schedule.give_back(record, [turn])
                record = schedule.shrink(
                    schedule.pause(record, budget, turn, sent_at, subject.backoff), budget, sent_at
                )
            now = max(now, sent_at)
        assert can_be_kept(record, now)
        assert soon(record, now)


# ------------------------------------------------------------------------------------------------------------ the lane


def batch(count: int) -> list[dict[str, Any]]:
    """Messages of several customers, one of whom can be told from what is quoted."""
    customers = [
        {"email": PLANTED[0], "phone_number": PLANTED[1]},
        {"email": "b@example.com"},
        {"id": "4711", "email": "c@example.com"},
    ]
    return [
        lane_record(json.dumps(event_data(id=f"evt-{number}", customer=customers[number % 3])))
        for number in range(count)
    ]


@every_provider
@COMMON
@given(st.integers(1, 10), st.lists(answers, max_size=40), st.sampled_from([0.01, 0.5, 2.0]))
def test_any_answers_to_a_batch(provider: str, count: int, script: Sequence[Any], takes: float) -> None:
    """GIVEN any answers, batch after batch THEN every event ends or comes again, in time; and nothing tells of whom."""
    with written() as out:
        harness = Told(provider, script=iter(script))
        harness.transport.takes = takes
        handler = deliver_handler(harness)
        left = batch(count)
        for _ in range(4):
            slept = len(harness.clock.slept)
            given_ids = [record["messageId"] for record in left]
            answer = handle(handler, harness, left)
            reported = [entry["itemIdentifier"] for entry in answer["batchItemFailures"]]
            assert len(set(reported)) == len(reported)
            assert set(reported) <= set(given_ids)
            # Not by the clock: here what is done side by side takes its time one after the other.
            assert min(harness.clock.slept[slept:], default=0) >= 0
            assert sum(harness.clock.slept[slept:]) <= 30
            left = [record for record in left if record["messageId"] in set(reported)]
            for record in harness.records.records.values():
                assert can_be_kept(record, harness.clock.now())
            harness.clock.pass_by(max([1.0, *(seconds for ids, seconds in harness.queue.deferred[-1:])]))
            if not left:
                break
    told = [line for line in lines(out) if "outcome" in line]
    assert {line["outcome"] for line in told} <= {str(outcome) for outcome in Outcome}
    assert sum(line["final"] for line in told) == count - len(left)
    assert all(1 <= seconds <= max(LONGEST_DEFERRAL, LONGEST_BACKOFF) for _, seconds in harness.queue.deferred)
    assert tells_nothing(out.getvalue(), [(each.reason, each.event_id) for each in harness.queue.letters])


def handle(handler: Any, harness: Harness, records: list[dict[str, Any]]) -> Any:
    """One invocation of thirty seconds, by the harness's clock."""
    for record in records:
        record["attributes"]["ApproximateReceiveCount"] = str(int(record["attributes"]["ApproximateReceiveCount"]) + 1)
    return handler.handle(sqs_batch(*records), FakeContext())


@every_provider
@COMMON
@given(answers, answers)
def test_any_answer_to_a_direct_call(provider: str, first: Any, second: Any) -> None:
    """GIVEN any answer THEN the call says which outcome of the closed set it was, and not whose."""
    with written() as out:
        harness = Told(provider, script=iter([first, second]))
        event = event_data(customer={"email": PLANTED[0], "phone_number": PLANTED[1]})
        call = {"destination": f"{provider}/main", "event": event}
        answer = deliver_handler(harness).handle(call, FakeContext())
    assert answer["outcome"] in {str(outcome) for outcome in Outcome}
    json.dumps(answer)
    assert tells_nothing(answer["reason"], answer["detail"], out.getvalue())
    assert TOKEN not in json.dumps(answer)
    assert harness.clock.monotonic() <= 30
