"""A process of its own for each engine, as its users run it, which times what it is told to."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from functools import lru_cache, partial
from types import TracebackType

from .engines import Engine
from .operations import FLOAT, STATEMENTS, float_product, operation
from .programs import CHAINS, PROGRAMS, with_deep_stack
from .timing import Task


class Worker:
    """A process that runs one engine and ends with the context, or with the process that began it.

    Parameters
    ----------
    engine
        What it runs.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # In a session of its own it is not interrupted by the terminal: who began it ends it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, engine.name],
            bufsize=0,
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
            raise ChildProcessError(f"{self.engine.name} failed in {benchmark!r}, as told above")
        return float(answer)


# Only the present benchmark's model lives: the collector would walk through the others' as well.
@lru_cache(maxsize=1)
def _task(benchmark: str, engine: Engine) -> Task:
    if benchmark == FLOAT:
        return float_product()
    if benchmark in STATEMENTS:
        return operation(benchmark, engine)
    return Task(PROGRAMS[benchmark](engine))


def _serve(engine: Engine) -> None:
    for line in sys.stdin:
        benchmark, collect, loops = json.loads(line)
        seconds = partial(_task(benchmark, engine).seconds, collect, loops)
        print(with_deep_stack(seconds) if benchmark in CHAINS else seconds(), flush=True)


if __name__ == "__main__":
    _serve(Engine(sys.argv[1]))
