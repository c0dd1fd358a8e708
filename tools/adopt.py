"""``python -m tools.adopt STAGE`` gives a new stack the queues and the tables that a deleted one left behind.

CloudFormation imports by name on its own only where the template spells the name out; here it holds the stage. So this
makes an import of just what is left, under the names of the template, and ``make deploy`` does the rest.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-manually.html
"""

import argparse
import json
import re
import sys
import time
import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from local.machine import ROOT
from local.processes import CommandError
from tools.template import Json, load

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

_GONE = ("DELETE_COMPLETE", "REVIEW_IN_PROGRESS")


def adopt(
    stage: str, cloudformation: "CloudFormationClient", sqs: "SQSClient", dynamodb: "DynamoDBClient"
) -> list[str]:
    """Import what is left of the stage's stack into a new one. Returns its logical names, none if nothing is left.

    Raises CommandError where the stack exists, or CloudFormation refuses.
    """
    name = stack_name(stage)
    if status := _status(cloudformation, name):
        raise CommandError(
            f"{name} exists ({status}): there is nothing to adopt while it has its queues and its tables"
        )
    template = load()
    left: dict[str, Json] = {}
    for logical, resource in template["Resources"].items():
        if "DeletionPolicy" in resource and (identifier := _identifier(resource, stage, sqs, dynamodb)):
            left[logical] = identifier
    if not left:
        return []
    change_set = f"adopt-{time.time():.0f}"
    try:
        cloudformation.create_change_set(
            StackName=name,
            ChangeSetName=change_set,
            ChangeSetType="IMPORT",
            TemplateBody=json.dumps(part(template, left)),
            Parameters=[{"ParameterKey": "Stage", "ParameterValue": stage}],
            ResourcesToImport=[
                {
                    "ResourceType": template["Resources"][logical]["Type"],
                    "LogicalResourceId": logical,
                    "ResourceIdentifier": identifier,
                }
                for logical, identifier in left.items()
            ],
        )
        cloudformation.get_waiter("change_set_create_complete").wait(
            StackName=name, ChangeSetName=change_set, WaiterConfig={"Delay": 2}
        )
        cloudformation.execute_change_set(StackName=name, ChangeSetName=change_set)
        cloudformation.get_waiter("stack_import_complete").wait(StackName=name, WaiterConfig={"Delay": 2})
    except WaiterError as error:
        why = error.last_response.get("StatusReason") or error
        raise CommandError(f"CloudFormation did not import into {name}: {why}") from error
    return list(left)


def part(template: Mapping[str, Any], names: Mapping[str, object]) -> Json:
    """The template's resources of these names, and of its parameters and conditions what they use.

    A property that needs another resource, such as the dead-letter queue that somebody deleted, is left to the deploy.
    """
    others = set(template["Resources"]) - set(names)
    resources = {
        name: template["Resources"][name]
        | {
            "Properties": {
                key: value
                for key, value in template["Resources"][name]["Properties"].items()
                if not _mentioned(value) & others
            }
        }
        for name in names
    }
    used = _mentioned(resources)
    conditions = {name: one for name, one in template["Conditions"].items() if name in used}
    used |= _mentioned(conditions)
    return {
        "AWSTemplateFormatVersion": template["AWSTemplateFormatVersion"],
        "Parameters": {name: one for name, one in template["Parameters"].items() if name in used},
        "Conditions": conditions,
        "Resources": resources,
    }


def stack_name(stage: str) -> str:
    """As samconfig.toml has it. Raises CommandError for a stage that is not there."""
    stages = tomllib.loads((ROOT / "samconfig.toml").read_text())
    try:
        return str(stages[stage]["global"]["parameters"]["stack_name"])
    except KeyError:
        raise CommandError(f"samconfig.toml has no stage {stage}") from None


def _status(cloudformation: "CloudFormationClient", name: str) -> str | None:
    try:
        status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if status in _GONE else status


def _identifier(resource: Json, stage: str, sqs: "SQSClient", dynamodb: "DynamoDBClient") -> Json | None:
    """What CloudFormation knows the resource by, None if there is none. Raises CommandError for another type."""
    properties = resource["Properties"]
    try:
        if resource["Type"] == "AWS::SQS::Queue":
            return {"QueueUrl": sqs.get_queue_url(QueueName=_named(properties["QueueName"], stage))["QueueUrl"]}
        if resource["Type"] == "AWS::DynamoDB::Table":
            name = _named(properties["TableName"], stage)
            dynamodb.describe_table(TableName=name)
            return {"TableName": name}
    except (sqs.exceptions.QueueDoesNotExist, dynamodb.exceptions.ResourceNotFoundException):
        return None
    raise CommandError(f"nobody told how a kept {resource['Type']} is found again")


def _named(value: Json, stage: str) -> str:
    return str(value["Fn::Sub"]).replace("${Stage}", stage)


def _mentioned(value: object) -> set[str]:
    """Every word in it: more than it refers to, never less."""
    if isinstance(value, Mapping):
        return set().union(*map(_mentioned, value.values()))
    if isinstance(value, list):
        return set().union(*map(_mentioned, value))
    return set(re.findall(r"\w+", value)) if isinstance(value, str) else set()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.adopt", description=__doc__.splitlines()[0])
    parser.add_argument("stage")
    stage = parser.parse_args().stage
    try:
        session = boto3.Session()
        left = adopt(stage, session.client("cloudformation"), session.client("sqs"), session.client("dynamodb"))
    except (CommandError, ClientError, BotoCoreError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    if left:
        print(f"{stack_name(stage)} has {', '.join(left)}. Now: make deploy STAGE={stage}")
    else:
        print(f"Nothing is left of an earlier {stack_name(stage)}; make deploy STAGE={stage} makes everything anew.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
