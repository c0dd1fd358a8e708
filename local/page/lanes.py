"""How the lanes stand: what waits in each queue, and what is known of each account's pace and health."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from local.page.deployed import Deployed
from relay.account.breaker import held_for
from relay.account.schedule import fit
from relay.adapters.dynamodb import is_account, read_account
from relay.contract.destination import Destination
from relay.ports import AccountRecord, State, Window
from relay.providers import PROVIDERS

type Json = dict[str, Any]

SAMPLES = 120
"""Seconds that a line goes back."""
_ACCOUNTS = 100
_WHY = {
    "unauthorized": "the provider refuses the credentials",
    "throttled": "the provider answers 429",
    "failing": "requests fail",
}


@dataclass
class Lanes:
    """Reads the queues and accounts of one stack, and remembers how they were."""

    deployed: Deployed
    _pasts: dict[str, deque[float]] = field(default_factory=dict)

    def read(self, now: float) -> tuple[dict[str, Json], dict[str, Json]]:
        """Queues by their output's name, accounts by their destination. Raises botocore's errors."""
        queues = {name: self._queue(name, url) for name, url in self.deployed.queues.items()}
        return queues, {name: self._account(record, now) for name, record in self._records().items()}

    def _queue(self, name: str, url: str) -> Json:
        """``waiting``, ``hidden`` (in work, or put off until a moment), and the sum of both as it was."""
        reply = self.deployed.stack.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        counts = {str(name): value for name, value in reply["Attributes"].items()}
        visible, *hidden = (
            int(counts.get(f"ApproximateNumberOfMessages{one}", 0)) for one in ("", "NotVisible", "Delayed")
        )
        return {"waiting": visible, "hidden": sum(hidden), "past": self._remember(name, visible + sum(hidden))}

    def _records(self) -> dict[str, AccountRecord]:
        named = [one for one in self.deployed.intake.destinations if not one.endswith("/*")]
        records = {one: AccountRecord(one) for one in named}
        reply = self.deployed.stack.clients.dynamodb.scan(
            TableName=self.deployed.stack.outputs["AccountsTableName"], Limit=_ACCOUNTS
        )
        for item in reply["Items"]:
            name = str(item["destination"]["S"])
            if is_account(name):
                records[name] = read_account(name, item)
        return records

    def _account(self, record: AccountRecord, now: float) -> Json:
        windows = record.windows or self._documented(record.destination)
        used, window = max(((_used(one, now), one) for one in windows), key=_share)
        allowed = min(window.limit, window.share)
        word, why, until = health(record, now)
        return {
            "state": word,
            "why": why,
            "until": until,
            "used": used,
            "allowed": round(allowed, 1),
            "seconds": window.seconds,
            "past": self._remember(record.destination, used / allowed),
        }

    def _documented(self, destination: str) -> tuple[Window, ...]:
        """The windows of an account that nothing was sent to yet."""
        provider = PROVIDERS[Destination(destination).provider]("", self.deployed.intake.of(destination))
        return fit(AccountRecord(destination), provider.terms.limits, 0.0).windows

    def _remember(self, name: str, value: float) -> list[float]:
        past = self._pasts.setdefault(name, deque(maxlen=SAMPLES))
        past.append(round(value, 3))
        return list(past)


def health(record: AccountRecord, now: float) -> tuple[str, str, float | None]:
    """``working``, ``waiting``, ``probing`` or ``held``; why; and until when, in Unix seconds."""
    if held_for(record, now):
        by = f", says {record.held_by}" if record.held_by else ""
        return "held", f"{record.held}{by}", record.held_until or None
    why = _WHY.get(record.why, record.why)
    if record.state is State.OPEN and record.until > now:
        return "held" if record.why == "unauthorized" else "waiting", why, record.until
    if record.state is not State.CLOSED:
        return "probing", f"one event finds out whether it works again: {why}", None
    if record.quiet_until > now:
        return "waiting", "the provider says when to come again", record.quiet_until
    return "working", "", None


def _used(window: Window, now: float) -> int:
    """Turns given out that count at this moment."""
    return sum(count for at, count in window.turns if now - window.seconds < at <= now)


def _share(one: tuple[int, Window]) -> float:
    used, window = one
    return used / window.limit
