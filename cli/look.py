"""One look at a stack: its queues, what is known of its accounts, and what rings, asked for side by side."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cli.condition import Condition, Kind
from cli.dead import groups
from cli.reasons import Group
from cli.stack import MOST_KEYS, Queue, Relay
from relay.account import schedule
from relay.adapters.dynamodb import is_account, read_account, read_record
from relay.contract.destination import ANY, Destination
from relay.ports import Record
from relay.providers import PROVIDERS
from relay.settings import DeliverSettings

METRIC_MINUTES = 15
"""How old a metric's last value may be."""

AGES_SECONDS, REASONS_SECONDS = 30.0, 10.0
"""For so long one answer serves who looks again and again."""

MOST_PAGES = 4
"""Of the ledger, a megabyte each, that are looked through for what is still open."""

MOST_FAILURES = 3
"""Events of one account, which did not get through, whose records are read."""


@dataclass(frozen=True)
class Age:
    """Seconds that the oldest has waited; where it `is_least`, another may have waited longer."""

    seconds: float
    is_least: bool = False


@dataclass(frozen=True)
class LaneSeen:
    """A lane, or intake: its queue, its age, and whether its function takes from it. `given_up`: what is in its
    dead-letter queue.
    """

    queue: Queue
    given_up: int
    oldest: Age | None = None
    is_on: bool = True


@dataclass(frozen=True)
class Alarm:
    """One of the stack's alarms in state ALARM, its name without the stack's prefix."""

    name: str
    about: str
    since: float


@dataclass(frozen=True)
class Seen:
    """A stack at one moment, in Unix seconds. `notes`: what could not be looked at, and why."""

    stage: str
    at: float
    late_after: float
    intake: LaneSeen
    lanes: Mapping[str, LaneSeen]
    accounts: Sequence[Condition]
    configured: Sequence[str]
    oldest_by_destination: Mapping[str, Age] = field(default_factory=dict)
    alarms: Sequence[Alarm] = ()
    reasons: Sequence[Group] | None = None
    """What waits of dead letters and rejects, by like reasons; None where no index is there, or it cannot be read."""
    notes: Sequence[str] = ()

    def of(self, provider: str) -> Sequence[Condition]:
        """The accounts of a provider, those that are configured by name first."""
        return self._accounts_by_provider.get(provider, ())

    @cached_property
    def _accounts_by_provider(self) -> Mapping[str, Sequence[Condition]]:
        named, found = set(self.configured), defaultdict(list)
        for each in sorted(self.accounts, key=lambda each: (each.destination not in named, each.destination)):
            found[each.destination.provider].append(each)
        return found

    def lone(self, provider: str) -> Condition | None:
        """The account whose events are all that a lane holds; None where there may be others."""
        return self._lone_by_provider.get(provider)

    @cached_property
    def _lone_by_provider(self) -> Mapping[str, Condition]:
        named = [Destination(name) for name in self.configured]
        counts = Counter(name.provider for name in named)
        several = {name.provider for name in named if name.account == ANY or counts[name.provider] > 1}
        mine = (each for each in self.accounts if each.destination in named)
        return {each.destination.provider: each for each in mine if each.destination.provider not in several}

    def dead_letters(self, account: Condition) -> int | None:
        """How many of an account wait: all on its lane, or where others are on it, those of its own in the index; None
        where nobody knows.
        """
        provider = account.destination.provider
        if self.lone(provider) is account:
            return self.lanes[provider].given_up
        if self.reasons is None or self.are_unlisted(provider, self.lanes[provider].given_up):
            return None
        return self._listed[account.destination]

    @cached_property
    def _listed(self) -> Counter[str]:
        return Counter(str(letter.destination) for group in self.reasons or () for letter in group.letters)

    def are_unlisted(self, lane: str, queued: int) -> bool:
        """Whether a queue holds more than the index has of it: what SQS itself gave up is not in it."""
        return self.reasons is not None and queued > sum(each.count for each in self.reasons if each.lane == lane)

    def is_idle(self, account: Condition) -> bool:
        """Whether it had trouble when it was tried last, and has had nothing to try since."""
        until = account.record.until
        return until < self.at - 60 and not self.lanes[account.destination.provider].queue.messages

    def works(self, account: Condition) -> bool:
        """Whether it is sent to, as far as is known."""
        kind = account.kind(self.at)
        return kind in (Kind.OK, Kind.THROTTLED) or (kind is not Kind.HELD and self.is_idle(account))


