"""The functions get the code, the settings and the rights they need, and not one more."""

import ast
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

from relay.adapters.dynamodb import DynamoAccounts, DynamoLedger, DynamoLetters
from relay.ports import AccountRecord, Record, RejectedRecord
from relay.providers import PROVIDERS
from relay.settings import PREFIX, DeliverSettings, IntakeSettings
from tests.template.stack import FUNCTIONS, ROOT, Stack, listed, target

USED = {
    "logs": {"CreateLogStream", "PutLogEvents"},
    "sqs": {"ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "ChangeMessageVisibility", "SendMessage"},
    "dynamodb": {"UpdateItem", "BatchWriteItem"},
    "secretsmanager": {"GetSecretValue"},
    "kms": {"Decrypt", "GenerateDataKey"},
}


def test_every_sqs_source_reports_partial_failures(stack: Stack) -> None:
    """One failed event never brings back its whole batch."""
    sources = list(stack.sources())
    assert {function for function, _ in sources} == set(stack.functions)
    for function, source in sources:
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"], function
        assert source["BatchSize"] == 10, function


def test_queues_scale_as_far_as_their_parameter_says(stack: Stack) -> None:
    """MaximumConcurrency bounds the lanes, IntakeMaximumConcurrency intake's queue."""
    local = stack.parameters["IntakeMaximumConcurrency"]["Default"]
    for function, source in stack.sources():
        bound = (
            {"Fn::If": ["IsLocal", local, {"Ref": "IntakeMaximumConcurrency"}]}
            if function == "IntakeFunction"
            else {"Ref": "MaximumConcurrency"}
        )
        assert source["ScalingConfig"] == {"MaximumConcurrency": bound}, function


def test_concurrency_is_reserved_on_demand_only(stack: Stack) -> None:
    """Reserved concurrency is taken from all else in the account, so it is the user's to give."""
    given = {name: one.get("ReservedConcurrentExecutions") for name, one in stack.functions.items()}
    wanted = {"Fn::If": ["ReservesForIntake", {"Ref": "IntakeReservedConcurrency"}, {"Ref": "AWS::NoValue"}]}
    assert given == dict.fromkeys(FUNCTIONS) | {"IntakeFunction": wanted}
    unequal = {"Fn::Not": [{"Fn::Equals": [{"Ref": "IntakeReservedConcurrency"}, "0"]}]}
    assert stack.body["Conditions"]["ReservesForIntake"] == unequal
    assert stack.parameters["IntakeReservedConcurrency"]["Default"] == 0


def test_a_redrive_is_no_loop(stack: Stack) -> None:
    """Lambda counts an event's passes and stops it after some 16: not where passes are redrives."""
    for name, function in stack.functions.items():
        assert function.get("RecursiveLoop") == (None if name == "IntakeFunction" else "Allow"), name


def test_the_layer_is_its_stage_s_own(stack: Stack) -> None:
    """Two stages in one account do not number each other's versions."""
    assert stack.resources["RelayLayer"]["Properties"]["LayerName"] == {"Fn::Sub": "${Stage}-customer-events-relay"}


def test_asynchronous_failures_are_kept(stack: Stack) -> None:
    """An asynchronous call that keeps failing ends in the rejected queue, by way of EventInvokeConfig."""
    config = stack.functions["IntakeFunction"]["EventInvokeConfig"]
    assert target(config["DestinationConfig"]["OnFailure"]["Destination"]) == "RejectedQueue"
    assert not [name for name, function in stack.functions.items() if "DeadLetterQueue" in function]


def test_every_function_has_a_log_group_that_forgets(stack: Stack) -> None:
    """Each function logs as JSON to its own group, which keeps its lines for a limited time."""
    groups = stack.of("AWS::Logs::LogGroup")
    assert stack.globals["LoggingConfig"]["LogFormat"] == "JSON"
    used = [target(function["LoggingConfig"]["LogGroup"]) for function in stack.functions.values()]
    assert sorted(used) == sorted(groups)
    assert all(group["RetentionInDays"] <= 90 for group in groups.values())


def test_handlers_exist(stack: Stack) -> None:
    """Every CodeUri holds the handler that the template names."""
    module, handler = stack.globals["Handler"].split(".")
    for name, function in stack.functions.items():
        source = (ROOT / function["CodeUri"] / f"{module}.py").read_text()
        assert handler in {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}, name


def test_python_is_the_project_s(stack: Stack) -> None:
    """Functions and layer run on the version in .python-version."""
    runtime = f"python{(ROOT / '.python-version').read_text().strip()}"
    layer = stack.resources["RelayLayer"]
    assert stack.globals["Runtime"] == runtime
    assert layer["Metadata"]["BuildMethod"] == runtime
    assert layer["Properties"]["CompatibleRuntimes"] == [runtime]


def test_the_layer_is_built_for_the_functions_processor(stack: Stack) -> None:
    """Compiled packages and functions have one architecture: the parameter's."""
    layer, wanted = stack.resources["RelayLayer"], {"Ref": "Architecture"}
    assert layer["Metadata"]["BuildArchitecture"] == wanted
    assert layer["Properties"]["CompatibleArchitectures"] == stack.globals["Architectures"] == [wanted]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_settings_get_every_variable(stack: Stack, function: str) -> None:
    """The template sets exactly the variables that the function reads."""
    settings: type[Any] = IntakeSettings if function == "IntakeFunction" else DeliverSettings
    given = {name for name in stack.environment(function) if name.startswith(PREFIX)}
    assert given == {PREFIX + field.upper() for field in settings.model_fields}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_powertools_gets_its_variables(stack: Stack, function: str) -> None:
    """The level, and no service name: Powertools would make it a second dimension of every metric."""
    environment = stack.environment(function)
    assert "POWERTOOLS_SERVICE_NAME" not in environment
    assert environment["POWERTOOLS_LOG_LEVEL"] == stack.globals["LoggingConfig"]["ApplicationLogLevel"]


def test_every_provider_has_a_lane(stack: Stack) -> None:
    """A provider of the code has a function that delivers to it, and a lane that intake sends to; no other has."""
    assert sorted(stack.functions) == sorted(FUNCTIONS)
    text, values = stack.environment("IntakeFunction")["RELAY_LANES"]["Fn::Sub"]
    assert values == {
        "Before": {"Fn::Select": [0, {"Fn::Split": ["customer-events-rejected", {"Ref": "RejectedQueue"}]}]}
    }
    lanes = json.loads(text.replace("${Before}", "${Stage}-"))
    assert stack.resources["RejectedQueue"]["Properties"]["QueueName"] == {
        "Fn::Sub": "${Stage}-customer-events-rejected"
    }
    queues = {provider: stack.resources[f"{provider.capitalize()}Queue"]["Properties"] for provider in PROVIDERS}
    assert {each: queue["QueueName"]["Fn::Sub"] for each, queue in queues.items()} == {
        each: lanes["*"].replace("*", each) for each in PROVIDERS
    }
    for provider in PROVIDERS:
        function = f"{provider.capitalize()}Function"
        assert stack.environment(function)["RELAY_PROVIDER"] == provider
        assert stack.environment(function)["RELAY_BASE_URL"] == {"Ref": f"{provider.capitalize()}BaseUrl"}
    (sending,) = [one for one in stack.statements("IntakeRole") if one["Sid"] == "SendToLanesAndRejected"]
    assert sorted(map(target, sending["Resource"])) == sorted(
        ["RejectedQueue", *(f"{provider.capitalize()}Queue" for provider in PROVIDERS)]
    )


def test_every_function_has_a_role_of_its_own(stack: Stack) -> None:
    """Roles are explicit, for Lambda only, and carry no managed policy."""
    roles = stack.of("AWS::IAM::Role")
    assert sorted(target(function["Role"]) for function in stack.functions.values()) == sorted(roles)
    for name, role in roles.items():
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}, name
        assert "ManagedPolicyArns" not in role, name
    assert not [name for name, function in stack.functions.items() if "Policies" in function]


