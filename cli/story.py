"""What happened to one event, in plain words, and where it stands: from log lines, the ledger and the index.

Plain functions; moments are Unix seconds.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cli.condition import Condition, Kind
from cli.index import Letter, State
from cli.logs import Line
from cli.moments import iso_if, lasting, shown
from relay.contract.destination import Destination
from relay.delivery.batch import FORGOTTEN
from relay.ports import Record

INTAKE = "intake"

LONGEST_BATCH = 30.0
"""Seconds from a try to the log line that tells of it, at most."""

_SERVICES = {"sqs": "SQS", "eventbridge": "EventBridge", "sns": "SNS", "direct": "a direct call"}


@dataclass(frozen=True)
class Step:
    """One thing that happened, at intake or at a destination. `last` and `times`: the same again, until then."""

    at: float
    where: str
    what: str
    data: Mapping[str, Any]
    last: float = 0.0
    times: int = 1


@dataclass(frozen=True)
class Now:
    """Where the event stands at a destination, or at intake: `state` for programs, `told` for people, what to `do`."""

    where: str
    state: str
    told: str
    do: str = ""


@dataclass(frozen=True)
class Known:
    """What is known of the event: log lines, the ledger's records by destination, dead letters and rejects."""

    lines: Sequence[Line]
    records: Mapping[str, Record]
    letters: Sequence[Letter]

    @property
    def destinations(self) -> list[str]:
        """Those that it was for."""
        names = [str(name) for line in self.lines if line.is_intakes for name in line.said.get("destinations", ())]
        names += [str(line.said["destination"]) for line in self.lines if line.said.get("destination")]
        names += [*self.records, *(str(letter.destination) for letter in self.letters if not letter.is_reject)]
        return list(dict.fromkeys(names))

    @property
    def skipped(self) -> dict[str, str]:
        """Where it would have gone, and does not by a mapping, and why: as it was when it came in last."""
        came = [line.said for line in self.lines if line.is_intakes and line.said.get("message") == "accepted"]
        return dict(came[-1].get("skipped") or {}) if came else {}

    def last_line(self, destination: str) -> Line | None:
        """What was logged last of it there."""
        return next((line for line in reversed(self.lines) if line.said.get("destination") == destination), None)

    def last_letter(self, destination: str) -> Letter | None:
        """Its last dead letter there; of no destination, its last reject."""
        mine = [letter for letter in self.letters if letter.destination == destination]
        return max(mine, key=lambda letter: letter.at, default=None)

    def delivered_at(self, destination: str) -> float | None:
        """When it was delivered there last, as a log line tells."""
        there = (step for step in self.steps() if step.where == destination and step.data.get("outcome") == "delivered")
        return max((step.at for step in there), default=None)

    def forgotten_at(self, destination: str) -> float | None:
        """When it was taken out of its lane unsent, its customer forgotten; None where it came in again since."""
        last = self.last_line(destination)
        if last is None or not _is_forgotten(last.said):
            return None
        came = (line.at for line in self.lines if line.said.get("message") == "accepted")
        return last.at if max(came, default=0.0) <= last.at else None

    def steps(self) -> list[Step]:
        """All that happened, in order of time."""
        came = {
            line.said.get("correlation_id"): line.at for line in self.lines if line.said.get("message") == "accepted"
        }
        steps = [_dated(step, self.records, came) for line in self.lines if (step := _step(line))]
        steps += [step for record in self.records.values() for step in _from_record(record, steps)]
        steps += [step for letter in self.letters for step in _from_letter(letter, steps)]
        return _folded(sorted(steps, key=lambda step: step.at))


