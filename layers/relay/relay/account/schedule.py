"""When one account may be sent to: a plain policy over the account's record, arguments in, record out, no clock inside.

The record holds the moments of the turns given out in each window that the provider counts (a sliding-window log). A
turn is free one window after the one that is `limit` before it: never more than the limit in any window, whoever asks,
whatever kind of limiter the provider has. Where a provider dislikes bursts all the same, they shrink, down to even
spacing; where others use the account, our share of the limit does (additive increase, multiplicative decrease).

All moments are Unix seconds.
"""

import math
from collections.abc import Sequence
from copy import replace
from operator import itemgetter
from typing import Any

from relay.ports import AccountRecord, Window
from relay.providers.limits import Budget, Limit, Quota

MARGIN = 0.003
"""Seconds between the end of a window as we reckon it and the next request."""

LATE = 0.02
"""By what part of a window a request may arrive later than planned: it counts from then until its answer tells."""

LONGEST_LATE = 0.05
"""By what part of a window at most, as its answer tells."""

LATEST = 0.25
"""Seconds by which it may at most."""

LEAD = 0.03
"""Seconds from a reservation to its first turn, until an environment knows what it takes to claim the event ..."""

LEAD_AT_FIRST = 0.4
"""... and to fetch the secret."""

LEFT = 0.2
"""The part of each window that backfill leaves to live events, and that it takes at once: one of these finds a turn
free, or one that soon will be.
"""

WORTH_IT = 5
"""Turns that history waits for, where its slices are as large: half a batch."""

MOST_ENTRIES = 64
"""How many moments a window's log holds; where the limit is higher each stands for several turns."""

MOST_KEPT = 2 * MOST_ENTRIES
HISTORY = 10.0
"""Seconds of the log that are kept beside its window: to tell from a slow reply what others took."""

TOLD = 2
"""For how many windows it is believed that others took so much of one: until another reply confirms it."""

ALONE = 5
"""After so many windows in which nobody else was seen and nothing was throttled we have the limit to ourselves."""

DECREASE = 0.9
"""What a 429 leaves of our share of the limit where others use it, too, or 429s come often ..."""

DECREASE_UNSEEN = 0.96
"""... and where not: then the provider counts a little otherwise than we do."""

OFTEN = 0.05
"""They come often where more than this part of the last requests was throttled ..."""

LATELY = 1 / 50
"""... in a mean that forgets with each request so much of what was before."""

RECOVERY = 0.001
"""What a delivery adds to our share, of the limit, while others are there."""

INCREASE = 0.01
"""The same while we are alone, once there were as many deliveries since the last 429 as it takes patience."""

NEARLY = 0.9
"""Slowly again above so much of the limit."""

LEAST_PATIENCE, MOST_PATIENCE = 60, 500
"""Deliveries: each 429 while we are alone doubles the patience."""

FIRST_FORGIVEN = 100
"""After so many deliveries a single 429 is no reason to change anything."""

LEAST_SHARE = 0.1
"""The part of the limit that is used however often it is throttled."""

LEAST_LEFT = 0.8
"""Where it is seen what others take: the part of what that leaves which is used however often it is throttled."""

GROWS_AFTER = 300
"""Deliveries without a 429 after which a burst may be twice as long again."""

LONGEST_GROWING_WAIT = 900.0

LONGEST_DEFERRAL = 12 * 3600.0
"""SQS hides a message for at most twelve hours after its receive."""

LOOKS = 4
"""After the time of so many requests it is seen whether there is more left than a reply said."""

BELIEVED = 5
"""How many 429s in a row may name a moment at which the next one comes."""

DOUBTED = 30
"""So many replies in a row may say that nothing is left, and no 429 be among them. None is believed before one says
more.
"""


