"""The command ``python -m microgradx bench --compiled``."""

from __future__ import annotations

from collections.abc import Iterator

from ..common import objection, refuse, tell
from ..peers.command import measure_workload, processes
from ..peers.worker import FIRST_STEP
from ..terminal import announcing
from .contest import FIRST_STEPS, PARTS
from .report import REPORT, CompiledResult


def main(quick: bool = False, style: str = "text", output: str | None = None) -> int:
    """Measure compiled functions and their peers, tell the result, and return the exit code.

    Parameters
    ----------
    quick
        Measure once: this shows that all runs, and is no measurement.
    style
        What is printed: "text", "markdown" or "json".
    output
        The file that JSON is written to, if any.
    """
    if reason := objection("peers", output):
        return refuse(reason)
    return tell(measure_compiled(quick), REPORT, style, output)


def measure_compiled(quick: bool) -> Iterator[CompiledResult]:
    """Measure one workload after the other, giving all that was measured so far."""
    everybody = (peer for peers in PARTS.values() for peer in peers)
    with processes(everybody) as (workers, left_out), announcing(len(PARTS)) as announce:
        result = CompiledResult({}, left_out, {})
        for workload, peers in PARTS.items():
            announce(workload)
            present = {peer: workers[peer] for peer in peers if peer in workers}
            result.first_steps[workload] = {
                peer.name: worker.seconds(f"{FIRST_STEP}{workload}", False, 1)
                for peer, worker in present.items()
                if workload in FIRST_STEPS.get(peer, ())
            }
            result.samples[workload] = measure_workload(workload, present, quick)
            yield result