class Look:
    """Looks at one stack, again and again. What costs money, and changes once a minute, is not asked for more often."""

    def __init__(self, relay: Relay, now: Callable[[], float] = time.time) -> None:
        self._relay = relay
        self._now = now
        self._ages: dict[str, float] = {}
        self._ages_at = 0.0
        self._reasons: Sequence[Group] = ()
        self._reasons_at = 0.0

    def __call__(self) -> Seen:
        relay, now = self._relay, self._now()
        # Made before there are threads: neither a cached property nor boto3's session is for several at once.
        _ = relay.sqs, relay.dynamodb, relay.functions, relay.cloudwatch, relay.outputs
        notes: list[str] = []
        with ThreadPoolExecutor(max_workers=12) as pool:
            queues = {name: pool.submit(relay.queue, url) for name, url in _queues(relay).items()}
            switches = {name: pool.submit(self._is_on, function) for name, function in _functions(relay).items()}
            settings: Future[Mapping[str, DeliverSettings]] = pool.submit(lambda: relay.settings)
            found = pool.submit(lambda: list(self._scan_accounts()))
            ages = pool.submit(_kept(notes, "ages", self._read_ages), list(_queues(relay).values()))
            reasons = pool.submit(_kept(notes, "reasons", self._read_reasons))
            stage = next(iter(settings.result().values())).stage
            alarms = pool.submit(_kept(notes, "alarms", self._ringing), f"{stage}-customer-events-")
            accounts = with_failures(relay, _all_accounts(relay, found.result(), now), now)
            seen = {name: each.result() for name, each in queues.items()}
            known = ages.result() or {}
            alarmed = alarms.result() or ()
            alike = reasons.result()
            switched = {name: each.result() for name, each in switches.items()}
        open_ages = self._open_ages(seen, known, accounts, now)
        lanes = {
            name: LaneSeen(
                seen[name],
                seen[f"{name} dead"].messages,
                _lane_age(seen[name], known.get(_name(lane.queue_url)), open_ages, name),
                switched[name],
            )
            for name, lane in relay.lanes.items()
        }
        intake_age = known.get(_name(relay.outputs["IntakeQueueUrl"])) if seen["intake"].messages else None
        intake = LaneSeen(
            seen["intake"],
            seen["rejected"].messages,
            Age(intake_age) if intake_age is not None else None,
            switched["intake"],
        )
        return Seen(
            stage=stage,
            at=now,
            late_after=float(relay.parameters.get("LateAfterSeconds", 14_400)),
            intake=intake,
            lanes=lanes,
            accounts=accounts,
            configured=next(iter(relay.settings.values())).destinations,
            oldest_by_destination=open_ages,
            alarms=alarmed,
            reasons=alike,
            notes=notes,
        )

    def _is_on(self, function: str) -> bool:
        mappings = self._relay.functions.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        return not any(each.get("State") in ("Disabled", "Disabling") for each in mappings)

    def _scan_accounts(self) -> Iterator[Mapping[str, Any]]:
        pages = self._relay.dynamodb.get_paginator("scan").paginate(TableName=self._relay.outputs["AccountsTableName"])
        for page in pages:
            yield from page["Items"]

    def _read_ages(self, urls: Sequence[str]) -> dict[str, float]:
        """By queue name, what CloudWatch says of its oldest message; nothing for a queue that it does not know of."""
        if self._now() < self._ages_at + AGES_SECONDS:
            return self._ages
        until = datetime.fromtimestamp(self._now(), UTC)
        names = list(map(_name, urls))
        answer = self._relay.cloudwatch.get_metric_data(
            MetricDataQueries=[
                {
                    "Id": f"q{number}",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": "AWS/SQS",
                            "MetricName": "ApproximateAgeOfOldestMessage",
                            "Dimensions": [{"Name": "QueueName", "Value": name}],
                        },
                        "Period": 60,
                        "Stat": "Maximum",
                    },
                }
                for number, name in enumerate(names)
            ],
            StartTime=until - timedelta(minutes=METRIC_MINUTES),
            EndTime=until,
            ScanBy="TimestampDescending",
        )
        told = {each["Id"]: each["Values"] for each in answer["MetricDataResults"]}
        values = {name: told.get(f"q{number}") for number, name in enumerate(names)}
        self._ages = {name: float(value[0]) for name, value in values.items() if value}
        self._ages_at = self._now()
        return self._ages

    def _read_reasons(self) -> Sequence[Group] | None:
        if "LettersTableName" not in self._relay.outputs:
            return None
        if self._now() >= self._reasons_at + REASONS_SECONDS:
            self._reasons, self._reasons_at = groups(self._relay), self._now()
        return self._reasons

    def _ringing(self, prefix: str) -> list[Alarm]:
        pages = self._relay.cloudwatch.get_paginator("describe_alarms").paginate(
            AlarmNamePrefix=prefix, StateValue="ALARM", AlarmTypes=["MetricAlarm"]
        )
        return [
            Alarm(
                each["AlarmName"].removeprefix(prefix),
                each.get("AlarmDescription", ""),
                each["StateUpdatedTimestamp"].timestamp(),
            )
            for page in pages
            for each in page["MetricAlarms"]
        ]

    def _open_ages(
        self, queues: Mapping[str, Queue], known: Mapping[str, float], accounts: Iterable[Condition], now: float
    ) -> dict[str, Age]:
        """By destination, the age of the oldest event that was tried and is still to be delivered. All of them can be
        seen only in a small ledger; it is looked through where CloudWatch knows nothing of a lane.
        """
        ages = {
            str(each.destination): Age(now - min(record.accepted_at for record in each.failures), is_least=True)
            for each in accounts
            if each.failures
        }
        lanes = self._relay.lanes.items()
        if any(queues[name].messages and _name(lane.queue_url) not in known for name, lane in lanes):
            ages |= self._scan_ledger(now, ages)
        return ages

    def _scan_ledger(self, now: float, ages: Mapping[str, Age]) -> dict[str, Age]:
        pages = self._relay.dynamodb.get_paginator("scan").paginate(
            TableName=self._relay.outputs["LedgerTableName"],
            FilterExpression="#state IN (:open, :claimed)",
            ProjectionExpression="destination, accepted_at",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":open": {"S": "open"}, ":claimed": {"S": "claimed"}},
        )
        accepted: dict[str, float] = {}
        is_all = False
        for number, page in enumerate(pages, start=1):
            for item in page["Items"]:
                destination, moment = item["destination"]["S"], float(item.get("accepted_at", {}).get("N", now))
                accepted[destination] = min(moment, accepted.get(destination, moment))
            is_all = "LastEvaluatedKey" not in page
            if number == MOST_PAGES:
                break
        return {
            destination: Age(max(now - moment, ages[destination].seconds if destination in ages else 0.0), not is_all)
            for destination, moment in accepted.items()
        }


