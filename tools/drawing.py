"""``python -m tools.drawing`` draws the way of an event from the code's imports; with ``--check`` it only says whether
the drawing is up to date.
"""

import argparse
import sys
from dataclasses import dataclass

import grimp

from local.machine import ROOT
from relay.providers import PROVIDERS

PATH = ROOT / "docs" / "way.svg"

LANE = "lane"
ROW = ("contract", "intake", LANE, "delivery", "account", "providers")
"""Side by side: the packages in the order of the way, and the queue between the two functions."""
BARS = ("handlers", "ports", "adapters")
"""As wide as the row: the first above it, the others below."""
BESIDE = "wiring"
"""The package that brings them together, and is on no event's way."""
FUNCTIONS = {"intake": "intake", "deliver": "delivery"}
"""The functions, and above which package of the row each stands."""
WAY = ("handlers", "contract", "intake", LANE, "handlers", "delivery", "account", "providers", "adapters")

type Arrow = tuple[str, str]
"""Who imports, and what."""

# In pixels.
WIDTH, GAP, MARGIN, LINE, SPACE = 132, 34, 16, 17, 48

HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">
<title>The way of an event through the packages</title>
<desc>{told}</desc>
<style>
text {{ font: 13px system-ui, sans-serif; fill: #1f2328; text-anchor: middle }}
.name {{ font-weight: 600 }} .soft {{ fill: #59636e }} .step {{ fill: #fff; font-size: 11px }}
rect {{ fill: #f6f8fa; stroke: #59636e }} .queue {{ fill: #fff8c5 }} .paper {{ fill: #fff; stroke: none }}
path {{ fill: none; stroke: #59636e; stroke-width: 1.5 }} circle {{ fill: #0969da }}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M1 0L8 4L1 8"/></marker></defs>
<rect class="paper" width="{width}" height="{height}"/>"""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with a name in it and, below that, lines of text."""

    name: str
    lines: tuple[str, ...]
    x: int
    y: int
    width: int
    height: int

    @property
    def bottom(self) -> int:
        return self.y + self.height

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def centre(self) -> int:
        return self.x + self.width // 2

    def svg(self) -> list[str]:
        kind = 'class="queue" rx="20"' if self.name == LANE else 'rx="6"'
        return [
            f'<rect {kind} x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}"/>',
            _text(self.centre, self.y + 20, self.name, "name"),
            *(_text(self.centre, self.y + 22 + LINE * nth, line) for nth, line in enumerate(self.lines, 1)),
        ]


def read_imports() -> tuple[dict[str, list[str]], set[Arrow]]:
    """The modules of each package of the relay, and which imports which. The module `ports` counts as a package.

    Raises ValueError where the drawing knows other packages than there are.
    """
    graph = grimp.build_graph("relay", exclude_type_checking_imports=True, cache_dir=None)
    packages: dict[str, list[str]] = {"ports": []}
    for name in sorted(graph.modules):
        _, *inside = name.split(".")
        if len(inside) == 2 and inside[0] != BESIDE:
            packages.setdefault(inside[0], []).append(inside[1])
    if strange := packages.keys() ^ {*ROW, *BARS} - {LANE}:
        raise ValueError(f"packages of the relay and of tools/drawing.py differ: {', '.join(sorted(strange))}")
    pairs = {
        (importer.split(".")[1], imported.split(".")[1])
        for importer in graph.modules - {"relay"}
        for imported in graph.find_modules_directly_imported_by(importer) - {"relay"}
    }
    return packages, {(one, other) for one, other in pairs if one != other and {one, other} <= packages.keys()}


def reduced(arrows: set[Arrow]) -> list[Arrow]:
    """Those arrows that no way over others says as well. There is no circle among them: import-linter sees to that."""

    def leads(start: str, end: str) -> bool:
        return any(one == start and (other == end or leads(other, end)) for one, other in arrows)

    return sorted(
        (one, other) for one, other in arrows if not any(leads(via, other) for start, via in arrows if start == one)
    )


def place(packages: dict[str, list[str]]) -> dict[str, Box]:
    """Every box by its name, from the top down."""
    columns = {name: MARGIN + (WIDTH + GAP) * nth for nth, name in enumerate(ROW)}
    whole = columns[ROW[-1]] + WIDTH - MARGIN
    handlers = Box("handlers", (" · ".join(packages["handlers"]),), MARGIN, 116, whole, 48)
    # A new provider does not change the picture.
    providers = (*(each for each in packages["providers"] if each not in PROVIDERS), "and one file each")
    own = {LANE: ("SQS FIFO,", "one a provider,", "group = account"), "providers": providers}
    lines = {name: own.get(name) or tuple(packages[name]) for name in ROW}
    tall = 32 + LINE * max(map(len, lines.values()))
    boxes = {"handlers": handlers}
    for name, x in columns.items():
        boxes[name] = Box(name, lines[name], x, handlers.bottom + SPACE, WIDTH, tall)
    # The ports leave the first column free: the way from below to the contract.
    second = columns[ROW[1]]
    ports = Box("ports", (), second, boxes[LANE].bottom + SPACE, whole + MARGIN - second, 32)
    adapters = Box("adapters", (" · ".join(packages["adapters"]),), MARGIN, ports.bottom + SPACE, whole, 48)
    return boxes | {"ports": ports, "adapters": adapters}


def route(one: Box, other: Box) -> str:
    """The line from box to box: straight where nothing is between, else below the row or round the end of a bar."""
    if one.y == other.y:
        start, end = (one.right, other.x) if one.x < other.x else (one.x, other.right)
        if abs(end - start) == GAP:
            return f"M{start} {one.y + 30}H{end}"
        below = one.bottom + 12 + 5 * ROW.index(one.name)
        return f"M{one.centre - 24} {one.bottom}V{below}H{other.centre - 24}V{other.bottom}"
    narrow, wide = sorted((one, other), key=lambda box: box.width)
    x = narrow.centre
    if x < wide.x:
        middle = wide.y + wide.height // 2
        return f"M{wide.x} {middle}H{x}V{narrow.bottom}" if one is wide else f"M{x} {narrow.bottom}V{middle}H{wide.x}"
    return f"M{x} {one.bottom}V{other.y}" if one.y < other.y else f"M{x} {one.y}V{other.bottom}"


def draw(packages: dict[str, list[str]], arrows: list[Arrow]) -> str:
    """The drawing: boxes, who imports whom, and the steps of the way, numbered."""
    boxes = place(packages)
    width, height = boxes["adapters"].right + MARGIN, boxes["adapters"].bottom + SPACE + 16
    told = "; ".join(f"{one} imports {other}" for one, other in arrows)
    lines = [HEAD.format(width=width, height=height, told=told)]
    for function, above in FUNCTIONS.items():
        top = Box(f"functions/{function}", (), boxes[above].x, 44, WIDTH, 32)
        lines += [*top.svg(), _arrow(route(top, boxes["handlers"]))]
    for box in boxes.values():
        lines += box.svg()
    lines += [_arrow(route(boxes[one], boxes[other])) for one, other in arrows]
    for step, name in enumerate(WAY, 1):
        box = boxes[name]
        column = boxes["intake" if step == 1 else "delivery"] if name == "handlers" else box
        lines += [f'<circle cx="{column.x}" cy="{box.y}" r="9"/>', _text(column.x, box.y + 4, str(step), "step")]
    first, last = boxes["intake"], boxes["providers"]
    lines += [
        _text(first.centre, 22, "an event"),
        _arrow(f"M{first.centre} 28V44"),
        _arrow(f"M{last.centre} {boxes['adapters'].bottom}V{height - 30}"),
        _text(last.centre, height - 12, "the provider"),
        _text(first.centre, height - 12, "numbers: the way of an event · arrows: imports"),
    ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _arrow(path: str) -> str:
    return f'<path d="{path}" marker-end="url(#tip)"/>'


def _text(x: int, y: int, text: str, kind: str = "soft") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{text}</text>'


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.drawing", description=__doc__)
    parser.add_argument("--check", action="store_true")
    packages, arrows = read_imports()
    drawing = draw(packages, reduced(arrows))
    if not parser.parse_args().check:
        PATH.write_text(drawing)
        return 0
    if PATH.exists() and PATH.read_text() == drawing:
        return 0
    print(f"{PATH.relative_to(ROOT)} is out of date: run make drawing", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
