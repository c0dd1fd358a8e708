"""The providers by what they do, for tests that need one of a kind whichever it is."""

from relay.outcome import Outcome
from relay.providers import PROVIDERS

PAIR = dict(list(PROVIDERS.items())[:2])
"""The two that the emulated stacks deliver to: all of them took each test as many times as long, and told no more."""
OVERWRITES = next(name for name, kind in PROVIDERS.items() if kind.repeats.overrides)
"""Takes an event with a known id for an update."""
REPEATS = next(name for name, kind in PROVIDERS.items() if not kind.repeats.overrides)
"""Takes it for another event."""
REFUSES = tuple(
    name
    for name, kind in PROVIDERS.items()
    if any(rule.body == {"success": False} and rule.outcome is Outcome.REJECTED for rule in kind.rules)
)
"""Their success may say in its body that it is none."""
FAST = min(PROVIDERS, key=lambda name: PROVIDERS[name].limits[-1].window)
"""Its windows are over so soon that they are waited out in the function."""
SLOW = max(PROVIDERS, key=lambda name: PROVIDERS[name].limits[-1].window)
"""Its windows are so long that events are deferred."""
EVERYWHERE = tuple(f"{name}/main" for name in PROVIDERS)
"""Each provider's main account."""
