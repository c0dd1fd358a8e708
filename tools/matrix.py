"""``python -m tools.matrix`` writes README's matrix of the providers; with ``--check`` it only says whether it is up to
date.

All of it is the code's: what a provider's docstring says it is asked for, which customers its payload takes, what its
class says of repeats, limits and age.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator

from local.machine import ROOT
from relay.contract.event import parse_event
from relay.errors import FieldError
from relay.providers import PROVIDERS
from relay.providers.base import Provider, Repeat
from relay.providers.limits import Limit

PATH = ROOT / "README.md"
BEGIN, END = "<!-- python -m tools.matrix writes this -->\n", "<!-- to here -->\n"
IDENTIFIERS = {
    "email": ("email", "a@example.com"),
    "phone number": ("phone_number", "+15551234567"),
    "your `id`": ("id", "4711"),
}
TWICE = {
    Repeat.UPDATES: "overwritten by its id",
    Repeat.IGNORED: "ignored by its id",
    Repeat.REJECTED: "refused by its id, and delivered all the same",
    Repeat.FIRES_AGAIN: "fires again: only the ledger prevents it",
}
WINDOWS = {1.0: "s", 60.0: "min", 3600.0: "h", 86_400.0: "day"}


def matrix() -> str:
    """A row for each provider, in the order of ``PROVIDERS``."""
    rows = [["", *COLUMNS], ["---"] * (1 + len(COLUMNS))]
    rows += [[_link(kind), *(cell(kind) for cell in COLUMNS.values())] for kind in PROVIDERS.values()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows).replace("| ---", "|---").replace("--- |", "---|")


def _link(kind: type[Provider]) -> str:
    return f"[{_said(kind)[0]}](docs/providers/{kind.name}.md)"


def _age(kind: type[Provider]) -> str:
    useless = kind.useless
    return f"{useless.after.total_seconds() / 3600:g} h: {useless.rule}" if useless else "\N{EN DASH}"


COLUMNS: dict[str, Callable[[type[Provider]], str]] = {
    "request": lambda kind: _said(kind)[1],
    "known by any of": lambda kind: ", ".join(_known_by(kind)),
    "limit of an account": lambda kind: " and ".join(map(_in_words, kind.limits)),
    "the same event twice": lambda kind: TWICE[kind.repeats],
    "same id, other content": lambda kind: "an update: sent" if kind.repeats.overrides else "dead letter `id_reused`",
    "too old to matter": _age,
    "history": lambda kind: "fires nothing" if kind.backfills else "refused, unless set to send",
}


def _said(kind: type[Provider]) -> tuple[str, str]:
    """What the first sentence of its file calls it, and what it is asked for."""
    described = sys.modules[kind.__module__].__doc__ or ""
    found = re.match(r"([^:,]+)[^:]*: (.+?)\.\s", described)
    if not found:
        raise ValueError(
            f"{kind.__module__}: its docstring must begin with NAME: what it is asked for, and a full stop"
        )
    return found[1], found[2]


def _known_by(kind: type[Provider]) -> Iterator[str]:
    """What is enough by itself to say who a customer is."""
    for words, (field, value) in {**IDENTIFIERS, "its own id": ("provider_ids", {kind.name: "x-1"})}.items():
        data = {"id": "e-1", "source": "shop", "type": "seen", "occurred_at": "2026-11-22T10:00:00Z"}
        errors: list[FieldError] = []
        kind("").payload(parse_event({**data, "customer": {field: value}}), errors)
        if not errors:
            yield words


def _in_words(limit: Limit) -> str:
    return f"{limit.requests} / {WINDOWS.get(limit.window) or f'{limit.window:g} s'}"


def _with(text: str, rows: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{PATH.name} has no place for the matrix: {BEGIN.strip()} … {END.strip()}")
    return before + BEGIN + rows + END + after


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.matrix", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--check", action="store_true")
    text = PATH.read_text()
    made = _with(text, matrix())
    if not parser.parse_args().check:
        PATH.write_text(made)
        return 0
    if made == text:
        return 0
    print(f"{PATH.name}'s matrix is out of date: run python -m tools.matrix", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
