"""What must hold in every run, checked at the step where it could break.

- `ended`: a message leaves its lane only when the provider has acted on its event, or when it lies in the dead-letter
  queue with a reason; a record leaves the intake queue only when it is on every lane it is for, or rejected; nothing is
  left on any queue when all is over; nothing is ended by the queue's receive count.
- `repeat`: a provider acts on the same content again only where the relay knows that it cannot know: an event's repeats
  <= its posts without an answer + its claims found open by a later attempt. `counted`: an invocation that ends
  reports every one of these that it met, and none without a cause.
- `parked`: with `on_unknown: park`, a message whose post had no answer, or that was parked as unknown, is never posted
  again (but where a direct call took its event over between a crash and the end of its message).
- `refetch`: an attempt whose token was refused does not use it again where the store held another one by then.
- Batches of one account overlap where a direct call comes between, where an invocation stalls, and where AWS invokes a
  batch twice, or so late that its messages are visible again. They share its record, so its pace holds for them
  together; `delay` allows for the place that the other one takes. All other rules hold as they are: one event is still
  one attempt's (`alone`).
- `rate`: at most limit + 1 requests to an account are started in any of its windows, those answered 429 not counted: by
  one environment in every run, by all together where all clocks go alike and nothing stalls. `throttle`: in any window
  it is answered 429 at most half the limit's times (five times at Yotpo).
- `asked`: from one second after a 429 that names its `Retry-After`, that environment sends nothing to the account until
  then, and no other, but for what had its turn already (five seconds where an account has several groups), where clocks
  go alike and nothing stalls or crashes (unless the event is given up as itself the cause).
- `held`: from seconds after an operator has held an account nothing is sent to it, until that is over or it is resumed.
- `storm`: while an account does not work, at most 100 requests to it in ten minutes, and 25 more for each environment.
- `spin`: a group whose batches achieve nothing comes back at most 90 times in a minute. `delay`: a group that is ready
  waits for at most one batch (30 s) for every `concurrency` other groups of its lane, whatever state those are in, and
  for the copy of a batch, which may begin late (where no poller is throttled: that takes a place for three minutes).
- `deferral`: what a batch leaves of one account is hidden until one and the same moment (where two had it at once, by
  each of them).
- `alone`: no attempt is granted an event before the invocation that has it must have ended, clocks that are off allowed
  for: who has it may be about to post.
- `order`: no event of a customer is acted on for the first time while an earlier one of that customer is neither ended
  nor tried three times; history and live events each for themselves.
- `deadline`: no request starts that could outlast its invocation. `stale`: none starts later than one invocation (30 s)
  after the event's end of life.
- `just`: a dead letter tells the truth: expired events had expired, rejected ones were refused, and an event
  called poison failed at least four times outside any fault that hit everything at its account.
- `poison`: an event that goes on failing, others succeeding in between, ends after at most 15 such rounds, not counting
  45 of those while others failed, too, or had within half an hour.
- `private`: no secret, e-mail address, phone number or URL in a reason, a detail, a dead letter's attributes, a ledger
  record or an exception. `raised`: no exception leaves a handler.
- `writes`: at most two ledger writes for one attempt.
- `prompt`: two hours, three times the backlog's own time, and what the provider asked for on account of single events
  after the last fault nothing is left but poison (but for accounts with three poison events of one customer or five in
  all, and for environments that do not live to learn).
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import TYPE_CHECKING, Any

from relay.delivery.attempt import OUTDATED
from relay.delivery.batch import BatchReport
from relay.delivery.post import BROKEN
from relay.outcome import Outcome, Result
from relay.ports import Claim, DeadLetter, LaneMessage, Record, RejectedRecord
from tests.simulation.conduct import Conduct
from tests.simulation.history import Delivery, History, Kept
from tests.simulation.kernel import Kernel
from tests.simulation.plan import FAULTY, LATEST_COPY
from tests.simulation.provider import EPOCH
from tests.simulation.sqs import VISIBILITY, Message

if TYPE_CHECKING:
    from tests.simulation.environment import DeliverEnvironment

SECRET = re.compile(r"shh[0-9a-f]{4}|customer\d+\.|%40|\+1555|1555\d{4}|https?:")


class Checker:
    """Hears of everything from the model, and sees to it that nothing in the relay's own words is taken on trust.

    Each `on_…` is called at that moment, in the step in which it happens.
    """

    def __init__(self, kernel: Kernel, history: History) -> None:
        self._kernel = kernel
        self._history = history
        self._clumsy: set[str] = set()
        """Messages whose hiding failed, or was never asked for because the time was up."""
        self._hidden_by: dict[str, set[str]] = {}
        """The environments that hid a message, by its receipt."""
        self._rejected: set[str] = set()
        self.conduct = Conduct(kernel, history)

    # Intake

    @property
    def natures(self) -> Mapping[str, str]:
        return self._history.natures

    def record_at(self, letter: DeadLetter) -> float | None:
        """When the record behind a dead letter came to the relay."""
        kept = self._history.messages.get(letter.deduplication_id)
        return kept.record_at if kept else None

    def on_put_on_lane(self, destination: str, message: Message, record_at: float) -> None:
        """A message was put on a lane."""
        history = self._history
        event, valid = self._read(message.body)
        delivery = history.delivery(destination, event["id"])
        version = event["properties"]["version"]
        delivery.versions.add(version)
        expires_at = datetime.fromisoformat(event["expires_at"]).timestamp() if "expires_at" in event else math.inf
        customer = event["customer"]
        identities = tuple(f"{name}={customer[name]}" for name in ("email", "phone_number", "id") if name in customer)
        if "backfill" in event:
            # History is a line of its own: among live events a customer's has no order.
            identities = tuple(f"backfill {each}" for each in identities)
        identities = identities if valid else ()
        delivery.records[record_at] = version
        kept = Kept(
            message.sequence,
            message.message_id,
            delivery,
            version,
            self._kernel.now,
            record_at,
            expires_at,
            identities,
        )
        history.messages[message.message_id] = kept
        for identity in kept.identities:
            history.site(destination).waiting.setdefault(identity, {})[kept] = None
        history.totals.accepted += 1
        if history.timeline.on:
            history.timeline.note(
                self._kernel.now, destination, delivery.event_id, f"on the lane ({message.message_id})"
            )

    def on_record_rejected(self, record: RejectedRecord) -> None:
        """A record was sent to the queue of the rejected."""
        self._rejected.add(record.body)
        self._history.totals.rejected += 1
        self.check_private("a rejection", record.reason)
        if not record.reason:
            self._history.fail("ended", "a rejection without a reason")

    def on_record_deleted(self, message: Message) -> None:
        """A record was deleted from the intake queue."""
        event_id, version, destinations = json.loads(message.attributes["is"])
        for destination in destinations:
            delivery = self._history.delivery(destination, event_id)
            if message.body in self._rejected:
                continue
            if version not in delivery.versions:
                self._history.fail("ended", f"{event_id} lost by intake on its way to {destination}")
            delivery.records[message.sent_at] = version

    # Attempts

    def on_claim_sent(self, environment: "DeliverEnvironment", record: Record) -> None:
        """An attempt begins: its claim is on its way to the ledger."""
        delivery = self._delivery(record)
        delivery.begun += 1
        delivery.owners[environment.name] = record.owner
        delivery.began_in[record.owner] = (environment.name, environment.deadline)

    def on_claim_decided(self, environment: "DeliverEnvironment", record: Record, claim: Claim) -> None:
        """The ledger has granted or denied a claim, whether or not its answer reaches the relay."""
        self._write(record)
        delivery = self._delivery(record)
        if claim.granted:
            # Two clocks may be off in opposite directions.
            early = delivery.held_until - 2 * self._history.plan.skew - self._kernel.now
            if delivery.claims and early > 0.1:
                what = f"{record.destination} {record.event_id} claimed {early:.1f} s before the end of who had it"
                self._history.fail("alone", what)
            holder = record.owner.partition("@")[0]
            unknowns = max(delivery.claims, holder in delivery.left)
            delivery.on_unknown_met((environment.name, environment.deadline), unknowns)
            if delivery.claims:
                delivery.left.add(delivery.holder)
            delivery.left.discard(holder)
            delivery.claims += 1
            delivery.held_until = delivery.began_in[record.owner][1]
            delivery.holder = holder
            if environment.direct:
                delivery.parked.clear()
                delivery.unanswered.clear()
        if self._history.timeline.on:
            was = claim.before.state if claim.before else "new"
            self._note(record, f"{'claimed' if claim.granted else 'claim refused'} by {environment.name} (was {was})")

    def on_claim_answered(self, environment: "DeliverEnvironment", record: Record, claim: Claim) -> None:
        """The answer to a claim has reached the relay."""
        if claim.granted:
            self._learn(record, environment, self._delivery(record).claims - 1)
        else:
            self._delivery(record).denied += 1

    def on_settle_decided(self, environment: "DeliverEnvironment", record: Record, written: bool) -> None:
        """The ledger has `written` what an attempt came to, or has not: the record was another's by then."""
        delivery = self._delivery(record)
        self._write(record)
        if not written:
            return
        delivery.settled += 1
        delivery.claims = int(record.state == "claimed")
        broke = record.reason.startswith(BROKEN)
        delivery.turned_away += broke or (record.outcome == "unauthorized" and record.status is None)
        if broke:
            self.conduct.on_attempt_broken(delivery)
        if record.owner in delivery.silent and record.state != "claimed":
            self._learn(record, environment, 1)
        delivery.silent.discard(record.owner)
        delivery.began_in.pop(record.owner, None)
        self.check_private("a ledger record", record.reason)
        if self._history.timeline.on:
            what = f"settled by {environment.name}: {record.state}, {record.outcome}, {record.reason}"
            self._note(record, f"{what}, strikes {record.failure.strikes}")

    def on_call_failed(self, about: Record | DeadLetter) -> None:
        """A call of ours about this event failed: it may or may not have taken effect."""
        delivery = self._delivery(about)
        delivery.unsure += 1
        if isinstance(about, DeadLetter):
            # The claim stays open, and with it what is to be counted.
            delivery.learned.clear()

    def on_batch_reported(self, environment: "DeliverEnvironment", report: BatchReport) -> None:
        """A batch is over and its results are counted, as `DeliverObserver` counts them."""
        if report.not_hidden or report.abandoned:
            self._clumsy.update(report.failed)
        counted: dict[Delivery, int] = {}
        for result in report.results:
            delivery = self._history.delivery(result.destination, result.event_id)
            delivery.reported += delivery.reported < delivery.begun
            counted[delivery] = counted.get(delivery, 0) + result.crashed + (result.outcome is Outcome.UNKNOWN)
            self.check_private("a result", result.reason)
            if result.reason.startswith(BROKEN) and self.natures.get(result.event_id) != "broken":
                self._history.fail("raised", result.reason)
            self.check_private("a result's detail", result.detail)
            if self._history.timeline.on and result.outcome is not Outcome.DELIVERED:
                self._note(
                    result, f"{environment.name} reports {result.outcome}: {result.reason}, wait {result.wait:.1f}"
                )

        if report.abandoned:
            for delivery in self._history.deliveries.values():
                delivery.learned.pop((environment.name, environment.deadline), None)
        for delivery, unknowns in counted.items():
            delivery.unknowns += unknowns
            self._history.totals.unknowns += unknowns
            invocation = (environment.name, environment.deadline)
            learned, causes = delivery.learned.pop(invocation, 0), delivery.causes.pop(invocation, 0)
            self._check_counted(delivery, unknowns, learned, causes)

    def on_messages_hidden(
        self, environment: str, provider: str, messages: Sequence[LaneMessage], seconds: float, failed: Set[str]
    ) -> None:
        """SQS has hidden the messages of a deferral, but for those that `failed`."""
        self._clumsy |= failed
        for each in messages:
            self._hidden_by.setdefault(each.receipt_handle, set()).add(environment)
        if self._history.timeline.on:
            account = f"{provider}/{messages[0].account}"
            what = f"{len(messages)} messages deferred for {seconds:.0f} s, {len(failed)} refused"
            self._history.timeline.note(self._kernel.now, account, "", what)

    def on_handler_raised(self, error: BaseException) -> None:
        """An exception left a handler."""
        self.check_private("an exception", repr(error))
        self._history.fail("raised", repr(error))

    # Ends

    def on_dead_letter_sent(self, letter: DeadLetter) -> None:
        """A dead letter was put on its queue."""
        history, delivery = self._history, self._delivery(letter)
        delivery.letters[letter.deduplication_id] = letter.reason
        # It has ended; what comes under its id after this (another version, a redrive) begins anew.
        delivery.fruitless = 0
        history.totals.letters += 1
        if history.timeline.on:
            self._note(letter, f"dead letter: {letter.reason}")
        self.check_private("a dead letter", f"{letter.reason} {letter.event_id} {letter.destination}")
        if not letter.reason:
            history.fail("ended", f"{letter.event_id} dead-lettered without a reason")
        kind, wrong = self._judge(letter, delivery)
        if not self._shows(letter):
            wrong = "it does not say how often it was tried, or how it was answered"
        history.totals.dead[kind] = history.totals.dead.get(kind, 0) + 1
        if letter.status == 429:
            self.conduct.forget_silence(letter.destination)
        if wrong:
            history.fail("just", f"{letter.destination} {letter.event_id} dead-lettered ({letter.reason}): {wrong}")

    def on_message_deleted(self, message: Message) -> None:
        """A message is about to be deleted from its lane."""
        kept = self._history.messages[message.message_id]
        delivery = kept.delivery
        self._history.most_receives = max(self._history.most_receives, message.receives)
        for identity in kept.identities:
            self._history.site(delivery.destination).waiting[identity].pop(kept, None)
        if not kept.ended:
            self._history.fail(
                "ended", f"{delivery.destination} {delivery.event_id} deleted, neither acted on nor dead"
            )
        self._check_repeats(delivery)

    def on_receives_used_up(self, message: Message) -> None:
        """A queue took a message off for its receive count."""
        kept = self._history.messages.get(message.message_id)
        what = f"{kept.delivery.destination} {kept.delivery.event_id}" if kept else message.message_id
        self._history.fail("ended", f"{what} given up by the queue after {message.receives} receives, without a reason")

    def on_batch_answered(self, batch: Sequence[Message], receipts: Mapping[str, str], response: object) -> None:
        """A lane's function has answered; nothing is deleted yet. `receipts` are the batch's own, by message id."""
        listed = response.get("batchItemFailures") if isinstance(response, dict) else None
        if not isinstance(listed, list) or not {each["itemIdentifier"] for each in listed} <= {
            each.message_id for each in batch
        }:
            return
        left = {each["itemIdentifier"] for each in listed}
        for group in dict.fromkeys(each.group for each in batch):
            mine = [each for each in batch if each.group == group]
            stay = [each for each in mine if each.message_id in left]
            if stay and len(stay) == len(mine):
                self._check_spin(self._history.messages[stay[0].message_id].delivery.destination)
            self._check_deferral(stay, receipts)

    def on_group_chosen(self, destination: str, seconds: float, groups: int) -> None:
        """A group's turn has come, after `seconds` in which it was ready."""
        plan = self._history.plan
        # An account's earlier batch may still hold a place, where it stalls or was invoked twice.
        others = 2 * groups - 1 if plan.twice or plan.stall else groups - 1
        late = LATEST_COPY if plan.twice else 0.0
        most = 31.0 * math.ceil(others / plan.concurrency) + late + 1.0 + plan.hand_over[1]
        if plan.pick == "ready" and plan.look_ahead > 1000 and not plan.held_up and seconds > most:
            self._history.fail("delay", f"{destination} was ready for {seconds:.1f} s")

    def on_patience_over(self, messages: Sequence[Message]) -> None:
        """All faults are long over: what is still on a lane?"""
        kept = [self._history.messages[each.message_id] for each in messages]
        natures = self._history.natures
        poison = [each for each in kept if natures.get(each.delivery.event_id) in FAULTY]
        troubled = Counter((each.delivery.destination, identity) for each in poison for identity in each.identities)
        excused = {destination for (destination, _), count in troubled.items() if count >= 3}
        excused |= {name for name, count in Counter(each.delivery.destination for each in poison).items() if count >= 5}
        for each in kept:
            if each not in poison and each.delivery.destination not in excused:
                self._history.fail("prompt", f"{each.delivery.destination} {each.delivery.event_id} still waits")

    def on_run_over(self, left: Sequence[Message], unread: int) -> None:
        """The run is over."""
        self._history.totals.unended += len(left) + unread
        for message in left:
            kept = self._history.messages[message.message_id]
            self._history.fail("ended", f"{kept.delivery.destination} {kept.delivery.event_id} never came to an end")
        if unread:
            self._history.fail("ended", f"{unread} records never left the intake queue")
        for delivery in self._history.deliveries.values():
            self._check_repeats(delivery)
            if not left and not unread:
                self._check_records(delivery)

    # Judgement

    def _check_records(self, delivery: Delivery) -> None:
        """Each record of the event came to an end of its own, and the last word is the latest that was to be sent."""
        name, kept = f"{delivery.destination} {delivery.event_id}", self._history.messages.values()
        mine = [each for each in kept if each.delivery is delivery]
        redriven = {each.record_at for each in mine if each.message_id not in delivery.letters}
        given_up = {each.record_at for each in mine} - redriven
        sent = {at: version for at, version in delivery.records.items() if at not in given_up}
        for at, version in sent.items():
            if not delivery.acted_on(version) and not delivery.overtakes(at):
                self._history.fail("ended", f"{name}: the version {version} of second {at:.1f} was never acted on")
        if sent and delivery.destination.startswith("yotpo/") and delivery.acts and not self._history.plan.races:
            last = delivery.acts[-1][1]
            if max(at for at, version in delivery.records.items() if version == last) < max(sent):
                self._history.fail("undone", f"{name}: version {sent[max(sent)]} was undone by {last}")

    def _learn(self, record: Record, environment: "DeliverEnvironment", unknowns: int) -> None:
        delivery = self._delivery(record)
        delivery.known += unknowns
        # An attempt abandoned by an earlier invocation may still be told: nobody will report it.
        invocation = (environment.name, environment.deadline)
        if delivery.began_in.get(record.owner) == invocation:
            delivery.learned[invocation] = delivery.learned.get(invocation, 0) + unknowns

    def _check_repeats(self, delivery: Delivery) -> None:
        if delivery.repeats > delivery.known:
            self._history.totals.unexplained += delivery.repeats - delivery.known
            text = f"{delivery.repeats} repeats, {delivery.known} unknown attempts"
            self._history.fail("repeat", f"{delivery.destination} {delivery.event_id}: {text}")

    def _check_counted(self, delivery: Delivery, counted: int, learned: int, causes: int) -> None:
        name = f"{delivery.destination} {delivery.event_id}"
        if counted < learned:
            self._history.fail("counted", f"{name}: {learned} unknowns met, {counted} counted")
        if counted > causes:
            self._history.fail("counted", f"{name}: {counted} unknowns counted, {causes} had a cause")

    def _judge(self, letter: DeadLetter, delivery: Delivery) -> tuple[str, str]:
        """What kind of dead letter it is, and what is wrong with it, if anything."""
        now, plan = EPOCH + self._kernel.now + self._history.plan.skew, self._history.plan
        kept = self._history.messages.get(letter.deduplication_id)
        nature = self._history.natures.get(letter.event_id, "good")
        if letter.reason.startswith(("older than", "passed")):
            end = min(kept.expires_at, EPOCH + kept.accepted_at + plan.oldest - 1.0) if kept else now
            return "expired", "" if now >= end else "it had time left"
        if letter.reason.startswith("failed"):
            own = sum(not everything for everything in delivery.failures)
            kind = "poison" if nature in FAULTY else "called poison, but good"
            return kind, "" if own >= 4 or nature in FAULTY else f"only {own} failures were its own"
        if letter.reason == OUTDATED:
            right = len(delivery.versions) > 1 and letter.destination.startswith("yotpo/")
            return "outdated", "" if right else "there was only one version, or they have no order"
        if letter.reason.startswith("id_reused"):
            right = len(delivery.versions) > 1 and letter.destination.startswith("sender/")
            return "id reused", "" if right else "there was only one version, or it was an update"
        if letter.reason.startswith(("no answer", "an earlier attempt")) or "its body cut off" in letter.reason:
            delivery.parked.add(letter.deduplication_id)
            unsure = delivery.unsure or delivery.begun > delivery.reported
            return "parked", "" if unsure else "nothing was unknown"
        refused = delivery.refused or nature in ("unfit", "invalid")
        return "rejected", "" if refused else "nobody refused it"

    @staticmethod
    def _shows(letter: DeadLetter) -> bool:
        """Whether what was tried says how often, and how it was answered."""
        tried = letter.reason.startswith(("failed", "HTTP"))
        answered = letter.status is not None or "no answer" in letter.reason or BROKEN in letter.reason
        return not tried or (letter.attempts > 0 and answered)

    def _check_spin(self, destination: str) -> None:
        batches, now = self._history.site(destination).idle_batches, self._kernel.now
        batches.append(now)
        while batches[0] < now - 60.0:
            batches.popleft()
        if len(batches) > 90:
            self._history.fail("spin", f"{destination}: {len(batches)} batches in a minute achieved nothing")

    def _check_deferral(self, stay: list[Message], receipts: Mapping[str, str]) -> None:
        if any(each.receipt != receipts[each.message_id] for each in stay):
            # Somebody else has them by now, and may be hiding them.
            return
        if not stay or any(each.message_id in self._clumsy for each in stay):
            self._clumsy.difference_update(each.message_id for each in stay)
            return
        if any(not self._history.messages[each.message_id].identities for each in stay):
            return
        if len(set().union(*(self._hidden_by.get(each.receipt, ()) for each in stay))) > 1:
            # Two had them at once, and each hid what it had left.
            return
        moments = [each.hidden_until for each in stay]
        undeferred = max(moments) == stay[0].received_at + VISIBILITY
        if max(moments) - min(moments) > 1.0 or undeferred:
            self._history.fail("deferral", f"group {stay[0].group} is hidden until {min(moments)} to {max(moments)}")

    def _write(self, record: Record) -> None:
        delivery = self._delivery(record)
        delivery.writes += 1
        if delivery.writes > 2 * delivery.begun:
            self._history.fail("writes", f"{record.event_id}: {delivery.writes} writes in {delivery.begun} attempts")

    def check_private(self, what: str, text: str) -> None:
        if SECRET.search(text):
            self._history.fail("private", f"{what} says {text}")

    def _delivery(self, about: Record | DeadLetter) -> Delivery:
        return self._history.delivery(about.destination, about.event_id)

    def _read(self, body: str) -> tuple[dict[str, Any], bool]:
        """A lane message's event, and whether it is one: another system may have put anything there."""
        event = json.loads(body)
        return event, self._history.natures.get(event["id"]) != "invalid"

    def _note(self, about: Record | DeadLetter | Result, what: str) -> None:
        self._history.timeline.note(self._kernel.now, about.destination, about.event_id, what)
