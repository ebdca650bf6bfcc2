"""The command ``python -m microgradx bench``."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator

from .engines import ENGINES
from .imports import import_seconds
from .memory import bytes_allocated, bytes_at_peak, peak_is_known
from .operations import STATEMENTS, operation
from .programs import deep_chain, gpt_step, moons_step, readme_expression, with_deep_stack
from .report import Row, as_json, as_markdown, as_text
from .timing import Task, measure

INTERRUPTED = 130
USAGE_ERROR = 2


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
    try:
        rows = list(measure_all(quick))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    render = {"text": as_text, "markdown": as_markdown, "json": as_json}[style]
    print(render(rows))
    return 0


def measure_all(quick: bool) -> Iterator[Row]:
    """Measure one benchmark after the other, saying on standard error which."""
    rounds, span = (1, 0.001) if quick else (5, 0.05)

    def timed(name: str, tasks: dict[str, Task]) -> Iterator[Row]:
        _announce(name)
        for collect in (True, False):
            samples = measure(tasks, collect=collect, rounds=rounds, span=span)
            yield Row(name, "s", collect, samples)

    for statement in STATEMENTS:
        yield from timed(statement, operation(statement))

    programs = {
        "README expression": readme_expression,
        "moons step": moons_step,
        "GPT step": gpt_step,
    }
    for name, prepare in programs.items():
        yield from timed(name, {engine.name: Task(prepare(engine)) for engine in ENGINES})

    depth = 1_000 if quick else 10_000
    chains = {engine.name: Task(deep_chain(engine, depth)) for engine in ENGINES}
    yield from with_deep_stack(lambda: list(timed(f"chain of {depth:,} nodes", chains)))

    levels = 15 if quick else 18
    quantities = {"memory of a node, allocated": bytes_allocated}
    if peak_is_known():
        quantities["memory of a node, peak"] = bytes_at_peak
    for name, quantity in quantities.items():
        _announce(name)
        yield Row(name, "B", True, {engine.name: [quantity(engine, levels)] for engine in ENGINES})

    _announce("import")
    imports: dict[str, list[float]] = {engine.name: [] for engine in ENGINES}
    for _ in range(rounds):
        for engine in ENGINES:
            imports[engine.name].append(import_seconds(engine))
    yield Row("import", "s", True, imports)


def _announce(benchmark: str) -> None:
    print(f"measuring {benchmark}", file=sys.stderr, flush=True)
