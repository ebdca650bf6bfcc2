"""Seconds a statement takes, the contestants by turns."""

from __future__ import annotations

import gc
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Task:
    """A statement for timeit: a callable, or source text that runs after `setup`."""

    statement: str | Callable[[], object]
    setup: str = "pass"
    names: dict[str, Any] = field(default_factory=dict)

    def timer(self, collect: bool) -> timeit.Timer:
        """Return a timer that runs with the cyclic garbage collector on or off."""
        # timeit switches the collector off; its documentation has the setup switch it on again.
        setup = f"{self.setup}; import gc; gc.enable()" if collect else self.setup
        return timeit.Timer(self.statement, setup, globals=self.names)


def measure(
    tasks: Mapping[str, Task], *, collect: bool, rounds: int, span: float
) -> dict[str, list[float]]:
    """Time every task, one after the other in each round, so that noise meets them all.

    Parameters
    ----------
    tasks
        The contestants by name.
    collect
        Whether the cyclic garbage collector runs as it comes, or is off. Garbage left by one
        measurement is collected before the next, outside the timed region; with the collector
        on, an untimed run of the same comes first.
    rounds
        Number of rounds.
    span
        Seconds that a measurement lasts at least; fast statements are looped to fill them.

    Returns
    -------
    dict
        For each task the seconds a statement took in each round.
    """
    timers = {name: task.timer(collect) for name, task in tasks.items()}
    loops = {name: _loops_to_fill(span, timer) for name, timer in timers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, timer in timers.items():
            gc.collect()
            # The collector is slower once it meets the remains of earlier runs, as it does in any
            # program that lasts, so that the first run after a collection would flatter.
            *_, last = timer.repeat(2 if collect else 1, loops[name])
            seconds[name].append(last / loops[name])
    return seconds


def _loops_to_fill(span: float, timer: timeit.Timer) -> int:
    loops = 1
    while timer.timeit(loops) < span:
        loops *= 2
        gc.collect()
    return loops
