"""Seconds that a statement takes, and contestants that take turns."""

from __future__ import annotations

import gc
import math
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Seconds = Callable[[bool, int], float]


@dataclass(frozen=True)
class Task:
    """A statement for timeit: a callable, or source text that runs after `setup`."""

    statement: str | Callable[[], object]
    setup: str = "pass"
    names: dict[str, Any] = field(default_factory=dict)

    def seconds(self, collect: bool, loops: int) -> float:
        """Return the seconds that the statement takes, the mean of so many `loops`.

        Parameters
        ----------
        collect
            Whether the cyclic garbage collector runs as it comes, or is off. Earlier garbage is
            collected before, outside the timed region, and an untimed run of the same follows.
        loops
            How often the statement runs in the timed region.
        """
        # timeit switches the collector off; its documentation has the setup switch it on again.
        setup = f"{self.setup}; import gc; gc.enable()" if collect else self.setup
        timer = timeit.Timer(self.statement, setup, globals=self.names)
        gc.collect()
        # The first run finds cold caches. And the collector is slower once it meets the remains of
        # earlier runs, as it does in any program that lasts, so that the first would flatter.
        _, seconds = timer.repeat(2, loops)
        return seconds / loops


def measure(
    contestants: Mapping[str, Seconds], *, collect: bool, rounds: int, span: float
) -> dict[str, list[float]]:
    """Time every contestant, one after the other in each round, so that noise meets them all.

    Parameters
    ----------
    contestants
        By name what measures as `Task.seconds` does.
    collect
        Whether the cyclic garbage collector is on.
    rounds
        Number of rounds.
    span
        Seconds that a measurement lasts, or one loop if it takes longer.

    Returns
    -------
    dict
        For each contestant the seconds that a loop took in each round.
    """
    loops = {name: _loops_to_fill(span, seconds) for name, seconds in contestants.items()}
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, seconds in contestants.items():
            samples[name].append(seconds(collect, loops[name]))
    return samples


def _loops_to_fill(span: float, seconds: Seconds) -> int:
    loops = 1
    # With the collector on a loop only takes longer.
    while (taken := seconds(False, loops) * loops) < span:
        loops *= 2
    return math.ceil(loops * span / taken)
