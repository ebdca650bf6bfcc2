"""What was measured, as a table for the terminal, as one in Markdown, or as JSON."""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

import microgradx

from .common import Report
from .engines import MICROGRAD, MICROGRADX
from .operations import FLOAT, STATEMENTS
from .terminal import text_table

METHOD = """\
Both engines compute in float64, on one thread, each in a process of its own. The processes take
turns, round by round, one idle while the other measures; float * float comes right after the
operation, in microgradx's process. A time is the least of its rounds, as other work of the
machine only ever adds to it, and a ratio is that of two such times
(rounds, fewer for what is slow: {rounds}). GC is Python's cyclic garbage collector, as it comes or
off; what one measurement leaves behind is collected before the next, and an untimed run of the
same precedes each. Inside the timed region:

  a * b ...          the operation and the release of its result, with the loop around it
  README expression  leaves, forward, backward, release
  moons step         micrograd's demo: forward, accuracy, zero_grad, backward, update
  GPT step           examples/gpt.py: forward, backward, Adam, for a name of 6 letters: 59,547 nodes
  backward           backward() alone, of sums and products in 32 layers that are there already
  chain              forward, backward, and the drop of the last reference, when microgradx
                     releases the nodes; micrograd leaves them to the collector
  import             a fresh process that has NumPy already imports the engine and nn

A node's memory is that of a tree of additions in a fresh process, divided by the interior nodes,
of which only the root is held. Allocated: after the forward pass, as microgradx's arena counts it,
and tracemalloc for micrograd. Peak: the most that the process grew, forward and backward; in a
moons step, in the first of a fresh process, its inputs, update and garbage included.
"""

COLLECTOR = {True: "as it comes", False: "off"}
COLUMNS = (MICROGRAD.name, MICROGRADX.name, "ratio")


@dataclass(frozen=True)
class Row:
    """One benchmark under one setting of the cyclic garbage collector.

    Attributes
    ----------
    benchmark
        Its name.
    unit
        "s" for seconds or "B" for bytes.
    collect
        Whether the collector was on.
    samples
        What each contestant took, in each round.
    """

    benchmark: str
    unit: str
    collect: bool
    samples: dict[str, list[float]]

    @property
    def ratio(self) -> float:
        """How many times as much micrograd takes."""
        return self.least(MICROGRAD.name) / self.least(MICROGRADX.name)

    @property
    def float_multiple(self) -> float | None:
        """How many times as long as Python's own ``float * float`` microgradx takes."""
        return self.least(MICROGRADX.name) / self.least(FLOAT) if FLOAT in self.samples else None

    def least(self, contestant: str) -> float:
        """Return the least that the contestant took in a round."""
        return min(self.samples[contestant])

    def cells(self) -> list[str]:
        """Return what the columns of a table say."""
        least = [self.least(engine) for engine in (MICROGRAD.name, MICROGRADX.name)]
        return [*(_with_unit(value, self.unit) for value in least), f"{short(self.ratio)} ×"]

    def as_dict(self) -> dict[str, Any]:
        """Return everything about the row."""
        return {
            "benchmark": self.benchmark,
            "unit": self.unit,
            "collector": COLLECTOR[self.collect],
            "ratio": self.ratio,
            "float_multiple": self.float_multiple,
            "contestants": {
                name: {"median": median(values), "minimum": min(values), "samples": values}
                for name, values in self.samples.items()
            },
        }


def as_document(rows: Sequence[Row]) -> dict[str, Any]:
    """Return all that was measured, and where."""
    return {"environment": environment(MICROGRAD.name), "rows": [row.as_dict() for row in rows]}


def as_markdown(rows: Sequence[Row]) -> str:
    """Return a table for the README, and where it was measured."""
    headings = ["", *COLUMNS, *(f"{column}, GC off" for column in COLUMNS), "in `float * float`"]
    body = [[f"`{name}`" if name in STATEMENTS else name, *cells] for name, *cells in _table(rows)]
    return f"{markdown_table([headings, *body])}\n\n{environment_line(MICROGRAD.name)}"


def as_text(rows: Sequence[Row]) -> str:
    """Return a table for the terminal, how it was measured, and where."""
    headings = ["", *COLUMNS, *(f"{column}\nGC off" for column in COLUMNS), "in float\n* float"]
    table = text_table([headings, *_table(rows)])
    rounds = {len(values) for row in rows if row.unit == "s" for values in row.samples.values()}
    method = METHOD.format(rounds=", ".join(map(str, sorted(rounds, reverse=True))))
    return f"{table}\n\n{method}\n{textwrap.fill(environment_line(MICROGRAD.name), 100)}"


REPORT: Report[Sequence[Row]] = Report(as_text, as_markdown, as_document)


def markdown_table(lines: Sequence[Sequence[str]], names: int = 1) -> str:
    """Return a table whose first line is the heading, all but so many columns to the right."""
    headings, *body = lines
    rules = ["---"] * names + ["---:"] * (len(headings) - names)
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rules, *body))


def environment(*packages: str) -> dict[str, str]:
    """Return what the numbers depend on, the versions of the packages included."""
    build = microgradx.build_info()
    return {
        "microgradx": microgradx.__version__,
        **{package: version(package) for package in packages},
        "Python": platform.python_version(),
        "NumPy": version("numpy"),
        "compiler": str(build["compiler"]),
        "build type": str(build["build_type"]),
        "system": f"{platform.system()} {platform.machine()}",
    }


def environment_line(*packages: str) -> str:
    """Return the environment as a sentence."""
    return ", ".join(f"{name} {value}" for name, value in environment(*packages).items()) + "."


def seconds_with_unit(seconds: float) -> str:
    """Return a time with three digits."""
    for scale, prefix in ((1, ""), (1e-3, "m"), (1e-6, "µ")):
        if seconds >= scale:
            return f"{short(seconds / scale)} {prefix}s"
    return f"{short(seconds / 1e-9)} ns"


def short(value: float) -> str:
    """Return the number with three digits, or all those before the point."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def _table(rows: Sequence[Row]) -> list[list[str]]:
    """Return a line for each benchmark, both settings of the collector beside each other."""
    lines = []
    for benchmark in dict.fromkeys(row.benchmark for row in rows):
        found = {row.collect: row for row in rows if row.benchmark == benchmark}
        line = [benchmark]
        for collect in (True, False):
            line += found[collect].cells() if collect in found else [""] * len(COLUMNS)
        multiple = found[False].float_multiple if False in found else None
        lines.append([*line, "" if multiple is None else short(multiple)])
    return lines


def _with_unit(value: float, unit: str) -> str:
    if unit == "s":
        return seconds_with_unit(value)
    return f"{value:,.0f} B" if value < 100_000 else f"{short(value / 1e6)} MB"
