"""Bytes that nodes take while they live, measured in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .engines import ENGINES, MICROGRADX, Engine
from .programs import moons_step


def bytes_allocated(engine: Engine, levels: int) -> float:
    """Return the bytes of a node, as microgradx's arena or tracemalloc for micrograd counts them.

    The nodes are a tree of additions with so many `levels`, of which only the root is held.
    """
    return _in_fresh_process(engine, "allocated", levels) / _nodes(levels)


def bytes_at_peak(engine: Engine, levels: int) -> float:
    """Return the most that the process grows in forward and backward, for each node."""
    return _in_fresh_process(engine, "peak", levels) / _nodes(levels)


def bytes_of_step(engine: Engine) -> float:
    """Return the most that the process grows in the first step of micrograd's demo."""
    return _in_fresh_process(engine, "step")


def peak_is_known() -> bool:
    """Return whether the system tells how much memory a process has used."""
    return _peak() is not None


def _in_fresh_process(engine: Engine, quantity: str, *numbers: int) -> int:
    return _run(_bytecode().name, engine, quantity, *numbers)


def _run(bytecode: str, engine: Engine, quantity: str, *numbers: int) -> int:
    result = subprocess.run(
        [sys.executable, "-m", __name__, engine.name, quantity, *map(str, numbers)],
        check=True,
        env=os.environ | {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""},
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return int(result.stdout)


@cache
def _bytecode() -> TemporaryDirectory[str]:
    """Return a folder with the modules compiled, which takes memory before all measurements."""
    folder = TemporaryDirectory()
    for engine in ENGINES:
        _run(folder.name, engine, "step")
    return folder


def _nodes(levels: int) -> int:
    return (1 << levels) - 1


def _tree(leaf: Any, levels: int) -> Any:
    return _tree(leaf, levels - 1) + _tree(leaf, levels - 1) if levels else leaf


def _measure_allocated(engine: Engine, levels: int) -> int:
    leaf = engine.Value(1.0)
    tracemalloc.start()
    before = _allocated(engine)
    root = _tree(leaf, levels)
    growth = _allocated(engine) - before
    del root
    return growth


def _allocated(engine: Engine) -> int:
    if engine == MICROGRADX:
        from microgradx import _core

        return int(_core.arena_counters()["bytes"])
    return tracemalloc.get_traced_memory()[0]


def _measure_peak(engine: Engine, levels: int) -> int:
    leaf = engine.Value(1.0)
    before = _peak() or 0
    _tree(leaf, levels).backward()
    return (_peak() or 0) - before


def _measure_step(engine: Engine) -> int:
    step = moons_step(engine)
    before = _peak() or 0
    step.run()
    return (_peak() or 0) - before


def _peak() -> int | None:
    """Return the largest resident size that this process has had, if the system tells."""
    try:
        # Linux counts the size of the parent process into what getrusage tells.
        status = Path("/proc/self/status").read_text()
        return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return None
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


if __name__ == "__main__":
    name, quantity, *numbers = sys.argv[1:]
    quantities: dict[str, Callable[..., int]] = {
        "allocated": _measure_allocated,
        "peak": _measure_peak,
        "step": _measure_step,
    }
    print(quantities[quantity](Engine(name), *map(int, numbers)))
