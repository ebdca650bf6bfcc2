"""The command ``python -m microgradx bench --peers``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from microgradx.demo import has_matplotlib, objection_to

from ..common import objection, refuse, tell
from ..terminal import announcing
from ..timing import measure
from ..worker import Worker
from .contestants import PEERS, Peer
from .plot import draw
from .report import REPORT, Result
from .workloads import WORKLOADS

ROUNDS = 25
SPAN = 0.02


def main(
    quick: bool = False, style: str = "text", output: str | None = None, plot: str | None = None
) -> int:
    """Measure all peers, tell the result, draw it if wanted, and return the exit code.

    Parameters
    ----------
    quick
        Measure once: this shows that all runs, and is no measurement.
    style
        What is printed: "text", "markdown" or "json".
    output
        The file that JSON is written to, if any.
    plot
        Where a picture of the result goes, if anywhere.
    """
    reason = objection("peers", output, sklearn="scikit-learn")
    if plot is not None and not reason:
        reason = _objection_to_plot(plot)
    if reason:
        return refuse(reason)
    picture = None if plot is None else partial(draw, path=plot)
    return tell(measure_peers(quick), REPORT, style, output, picture)


def measure_peers(quick: bool) -> Iterator[Result]:
    """Measure one workload after the other, giving all that was measured so far."""
    with processes(PEERS) as (workers, left_out), announcing(len(WORKLOADS)) as announce:
        result = Result({}, left_out)
        for workload in WORKLOADS:
            announce(workload)
            taking_part = {
                peer: worker for peer, worker in workers.items() if workload not in peer.lacks
            }
            result.samples[workload] = measure_workload(workload, taking_part, quick)
            yield result


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
