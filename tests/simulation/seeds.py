"""Which seeds a short run takes: those that once failed, then new ones for every commit."""

import hashlib
import subprocess

from local.machine import ROOT

APART = 10_000
"""How many seeds each commit has for itself: one begins so far from the next."""

_PLAIN = {
    7000241: "rate: 62 of 60 at Sender, a bucket that had refilled",
    7000926: "rate, the same",
    7001483: "rate, the same",
    7001607: "rate, the same",
    7001727: "rate, the same",
    7002546: "rate, the same",
    7002631: "prompt: still waiting two hours after the last fault",
    47: "prompt: events waited behind an odd one of their customer, and odd events excused each other",
    88126: "prompt: an account of one customer stood still behind an event answered 429",
    4210698: "undone: a late copy had the last word, for the delivery before it was not recorded",
    31000650: "poison: failures of an outage that was over excused an odd event",
    31001785: "poison, the same",
    7550003614: "prompt, the same",
    31001835: "prompt: two events answered 403 held a quiet account in turn",
    31002827: "prompt, the same",
    31002754: "prompt: good events waited behind odd ones",
    31000814: "deferral: what SQS would not hide at once was hidden 1.2 s later than the rest",
    88000190: "deferral: 2.2 s later",
}

_SINGLE = {
    628: "alone: an attempt that was frozen for hours claimed with a lease of then (a mistake of the rule)",
    5510082: "deferral: two environments that had one batch each hid what it had left (a mistake of the rule)",
    5520087: "deferral: the same, where a throttled poller's batch was still under way (a mistake of the rule)",
    88100066: "just: a good event called poison for 429s of its account, by what short-lived environments knew",
    5151511238: "just, the same",
    5151510614: "undone: a duplicate that could not be recorded left its place among the versions to an earlier one",
    5151510758: "poison: a success that nobody could read passed for one (a mistake of the rule)",
    616161117: "delay: an account's own stalled batches had both places (a mistake of the rule)",
    909090585: "prompt: one customer's events waited behind one answered 429, which counted once in an hour",
    909091480: "delay: the copy of a batch had its place before it began (a mistake of the rule)",
    121212742: "parked: a crash that a copy had counted was forgotten by the time its own message came back",
    121212151: "rate: by environments that are told nothing and live for twenty messages (a mistake of the rule)",
}

_UNTOUCHED = {
    313131056: "prompt: a batch that had only what was turned away was elected to probe, and failed for all groups",
    313131216: "prompt, the same",
    313131297: "deadline: a connection was tried for after the time was up",
    858585510: "storm: an event always 500 and one always 429 took each other's back-off away",
}

_LIVE = {
    352608300470090: "spin: four groups found out each for itself, again in each environment, that tables were away",
    20260571: "prompt: a delivered event waited behind one always 403, which each environment tried as if it were new",
    20261411: "just: an event was given up when the secret could not be read",
    20262246: "held: a connection that was refused was no request (a mistake of the rule)",
    20263140: "refetch: an equal secret, read a moment too soon, passed for a new one",
    991103447: "just: a good event, alone in an outage that had just begun, was condemned within twenty seconds",
    991100137: "throttle: bursts of events that were all turned away before, at a provider that takes one at a time",
    20263410: "asked: what could not be written was not known to a copy of the batch (a mistake of the rule)",
}

_NOW = {
    91934793680101: "prompt: live events waited behind history always 403, which was the probe each time",
    194978424430178: "prompt: history, turned away in an outage, let live events that always fail probe first for ever",
    507187174710039: "just: a front said 200 to a bad event while all behind it was down (a mistake of the model)",
    522969969380129: "ended: the letter of a batch that went on beside a direct call passed for its own (a mistake)",
}
FAILED: dict[str, dict[int, str]] = {
    "plain": _PLAIN,
    "single": _SINGLE,
    "untouched": _UNTOUCHED,
    "live": _LIVE,
    "now": _NOW,
}
"""What each broke once, by how its plan was drawn then."""


def fresh() -> tuple[int, str]:
    """The first of this commit's own seeds, and what they come from: without git, as in a source archive, the code."""
    digest, source = _commit()
    return int(digest[:9], 16) * APART, source


def _commit() -> tuple[str, str]:
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return _code(), "the code, for there is no git here"
    return asked.stdout.strip(), f"commit {asked.stdout[:12]}"


def _code() -> str:
    files = [*(ROOT / "layers" / "relay" / "relay").rglob("*.py"), *(ROOT / "tests" / "simulation").glob("*.py")]
    content = hashlib.sha256()
    for file in sorted(files):
        content.update(file.read_bytes())
    return content.hexdigest()
