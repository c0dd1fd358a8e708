"""``python -m tools.provider pigeon``: a provider's five places, with a BLANK for all that only its page can say.

The new files are those of ``tools/scaffold`` under the new name; a line each goes where the providers are listed, and
README's tables are written again.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.machine import ROOT
from relay.providers import PROVIDERS

SCAFFOLD = Path(__file__).with_name("scaffold")
MARK = "BLANK"


class ProviderError(Exception):
    """The provider cannot be added; nothing was written."""


@dataclass(frozen=True)
class Blank:
    """What an author has yet to answer. ``place`` is one of the five."""

    place: str
    file: str
    line: int
    question: str


def new_files(name: str) -> dict[Path, str]:
    """What is written for the provider, by path below the repository's root."""
    everything = json.loads((SCAFFOLD / "golden" / "everything.json").read_text())
    page = (SCAFFOLD / "page.md").read_text()
    page = page.replace("EVENT", _indented(everything["event"])).replace(
        "BODY", _indented(everything["expect"]["body"])
    )
    found = {
        Path("layers/relay/relay/providers/pigeon.py"): (SCAFFOLD / "pigeon.py").read_text(),
        Path("local/contracts/pigeon.yaml"): (SCAFFOLD / "contract.yaml").read_text(),
        Path("docs/providers/pigeon.md"): page,
        Path("tests/unit/providers/test_pigeon.py"): (SCAFFOLD / "test_pigeon.txt").read_text(),
    }
    for path in sorted((SCAFFOLD / "golden").rglob("*.json")):
        found[Path("tests/golden/pigeon") / path.relative_to(SCAFFOLD / "golden")] = path.read_text()
    return {Path(_named(str(path), name)): _named(text, name) for path, text in found.items()}


def edits(name: str, root: Path = ROOT) -> dict[Path, str]:
    """The files that list the providers, with one more. Raises ProviderError for one that has no place for it."""
    last, new = list(PROVIDERS)[-1], name.capitalize()
    before = last.capitalize()
    said = f"Base URL of {new}'s API, without a trailing slash. Plain http is for the local sandbox only."
    asked = (
        "the address once more; does it differ by region or cluster: whose is this, and where does a user find theirs?"
    )
    address = f'{{<<: *url, Default: https://api.{name}.example, Description: "{said}"}} # {MARK}: {asked}'
    places = {
        "layers/relay/relay/providers/__init__.py": [
            (r"(from relay\.providers\.base .*\n)", rf"\1from relay.providers.{name} import {new}\n"),
            (rf"(\n +){before},", rf"\1{before},\1{new},"),
        ],
        "template.yaml": [
            (rf"{before}BaseUrl\]", f"{before}BaseUrl, {new}BaseUrl]"),
            (rf"\|{last}\)", f"|{last}|{name})"),
            (rf"(\n  {before}BaseUrl:.*\n(?: {{4}}.*\n)*)", rf"\1  {new}BaseUrl: {address}\n"),
            (rf"(\n    {before}: \{{Name: {last}\}})", rf"\1\n    {new}: {{Name: {name}}}"),
            (r"(?<=&providers) \[(.+)\]", rf" [\1, {new}]"),
            (rf"(\n +- !GetAtt ){before}Queue\.Arn", rf"\1{before}Queue.Arn\1{new}Queue.Arn"),
            (rf"!Ref {before}LogGroup\]", f"!Ref {before}LogGroup, !Ref {new}LogGroup]"),
            # Its rows on the dashboard of all providers.
            (
                rf'(\n +\[.*\$\{{){before}(\w*Queue\.QueueName\}}", .*){last}("\}}\],)',
                rf"\g<0>\1{new}\2{name}\3",
            ),
        ],
    }
    found = {Path(file): (root / file).read_text() for file in places}
    for file, path in zip(places, found, strict=True):
        for pattern, replacement in places[file]:
            found[path], times = re.subn(pattern, replacement, found[path])
            if not times:
                raise ProviderError(f"{file} has no place for it: {pattern}")
    init = Path("layers/relay/relay/providers/__init__.py")
    return {**found, init: _sorted_imports(found[init])}


def blanks(name: str, root: Path = ROOT) -> Iterator[Blank]:
    """What is yet to be answered of a provider, in the order of its five places, and of the changelog."""
    own_test = f"tests/unit/providers/test_{name}.py"
    places = {
        "code": [f"layers/relay/relay/providers/{name}.py"],
        "contract": [f"local/contracts/{name}.yaml"],
        "golden": [
            *sorted(str(path.relative_to(root)) for path in (root / "tests/golden" / name).rglob("*.json")),
            *([own_test] if (root / own_test).exists() else []),
        ],
        "page": [f"docs/providers/{name}.md"],
        "template": ["template.yaml"],
    }
    for place, files in places.items():
        for file in files:
            for number, line in enumerate((root / file).read_text().splitlines(), 1):
                own = place != "template" or name in line.lower()
                if own and MARK in line:
                    yield Blank(place, file, number, line.partition(MARK)[2].strip(' :#.",') or line.strip())
    link = f"(docs/providers/{name}.md)"
    if link not in (root / "CHANGELOG.md").read_text():
        yield Blank("page", "CHANGELOG.md", 1, f"what has a user of it? A line with [its page]{link}")


def add(name: str, root: Path = ROOT) -> list[Path]:
    """Write the five places. Returns the files, those that were there last. Raises ProviderError."""
    if not re.fullmatch(r"[a-z][a-z0-9]*", name) or name == "intake":
        raise ProviderError("a name is lower case letters and digits, and not intake: resources are called by it")
    made, changed = new_files(name), edits(name, root)
    if there := [str(path) for path in made if (root / path).exists()]:
        raise ProviderError(f"there is one already: {', '.join(there)}")
    for path, text in {**made, **changed}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    # In processes of their own, which know the new provider.
    for table in (("tools.matrix",), ("bench.cost", "--write")):
        subprocess.run([sys.executable, "-m", *table], cwd=root, check=True, stdout=subprocess.DEVNULL)
    return [*made, *changed, Path("README.md")]


def _named(text: str, name: str) -> str:
    return text.replace("pigeon", name).replace("Pigeon", name.capitalize())


def _indented(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _sorted_imports(text: str) -> str:
    lines = text.splitlines()
    imports = sorted(line for line in lines if line.startswith("from "))
    return "\n".join(imports.pop(0) if line.startswith("from ") else line for line in lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.provider", description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="lower case letters and digits, such as pigeon")
    name = parser.parse_args().name
    try:
        written = add(name)
    except ProviderError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(map(str, written)))
    print(f"\n{sum(1 for _ in blanks(name))} blanks to answer. The tests name them, one after the other:")
    print("  .venv/bin/python -m pytest -x tests/unit/providers")
    print("Then README's matrix takes its sentence from the code, and what else reads these places is tested:")
    print("  .venv/bin/python -m tools.matrix")
    print("  .venv/bin/python -m pytest tests/contract/test_contracts.py tests/template tests/unit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
