"""The times of compiled functions as a table for the terminal, as one in Markdown, or as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..common import Report
from ..peers.report import Result, as_document, markdown, text
from ..report import markdown_table, seconds_with_unit, short
from ..terminal import text_table
from .contest import SHARES

METHOD = """\
Ratios are to the first of each group; "microgradx" is without compiling. Everything computes in
float64, on one thread, each contestant in a process of its own, with Python's cyclic garbage
collector off. The processes take turns, round by round, one idle while the other measures; a time
is the least of its rounds (here {rounds}). All has run before, so that the timed region compiles
nothing; a first step, which traces and compiles as well, is told beside it. From the same numbers,
all find the same. Inside the timed region:

  moons step         an MLP(2, [16, 16, 1]) on 100 points: zero_grad, forward, max-margin loss,
                     backward, SGD. The L2 penalty of micrograd's demo is the optimiser's weight
                     decay, which has the same gradient; in JAX, which compiles the whole step with
                     its update, and in micrograd that is spelled out
  784-128-10 step    an MLP(784, [128, 10]) on 128 images: zero_grad, forward, cross-entropy,
                     backward, SGD
  recurrence         a van der Pol oscillator after 5,000 steps of 10 nodes, and its gradient by the
                     start; CasADi computes expressions of scalars (SX)
  random expression  50,000 sums and products of what is anywhere before them, and the gradient by
                     the 1,000 numbers that they begin with
  README expression  the example of micrograd's README and its gradient for each of 100,000 samples,
                     in CasADi by its serial map
  GPT step           examples/compiled_gpt.py on a name of 6 letters, or without compiling
                     examples/gpt.py: forward, zero_grad, backward, SGD
  traced             microgradx.compile: recording and passes, by a call for no samples at all;
                     microgradx: an eager forward pass for one, with the release of its nodes
"""


@dataclass(frozen=True)
class CompiledResult(Result):
    """What was measured.

    Attributes
    ----------
    first_steps
        By workload and contestant, the seconds of a first step, for those who compile then.
    """

    first_steps: dict[str, dict[str, float]]

    def reference(self, workload: str) -> str:
        """Return whose time is the unit: the first contestant."""
        return next(iter(self.samples[workload]))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All times."""
        return [
            row | {"first_step": self.first_steps[row["workload"]].get(row["peer"])}
            for row in super().rows
        ]


def as_markdown(result: CompiledResult) -> str:
    """Return a table for the README, what is missing in it, and where it was measured."""
    return markdown(result, markdown_table(_table(result), names=2))


def as_text(result: CompiledResult) -> str:
    """Return a table for the terminal, what is missing in it, how it was measured, and where."""
    return text(result, text_table(_table(result), names=2), METHOD)


REPORT = Report(as_text, as_markdown, as_document)


def _table(result: CompiledResult) -> list[list[str]]:
    lines = [["", "", "time", "ratio", "share", "first step"]]
    for workload, times in result.samples.items():
        for place, peer in enumerate(times):
            seconds, ratio = min(times[peer]), result.ratio(workload, peer)
            first_step = result.first_steps[workload].get(peer)
            lines.append(
                [
                    "" if place else workload,
                    peer,
                    seconds_with_unit(seconds),
                    "" if ratio is None else f"{short(ratio)} ×",
                    _share(workload, seconds),
                    "" if first_step is None else seconds_with_unit(first_step),
                ]
            )
    return lines


def _share(workload: str, seconds: float) -> str:
    """Return the time of each of the workload's parts."""
    if workload not in SHARES:
        return ""
    count, part = SHARES[workload]
    return f"{seconds_with_unit(seconds / count)} a {part}"
