"""How a provider can be made to misbehave with one press of a button, and to behave again."""

from dataclasses import dataclass, field

from local.sandbox.contract import contracts
from local.sandbox.faults import Fault
from local.sandbox.provider_side import Sandbox
from relay.providers import PROVIDERS

NORMAL = "normal"
TOKEN = "token"  # noqa: S105 (the name of a trouble)
KINDS = {
    "429": "answers 429 to all, and asks to wait for 5 seconds",
    "500": "answers 500 to all",
    "slow": "acts, and answers after 4 seconds",
    "reset": "closes each connection without an answer",
    TOKEN: "no longer takes the token",
}
SLOW_SECONDS = 4.0


def _fault(provider: str, kind: str) -> Fault:
    match kind:
        case "429":
            throttled = contracts()[provider].answers.throttled
            return Fault(provider=provider, status=429, body=throttled.body, headers={"Retry-After": "5"}, bare=True)
        case "500":
            return Fault(provider=provider, status=500, body={"message": "Internal Server Error"})
        case "slow":
            return Fault(provider=provider, delay=SLOW_SECONDS)
        case _:
            return Fault(provider=provider, reset="before")


@dataclass
class Trouble:
    """One trouble at a time for each provider, beside faults that others have put in force."""

    sandbox: Sandbox
    _faults: dict[str, tuple[str, int]] = field(default_factory=dict)

    def make(self, provider: str, kind: str) -> None:
        """From now on the provider does so, and nothing else; ``normal``: nothing."""
        if provider in self._faults:
            self.sandbox.faults.remove(self._faults.pop(provider)[1])
        self.sandbox.refusing.discard(provider)
        if kind == TOKEN:
            self.sandbox.refusing.add(provider)
        elif kind != NORMAL:
            self._faults[provider] = (kind, self.sandbox.faults.add(_fault(provider, kind)))

    def now(self) -> dict[str, str]:
        """What each provider does now, also where others took it back."""
        return {name: self._of(name) for name in PROVIDERS}

    def _of(self, provider: str) -> str:
        if provider in self.sandbox.refusing:
            return TOKEN
        kind, number = self._faults.get(provider, (NORMAL, 0))
        return kind if number in self.sandbox.faults else NORMAL
