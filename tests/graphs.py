"""What tests of graphs share: exact and odd numbers, ways through graphs, comparisons, programs.

The exact numbers are fractions of few binary digits, so that every sum and product of them is exact
and the same in whatever order it is computed: all numbers, gradients included, are compared to the
last bit, and ints are told from floats.
"""

import graphlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import hypothesis
import pytest
from conftest import MICROGRAD, MICROGRADX, Engine
from hypothesis import strategies as st

EXACT_BITS = 12  # products of numbers with so many bits before and after the point are exact
FRACTIONS = (-1.5, -1.0, -0.5, 0.5, 1.0, 2.0)


class OddReal(Fraction):
    """0.5, which counts its conversions and fails at the first if it has been given an error."""

    conversions = 0
    error: BaseException | None = None

    def __float__(self) -> float:
        self.conversions += 1
        if self.error is not None and self.conversions == 1:
            raise self.error
        return 0.5


class OddInteger:
    """3, which counts and fails as :class:`OddReal` does."""

    conversions = 0
    error: BaseException | None = None

    def __index__(self) -> int:
        self.conversions += 1
        if self.error is not None and self.conversions == 1:
            raise self.error
        return 3


ODD_NUMBERS: tuple[tuple[Callable[[], Any], float], ...] = (
    (lambda: OddReal(1, 2), 0.5),
    (OddInteger, 3),
)
ERRORS = (KeyboardInterrupt, MemoryError, ZeroDivisionError)


class Stranger:
    """No number, as it says when asked, but with operators of its own for a Value."""

    questions = 0

    def __index__(self) -> int:
        self.questions += 1
        raise TypeError("no integer")

    def __rmul__(self, other: Any) -> Any:
        return other * 10.0

    def __radd__(self, other: Any) -> Any:
        return other + 10.0

    def __mul__(self, other: Any) -> Any:
        return other * 10.0


def is_exact(number: float) -> bool:
    return abs(number) < 2**EXACT_BITS and float(number * 2**EXACT_BITS).is_integer()


def exact_layer(engine: Engine, nin: int, nout: int, *, nonlin: bool = False, seed: int = 0) -> Any:
    """Make a layer whose parameters are exact numbers."""
    generator = random.Random(seed)
    layer = engine.nn.Layer(nin, nout, nonlin=nonlin)
    for parameter in layer.parameters():
        parameter.data = generator.choice(FRACTIONS)
    return layer


def operands_first(*roots: Any) -> list[Any]:
    """List the nodes of the roots' graphs in a topological order."""
    graph: dict[Any, set[Any]] = {}
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node not in graph:
            graph[node] = node._prev
            waiting.extend(node._prev)
    return list(graphlib.TopologicalSorter(graph).static_order())


def follow(node: Any, path: str) -> list[Any]:
    """Go from operand to operand by their operations; list the last, or nothing if unclear."""
    for op in path:
        found = [operand for operand in node._prev if operand._op == op]
        if len(found) != 1:
            return []
        (node,) = found
    return [node]


def step_by_step(root: Any) -> None:
    """Do what backward() does, one node at a time."""
    root.grad = 1
    for node in reversed(operands_first(root)):
        node._backward()


def hook(node: Any, calls: list[str]) -> None:
    """Have the backward step of a node recorded."""
    original = node._backward

    def backward() -> None:
        calls.append(node._op)
        original()

    node._backward = backward


def change_data(values: Iterable[Any]) -> None:
    """Set the data to other exact numbers."""
    for value in values:
        value.data = value.data * 2 + 1


def sweep_after_failures(root: Any, failing: Any) -> None:
    """Have two sweeps end at a failing callback, and one succeed from gradients of 0."""

    def fail() -> None:
        raise KeyError("on purpose")

    original, failing._backward = failing._backward, fail
    for _ in range(2):
        with pytest.raises(KeyError):
            root.backward()
    failing._backward = original
    for node in operands_first(root):
        node.grad = 0
    root.backward()


def drop_in_random_order(nodes: list[Any], seed: int) -> None:
    """Drop one node after the other, and sweep from one that is left each time."""
    random.Random(seed).shuffle(nodes)
    while nodes:
        nodes.pop()
        if nodes:
            nodes[-1].backward()


# When the graph of a `loss`, which depends on `out`, is looked at and swept.
LOOKS = {
    "before": "operands_first(out); loss.backward()",
    "after": "loss.backward()",
    "between": "loss.backward(); operands_first(out); loss.backward()",
    "two sweeps": "loss.backward(); loss.backward()",
    "three sweeps": "loss.backward(); loss.backward(); loss.backward()",
    "by hand": "step_by_step(loss)",
    "sweep, then by hand": "loss.backward(); step_by_step(loss)",
    "by hand, then sweep": "step_by_step(loss); loss.backward()",
    "itself first": "out.backward(); loss.backward()",
}