def test_roles_name_exact_actions(stack: Stack) -> None:
    """A role may do what the code does; on the emulator, the same under its names for batch calls."""
    for role in stack.of("AWS::IAM::Role"):
        for statement in stack.statements(role):
            assert statement["Effect"] == "Allow"
            for action in listed(statement["Action"]):
                service, _, name = action.partition(":")
                assert name.removesuffix("Batch") in USED[service], f"{role}: {action}"


def test_roles_name_exact_resources(stack: Stack) -> None:
    """Every resource is one of the stack's own, or the secrets of one provider."""
    secrets = (
        "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${Stage}/customer-events/%s/*"
    )
    for role in stack.of("AWS::IAM::Role"):
        own = secrets % role.removesuffix("Role").lower()
        for statement in stack.statements(role):
            for resource in listed(statement["Resource"]):
                if resource == {"Ref": "DataKeyArn"}:
                    # Through which service, and for what: tests/template/test_data_key.py.
                    assert set(statement["Condition"]["StringEquals"]) == {"kms:ViaService"}, role
                elif resource == {"Ref": "SecretsKeyArn"}:
                    assert statement["Condition"] == {
                        "StringEquals": {
                            "kms:ViaService": {"Fn::Sub": "secretsmanager.${AWS::Region}.${AWS::URLSuffix}"}
                        },
                        "ArnLike": {"kms:EncryptionContext:SecretARN": {"Fn::Sub": own}},
                    }, role
                elif "Fn::Sub" in resource:
                    assert listed(statement["Action"]) == ["secretsmanager:GetSecretValue"], role
                    assert resource["Fn::Sub"] == own, role
                else:
                    assert resource["Fn::GetAtt"][1] == "Arn", f"{role}: {resource}"
                    assert target(resource) in stack.resources, f"{role}: {resource}"