def _step(line: Line) -> Step | None:
    said = line.said
    if not line.is_intakes:
        what = _outcome(said) if "outcome" in said else ""
        return Step(line.at, str(said.get("destination", "")), what, said) if what else None
    match said.get("message"):
        case "accepted":
            waited = f", {lasting(said['age'])} after it was put in" if said.get("age", 0) >= 1 else ""
            for_whom = ", ".join(said.get("destinations", ())) or "no destination"
            skipped = "".join(f"; not for {name}: {why}" for name, why in (said.get("skipped") or {}).items())
            return Step(line.at, INTAKE, f"accepted{_through(said)}{waited}, for {for_whom}{skipped}", said)
        case "rejected":
            kept = "kept in the rejected queue" if said.get("kept") else "of its body the beginning is kept"
            return Step(line.at, INTAKE, f"rejected{_through(said)}: {said.get('reason')} ({kept})", said)
        case "not accepted":
            why = f"{said.get('failed_at')}: {said.get('code')}"
            return Step(line.at, INTAKE, f"could not be taken{_through(said)}: {why}; it comes again", said)
    return None


def _dated(step: Step, records: Mapping[str, Record], came: Mapping[Any, float]) -> Step:
    """When it happened: a batch tells of its tries at its end, and an event's age says when each of them was over.

    `came`: when each copy was accepted.
    """
    record, age = records.get(step.where), step.data.get("age")
    if record is None or not record.accepted_at or age is None:
        return step
    happened = record.accepted_at + float(age)
    # Else it is another copy's age.
    is_its_own = (
        0 <= step.at - happened <= LONGEST_BATCH and happened > came.get(step.data.get("correlation_id"), 0) - 1
    )
    return replace(step, at=happened) if is_its_own else step


def _through(said: Mapping[str, Any]) -> str:
    names = [_SERVICES.get(name, name) for name in str(said.get("via") or "").split(", ") if name]
    return f" through {', then '.join(names)}" if names else ""


def _outcome(said: Mapping[str, Any]) -> str:
    reason = ": ".join(filter(None, (str(said.get("reason") or ""), str(said.get("detail") or "").rstrip("."))))
    if said.get("attempts"):
        reason += f", try {said['attempts']}"
    if crashed := said.get("crashed_before"):
        reason += f" ({crashed} before it left no record of their answer)"
    match said["outcome"]:
        case "delivered" if not said.get("final"):
            what = f"delivered, {reason}, but that could not be written down; comes again"
        case "delivered":
            what = f"delivered, {reason}"
        case "duplicate":
            what = f"not sent: {reason}"
        case _ if _is_forgotten(said):
            what = f"taken out unsent, {reason}"
        case _ if said.get("final"):
            what = f"given up, {reason}: a dead letter"
        case "throttled":
            what = f"not yet: {reason}"
        case "unauthorized":
            what = f"credentials refused, {reason}"
        case "unknown":
            what = f"sent, but no answer came, {reason}; tried again"
        case _:
            what = f"failed, {reason}; tried again"
    return what


def _is_forgotten(said: Mapping[str, Any]) -> bool:
    return said.get("reason") == FORGOTTEN


def _from_record(record: Record, steps: Sequence[Step]) -> Iterator[Step]:
    """What the ledger knows and no log line told: lines are deleted, and a lane may be written by other systems."""
    mine = [step for step in steps if step.where == record.destination]
    if not any(step.data.get("message") == "accepted" for step in steps) and record.accepted_at:
        data = {"ledger": True, "accepted_at": iso_if(record.accepted_at)}
        yield Step(record.accepted_at, record.destination, "came in; no log line says which way", data)
    if record.completed_at and not any(step.at > record.completed_at - 1 for step in mine):
        data = {
            "ledger": True,
            **{name: getattr(record, name) for name in ("outcome", "reason", "status", "attempts")},
            "final": record.state in ("delivered", "given_up"),
        }
        yield Step(record.completed_at, record.destination, _outcome(data), data)


def _from_letter(letter: Letter, steps: Sequence[Step]) -> Iterator[Step]:
    """What the index knows of a dead letter or a reject: that it is one, where no log line tells it, and its end."""
    where = str(letter.destination) or INTAKE
    told = (step.where == where and step.data.get("message") != "accepted" for step in steps)
    if not any(is_told and abs(step.at - letter.at) < LONGEST_BATCH for is_told, step in zip(told, steps, strict=True)):
        yield Step(letter.at, where, f"{_a_letter(letter)}: {letter.reason or 'no reason is known'}", letter.evidence)
    if letter.settled_at:
        yield Step(letter.settled_at, where, _settled(letter), {"message": letter.state})


