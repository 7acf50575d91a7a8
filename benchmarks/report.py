"""Writes results into benchmarks.md. Each benchmark replaces only its own section."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

DOCS = Path(__file__).resolve().parents[1] / "docs"
_INTRODUCTION = """# Benchmarks

`make bench` measures all of this. Each section names the command for its part and the machine. Candidates run
interleaved, block by block, on one machine. Each figure is a ratio, the median over the blocks. There are no absolute
times, because they differ from machine to machine while the ratios hardly do.
"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    rule = "|" + "|".join(("-" * (width + 1)) + (":" if place else "-") for place, width in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])


def write_section(folder: Path, name: str, title: str, body: str) -> None:
    """Replace or add a benchmark's section in the folder's benchmarks.md."""
    page = folder / "benchmarks.md"
    text = page.read_text("utf-8") if page.exists() else _INTRODUCTION
    section = f"<!-- {name} -->\n## {title}\n\n{body.strip()}\n<!-- end of {name} -->\n"
    pattern = re.compile(rf"<!-- {name} -->.*?<!-- end of {name} -->\n", re.DOTALL)
    text = pattern.sub(lambda _: section, text) if pattern.search(text) else f"{text.rstrip()}\n\n{section}"
    page.write_text(text, "utf-8")


def draw_bars(
    folder: Path, name: str, title: str, groups: Sequence[str], bars: Mapping[str, Sequence[float]], unit: str
) -> str:
    """Draw groups of bars as benchmarks/<name>.svg in the folder. Return the Markdown that shows them."""
    plt.rcParams["svg.hashsalt"] = name
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    width = 0.8 / len(bars)
    for number, (label, heights) in enumerate(bars.items()):
        places = [group + (number - (len(bars) - 1) / 2) * width for group in range(len(groups))]
        axes.bar(places, heights, width, label=label)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(unit)
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    if max(max(heights) for heights in bars.values()) > 30 * min(min(heights) for heights in bars.values()):
        axes.set_yscale("log")
    axes.legend(frameon=False)
    (folder / "benchmarks").mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "benchmarks" / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
    return f"![{title}](benchmarks/{name}.svg)"
