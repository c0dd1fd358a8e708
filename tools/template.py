"""What AWS makes of template.yaml: its loops over the providers written out, as plain data.

``python -m tools.template FOLDER`` writes what ``make lint`` scans: ``expanded.json``, with the loops written out,
and ``deployed.json``, the stack with every option on.
"""

import json
import sys
from pathlib import Path
from typing import Any

from samcli.lib.cfn_language_extensions.api import (  # type: ignore[import-untyped]  # the SAM CLI ships no types
    process_template,
)
from samcli.lib.cfn_language_extensions.models import (  # type: ignore[import-untyped]
    PseudoParameterValues,
    TemplateProcessingContext,
)
from samcli.lib.cfn_language_extensions.processors import ForEachProcessor  # type: ignore[import-untyped]
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]
from yaml import YAMLError

from local.machine import ROOT
from local.processes import CommandError

type Json = dict[str, Any]


TEMPLATE = ROOT / "template.yaml"


def read(path: Path = TEMPLATE) -> Json:
    """The template as it is written, intrinsic functions in their long form.

    Raises CommandError for a file that the SAM CLI cannot read.
    """
    try:
        template: Json = json.loads(json.dumps(yaml_parse(path.read_text())))
    except YAMLError as error:
        raise CommandError(f"{path.name}: {error}") from error
    return template


def load(path: Path = TEMPLATE) -> Json:
    """The template expanded; parameters, conditions and references between resources stay as they are written.

    Raises CommandError for a file that the SAM CLI cannot read.
    """
    # The step of the SAM CLI that writes loops out, and not the one that fills in the parameters' values.
    context = TemplateProcessingContext(fragment=read(path))
    ForEachProcessor().process_template(context)
    expanded: Json = context.fragment
    return expanded | {
        section: _filled(expanded[section], expanded.get("Mappings", {}))
        for section in ("Resources", "Outputs")
        if section in expanded
    }


def deployed(account: str, region: str, **parameters: str) -> Json:
    """The template as CloudFormation sees it in that account and region: parameters filled in (those not given by their
    defaults), conditions within a resource decided. A resource under a condition of its own stays, with that condition.
    """
    template = read()
    defaults = {name: one["Default"] for name, one in template["Parameters"].items()}
    where = PseudoParameterValues(region=region, account_id=account, partition="aws", url_suffix="amazonaws.com")
    processed: Json = process_template(template, defaults | parameters, where)
    return processed


def _filled(node: Any, mappings: Json) -> Any:
    """With a provider's row of the mapping, and the names put together from it, in their places."""
    if isinstance(node, list):
        return [_filled(each, mappings) for each in node]
    if not isinstance(node, dict):
        return node
    match {key: _filled(value, mappings) for key, value in node.items()}:
        case {"Fn::FindInMap": [str(name), str(row), str(column)]}:
            return mappings[name][row][column]
        case {"Fn::Sub": [text, values]}:
            known = {name: value for name, value in values.items() if isinstance(value, str)}
            for name, value in known.items():
                text = text.replace(f"${{{name}}}", value)
            others = {name: value for name, value in values.items() if name not in known}
            return {"Fn::Sub": [text, others]} if others else _literal(text)
        case {"Fn::Sub": str(text)}:
            return _literal(text)
        case filled:
            return filled


def _literal(text: str) -> Any:
    return {"Fn::Sub": text} if "${" in text else text


_EVERY_OPTION = {
    "Stage": "prod",
    "AlarmEmail": "team@example.com",
    "DataKeyArn": f"arn:aws:kms:eu-central-1:{'1' * 12}:key/data",
    "SecretsKeyArn": f"arn:aws:kms:eu-central-1:{'1' * 12}:key/secrets",
    "ProducerAccounts": "2" * 12,
    "ProducerOrganization": "o-exampleorgid",
    "IntakeReservedConcurrency": "20",
}


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    made = {"expanded": load(), "deployed": deployed("1" * 12, "eu-central-1", **_EVERY_OPTION)}
    for name, template in made.items():
        # What the template asks cfn-lint to leave out would take the place of what the scan leaves out.
        template.get("Metadata", {}).pop("cfn-lint", None)
        (folder / f"{name}.json").write_text(json.dumps(template, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
