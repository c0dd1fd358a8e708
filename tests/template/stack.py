"""The template as the tests see it: loops written out, intrinsic functions in their long form, questions to ask it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from relay.providers import PROVIDERS
from tools.template import Json, load

ROOT = Path(__file__).parents[2]
FUNCTIONS = ["IntakeFunction", *(f"{provider.capitalize()}Function" for provider in PROVIDERS)]
"""Logical names."""

type Properties = Json


class Stack:
    def __init__(self, body: Mapping[str, Any]) -> None:
        self.body = body
        self.parameters: dict[str, Properties] = body["Parameters"]
        self.resources: dict[str, Properties] = body["Resources"]
        self.outputs: dict[str, Properties] = body["Outputs"]
        self.globals: Properties = body["Globals"]["Function"]

    @classmethod
    def load(cls, path: Path = ROOT / "template.yaml") -> Self:
        return cls(load(path))

    def of(self, kind: str) -> dict[str, Properties]:
        """Properties by logical name of every resource of that type."""
        return {name: each["Properties"] for name, each in self.resources.items() if each["Type"] == kind}

    @property
    def queues(self) -> dict[str, Properties]:
        return self.of("AWS::SQS::Queue")

    @property
    def functions(self) -> dict[str, Properties]:
        return self.of("AWS::Serverless::Function")

    @property
    def alarms(self) -> dict[str, Properties]:
        return self.of("AWS::CloudWatch::Alarm")

    @property
    def dead_letter_queues(self) -> dict[str, str]:
        """Each queue's dead-letter queue, by logical names."""
        redrives = {name: queue["RedrivePolicy"] for name, queue in self.queues.items() if "RedrivePolicy" in queue}
        return {name: target(redrive["deadLetterTargetArn"]) for name, redrive in redrives.items()}

    def sources(self) -> Iterator[tuple[str, Properties]]:
        """Every SQS event source: the function's name and the source's properties."""
        for name, function in self.functions.items():
            for event in function.get("Events", {}).values():
                if event["Type"] == "SQS":
                    yield name, event["Properties"]

    def environment(self, function: str) -> dict[str, Any]:
        shared: dict[str, Any] = self.globals["Environment"]["Variables"]
        own: dict[str, Any] = self.functions[function]["Environment"]["Variables"]
        return shared | own

    def statements(self, role: str) -> list[Properties]:
        """A role's statements, those of one stage only among them."""
        policies = self.resources[role]["Properties"]["Policies"]
        return [one for policy in policies for one in statements(policy["PolicyDocument"])]

    @property
    def queries(self) -> dict[str, Properties]:
        return self.of("AWS::Logs::QueryDefinition")

    def watching(self, dimension: str, name: str) -> list[Properties]:
        """The alarms on one metric of one queue or function, e.g. `watching("QueueName", "IntakeQueue")`."""
        return [
            alarm
            for alarm in self.alarms.values()
            for one in alarm.get("Dimensions", [])
            if one["Name"] == dimension and isinstance(one["Value"], dict) and target(one["Value"]) == name
        ]


def measured(alarm: Properties) -> list[Properties]:
    """The metrics that an alarm is on: one, or those of its expression. Each has Namespace, MetricName, Dimensions."""
    if "Metrics" not in alarm:
        return [alarm]
    return [one["MetricStat"]["Metric"] for one in alarm["Metrics"] if "MetricStat" in one]


def statements(document: Properties) -> list[Properties]:
    """A policy's statements, conditional ones included."""
    found = []
    for statement in document["Statement"]:
        branches = statement["Fn::If"][1:] if "Fn::If" in statement else [statement]
        found += [branch for branch in branches if branch != {"Ref": "AWS::NoValue"}]
    return found


def target(reference: Properties) -> str:
    """The logical name that a Ref or a GetAtt points to."""
    return str(reference["Ref"] if "Ref" in reference else reference["Fn::GetAtt"][0])


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def anchors(markdown: str) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
