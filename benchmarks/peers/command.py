"""The command ``python -m microgradx bench --peers``."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import ExitStack
from functools import partial

from microgradx.demo import has_matplotlib, objection_to

from ..command import INTERRUPTED, USAGE_ERROR, announce
from ..timing import measure
from ..worker import Worker
from .contestants import PEERS
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
    try:
        result = measure_peers(quick)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    print({"text": as_text, "markdown": as_markdown, "json": as_json}[style](result))
    if plot is not None:
        from .plot import draw

        draw(result, plot)
    return 0


def measure_peers(quick: bool) -> Result:
    """Measure one workload after the other, saying on standard error which."""
    left_out: dict[str, str] = {}
    samples: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        workers = {}
        for peer in PEERS:
            if objection := peer.objection():
                left_out[peer.name] = objection
            else:
                worker = Worker(peer.name, f"{__package__}.worker")
                workers[peer] = stack.enter_context(worker)
        for workload in WORKLOADS:
            announce(workload)
            contestants = {
                peer.name: partial(worker.seconds, workload)
                for peer, worker in workers.items()
                if workload not in peer.lacks
            }
            samples[workload] = measure(
                contestants,
                collect=False,
                rounds=1 if quick else ROUNDS,
                span=0.001 if quick else SPAN,
            )
    return Result(samples, left_out)


def _objection_to_plot(path: str) -> str | None:
    if not has_matplotlib():
        return 'the plot needs matplotlib: pip install "microgradx[demo]"'
    objection = objection_to(path)
    return objection and f"--plot {path!r}: {objection}"
