"""``python -m tools.deploy dev "AlarmEmail=you@example.com"``: a stage of samconfig.toml to AWS."""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.text import Text

from cli.config import Config
from local.machine import OWN, ROOT, TOOLS
from local.processes import CommandError
from local.stack import STAGE as LOCAL
from local.stack import build_folder
from tools.layer import ready


class DeployError(Exception):
    """What was asked for cannot be deployed; nothing was."""


def configured_stages() -> dict[str, dict[str, Any]]:
    """The tables of samconfig.toml that can go to AWS, by stage."""
    tables = tomllib.loads((ROOT / "samconfig.toml").read_text())
    return {
        name: table for name, table in tables.items() if name != LOCAL and isinstance(table, dict) and "deploy" in table
    }


def parse_parameters(text: str, known: frozenset[str]) -> dict[str, str]:
    """``Name=value Name=value``: a value goes on to the next known name, so it may hold spaces, commas and JSON.

    Quotes around a whole value are taken off. Raises DeployError for a name that the template does not have.
    """
    starts = list(re.finditer(r"(?:^|(?<=\s))([A-Za-z][A-Za-z0-9]*)=", text))
    begun = [one for one in starts if one[1] in known]
    if text.strip() and (not begun or text[: begun[0].start()].strip()):
        unknown = starts[0][1] if starts else text.split(maxsplit=1)[0]
        raise _unknown(unknown, known)
    given: dict[str, str] = {}
    ends = [*(one.start() for one in begun[1:]), len(text)]
    for one, end in zip(begun, ends, strict=False):
        value = text[one.end() : end].strip()
        if stray := re.search(r"(?:^|\s)([A-Z][A-Za-z0-9]*)=", value if value[:1] not in ("{", "'", '"') else ""):
            raise _unknown(stray[1], known)
        if one[1] in given:
            raise DeployError(f'PARAMETERS: "{one[1]}" is given twice')
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        given[one[1]] = value[1:-1] if quoted else value
    return given


def _unknown(name: str, known: frozenset[str]) -> DeployError:
    return DeployError(f'PARAMETERS: "{name}" is no parameter of the stack; it has {", ".join(sorted(known))}')


def write_overrides(parameters: Mapping[str, str], folder: Path) -> str:
    """Write the parameters to a file in ``folder`` and return what the SAM CLI calls it.

    Its reader of files takes quotes off, and backslashes before blanks and quotes, twice; so they are put there twice.
    """
    path = folder / "parameters.yaml"
    path.write_text(yaml.safe_dump({name: _escaped(_escaped(value)) for name, value in parameters.items()}))
    return f"file://{path}"


def _escaped(text: str) -> str:
    return re.sub(r"([ \"'])", r"\\\1", text)


def refuse_wrong_settings(stage: str, parameters: Mapping[str, str]) -> None:
    """Raises DeployError for settings with which the functions would not start: those of samconfig.toml, and those that
    are given in their place. What neither says stays as it is deployed.
    """
    config = Config.of_samconfig(ROOT / "samconfig.toml", stage)
    destinations = parameters.get("Destinations") or config.destinations
    settings = parameters.get("DestinationSettings") or config.settings
    _, errors = replace(config, destinations=destinations, settings=settings).read()
    if errors:
        raise DeployError(f"settings with which no function starts: {'; '.join(map(str, errors))}")


def template_parameters() -> frozenset[str]:
    """The names of the template's parameters."""
    section = (ROOT / "template.yaml").read_text().split("\nParameters:\n")[1]
    return frozenset(re.findall(r"^  (\w+):", re.split(r"\n(?=\w)", section)[0], re.MULTILINE))


def deploy(stage: str, text: str, console: Console) -> None:
    """Build and deploy. Raises DeployError before anything is done, CommandError when the SAM CLI fails."""
    stages = configured_stages()
    if stage == LOCAL:
        raise DeployError(
            f'STAGE={LOCAL} is the stack on one machine, without the rules that AWS needs: "make up" starts it'
        )
    if stage not in stages:
        raise DeployError(f"STAGE={stage} has no table in samconfig.toml; it has {', '.join(stages)}")
    table = stages[stage]
    parameters = parse_parameters(text, template_parameters())
    if parameters.get("Stage", stage) != stage:
        raise DeployError(f"PARAMETERS name another Stage than STAGE={stage}")
    refuse_wrong_settings(stage, parameters)
    name = table["global"]["parameters"]["stack_name"]
    session = boto3.Session()
    if not session.region_name:
        raise DeployError("no region: set AWS_REGION, or one in your AWS profile")
    try:
        account = session.client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"AWS does not take your credentials: {error}") from None
    where = f" at {OWN['AWS_ENDPOINT_URL']}" if OWN.get("AWS_ENDPOINT_URL") else ""
    console.print(f"{name} to account {account}, region {session.region_name}{where}", highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder, build_folder():
        overrides = [*table["deploy"]["parameters"].get("parameter_overrides", [])]
        if parameters:
            overrides.append(write_overrides(parameters, Path(folder)))
        _sam("build", stage, overrides)
        ready()
        _sam("deploy", stage, overrides)
    if table["deploy"]["parameters"].get("confirm_changeset"):
        # A stage that asks before it changes is one that must not vanish by a slip either.
        cloudformation = session.client("cloudformation")
        cloudformation.update_termination_protection(StackName=name, EnableTerminationProtection=True)
        console.print(f"{name} is protected against deletion", highlight=False)


def _sam(command: str, stage: str, overrides: list[str]) -> None:
    # In the foreground: it may ask, and what it writes is worth reading.
    run = [str(TOOLS / "sam"), command, "--config-env", stage]
    environment = {**OWN, "PATH": f"{TOOLS}:{OWN['PATH']}", "SAM_CLI_TELEMETRY": "0"}
    status = subprocess.run(
        [*run, "--parameter-overrides", *overrides], cwd=ROOT, env=environment, check=False
    ).returncode
    if status:
        raise CommandError(f"sam {command} ended with status {status}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.deploy", description=__doc__)
    parser.add_argument("stage", help="a table of samconfig.toml, such as dev")
    parser.add_argument("parameters", nargs="?", default="", help="Name=value Name=value")
    asked = parser.parse_args()
    console = Console(stderr=True)
    try:
        deploy(asked.stage, asked.parameters, console)
    except (DeployError, CommandError) as error:
        console.print("[red]not deployed:[/]", Text(str(error)), highlight=False, soft_wrap=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