def _a_letter(letter: Letter) -> str:
    return "rejected" if letter.is_reject else "given up, a dead letter"


def _settled(letter: Letter) -> str:
    by = f" by {letter.settled_by}" if letter.settled_by else ""
    match letter.state:
        case State.REDRIVEN:
            return f"sent again{by}"
        case State.DELIVERED:
            return "found to be delivered since, and not sent again"
    return f"{letter.state}{by}"


def _folded(steps: Iterable[Step]) -> list[Step]:
    """The same at the same destination again and again is one step."""
    folded: list[Step] = []
    newest: dict[str, int] = {}
    for step in steps:
        place = newest.get(step.where)
        before = folded[place] if place is not None else None
        if before and place is not None and _alike(before, step):
            first, last = before.data.get("attempts"), step.data.get("attempts")
            what = step.what if first == last else step.what.replace(f", try {last}", f", tries {first} to {last}")
            folded[place] = replace(before, what=what, last=step.at, times=before.times + 1)
            continue
        newest[step.where] = len(folded)
        folded.append(step)
    return folded


def _alike(one: Step, other: Step) -> bool:
    names = ("message", "outcome", "reason", "detail", "final")
    return "outcome" in one.data and all(one.data.get(name) == other.data.get(name) for name in names)


# ---------------------------------------------------------------------------------------------------- where it stands


def stand(known: Known, accounts: Mapping[str, Condition], now: float) -> Iterator[Now]:
    """Where it stands at each destination that it was for; at intake, where it was for none."""
    for name, why in known.skipped.items():
        if name not in known.destinations:
            yield Now(name, "skipped", f"does not go there: {why}", "relay config check")
    if not known.destinations and not known.skipped:
        yield _at_intake(known, now)
    for name in known.destinations:
        record, letter, account = known.records.get(name), known.last_letter(name), accounts.get(name)
        if gone := known.forgotten_at(name):
            yield Now(name, "forgotten", f"taken out unsent {shown(gone, now)}, {FORGOTTEN}")
        elif letter and _is_its_end(letter, record):
            yield _by_letter(letter, account, now)
        elif record:
            begin = "it was sent again" if letter and letter.state == State.REDRIVEN else "acceptance"
            end = _by_record(record, account, known.delivered_at(name), now, begin)
            yield _with_other_content(end, letter, now) if letter and _is_of_another(letter, record) else end
        else:
            yield _by_line(name, known.last_line(name), account, now)


def _is_its_end(letter: Letter, record: Record | None) -> bool:
    """Whether nothing has come of the event since that letter was written."""
    if record is None:
        return True
    if _is_of_another(letter, record):
        return False
    since = letter.settled_at or letter.at
    return record.state != "delivered" and record.completed_at <= max(since, letter.at + LONGEST_BATCH)


def _is_of_another(letter: Letter, record: Record) -> bool:
    """Whether another content came under the same id, and that is what was given up."""
    return bool(letter.content_hash and record.content_hash) and letter.content_hash != record.content_hash


def _with_other_content(end: Now, letter: Letter, now: float) -> Now:
    """Beside what became of the one content, the dead letter that the other one is."""
    if letter.state != State.WAITING:
        return end
    told = f"{end.told}; another content of its id is a dead letter since {shown(letter.at, now)}: {letter.reason}"
    return replace(end, told=told, do=", ".join(filter(None, (end.do, _show(letter)))))


def _show(letter: Letter) -> str:
    kind = "rejected" if letter.is_reject else "dead"
    return f"relay {kind} show {shlex.quote(letter.event_id or letter.letter)}"