def look_and_sweep(look: str, out: Any, loss: Any) -> None:
    """Do one of the LOOKS."""
    exec(LOOKS[look], {**globals(), "out": out, "loss": loss})


def numbers_of(node: Any) -> tuple[str, str, str]:
    """Tell a node's operation and numbers, to the last bit."""
    # repr tells ints from floats, 0.0 from -0.0, and any two floats apart.
    return node._op, repr(node.data), repr(node.grad)


def match_nodes(
    expected: Iterable[Any], actual: Iterable[Any], label: Callable[[Any], Any]
) -> dict[Any, Any]:
    """Walk both graphs from corresponding values and check that they are of the same shape.

    Nodes correspond if they have the same label and their operands correspond. Operands that are
    not among the values are told apart by their labels; those that are alike are not walked into.
    Returns the counterpart of each node.
    """
    counterpart = dict(zip(expected, actual, strict=True))
    waiting = list(counterpart)
    while waiting:
        node = waiting.pop()
        assert label(counterpart[node]) == label(node)
        known = {counterpart[operand] for operand in node._prev if operand in counterpart}
        assert known <= counterpart[node]._prev
        unknown = [operand for operand in node._prev if operand not in counterpart]
        rest = counterpart[node]._prev - known
        labels = Counter(map(label, unknown))
        assert Counter(map(label, rest)) == labels
        told_apart = [operand for operand in unknown if labels[label(operand)] == 1]
        labelled = {label(operand): operand for operand in rest}
        counterpart.update((operand, labelled[label(operand)]) for operand in told_apart)
        waiting.extend(told_apart)
    assert len(set(counterpart.values())) == len(counterpart)
    return counterpart


def assert_same_graphs(expected: Iterable[Any], actual: Iterable[Any]) -> None:
    """Check that the graphs behind corresponding values have the same numbers, to the last bit."""
    match_nodes(expected, actual, numbers_of)


def on_both(
    program: Callable[[Any], list[Any]], engines: tuple[Any, Any] = (MICROGRAD, MICROGRADX)
) -> None:
    """Check that the Values which the program returns are the same on both engines."""
    assert_same_graphs(*map(program, engines))


@dataclass(frozen=True)
class Step:
    """A random statement, where to find its values and neurons, and its number `c`."""

    statement: str
    a: int
    b: int
    c: float
    n: int = 0


def random_steps(statements: Sequence[str]) -> st.SearchStrategy[list[Step]]:
    """Draw steps with exact numbers."""
    positions = st.integers(0, 48)
    numbers = st.sampled_from((-1, 0, 1, 2, -0.5, 0.5, 1.5))
    steps = st.builds(Step, st.sampled_from(statements), positions, positions, numbers, positions)
    return st.lists(steps, min_size=5, max_size=25)


class Program:
    """The state of a random program on one of the engines.

    Its statements may use the given names, the functions of this module, the list `values` and two
    of it, `a` and `b`, two of the neurons, `n` and `m`, and a number, `c`.
    """

    def __init__(
        self, values: list[Any], parameters: list[Any], neurons: list[Any], **names: Any
    ) -> None:
        self.values = values
        self.neurons = neurons
        self.roots = [*parameters, *values]
        self.calls: list[str] = []  # of the hooks, by the last step
        self.names = {**globals(), "values": values, "calls": self.calls, **names}

    def value_at(self, position: int) -> Any:
        """Find a value; the newest are at small positions."""
        return self.values[-1 - position % len(self.values)]

    def run(self, step: Step) -> None:
        self.calls.clear()
        count = len(self.neurons)
        n, m = self.neurons[step.n % count], self.neurons[step.n // count % count]
        own = {"a": self.value_at(step.a), "b": self.value_at(step.b), "n": n, "m": m, "c": step.c}
        exec(step.statement, {**self.names, **own})

    def watched(self) -> list[Any]:
        """List the values that are compared after every step."""
        return self.values


def run_on_both(expected: Program, actual: Program, steps: list[Step]) -> None:
    """Run the steps on micrograd and on the engine; compare the values, and the graphs at last."""
    removals = ("values.remove", "values.pop", "del values")
    for step in steps:
        if len(expected.values) < 4 and step.statement.startswith(removals):
            continue
        expected.run(step)
        nodes = operands_first(*expected.watched())
        hypothesis.assume(all(is_exact(node.data) and is_exact(node.grad) for node in nodes))
        actual.run(step)
        # Neither asks for operands, so that fused nodes stay fused.
        assert [*map(numbers_of, actual.watched())] == [*map(numbers_of, expected.watched())]
        assert sorted(actual.calls) == sorted(expected.calls)
    assert_same_graphs(
        dict.fromkeys([*expected.roots, *expected.watched()]),
        dict.fromkeys([*actual.roots, *actual.watched()]),
    )
