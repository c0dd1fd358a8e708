"""What others rely on: parameters, outputs, the order of the file, and that it runs in any region."""

import json
import re
import tomllib
from typing import Any

import pytest
from pydantic import ValidationError

from relay.providers import PROVIDERS
from relay.settings import DeliverSettings, IntakeSettings
from tests.template.stack import ROOT, Stack
from tools.template import read

LANES = [provider.capitalize() for provider in PROVIDERS]
BASE_URLS = [f"{lane}BaseUrl" for lane in LANES]
PARAMETERS = {
    "Stage", "Destinations", *BASE_URLS, "MaxDeliveryAgeHours", "MaximumConcurrency",
    "Architecture", "LogLevel", "AlarmEmail", "DestinationSettings", "HoldSeconds", "LateAfterSeconds",
    "SecretsKeyArn", "DataKeyArn", "IntakeMaximumConcurrency", "IntakeReservedConcurrency",
    "ProducerAccounts", "ProducerOrganization",
}  # fmt: skip
OUTPUTS = {
    "EventBusName", "IntakeQueueUrl", "IntakeFunctionName", "RejectedQueueUrl", "LedgerTableName", "AccountsTableName",
    "LettersTableName",
    "EventBusArn", "IntakeQueueArn", "IntakeFunctionArn", "RejectedQueueArn",
    *(f"{lane}{what}" for lane in LANES for what in ("QueueUrl", "DeadLetterQueueUrl", "FunctionName")),
}  # fmt: skip

A, B = "1" * 12, "2" * 12
"""Accounts of others."""
KEYS: list[object] = ["", f"arn:aws:kms:eu-west-1:{A}:key/0b9f-1", f"arn:aws-cn:kms:cn-north-1:{A}:key/mrk-0b9f"]
NO_KEYS: list[object] = [
    "alias/mine",
    f"arn:aws:kms:eu-west-1:{A}:alias/mine",
    "0b9f-1",
    "*",
    f"arn:aws:kms:*:{A}:key/*",
]


def test_parameters_are_fixed(stack: Stack) -> None:
    """Tools pass these parameters by name, and every one has a default."""
    assert set(stack.parameters) == PARAMETERS
    assert all("Default" in parameter for parameter in stack.parameters.values())


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_s_address_is_the_one_it_documents(stack: Stack, name: str) -> None:
    """Unless a parameter says else."""
    assert stack.parameters[f"{name.capitalize()}BaseUrl"]["Default"] == PROVIDERS[name].address


def test_outputs_are_fixed(stack: Stack) -> None:
    """Tools read these outputs by name, and every one says what it is."""
    assert set(stack.outputs) == OUTPUTS
    assert all(output["Description"] for output in stack.outputs.values())


def test_every_parameter_is_described_and_bounded(stack: Stack) -> None:
    """A wrong value is refused before anything is deployed: by a pattern, a list, or both ends of a range."""
    for name, parameter in stack.parameters.items():
        assert parameter["Description"], name
        bounds = {"AllowedPattern", "AllowedValues"} & set(parameter)
        assert bounds or {"MinValue", "MaxValue"} <= set(parameter), name
        kinds = ("String", "CommaDelimitedList") if bounds else ("Number",)
        assert parameter["Type"] in kinds, name
        assert ("AllowedPattern" in parameter) == ("ConstraintDescription" in parameter), name


def test_every_default_is_allowed(stack: Stack) -> None:
    """A stack can be deployed without a single parameter."""
    for name, parameter in stack.parameters.items():
        assert allows(parameter, parameter["Default"]), name


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("Stage", ["local", "dev", "prod-eu"], ["", "Prod", "1st", "a/b", "x" * 17]),
        (
            "Destinations",
            ["yotpo/main", "yotpo/a.b_c-1,sender/main", "yotpo/*", "yotpo/main,yotpo/*,sender/*"],
            ["", "yotpo", "other/main", "yotpo/a, sender/b", "*", "yotpo/a*", "other/*", "yotpo/**"],
        ),
        ("DestinationSettings", ['{"sender/main":{"on_unknown":"park"}}'], ["", "[]", "{\n}"]),
        (
            "YotpoBaseUrl",
            ["http://127.0.0.1:8080", "https://a.example/b"],
            [
                "",
                "ftp://a",
                "https://a/",
                "https://a?b",
                "https://",
                "https:///a",
                "https://user:pw@a",
                "https://a/b@c",
            ],
        ),
        (
            "ProducerAccounts",
            ["", A, f"{A},{B}", f"{A}, {B}"],
            ["1", f"{A}1", f"{A};{B}", f"arn:{A}:root", "*"],
        ),
        ("ProducerOrganization", ["", "o-exampleorgid"], ["*", "o-", "exampleorgid", "o-Example0rgid", "o-a/b"]),
        ("AlarmEmail", ["", "team@example.com"], ["team", "a@b", "a b@example.com"]),
        ("MaxDeliveryAgeHours", [1, 72, 120], [0, 121]),
        ("HoldSeconds", [1, 300], [0, 901]),
        ("MaximumConcurrency", [2, 1000], [1, 1001]),
        ("IntakeMaximumConcurrency", [2, 1000], [1, 1001]),
        ("IntakeReservedConcurrency", [0, 1000], [-1, 1001]),
        ("SecretsKeyArn", KEYS, NO_KEYS),
        ("DataKeyArn", KEYS, NO_KEYS),
        ("LogLevel", ["DEBUG", "INFO"], ["ERROR", "info"]),
        ("Architecture", ["arm64", "x86_64"], ["amd64"]),
    ],
)
def test_parameters_take_and_refuse(stack: Stack, name: str, good: list[object], bad: list[object]) -> None:
    """Each parameter takes what is meant and refuses what is not."""
    assert [value for value in good if not allows(stack.parameters[name], value)] == []
    assert [value for value in bad if allows(stack.parameters[name], value)] == []


