"""A process of its own for each contestant, as its users run it, which times what it is told to."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from types import TracebackType

from .engines import Engine
from .operations import FLOAT, STATEMENTS, float_product, operation
from .programs import CHAINS, PROGRAMS, with_deep_stack
from .timing import Seconds, Task

# What the linear algebra beneath NumPy and PyTorch looks at, and JAX, which counts processors so.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), "1"
)


class Worker:
    """A process on one thread that ends with the context, or with the process that began it.

    Parameters
    ----------
    name
        What it runs: an engine, or what else the module knows.
    module
        The module that serves there.
    """

    def __init__(self, name: str, module: str = __name__) -> None:
        self.name = name
        # In a session of its own it is not interrupted by the terminal: who began it ends it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, name],
            bufsize=0,
            env=os.environ | ONE_THREAD,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._process:
            self._process.kill()

    def seconds(self, benchmark: str, collect: bool, loops: int) -> float:
        """Return what `Task.seconds` measures there for the benchmark of that name.

        Raises
        ------
        ChildProcessError
            If the process failed; it has written its traceback to standard error.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):  # it has ended already
            self._process.stdin.write(json.dumps([benchmark, collect, loops]).encode() + b"\n")
        answer = self._process.stdout.readline()
        if not answer:
            raise ChildProcessError(f"{self.name} failed in {benchmark!r}, as told above")
        return float(answer)


def serve(seconds_of: Callable[[str], Seconds]) -> None:
    """Answer the process that began this one, until it ends."""
    for line in sys.stdin:
        benchmark, collect, loops = json.loads(line)
        print(seconds_of(benchmark)(collect, loops), flush=True)


# Only the present benchmark's model lives: the collector would walk through the others' as well.
@lru_cache(maxsize=1)
def _task(benchmark: str, engine: Engine) -> Task:
    if benchmark == FLOAT:
        return float_product()
    if benchmark in STATEMENTS:
        return operation(benchmark, engine)
    return Task(PROGRAMS[benchmark](engine))


def _seconds(engine: Engine, benchmark: str) -> Seconds:
    seconds = _task(benchmark, engine).seconds
    if benchmark not in CHAINS:
        return seconds
    return lambda collect, loops: with_deep_stack(partial(seconds, collect, loops))


if __name__ == "__main__":
    serve(partial(_seconds, Engine(sys.argv[1])))