def test_a_role_writes_to_its_own_log_group_only(stack: Stack) -> None:
    """With the ":*" at the end of its ARN that AWS wants there, and the emulator does not know."""
    for role in stack.of("AWS::IAM::Role"):
        written = [one["Resource"] for one in stack.statements(role) if "logs:PutLogEvents" in listed(one["Action"])]
        assert written == [{"Fn::GetAtt": [role.replace("Role", "LogGroup"), "Arn"]}]


def test_rights_of_some_stacks_stay_with_those(stack: Stack) -> None:
    """Actions that AWS does not have are granted on one machine only, a key's where a key is named."""
    for role in stack.of("AWS::IAM::Role").values():
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                condition, one, other = statement.get("Fn::If", ["", statement, {"Ref": "AWS::NoValue"}])
                assert other == {"Ref": "AWS::NoValue"}
                actions = listed(one["Action"])
                if all(action.endswith("Batch") for action in actions):
                    assert condition == "IsLocal", one["Sid"]
                elif all(action.startswith("kms:") for action in actions):
                    key = one["Resource"]["Ref"]
                    assert (condition, key) in {("HasSecretsKey", "SecretsKeyArn"), ("HasDataKey", "DataKeyArn")}
                else:
                    assert condition == "", one["Sid"]
                    assert not [each for each in actions if each.endswith("Batch") or each.startswith("kms:")]
    for condition, key in (("HasSecretsKey", "SecretsKeyArn"), ("HasDataKey", "DataKeyArn")):
        assert stack.body["Conditions"][condition] == {"Fn::Not": [{"Fn::Equals": [{"Ref": key}, ""]}]}


TABLES = {
    # logical name: its name behind the stage, its key, how the functions hear of it. One query on the ledger tells an
    # event's fate.
    "Ledger": ("customer-events", {"HASH": "event_id", "RANGE": "destination"}, "RELAY_LEDGER_TABLE"),
    "Accounts": ("customer-events-accounts", {"HASH": "destination"}, "RELAY_ACCOUNTS_TABLE"),
    "Letters": ("customer-events-letters", {"HASH": "letter"}, "RELAY_LETTERS_TABLE"),
}