def fit(record: AccountRecord, limits: Sequence[Limit], now: float) -> AccountRecord:
    """The record with a window for each of the limits, those that it knows as they stand. Of a new one it is not known
    whether others use it.
    """
    known = {window.seconds: window for window in record.windows}
    if [(window.seconds, window.documented) for window in record.windows] == [
        (limit.window, limit.requests) for limit in limits
    ]:
        return record
    windows = []
    for limit in limits:
        window = known.get(limit.window)
        if window is None or window.documented != limit.requests:
            fresh = Window(
                limit.window, limit.requests, limit.requests, float(limit.requests), zeros=DOUBTED, others_at=now
            )
            window = replace(fresh, turns=window.turns) if window else fresh
        windows.append(window)
    return replace(record, windows=tuple(windows))


def late(window: Window) -> float:
    """Seconds by which a turn counts as late until its answer is there."""
    return min(LATE * window.seconds, LATEST)


def next_turn(record: AccountRecord, now: float, lead: float = LEAD) -> float:
    """The moment of the next turn, after all that are given out."""
    at = max(now + lead, record.quiet_until, record.last_at)
    for window in record.windows:
        at = max(at, _free_at(window, now))
    if record.burst:
        at = max(at, record.due - (record.burst - 1) * interval(record))
    return at


def _if_changed[T: (AccountRecord, Window)](one: T, **values: Any) -> T:
    """`replace`, where there is anything to: it copies every field, and most replies tell nothing new."""
    return one if all(getattr(one, name) == value for name, value in values.items()) else replace(one, **values)


def _count(window: Window, since: float = -math.inf) -> int:
    """Turns in the window's log that count after that moment."""
    return sum(count for at, count in window.turns if at > since)


def _shared_at(window: Window) -> float:
    """When our share of the window has room for one turn more."""
    # A share that is no whole number is rounded up, and its window stretched in proportion.
    most = math.ceil(window.share)
    return _leaves(window, most, window.seconds * most / window.share)


def _free_at(window: Window, now: float) -> float:
    """The same, as far as others leave room, too."""
    at = _shared_at(window)
    if window.others_until > now:
        at = max(at, _leaves(window, max(1, window.limit - window.others), window.seconds))
    heard = window.left_at + late(window) + 0.001
    if window.left_until > now and _are_others(window, now) and _count(window, heard) >= window.left:
        at = max(at, window.left_until)
    return at


def _leaves(window: Window, most: int, seconds: float) -> float:
    """So many `seconds` after the turn that is `most` before the next one."""
    after = 0
    for at, count in reversed(window.turns):
        after += count
        if after >= most:
            return at + seconds + MARGIN
    return -math.inf


def interval(record: AccountRecord) -> float:
    """Seconds between two requests that are spaced evenly at the tightest limit."""
    return max(window.seconds / window.share for window in record.windows)


