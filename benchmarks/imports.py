"""Seconds that the import of an engine takes beyond NumPy's own."""

from __future__ import annotations

import subprocess
import sys

from .engines import Engine

PROGRAM = """
import time
import numpy
start = time.perf_counter()
import {0}.engine, {0}.nn
print(time.perf_counter() - start)
"""


def import_seconds(engine: Engine) -> float:
    """Return the time of one import in a fresh process that has NumPy already."""
    command = [sys.executable, "-c", PROGRAM.format(engine.name)]
    result = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    return float(result.stdout)