def _queues(relay: Relay) -> dict[str, str]:
    lanes = relay.lanes.items()
    return {
        "intake": relay.outputs["IntakeQueueUrl"],
        "rejected": relay.outputs["RejectedQueueUrl"],
        **{name: lane.queue_url for name, lane in lanes},
        **{f"{name} dead": lane.dead_letter_url for name, lane in lanes},
    }


def _functions(relay: Relay) -> dict[str, str]:
    return {
        "intake": relay.outputs["IntakeFunctionName"],
        **{name: lane.function for name, lane in relay.lanes.items()},
    }


def _name(queue_url: str) -> str:
    return queue_url.rpartition("/")[2]


def _all_accounts(relay: Relay, items: Sequence[Mapping[str, Any]], now: float) -> list[Condition]:
    """Those that are configured by name, and those that had an event."""
    found = {item["destination"]["S"]: item for item in items}
    names = [*relay.destinations, *(name for name in found if name not in relay.destinations)]
    return [
        read(Destination(name), found.get(name, {}), relay.settings, now)
        for name in names
        if is_account(name) and Destination(name).provider in PROVIDERS
    ]


def read(
    destination: Destination, item: Mapping[str, Any], settings: Mapping[str, DeliverSettings], now: float
) -> Condition:
    """An account from its item, none where it had no event yet, with the windows that its settings ask for."""
    given = settings[destination.provider]
    provider = PROVIDERS[destination.provider](given.base_url, given.of(destination))
    return Condition(destination, schedule.fit(read_account(destination, item), provider.terms.limits, now))


def find(relay: Relay, names: Iterable[str], now: float) -> list[Condition]:
    """The accounts of those names, with why they do not work, where they do not."""
    known = [Destination(name) for name in names if Destination(name).provider in relay.settings]
    keys = [{"destination": {"S": name}} for name in known]
    found = {item["destination"]["S"]: item for item in relay.items(relay.outputs["AccountsTableName"], keys)}
    return with_failures(relay, [read(name, found.get(name, {}), relay.settings, now) for name in known], now)


def with_failures(relay: Relay, accounts: Sequence[Condition], now: float) -> list[Condition]:
    """With the records of what did not get through, where an account does not work: they say why."""
    keys = [
        {"event_id": {"S": event_id}, "destination": {"S": str(each.destination)}}
        for each in accounts
        if each.kind(now) in (Kind.FAILING, Kind.REFUSED)
        for event_id in each.record.turned_away[-MOST_FAILURES:]
    ][:MOST_KEYS]
    if not keys:
        return list(accounts)
    by_destination: dict[str, list[Record]] = {}
    for record in filter(None, map(read_record, relay.items(relay.outputs["LedgerTableName"], keys))):
        if record.state in ("open", "claimed"):
            by_destination.setdefault(record.destination, []).append(record)
    return [replace(each, failures=tuple(by_destination.get(each.destination, ()))) for each in accounts]


def _lane_age(queue: Queue, told: float | None, open_ages: Mapping[str, Age], provider: str) -> Age | None:
    """The age of a lane's oldest. SQS's own passes over what was received three times, which the ledger knows."""
    if not queue.messages:
        return None
    mine = [age for name, age in open_ages.items() if Destination(name).provider == provider]
    oldest = max(mine, key=lambda age: age.seconds, default=None)
    if told is None:
        return oldest
    return Age(max(told, oldest.seconds if oldest else 0.0))


def _kept[T](notes: list[str], what: str, ask: Callable[..., T]) -> Callable[..., T | None]:
    """Asks for what is good to have. Whoever may not see it is told so, and sees the rest."""

    def asked(*arguments: Any) -> T | None:
        try:
            return ask(*arguments)
        except ClientError as error:
            notes.append(f"{what} could not be read: {error.response.get('Error', {}).get('Code')}")
        except BotoCoreError as error:
            notes.append(f"{what} could not be read: {error}")
        return None

    return asked
