"""The pictures of the bench, as SVG: what grows over what."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

type Points = Sequence[tuple[float, float]]

# Text stays text, and the same figures make the same file.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9})


def lines(
    file: Path, title: str, axes: tuple[str, str], series: Mapping[str, Points], *, logarithmic: bool = False
) -> Path:
    """Draws a line for each of the `series` of (x, y); `axes` are named with their units. Returns the file."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    plot = figure.subplots()
    for name, points in series.items():
        plot.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    if logarithmic:
        plot.set_xscale("log")
        plot.set_yscale("log")
    else:
        plot.set_ylim(bottom=0)
    plot.set_title(title, fontsize=10, loc="left")
    plot.set_xlabel(axes[0])
    plot.set_ylabel(axes[1])
    plot.grid(alpha=0.3)
    if len(series) > 1:
        plot.legend(frameon=False)
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file
