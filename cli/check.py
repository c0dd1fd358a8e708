"""`relay check`: one marked test event to an account, and what the answer says of how it is set up."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import uuid4

import typer
from rich.json import JSON
from rich.text import Text

from cli.accounts import Account, destination_of, is_held
from cli.command import Answer, CommandError, Exit
from cli.hold import Name
from cli.moments import shown
from cli.stack import Relay
from relay.contract.destination import Destination
from relay.ports import AccountRecord, State
from relay.providers import PROVIDERS, checks
from relay.providers.checks import Verdict

CHECK_EMAIL = "relay-check@example.com"
"""Nobody's: no mail reaches it."""

CHECK_TYPE = "relay_check"

TURN_SECONDS = 15.0
"""For how long a turn is waited for that the account's own events have just now."""

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found out, and what to do. `said` are the provider's words, masked."""

    verdict: str
    do: str = ""
    status: int | None = None
    said: str = ""
    assumed: bool = False

    @property
    def is_well(self) -> bool:
        return self.verdict in (Verdict.WORKS, Verdict.BUSY)


def check(
    relay: Relay,
    destination: Name,
    email: Annotated[str, typer.Option("--email", help="The test event's customer.")] = CHECK_EMAIL,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the request, send nothing.")] = False,
) -> Answer:
    """Send one marked test event to an account, and say in plain words what works or what is wrong."""
    to = destination_of(relay, destination)
    if dry_run:
        answer = ask(relay, to, test_event(to, email), dry_run=True)
        return Answer(answer, JSON.from_data(answer), Exit.OK if "request" in answer else Exit.FAILED)
    return told(destination, found_out(relay, to, email, Account(relay, to).read()))


def found_out(relay: Relay, to: Destination, email: str, before: AccountRecord) -> Found:
    """What one test event says of an account; where its own events have every turn, what became of them since
    `before`.
    """
    account = Account(relay, to)
    if waiting := waits(account.read(), to):
        return waiting
    until = time.monotonic() + TURN_SECONDS
    while (found := read(ask(relay, to, test_event(to, email), dry_run=False), to)).verdict == NO_TURN:
        worked_at = account.read().worked_at
        if worked_at > before.worked_at:
            return Found(Verdict.BUSY, "nothing: its own events have every turn, and are delivered")
        if time.monotonic() > until:
            last = f"; the last of its own was delivered {shown(worked_at)}" if worked_at else ""
            return replace(found, said=found.said + last)
        time.sleep(1.0)
    return found


HELD, WAITS, NO_SECRET, NO_TURN, OURS, INVALID = (
    "held",
    "waits",
    "no secret",
    "no turn",
    "relay in trouble",
    "invalid test event",
)
"""Beside what a provider's answer says."""


def waits(record: AccountRecord, destination: str) -> Found | None:
    """Why nothing may be sent to the account now; None where nothing stands in the way."""
    if is_held(record):
        until = f" until {shown(record.held_until)}" if record.held_until else ""
        by = f" by {record.held_by}" if record.held_by else ""
        return Found(HELD, f"held{by}{until}: {record.held}. End it with: relay resume {destination}")
    if record.state is State.OPEN and record.until > time.time():
        return Found(WAITS, f"{record.why} until {shown(record.until)}. Ask now with: relay resume {destination}")
    return None


def test_event(destination: str, email: str) -> Json:
    """An event that nobody takes for a customer's."""
    now = datetime.now(UTC)
    return {
        "id": f"relay-check-{uuid4()}",
        "source": CHECK_TYPE,
        "type": CHECK_TYPE,
        "occurred_at": now.isoformat(timespec="seconds"),
        "customer": {"email": email},
        "properties": {"relay_check": True, "note": "A test of the customer event relay. No customer did this."},
        "destinations": [destination],
        "expires_at": (now + timedelta(minutes=15)).isoformat(timespec="seconds"),
    }


def read(answer: Mapping[str, Any], destination: str) -> Found:
    """What the answer of a direct call of deliver says."""
    outcome, reason = str(answer.get("outcome", "")), str(answer.get("reason", ""))
    if errors := answer.get("errors"):
        said = "; ".join(f"{each.get('field')}: {each.get('message')}" for each in errors)
        return Found(NO_SECRET if outcome == "unauthorized" else INVALID, said)
    if outcome == "delivered":
        return Found(Verdict.WORKS, status=(answer.get("response") or {}).get("status"))
    response = answer.get("response")
    if response is None and (outcome not in ("retry", "unknown") or not reason.startswith("no answer: ")):
        return _unsent(outcome, reason, destination)
    status, body = (response["status"], response["body"]) if response else (None, "")
    own = PROVIDERS[destination.partition("/")[0]].checks
    found = checks.judge(checks.Answer(status, body, reason.removeprefix("no answer: ")), own)
    said = str(answer.get("detail") or "") or ("" if response else reason)
    return Found(found.verdict, found.do.format(destination=destination), status, said, found.assumed)


def _unsent(outcome: str, reason: str, destination: str) -> Found:
    match outcome:
        case "unauthorized":
            return Found(NO_SECRET, f"store it with: relay connect {destination}", said=reason)
        case "throttled":
            return Found(NO_TURN, "its own events have every turn, or another batch probes it: try again", said=reason)
        case "rejected":
            return Found(INVALID, "the provider would not take the test event", said=reason)
    return Found(OURS, "see the lane's log; is one of AWS's services in trouble, or a role changed?", said=reason)


def told(destination: str, found: Found) -> Answer:
    """A command's answer."""
    data = {
        "destination": destination,
        "verdict": found.verdict,
        "works": found.is_well,
        "status": found.status,
        "said": found.said,
        "do": found.do,
        "assumed": found.assumed,
    }
    style = "green" if found.is_well else "red"
    text = Text.assemble((destination, "bold"), "  ", (found.verdict.upper(), style))
    if found.status:
        text.append(f"  HTTP {found.status}")
    if found.said:
        text.append(f"\n  it said  {found.said}")
    if found.do:
        text.append(f"\n  do       {found.do}{' (assumed: its pages do not say)' if found.assumed else ''}")
    return Answer(data, text, Exit.OK if found.is_well else Exit.FAILED)


def ask(relay: Relay, to: Destination, event: Json, *, dry_run: bool) -> Json:
    """What the function that delivers there answers to a direct call with that event."""
    function = relay.lanes[to.provider].function
    call = {"destination": to, "event": event, "dry_run": dry_run}
    reply = relay.functions.invoke(FunctionName=function, Payload=json.dumps(call).encode())
    answer = json.loads(reply["Payload"].read() or "null")
    if "FunctionError" in reply or not isinstance(answer, dict):
        # By its type only: what else it says may hold anything.
        told = answer.get("errorType") if isinstance(answer, dict) else "no answer"
        raise CommandError(f"{function} failed: {told}")
    return answer
