"""The command ``python -m microgradx bench --compiled``."""

from __future__ import annotations

from ..command import announce, interruptible
from ..peers.command import measure_workload, processes
from ..peers.worker import FIRST_STEP
from .contest import FIRST_STEPS, PARTS
from .report import CompiledResult, as_json, as_markdown, as_text


def main(quick: bool = False, style: str = "text") -> int:
    """Measure compiled functions and their peers, print the result, and return the exit code.

    Parameters
    ----------
    quick
        Measure once: this shows that all runs, and is no measurement.
    style
        "text", "markdown" or "json".
    """
    render = {"text": as_text, "markdown": as_markdown, "json": as_json}[style]
    return interruptible(lambda: print(render(measure_compiled(quick))))


def measure_compiled(quick: bool) -> CompiledResult:
    """Measure one workload after the other, saying on standard error which."""
    samples: dict[str, dict[str, list[float]]] = {}
    first_steps: dict[str, dict[str, float]] = {}
    with processes(peer for peers in PARTS.values() for peer in peers) as (workers, left_out):
        for workload, peers in PARTS.items():
            announce(workload)
            present = {peer: workers[peer] for peer in peers if peer in workers}
            first_steps[workload] = {
                peer.name: worker.seconds(f"{FIRST_STEP}{workload}", False, 1)
                for peer, worker in present.items()
                if workload in FIRST_STEPS.get(peer, ())
            }
            samples[workload] = measure_workload(workload, present, quick)
    return CompiledResult(samples, left_out, first_steps)
