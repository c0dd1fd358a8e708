"""The stack that the page shows: found when it is there, with the settings that its functions have."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.stack import Stack, load
from relay.providers import PROVIDERS
from relay.settings import DeliverSettings, IntakeSettings


@dataclass(frozen=True)
class Deployed:
    """A stack, what its intake is set to, and where its functions send to, by provider."""

    stack: Stack
    intake: IntakeSettings
    base_urls: Mapping[str, str]

    @property
    def queues(self) -> dict[str, str]:
        """The URL of each queue, by the name of its output."""
        return {name: url for name, url in self.stack.outputs.items() if name.endswith("QueueUrl")}


def find(state: Path) -> Deployed | None:
    """The stack whose files are in ``state``, with its settings as its functions read them; None if it is not up."""
    stack = load(state)
    if stack is None:
        return None

    def settings(function: str) -> Mapping[str, str]:
        described = stack.clients.functions.get_function_configuration(
            FunctionName=stack.outputs[f"{function}FunctionName"]
        )
        return described["Environment"]["Variables"]

    base_urls = {name: DeliverSettings.from_environment(settings(name.capitalize())).base_url for name in PROVIDERS}
    return Deployed(stack, IntakeSettings.from_environment(settings("Intake")), base_urls)