def _by_letter(letter: Letter, account: Condition | None, now: float) -> Now:
    name, since = str(letter.destination), shown(letter.at, now)
    reason = letter.reason or "no reason is known"
    match letter.state:
        case State.WAITING:
            told = f"a dead letter since {since}: {reason}"
            return Now(name, "dead_letter", told, _show(letter))
        case State.REDRIVEN:
            told = f"{_settled(letter)} {shown(letter.settled_at or letter.at, now)}, waits; {_account(account, now)}"
            return Now(name, "waiting", told, _do(account, now))
    return Now(name, "dropped", f"{_settled(letter)}; it was a dead letter: {reason}")


def _at_intake(known: Known, now: float) -> Now:
    """No destination has it: it was rejected, or could not be taken yet."""
    last, letter = known.lines[-1] if known.lines else None, known.last_letter("")
    if last is not None and last.said.get("message") == "not accepted":
        told = f"waits in the intake queue: {last.said.get('failed_at')} did not take it ({last.said.get('code')})"
        return Now(INTAKE, "waiting", told, "docs/runbook.md#intake-fails")
    if letter is not None and letter.state == State.REDRIVEN:
        return Now(
            INTAKE, "waiting", f"{_settled(letter)} {shown(letter.settled_at or letter.at, now)}, waits for intake"
        )
    at, reason = (letter.at, letter.reason) if letter else (last.at, last.said.get("reason")) if last else (now, "")
    gone = f"; {_settled(letter)}" if letter and letter.state != State.WAITING else ""
    do = "" if gone else _show(letter) if letter else "relay rejected list"
    return Now(INTAKE, "rejected", f"rejected {shown(at, now)}: {reason}; nothing was sent{gone}", do)


def _by_record(record: Record, account: Condition | None, delivered_at: float | None, now: float, begin: str) -> Now:
    name, ended = record.destination, shown(record.completed_at, now)
    match record.state:
        case "delivered":
            # A copy that was not sent is the last that its record knows of.
            at = delivered_at or (record.completed_at if record.outcome == "delivered" else None)
            when = f"delivered {shown(at, now)}" if at else f"delivered before {ended}"
            after = f", {lasting(at - record.accepted_at)} after {begin}" if at and at > record.accepted_at else ""
            maybe = f"; {record.unknowns} times nobody knows whether it arrived before" if record.unknowns else ""
            return Now(name, "delivered", f"{when}{after}{maybe}")
        case "given_up":
            told = f"a dead letter since {ended}: {record.reason}"
            return Now(name, "dead_letter", told, f"relay dead list {Destination(name).provider}")
        case "claimed" if record.lease_until > now:
            return Now(name, "trying", "is being tried now")
        case "claimed":
            told = "waits: its last try left no record of its answer; it comes again when SQS brings it back"
            return Now(name, "waiting", f"{told}; {_account(account, now)}")
    tries = f"{record.attempts} tries, " if record.attempts > 1 else ""
    told = f"waits: {tries}last {record.reason or record.outcome} at {ended}; {_account(account, now)}"
    return Now(name, "waiting", told, _do(account, now))


def _by_line(name: str, last: Line | None, account: Condition | None, now: float) -> Now:
    if last is not None and last.said.get("final"):
        outcome, reason = last.said.get("outcome"), str(last.said.get("reason"))
        if outcome in ("delivered", "duplicate") and not reason.startswith("given up"):
            return Now(name, "delivered", f"{outcome} {shown(last.at, now)}: {reason}; the ledger no longer has it")
        told = f"a dead letter since {shown(last.at, now)}: {reason}"
        return Now(name, "dead_letter", told, f"relay dead list {Destination(name).provider}")
    return Now(name, "waiting", f"waits in the lane, not tried yet; {_account(account, now)}", _do(account, now))


def _account(account: Condition | None, now: float) -> str:
    return f"its account: {account.told(now)}" if account else "its account is not known here"


def _do(account: Condition | None, now: float) -> str:
    match account and account.kind(now):
        case Kind.REFUSED:
            return f"relay connect {account.destination}, relay resume {account.destination}" if account else ""
        case Kind.HELD:
            return f"relay resume {account.destination}" if account else ""
    return ""
