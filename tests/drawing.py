"""How much is drawn for a property: as many examples as it names, or a tenth of them in `make quick`. `make fuzz` draws
anew, round after round.
"""

from typing import Any

from hypothesis import HealthCheck, settings

WHOLE = "whole"
"""The profile of the tests. How long an example takes says how busy the machine is."""
settings.register_profile(WHOLE, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile(WHOLE), max_examples=10)

FUZZ = "fuzz"
"""The profile of `make fuzz`."""
settings.register_profile(FUZZ, max_examples=100, derandomize=False, deadline=None)


def drawn(examples: int, **more: Any) -> settings:
    """The profile's share of so many examples. No deadline: no timing is asserted in a test."""
    if settings.get_current_profile_name() == FUZZ:
        more.pop("derandomize", None)
    return settings(max_examples=max(1, examples * settings().max_examples // 100), deadline=None, **more)
