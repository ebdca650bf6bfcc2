"""The command ``python -m microgradx bench``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from .common import objection, refuse, tell
from .engines import ENGINES, MICROGRAD, MICROGRADX, Engine
from .imports import import_seconds
from .memory import bytes_allocated, bytes_at_peak, bytes_of_step, peak_is_known
from .operations import FLOAT, STATEMENTS
from .programs import CHAINS, PROGRAMS
from .report import REPORT, Row
from .terminal import announcing
from .timing import measure
from .worker import Worker

OPERATION_ROUNDS = 15
PROGRAM_ROUNDS = 7
SLOW_ROUNDS = 3
SLOW_TO_COLLECT = ("moons step", "GPT step")


def main(quick: bool = False, style: str = "text", output: str | None = None) -> int:
    """Measure everything, tell the result, and return the exit code.

    Parameters
    ----------
    quick
        Measure small problems, each once: this shows that all runs, and is no measurement.
    style
        What is printed: "text", "markdown" or "json".
    output
        The file that JSON is written to, if any.
    """
    if reason := objection("bench", output, micrograd="micrograd"):
        return refuse(reason)
    return tell(measure_all(quick), REPORT, style, output)


def measure_all(quick: bool) -> Iterator[list[Row]]:
    """Measure one benchmark after the other, giving all the rows that there are so far."""
    short_chain, long_chain = CHAINS
    left_out = long_chain if quick else short_chain
    timed = (*STATEMENTS, *(program for program in PROGRAMS if program != left_out))
    quantities = _quantities(15 if quick else 18)
    rows = []
    with announcing(len(timed) + len(quantities) + 1) as announce:
        with Worker(MICROGRAD.name) as micrograd, Worker(MICROGRADX.name) as microgradx:
            for name in timed:
                announce(name)
                for collect in (True, False):
                    rows.append(_time(name, micrograd, microgradx, collect, quick))
                    yield rows
        for name, quantity in quantities.items():
            announce(name)
            bytes_of = {engine.name: [quantity(engine)] for engine in ENGINES}
            rows.append(Row(name, "B", True, bytes_of))
            yield rows
        announce("import")
        rows.append(_time_import(quick))
        yield rows


def _time(name: str, micrograd: Worker, microgradx: Worker, collect: bool, quick: bool) -> Row:
    contestants = {worker.name: partial(worker.seconds, name) for worker in (micrograd, microgradx)}
    if name in STATEMENTS:
        contestants[FLOAT] = partial(microgradx.seconds, FLOAT)
    rounds = 1 if quick else _rounds(name, collect)
    span = 0.001 if quick else 0.05
    return Row(name, "s", collect, measure(contestants, collect=collect, rounds=rounds, span=span))


def _rounds(benchmark: str, collect: bool) -> int:
    if benchmark in STATEMENTS:
        return OPERATION_ROUNDS
    return SLOW_ROUNDS if collect and benchmark in SLOW_TO_COLLECT else PROGRAM_ROUNDS


def _quantities(levels: int) -> dict[str, Callable[[Engine], float]]:
    """Return what is measured in bytes, by its name, with trees of so many levels."""
    quantities: dict[str, Callable[[Engine], float]] = {
        "memory of a node, allocated": partial(bytes_allocated, levels=levels)
    }
    if peak_is_known():
        quantities["memory of a node, peak"] = partial(bytes_at_peak, levels=levels)
        quantities["memory of a moons step, peak"] = bytes_of_step
    return quantities


def _time_import(quick: bool) -> Row:
    imports: dict[str, list[float]] = {engine.name: [] for engine in ENGINES}
    for _ in range(1 if quick else PROGRAM_ROUNDS):
        for engine in ENGINES:
            imports[engine.name].append(import_seconds(engine))
    return Row("import", "s", True, imports)