def test_there_are_these_tables(stack: Stack) -> None:
    """Each is named to every deliver function; to intake, which writes rejects, the letters only."""
    assert set(stack.of("AWS::DynamoDB::Table")) == set(TABLES)
    for table, (_, _, variable) in TABLES.items():
        for name in stack.functions:
            wanted = None if name == "IntakeFunction" and table != "Letters" else {"Ref": table}
            assert stack.environment(name).get(variable) == wanted


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_kept(stack: Stack, name: str) -> None:
    """Its records expire, are encrypted, can be restored (but for bodies: what is forgotten is gone) and outlive the
    stack.
    """
    table = stack.resources[name]
    properties = table["Properties"]
    called, key, _ = TABLES[name]
    assert {each["KeyType"]: each["AttributeName"] for each in properties["KeySchema"]} == key
    keys = [each["KeySchema"] for each in (properties, *properties.get("GlobalSecondaryIndexes", ()))]
    named = {each["AttributeName"]: each["AttributeType"] for each in properties["AttributeDefinitions"]}
    assert set(named) == {each["AttributeName"] for schema in keys for each in schema}
    assert {kind for name, kind in named.items() if name != "at"} == {"S"}
    assert properties["TimeToLiveSpecification"]["Enabled"] is True
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": name != "Letters"}
    assert properties["SSESpecification"]["SSEEnabled"] is True
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    assert properties["DeletionProtectionEnabled"] == {"Fn::If": ["IsLocal", False, True]}
    # A name that CloudFormation makes up is another one in the next stack, which would not find the table.
    assert properties["TableName"] == {"Fn::Sub": f"${{Stage}}-{called}"}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_expires_by_what_the_code_writes(stack: Stack, name: str) -> None:
    """DynamoDB forgets a record by the attribute that each write sets."""
    call: dict[str, Any] = {}
    client: Any = SimpleNamespace(
        update_item=lambda **given: call.update(given) or {}, batch_write_item=lambda **given: call.update(given) or {}
    )
    if name == "Ledger":
        record = Record(event_id="e", destination="yotpo/main", content_hash="h", state="claimed")
        DynamoLedger(client, "ledger").claim(record, now=1.0, overrides=False)
    elif name == "Letters":
        DynamoLetters(client, "letters").keep([RejectedRecord("{", "bad", "", letter="m-1")])
    else:
        DynamoAccounts(client, "accounts").write(AccountRecord("yotpo/main", 1))
    expiry = stack.resources[name]["Properties"]["TimeToLiveSpecification"]["AttributeName"]
    if name == "Letters":
        (request,) = call["RequestItems"]["letters"]
        assert expiry in request["PutRequest"]["Item"]
    else:
        written = re.findall(r"([#\w]+) = :", call["UpdateExpression"])
        assert expiry in {call["ExpressionAttributeNames"].get(each, each) for each in written}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_deliver_function_updates_the_tables_and_does_nothing_else_to_them(stack: Stack, provider: str) -> None:
    """One action, on what it reads and changes; another, on the letters, which intake writes, too."""

    def granted(role: str) -> list[tuple[object, set[str]]]:
        found = [one for one in stack.statements(role) if any("dynamodb" in each for each in listed(one["Action"]))]
        return [(one["Action"], set(map(target, listed(one["Resource"])))) for one in found]

    letters = ("dynamodb:BatchWriteItem", {"Letters"})
    assert granted(f"{provider.capitalize()}Role") == [("dynamodb:UpdateItem", {"Ledger", "Accounts"}), letters]
    assert granted("IntakeRole") == [letters]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_2_500_characters_of_destinations_and_settings_fit_the_environment(stack: Stack, function: str) -> None:
    """Lambda takes 4 KB of variables, names included; what a queue's or a table's name may be is taken as 120."""

    def longest(value: Any) -> int:
        if isinstance(value, dict) and value.get("Ref") in stack.parameters:
            given = stack.parameters[value["Ref"]]
            return 16 if value["Ref"] == "Stage" else max(len(str(given["Default"])), 60)
        return len(str(value)) + 120 * (str(value).count("${") or isinstance(value, dict))

    free = ("RELAY_DESTINATIONS", "RELAY_DESTINATION_SETTINGS")
    environment = stack.environment(function)
    taken = sum(len(name) + longest(value) for name, value in environment.items() if name not in free)
    assert taken + sum(map(len, free)) + 2_500 <= 4_096
