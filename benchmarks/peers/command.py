"""The command ``python -m microgradx bench --peers``."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from microgradx.demo import has_matplotlib, objection_to

from ..command import USAGE_ERROR, announce, interruptible
from ..timing import measure
from ..worker import Worker
from .contestants import PEERS, Peer
from .report import Result, as_json, as_markdown, as_text
from .workloads import WORKLOADS

ROUNDS = 25
SPAN = 0.02


def main(quick: bool = False, style: str = "text", plot: str | None = None) -> int:
    """Measure all peers, print the result, draw it if wanted, and return the exit code.

    Parameters
    ----------
    quick
        Measure once: this shows that all runs, and is no measurement.
    style
        "text", "markdown" or "json".
    plot
        Where a picture of the result goes, if anywhere.
    """
    objection = None if plot is None else _objection_to_plot(plot)
    if importlib.util.find_spec("sklearn") is None:
        objection = 'scikit-learn is not installed: pip install "microgradx[peers]"'
    if objection:
        print(f"bench: {objection}", file=sys.stderr)
        return USAGE_ERROR

    def run() -> None:
        result = measure_peers(quick)
        print({"text": as_text, "markdown": as_markdown, "json": as_json}[style](result))
        if plot is not None:
            from .plot import draw

            draw(result, plot)

    return interruptible(run)


def measure_peers(quick: bool) -> Result:
    """Measure one workload after the other, saying on standard error which."""
    samples: dict[str, dict[str, list[float]]] = {}
    with processes(PEERS) as (workers, left_out):
        for workload in WORKLOADS:
            announce(workload)
            taking_part = {
                peer: worker for peer, worker in workers.items() if workload not in peer.lacks
            }
            samples[workload] = measure_workload(workload, taking_part, quick)
    return Result(samples, left_out)


@contextmanager
def processes(peers: Iterable[Peer]) -> Iterator[tuple[dict[Peer, Worker], dict[str, str]]]:
    """Start a process for each peer that can be used here; of the others tell the names and why."""
    workers: dict[Peer, Worker] = {}
    left_out: dict[str, str] = {}
    with ExitStack() as stack:
        for peer in dict.fromkeys(peers):
            if objection := peer.objection():
                left_out[peer.name] = objection
            else:
                worker = Worker(peer.name, f"{__package__}.worker")
                workers[peer] = stack.enter_context(worker)
        yield workers, left_out


def measure_workload(
    workload: str, workers: Mapping[Peer, Worker], quick: bool
) -> dict[str, list[float]]:
    """Return the seconds of each round, by the peers' names."""
    return measure(
        {peer.name: partial(worker.seconds, workload) for peer, worker in workers.items()},
        collect=False,
        rounds=1 if quick else ROUNDS,
        span=0.001 if quick else SPAN,
    )


def _objection_to_plot(path: str) -> str | None:
    if not has_matplotlib():
        return 'the plot needs matplotlib: pip install "microgradx[demo]"'
    objection = objection_to(path)
    return objection and f"--plot {path!r}: {objection}"