def test_default_destinations_are_settings_the_code_takes(stack: Stack) -> None:
    """The default of Destinations is valid for the functions too."""
    lanes = json.dumps({provider: f"https://{provider}" for provider in PROVIDERS})
    environment = {"RELAY_STAGE": "dev", "RELAY_LANES": lanes, "RELAY_REJECTED_QUEUE_URL": "https://queue"} | {
        "RELAY_LETTERS_TABLE": "letters"
    }
    environment["RELAY_DESTINATIONS"] = stack.parameters["Destinations"]["Default"]
    destinations = IntakeSettings.from_environment(environment).destinations
    assert ",".join(destinations) == environment["RELAY_DESTINATIONS"]


SETTINGS = {
    "Stage": "stage",
    "Destinations": "destinations",
    **dict.fromkeys(BASE_URLS, "base_url"),
    "MaxDeliveryAgeHours": "max_delivery_age_hours",
    "HoldSeconds": "hold_seconds",
    "DestinationSettings": "destination_settings",
}
URLS: list[object] = [
    "https://a",
    "http://127.0.0.1:8080",
    "https://a.example/b/c",
    "",
    "a",
    "ftp://a",
    "https://",
    "https:///a",
    "https://a?b",
    "https://a#b",
    "https://a b",
    "https://user@a",
    "https://user:password@a/b",
    "https://a\\b",
    "https://a/b@c",
    "https://a\n",
]
VALUES: dict[str, list[object]] = {
    "Stage": ["dev", "a", "x" * 16, "x" * 17, "", "Dev", "1st", "dev\n", "a b", "a_b", "a/b"],
    "Destinations": [
        "yotpo/main",
        "yotpo/a.b_c-1,sender/main",
        f"sender/{'x' * 64}",
        f"sender/{'x' * 65}",
        "",
        "yotpo",
        "yotpo/",
        "other/main",
        "yotpo/a b",
        "yotpo/main;sender/main",
        "yotpo/a/b",
        "Yotpo/main",
        "yotpo/ü",
        "yotpo/*",
        "yotpo/main,sender/*",
        "yotpo/a*",
        "yotpo/**",
        "*",
        "*/*",
        "other/*",
    ],
    **dict.fromkeys(BASE_URLS, URLS),
    "MaxDeliveryAgeHours": [1, 72, 120, 0, 0.5, 121, -1],
    "HoldSeconds": [1, 300, 900, 0, 901, -1],
    "DestinationSettings": ["{}", '{"yotpo/main": {"requests": 3}}', "", "[]", "null", '"x"'],
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_template_and_the_settings_agree(stack: Stack, name: str) -> None:
    """What CloudFormation takes, the functions start with; what it refuses, they would refuse, too."""
    environment = {
        "RELAY_STAGE": "dev",
        "RELAY_DESTINATIONS": "yotpo/main,sender/main",
        "RELAY_PROVIDER": "yotpo",
        "RELAY_BASE_URL": "https://a",
        "RELAY_QUEUE_URL": "https://queue",
        "RELAY_DEAD_LETTER_QUEUE_URL": "https://queue",
        "RELAY_LEDGER_TABLE": "ledger",
        "RELAY_ACCOUNTS_TABLE": "accounts",
        "RELAY_LETTERS_TABLE": "letters",
    }

    def refused(value: object) -> set[str]:
        try:
            DeliverSettings.from_environment({**environment, f"RELAY_{SETTINGS[name].upper()}": str(value)})
        except ValidationError as error:
            return {str(each["loc"][0]) for each in error.errors()}
        return set()

    wanted = {value: set() if allows(stack.parameters[name], value) else {SETTINGS[name]} for value in VALUES[name]}
    assert {value: refused(value) for value in VALUES[name]} == wanted
    assert set() in wanted.values()
    assert {SETTINGS[name]} in wanted.values()


def test_the_console_shows_every_parameter_once(stack: Stack) -> None:
    """Parameters are grouped for whoever deploys from the console."""
    groups = stack.body["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(stack.parameters)


def test_sections_stand_in_their_order(stack: Stack) -> None:
    """The file reads from the outside in, under its banners."""
    sections = ["Metadata", "Parameters", "Mappings", "Rules", "Conditions", "Globals", "Resources", "Outputs"]
    assert list(stack.body) == ["AWSTemplateFormatVersion", "Transform", "Description", *sections]
    banners = re.findall(r"^ *# =+ ([A-Z ]+) =+$", (ROOT / "template.yaml").read_text(), re.MULTILINE)
    inner = ["BUS AND QUEUES", "FUNCTIONS", "TABLES", "ALARMS", "DASHBOARD", "SAVED QUERIES", "LANES"]
    assert banners == ["METADATA", "PARAMETERS", "MAPPINGS", "RULES", "CONDITIONS", "GLOBALS", *inner, "OUTPUTS"]


def test_the_template_is_flat(stack: Stack) -> None:
    """No nested stack: it does not run on one machine."""
    kinds = {resource["Type"] for resource in stack.resources.values()}
    assert not kinds & {"AWS::Serverless::Application", "AWS::CloudFormation::Stack"}


def test_a_loop_fills_in_where_aws_does() -> None:
    """In what a loop repeats, ${Provider} is a key or within Fn::Sub: the SAM CLI alone fills it in anywhere else."""

    def misplaced(node: Any) -> list[str]:
        if isinstance(node, dict):
            values = [value for key, value in node.items() if key != "Fn::Sub"]
            values += [node["Fn::Sub"][1]] if isinstance(node.get("Fn::Sub"), list) else []
            return [found for value in values for found in misplaced(value)]
        if isinstance(node, list):
            return [found for each in node for found in misplaced(each)]
        return [node] if isinstance(node, str) and re.search(r"[$&]\{(Provider|Queue)\}", node) else []

    template = read()
    assert [*misplaced(template["Resources"]), *misplaced(template["Outputs"])] == []


def test_nothing_ties_the_stack_to_a_region_or_an_account() -> None:
    """Region, account and partition are always those of the deployment; the one account named is the emulator's."""
    text = (ROOT / "template.yaml").read_text()
    assert not re.findall(r"\b(?:us|eu|ap|sa|ca|me|af|il|mx)(?:-gov)?-[a-z]+-\d\b", text)
    assert set(re.findall(r"\b\d{12}\b", text)) == {"0" * 12}
    assert "arn:aws" not in text


def test_every_stage_s_configuration_fits_the_template(stack: Stack) -> None:
    """samconfig.toml passes known parameters, with allowed values, to build and deploy alike."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for stage in ("local", "dev", "prod"):
        commands: dict[str, Any] = {name: table["parameters"] for name, table in config[stage].items()}
        assert commands["validate"] == {"lint": True}
        # Else the SAM CLI takes a loop for a resource, and crashes.
        assert commands["global"]["language_extensions"] is True
        assert commands["global"]["stack_name"] == f"customer-event-relay-{stage}"
        assert commands["deploy"]["capabilities"] == "CAPABILITY_IAM"
        assert commands["deploy"]["resolve_s3"] is True
        given = {
            name: dict(one.split("=", 1) for one in commands[name]["parameter_overrides"])
            for name in ("build", "deploy")
        }
        assert given["deploy"]["Stage"] == given["build"]["Stage"] == stage
        assert given["deploy"]["Architecture"] == given["build"]["Architecture"]
        assert all(allows(stack.parameters[name], value) for name, value in given["deploy"].items())


def allows(parameter: dict[str, Any], value: Any) -> bool:
    """Whether CloudFormation would take the value."""
    if "MinValue" in parameter:
        return bool(parameter["MinValue"] <= value <= parameter["MaxValue"])
    if "AllowedValues" in parameter:
        return value in parameter["AllowedValues"]
    items = map(str.strip, value.split(",")) if parameter["Type"] == "CommaDelimitedList" else [value]
    return all(re.fullmatch(parameter["AllowedPattern"], item) for item in items)
