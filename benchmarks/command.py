"""The command ``python -m microgradx bench``."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import partial

from .engines import ENGINES, MICROGRAD, MICROGRADX, Engine
from .imports import import_seconds
from .memory import bytes_allocated, bytes_at_peak, bytes_of_step, peak_is_known
from .operations import FLOAT, STATEMENTS
from .programs import CHAINS, PROGRAMS
from .report import Row, as_json, as_markdown, as_text
from .timing import measure
from .worker import Worker

INTERRUPTED = 130
USAGE_ERROR = 2

OPERATION_ROUNDS = 15
PROGRAM_ROUNDS = 7
SLOW_ROUNDS = 3
SLOW_TO_COLLECT = ("moons step", "GPT step")


def main(quick: bool = False, style: str = "text") -> int:
    """Measure everything, print the result, and return the exit code.

    Parameters
    ----------
    quick
        Measure small problems, each once: this shows that all runs, and is no measurement.
    style
        "text", "markdown" or "json".
    """
    if importlib.util.find_spec("micrograd") is None:
        print('bench: micrograd is not installed: pip install "microgradx[bench]"', file=sys.stderr)
        return USAGE_ERROR
    render = {"text": as_text, "markdown": as_markdown, "json": as_json}[style]
    return interruptible(lambda: print(render(list(measure_all(quick)))))


def interruptible(run: Callable[[], object]) -> int:
    """Call a function and return the exit code, also if it is interrupted."""
    try:
        run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def measure_all(quick: bool) -> Iterator[Row]:
    """Measure one benchmark after the other, saying on standard error which."""
    span = 0.001 if quick else 0.05
    short_chain, long_chain = CHAINS
    left_out = long_chain if quick else short_chain
    with Worker(MICROGRAD.name) as micrograd, Worker(MICROGRADX.name) as microgradx:
        for name in (*STATEMENTS, *(program for program in PROGRAMS if program != left_out)):
            announce(name)
            contestants = {
                worker.name: partial(worker.seconds, name) for worker in (micrograd, microgradx)
            }
            if name in STATEMENTS:
                contestants[FLOAT] = partial(microgradx.seconds, FLOAT)
            for collect in (True, False):
                rounds = 1 if quick else _rounds(name, collect)
                samples = measure(contestants, collect=collect, rounds=rounds, span=span)
                yield Row(name, "s", collect, samples)

    levels = 15 if quick else 18
    quantities: dict[str, Callable[[Engine], float]] = {
        "memory of a node, allocated": partial(bytes_allocated, levels=levels)
    }
    if peak_is_known():
        quantities["memory of a node, peak"] = partial(bytes_at_peak, levels=levels)
        quantities["memory of a moons step, peak"] = bytes_of_step
    for name, quantity in quantities.items():
        announce(name)
        yield Row(name, "B", True, {engine.name: [quantity(engine)] for engine in ENGINES})

    announce("import")
    imports: dict[str, list[float]] = {engine.name: [] for engine in ENGINES}
    for _ in range(1 if quick else PROGRAM_ROUNDS):
        for engine in ENGINES:
            imports[engine.name].append(import_seconds(engine))
    yield Row("import", "s", True, imports)


def announce(benchmark: str) -> None:
    """Say on standard error what is measured now."""
    print(f"measuring {benchmark}", file=sys.stderr, flush=True)


def _rounds(benchmark: str, collect: bool) -> int:
    if benchmark in STATEMENTS:
        return OPERATION_ROUNDS
    return SLOW_ROUNDS if collect and benchmark in SLOW_TO_COLLECT else PROGRAM_ROUNDS