def next_backfill_turn(record: AccountRecord, now: float, lead: float = LEAD, *, first: bool = True) -> float:
    """The same for an event that is history. It leaves a part of every window to live events, and waits while these
    want all that there is. It takes its turns in slices of about that part, one after the other, live ones counted;
    the `first` of a slice waits until some of them are there, so that they need not be fetched one by one.
    """
    slices = [max(1, int(LEFT * window.limit)) for window in record.windows]
    least = [min((each + 1) // 2, WORTH_IT) - 1 if first else 0 for each in slices]
    left = tuple(
        replace(window, share=max(window.share / 2, (1.0 - LEFT) * window.share - more), others=window.others + each)
        for window, each, more in zip(record.windows, slices, least, strict=True)
    )
    at = max(next_turn(replace(record, windows=left), now, lead), record.wanted_until)
    for window, each, more in zip(record.windows, slices, least, strict=True):
        at = max(at, _leaves(window, each - more, each * window.seconds / window.share))
    return at


def take(
    record: AccountRecord, now: float, most: int, until: float, lead: float = LEAD
) -> tuple[list[float], AccountRecord]:
    """Gives out at most so many turns, none sooner than in `lead` seconds and none after `until`. Returns their
    moments, and the record with them.
    """
    turns: list[float] = []
    while len(turns) < most and (at := next_turn(record, now, lead)) <= until:
        turns.append(at)
        record = _given(record, at, now)
    return turns, record


def take_for_backfill(
    record: AccountRecord, now: float, most: int, until: float, lead: float = LEAD
) -> tuple[list[float], AccountRecord]:
    """The same for events that are history."""
    turns: list[float] = []
    while len(turns) < most and (at := next_backfill_turn(record, now, lead, first=not turns)) <= until:
        turns.append(at)
        record = _given(record, at, now)
    return turns, record


def want(record: AccountRecord, now: float, lead: float, patience: float) -> AccountRecord:
    """The record after live events did not get all the turns that they asked for, or more may wait behind them. Until
    their next turn, and `patience` seconds longer for them to come for it, there is none for backfill.
    """
    longest = max(window.seconds for window in record.windows)
    at = min(next_turn(record, now, lead), now + longest) + patience
    return replace(record, wanted_until=max(record.wanted_until, at))


def _given(record: AccountRecord, at: float, now: float) -> AccountRecord:
    windows = tuple(_with(window, at + late(window), now) for window in record.windows)
    return replace(record, windows=windows, last_at=at, due=max(record.due, at) + interval(record))


def _with(window: Window, at: float, now: float) -> Window:
    turns = list(window.turns)
    each = math.ceil(window.limit / MOST_ENTRIES)
    if each > 1 and turns and turns[-1][1] < each:
        # As late as its latest: what it stands for is then never free too soon.
        turns[-1] = (max(at, turns[-1][0]), turns[-1][1] + 1)
    else:
        turns.append((at, 1))
        turns.sort(key=itemgetter(0))
    old = now - window.seconds - HISTORY
    return replace(window, turns=tuple(turn for turn in turns[-MOST_KEPT:] if turn[0] > old))


def give_back(record: AccountRecord, turns: Sequence[float]) -> AccountRecord:
    """The record without turns that were not used."""
    for turn in turns:
        windows = tuple(_without(window, turn + late(window)) for window in record.windows)
        record = replace(record, windows=windows)
    if turns:
        record = replace(record, last_at=0.0, due=record.due - len(turns) * interval(record))
    return record


def free_at(record: AccountRecord, turn: float) -> float:
    """When a turn that was given out may be used, by what has become of those before it."""
    at = turn
    for window in record.windows:
        if _count(window) < window.share:
            continue
        mine = turn + late(window)
        before = _without(replace(window, turns=tuple(each for each in window.turns if each[0] <= mine + 1e-4)), mine)
        at = max(at, _shared_at(before))
    return at


def move(record: AccountRecord, turn: float, sent_at: float, later: float | None = None) -> AccountRecord:
    """The record after a turn was used at another moment; `later`: seconds by which its request was longer on its way
    than the fastest, None while its answer is not there.
    """
    return _if_changed(record, windows=tuple(_moved(window, turn, sent_at, later) for window in record.windows))


def _moved(window: Window, turn: float, sent_at: float, later: float | None) -> Window:
    planned, counts_at = turn + late(window), sent_at + late(window)
    if later is not None:
        counts_at = sent_at + min(later, LONGEST_LATE * window.seconds, LATEST)
    if window.limit > MOST_ENTRIES or abs(planned - counts_at) <= 0.001:
        return window
    without = _without(window, planned)
    if len(without.turns) == len(window.turns):
        return window
    return replace(without, turns=tuple(sorted((*without.turns, (counts_at, 1)))))


def _without(window: Window, at: float) -> Window:
    """The window without a turn that counts then."""
    turns = list(window.turns)
    # What stands for several counts as of its latest: the turn is in the first that is not before it.
    place = next((place for place, turn in enumerate(turns) if turn[0] >= at - 1e-4), None)
    if place is not None and turns[place][1] > 1:
        turns[place] = (turns[place][0], turns[place][1] - 1)
    elif place is not None and turns[place][0] <= at + 1e-4:
        del turns[place]
    return replace(window, turns=tuple(turns))


def used(record: AccountRecord, now: float) -> float:
    """What part was used of all that the limit allowed lately: in a window, in ten seconds where it is shorter. Of
    several windows, that of the fullest.
    """
    return max(_part_used(window, now) for window in record.windows)


def _part_used(window: Window, now: float) -> float:
    until, seconds = now + late(window), max(window.seconds, HISTORY)
    if len(window.turns) >= MOST_KEPT:
        # So many turns that the log does not reach back as far.
        seconds = max(window.seconds, min(seconds, until - window.turns[0][0]))
    count = sum(count for at, count in window.turns if until - seconds < at <= until)
    return count * window.seconds / (window.limit * seconds)


def _used(window: Window, sent_at: float, now: float) -> int | None:
    """Turns that the provider may have counted in the window that ends with a request sent then; None: not known."""
    since = sent_at - window.seconds
    if now - sent_at > HISTORY or (len(window.turns) >= MOST_KEPT and window.turns[0][0] > since):
        return None
    if window.turns and window.turns[-1][0] - sent_at > HISTORY:
        # Told late, to a record that others have written meanwhile: it does not reach back as far any more.
        return None
    # Requests sent while this one was under way may have been counted before it, too.
    until = sent_at + late(window) + min(now - sent_at, window.seconds / 2)
    mine = sum(count for moment, count in window.turns if since < moment <= until)
    # All but the latest of those that the next entry stands for may have been sent by then.
    return mine + next((count - 1 for moment, count in window.turns if moment > until), 0)


def answered(record: AccountRecord, budget: Budget, sent_at: float, now: float) -> AccountRecord:
    """The record after a reply that is no 429, to a request sent at that moment."""
    calm = record.calm + 1
    grows = calm > record.patience
    windows = []
    for window in record.windows:
        quota = _quota(budget, window, record.windows)
        told = _told(window, quota, _used(window, sent_at, now), now, grows)
        windows.append(_left(told, quota, sent_at, now))
    rejections = record.rejections * (1.0 - LATELY)
    news = any(told.others_at > window.others_at for told, window in zip(windows, record.windows, strict=True))
    record = replace(record, windows=tuple(windows), throttled=0, calm=calm, rejections=rejections)
    if news:
        # They may be no others, but a provider that counts a burst for longer than it lasts.
        return replace(record, burst=1)
    if record.burst and grows and calm % GROWS_AFTER == 0 and all(each.share >= each.limit for each in windows):
        burst = 2 * record.burst
        return replace(record, burst=0 if burst >= min(window.limit for window in windows) else burst)
    return record


def _quota(budget: Budget, window: Window, windows: Sequence[Window]) -> Quota | None:
    """What a reply says of a window: by its length, or where that is not said, of the only one, or of that with the
    limit it names. A limit of 3,500 a minute must not pass for one of a second.
    """
    for quota in budget.quotas:
        only = len(windows) == 1 or quota.limit == window.documented
        if quota.window == window.seconds or (quota.window is None and only):
            return quota
    return None


def _told(window: Window, quota: Quota | None, mine: int | None, now: float, grows: bool) -> Window:
    """The window after a reply said so much of it."""
    if quota and quota.limit and quota.limit != window.limit:
        window = replace(window, limit=quota.limit, share=float(quota.limit))
    others = 0
    if quota and quota.remaining is not None and mine is not None:
        # One may be a matter of rounding, or of who was first.
        others = max(0, window.limit - quota.remaining - mine - 1)
        window = _if_changed(window, zeros=0 if quota.remaining else window.zeros + 1)
        if window.zeros > DOUBTED:
            # It has said only that nothing is left, and accepts one request after the other: do not believe it.
            others = 0
    if others > 0:
        is_short = window.seconds <= 1.0
        until = now + (TOLD if is_short else 1) * window.seconds
        most = max(others, window.others if window.others_until > now and is_short else 0)
        return replace(window, others=most, others_until=until, others_at=now, share=_grown(window, RECOVERY))
    if quota and quota.remaining is not None and window.seconds > 1.0:
        window = _if_changed(window, others_until=0.0)
    alone = not _are_others(window, now)
    fast = alone and window.share < NEARLY * window.limit
    part = (INCREASE if fast else RECOVERY) if grows or not alone else 0.0
    return _if_changed(window, share=_grown(window, part))


def _left(window: Window, quota: Quota | None, sent_at: float, now: float) -> Window:
    """The window, long enough for a reply to be still true when it is read, with what the newest one said is left."""
    if quota is None or quota.remaining is None or window.seconds <= 1.0 or window.zeros > DOUBTED:
        return window
    if (sent_at, -quota.remaining) < (window.left_at, -window.left):
        return window
    # Not until all of it is there again, but until some may be: a 429 says for sure.
    until = now + min(quota.reset_after or window.seconds, LOOKS * window.seconds / window.limit)
    return replace(window, left=quota.remaining, left_at=sent_at, left_until=until)


def _grown(window: Window, part: float) -> float:
    return min(window.share + part * window.limit, window.limit)


def pause(
    record: AccountRecord, budget: Budget, turn: float, now: float, backoff: float | None = None
) -> AccountRecord:
    """The record after a 429, whose request had that turn: nothing for as long as the provider says, or for a growing
    `backoff`, by default as long as two requests take.
    """
    named = _named(record, budget)
    # Only the first 429 of those in flight together counts: the others tell the same news again.
    throttled = record.throttled + (turn > record.throttled_at)
    growing = min((backoff or 2.0 * interval(record)) * 2.0 ** min(max(throttled - 1, 0), 16), LONGEST_GROWING_WAIT)
    # Throttled again and again at the very moment it named, the provider is not believed any more.
    wait = named if named and record.throttled < BELIEVED else max(named or 0.0, growing)
    until = now + min(wait, LONGEST_DEFERRAL)
    record = replace(record, quiet_until=max(record.quiet_until, until))
    if named:
        record = replace(record, asked_until=max(record.asked_until, until))
    return replace(record, throttled=throttled, throttled_at=now) if throttled > record.throttled else record


def shrink(record: AccountRecord, budget: Budget, now: float) -> AccountRecord:
    """The record after a first 429 of several in flight, to what is sent all the time: it is less from now on, or
    spaced more evenly.
    """
    longest = max(window.seconds for window in record.windows)
    if (_named(record, budget) or 0.0) > 2 * longest or any(quota.remaining for quota in budget.quotas):
        # No limit of ours: it asks for longer than any of its windows lasts, or says itself that something is left.
        return record
    rejections = record.rejections * (1.0 - LATELY) + LATELY
    says = any(quota.remaining is not None for quota in budget.quotas)
    others = any(_are_others(window, now) for window in record.windows)
    # One that comes as soon as a burst grows again is not.
    forgiven = says and not others and record.calm > FIRST_FORGIVEN and not record.burst
    record = replace(record, calm=0, rejections=rejections)
    if record.burst != 1:
        # The count was kept: it dislikes bursts, or others use the account unseen.
        return record if forgiven else replace(record, burst=1)
    patience = min(max(LEAST_PATIENCE, 2 * record.patience), MOST_PATIENCE)
    windows = tuple(_cut(window, rejections > OFTEN, now) for window in record.windows)
    return replace(record, windows=windows, patience=patience)


def _named(record: AccountRecord, budget: Budget) -> float | None:
    """Seconds after which the provider asks to come again."""
    if budget.retry_after:
        return budget.retry_after
    believed = [_quota(budget, window, record.windows) for window in record.windows if window.zeros <= DOUBTED]
    return max((quota.reset_after for quota in believed if quota and quota.reset_after), default=None)


def _are_others(window: Window, now: float) -> bool:
    """Whether somebody else was seen in one of the last windows."""
    return window.others_at > now - ALONE * window.seconds


def are_others_seen(record: AccountRecord, now: float) -> bool:
    """Whether replies told lately that others use the account; of a new one, unlike elsewhere, it is not assumed."""
    return any(window.others > 0 and _are_others(window, now) for window in record.windows)


def _cut(window: Window, often: bool, now: float) -> Window:
    """The window after a 429 that even spacing did not prevent: the more others were seen to take, the less is ours."""
    others = window.others if _are_others(window, now) else 0
    decrease = DECREASE if often else max(DECREASE, DECREASE_UNSEEN - 0.2 * others / window.limit)
    # What others were seen to take is left to them in any case.
    least = max(LEAST_SHARE * window.limit, LEAST_LEFT * (window.limit - others) if others else 0.0)
    return replace(window, share=min(window.share, max(least, decrease * window.share)))
