"""What the tests share: the two engines, a count of living nodes, and processes of their own."""

import gc
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import hypothesis
import micrograd.engine
import micrograd.nn
import microgradx
import pytest

# So that a failed comparison tells the numbers.
pytest.register_assert_rewrite("graphs")

# A shell's background job ignores Ctrl-C, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# `pytest --hypothesis-profile thorough` looks longer; few are for tests that run once more under
# other conditions.
hypothesis.settings.register_profile("brief", deadline=None, max_examples=150)
hypothesis.settings.register_profile("few", deadline=None, max_examples=50)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=5000)
hypothesis.settings.load_profile("brief")


@dataclass(frozen=True)
class Engine:
    """An implementation of micrograd's API."""

    Value: Any
    nn: ModuleType


MICROGRAD = Engine(micrograd.engine.Value, micrograd.nn)
MICROGRADX = Engine(microgradx.Value, microgradx.nn)


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    """Have networks that a test does not seed itself start from the same weights."""
    random.seed(0)


@pytest.fixture(params=[MICROGRAD, MICROGRADX], ids=["micrograd", "microgradx"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Run the test on both engines: what it expects is then true of micrograd as well."""
    engine: Engine = request.param
    return engine


def count_nodes() -> int:
    """Count the nodes that are alive now, garbage included."""
    nodes: int = microgradx._core.arena_counters()["nodes"]
    return nodes


def count_living_nodes() -> int:
    """Count the nodes that are alive when all garbage has been collected."""
    gc.collect()
    return count_nodes()


@pytest.fixture
def living_nodes() -> Callable[[], int]:
    """Give a function that counts the nodes that are alive, garbage aside."""
    return count_living_nodes


@pytest.fixture
def nodes_return_to_the_baseline() -> Iterator[None]:
    """Check after a test that none of its nodes is left."""
    before = count_living_nodes()
    yield
    assert count_living_nodes() <= before  # less if what a failed test has left goes only now


@pytest.fixture
def micrograd_left_alone() -> Iterator[None]:
    """Take away what a program has added to micrograd's class."""
    before = set(vars(MICROGRAD.Value))
    yield
    for name in set(vars(MICROGRAD.Value)) - before:
        delattr(MICROGRAD.Value, name)


@pytest.fixture(autouse=True)
def _quick_collections(imported: set[int]) -> None:
    """Have the collector look at what tests make, and not at what has been imported."""
    if len(sys.modules) not in imported:
        imported.add(len(sys.modules))
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def imported() -> set[int]:
    """Give the numbers of modules after which everything has been set aside from the collector."""
    return set()


# What programs for `run_python` may begin with.
PREAMBLE = """
import fractions, gc, random, weakref
from microgradx import Value, _core
from microgradx.nn import MLP, Layer, Neuron

def living_nodes():
    for _ in range(3):
        gc.collect()
    return _core.arena_counters()["nodes"]

def attempt(function):
    try:
        return function()
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return None

"""


@pytest.fixture(scope="session")
def run_python() -> Callable[..., str]:
    """Give a function that runs a program in a process of its own and returns what it prints.

    For programs that could bring the process down or need one to themselves.
    """

    def run(program: str, *options: str) -> str:
        command = [sys.executable, "-W", "error", "-X", "faulthandler", *options]
        result = subprocess.run(
            [*command, "-c", textwrap.dedent(program)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, f"exit code {result.returncode}\n{result.stderr}"
        assert result.stderr == ""
        return result.stdout

    return run
