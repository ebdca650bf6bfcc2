"""The times of the peers as a table for the terminal, as one in Markdown, or as JSON."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from statistics import median
from typing import Any

from ..common import Report
from ..report import environment, environment_line, markdown_table, seconds_with_unit, short
from ..terminal import text_table
from .contestants import EVERYBODY, MICROGRADX, PYTORCH, Peer

METHOD = """\
Each cell is a time and its ratio to {unit}'s. Everything computes in float64, on one thread, each
library in a process of its own, with Python's cyclic garbage collector off. The processes take
turns, round by round, one idle while the other measures; a time is the least of its rounds (here
{rounds}). All has run before, so that the timed region compiles nothing. From the same weights, all
find the same losses and parameters. Inside the timed region, which ends with the loss as a float:

  moons step             micrograd's demo, an MLP(2, [16, 16, 1]) on 100 points: forward, max-margin
                         loss with an L2 term, accuracy, zero_grad, backward, update. micrograd and
                         microgradx run the same program, which makes Values of the inputs at each
                         step; for the others the points are one batch, made once
  moons step, optimiser  the same with inputs and labels made once, without accuracy, the update by
                         optim.SGD in microgradx and PyTorch
  GPT step               examples/gpt.py on a name of 6 letters: forward, backward, Adam; scalar by
                         scalar in micrograd and microgradx, in the others the same model on
                         tensors, all positions at once
  digits epoch           an MLP(64, [32, 10]) on scikit-learn's 1,797 digits in 57 batches, made
                         once: for each forward, cross-entropy, zero_grad, backward, SGD;
                         microgradx computes digit by digit, the cross-entropy composed of Values

torch.compile gets the loss of a batch as one function, which has its backward pass compiled too,
and not the update. JAX compiles the whole step with its update. autograd's update is NumPy's.
"""


@dataclass(frozen=True)
class Result:
    """What was measured.

    Attributes
    ----------
    samples
        By workload and peer, the seconds in each round.
    left_out
        By peer, why it was not measured.
    """

    samples: dict[str, dict[str, list[float]]]
    left_out: dict[str, str]

    @property
    def unit(self) -> str:
        """Whose time is the unit of ratios: PyTorch's, or without it microgradx's."""
        return (PYTORCH if PYTORCH in self.peers else MICROGRADX).name

    def reference(self, workload: str) -> str:
        """Return whose time is the unit of a workload's ratios."""
        return self.unit

    def seconds(self, workload: str, peer: str) -> float | None:
        """Return the least of the rounds, or None if the peer has no part in it."""
        rounds = self.samples[workload].get(peer)
        return min(rounds) if rounds else None

    def ratio(self, workload: str, peer: str) -> float | None:
        """Return in how many times the time of the reference the peer is done."""
        seconds = self.seconds(workload, peer)
        reference = self.seconds(workload, self.reference(workload))
        return seconds / reference if seconds and reference else None

    @property
    def peers(self) -> list[Peer]:
        """Those that were measured."""
        names = {name for times in self.samples.values() for name in times}
        return [peer for peer in EVERYBODY if peer.name in names]

    @property
    def packages(self) -> list[str]:
        """What is installed for them, besides microgradx."""
        packages = dict.fromkeys(peer.package for peer in self.peers)
        return [package for package in packages if package != MICROGRADX.package]

    @property
    def remarks(self) -> list[str]:
        """Why some have no times."""
        left_out = [f"{name} is left out: {reason}." for name, reason in self.left_out.items()]
        lacking = [
            f"{peer.name} is left out of the {workload}: {reason}."
            for peer in self.peers
            for workload, reason in peer.lacks.items()
            if workload in self.samples
        ]
        return left_out + lacking

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All times."""
        return [
            {
                "workload": workload,
                "peer": peer,
                "minimum": min(rounds),
                "median": median(rounds),
                "ratio": self.ratio(workload, peer),
                "samples": rounds,
            }
            for workload, peers in self.samples.items()
            for peer, rounds in peers.items()
        ]


def as_document(result: Result) -> dict[str, Any]:
    """Return all that was measured, and where."""
    return {
        "environment": environment(*result.packages),
        "remarks": result.remarks,
        "rows": result.rows,
    }


def as_markdown(result: Result) -> str:
    """Return a table for the README, what is missing in it, and where it was measured."""
    return markdown(result, markdown_table(_table(result, "{} ({})")))


def as_text(result: Result) -> str:
    """Return a table for the terminal, what is missing in it, how it was measured, and where."""
    return text(result, text_table(_table(result, "{:>7}  {:>7}")), METHOD)


REPORT = Report(as_text, as_markdown, as_document)


def markdown(result: Result, table: str) -> str:
    """Return a table with what is missing in it, and where it was measured."""
    paragraphs = [table, " ".join(result.remarks), environment_line(*result.packages)]
    return "\n\n".join(filter(None, paragraphs))


def text(result: Result, table: str, method: str) -> str:
    """Return a table with what is missing in it, how it was measured, and where."""
    rounds = {len(rounds) for peers in result.samples.values() for rounds in peers.values()}
    paragraphs = [
        table,
        "\n".join(result.remarks),
        method.format(rounds=max(rounds), unit=result.unit).rstrip(),
        textwrap.fill(environment_line(*result.packages), 100),
    ]
    return "\n\n".join(filter(None, paragraphs))


def _table(result: Result, form: str) -> list[list[str]]:
    def cell(workload: str, peer: str) -> str:
        seconds, ratio = result.seconds(workload, peer), result.ratio(workload, peer)
        if seconds is None:
            return ""
        time = seconds_with_unit(seconds)
        return time if ratio is None else form.format(time, f"{short(ratio)} ×")

    body = [
        [peer.name, *(cell(workload, peer.name) for workload in result.samples)]
        for peer in result.peers
    ]
    return [["", *result.samples], *body]
