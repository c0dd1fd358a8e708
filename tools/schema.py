"""``python -m tools.schema`` writes the event's JSON Schema; with ``--check`` it only says whether it is up to date."""

import argparse
import json
import sys

from local.machine import ROOT
from relay.contract.event import Event

PATH = ROOT / "docs" / "event.schema.json"


def schema() -> str:
    """The JSON Schema of the event, version 1.1, as the text of ``docs/event.schema.json``."""
    described = Event.model_json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Customer event, version 1.1"}
    return json.dumps(head | {key: value for key, value in described.items() if key != "title"}, indent=2) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.schema", description=__doc__)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        PATH.write_text(schema())
        return 0
    if PATH.exists() and PATH.read_text() == schema():
        return 0
    print(f"{PATH.relative_to(ROOT)} is out of date: run python -m tools.schema", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
