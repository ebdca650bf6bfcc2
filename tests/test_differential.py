"""Random programs do on microgradx what they do on micrograd.

A program is a list of Python statements over a list of values, run on both engines statement by
statement. Numbers computed forward are the same to the last bit, int or float. Gradients are sums,
one term for each path through the graph, and the two engines may add these in different orders, so
they differ by a few roundings of the largest terms, however much of those cancels. The tolerance of
a gradient is therefore relative to the sum of its terms' absolute values, its magnitude.
"""

import gc
import graphlib
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import hypothesis
import microgradx
import pytest
from conftest import MICROGRAD, MICROGRADX, Engine
from hypothesis import strategies as st

RELATIVE_TOLERANCE = 1e-12
# Below this, floats lose digits on their own.
SMALLEST_GRADIENT = 1e-290
LARGEST_INTEGER = 2**53

EXPONENTS = (1, 2, 3, -1, -2, 2.0, 0.5, 1.5, -0.5)
EXPRESSIONS = (
    *("a + b", "a * b", "a - b", "a / b", "-a", "a.relu()"),
    *("a + c", "a * c", "a - c", "a / c", "c + a", "c * a", "c - a", "c / a"),
    *(f"a**{exponent}" for exponent in EXPONENTS),
    *("sum([a, b, a])", "product(a, b)"),
    *("neuron([a, b])", "neuron([c, a])", "linear([a, b])", "linear([a, c])"),
)
STATEMENTS = (
    *(f"values.append({expression})" for expression in EXPRESSIONS),
    "values.extend(layer([a, b]))",
    *("a.data = c", "a.grad = c", "a.backward()", "a._backward()"),
    # Look into the graph, and take hold of a node that the program has not named.
    *("a._prev", "values.extend(sole(a._prev, '+'))", "values.extend(sole(a._prev, '*'))"),
    *("hook(a, calls)", "values.remove(a)"),
)


@dataclass(frozen=True)
class Step:
    """A statement, where to find its values `a` and `b` in the list, and its number `c`."""

    statement: str
    a: int
    b: int
    c: float


FINAL_STEP = Step("a.backward()", a=-1, b=0, c=0)


def product(a: Any, b: Any) -> Any:
    """Multiply with an operation that the user defines."""
    out = type(a)(a.data * b.data, (a, b), "product")

    def backward() -> None:
        a.grad += b.data * out.grad
        b.grad += a.data * out.grad

    out._backward = backward
    return out


def hook(node: Any, calls: list[Any]) -> None:
    """Have the backward step of a node recorded."""
    original = node._backward

    def backward() -> None:
        calls.append(node)
        original()

    node._backward = backward


def sole(nodes: Iterable[Any], op: str) -> list[Any]:
    """List the one node with this operation, or none if there are several."""
    found = [node for node in nodes if node._op == op]
    return found if len(found) == 1 else []


class Program:
    """The state of a program on one of the engines."""

    def __init__(self, engine: Engine, leaves: list[float]) -> None:
        random.seed(0)
        networks = {
            "neuron": engine.nn.Neuron(2),
            "linear": engine.nn.Neuron(2, nonlin=False),
            "layer": engine.nn.Layer(2, 2),
        }
        parameters = [p for network in networks.values() for p in network.parameters()]
        self.values = [engine.Value(number) for number in leaves] + parameters
        self.calls: list[Any] = []  # of the hooks, by the last step
        own = {"values": self.values, "calls": self.calls}
        self.names = {**own, "product": product, "hook": hook, "sole": sole, **networks}

    def run(self, step: Step) -> type[Exception] | None:
        """Run a step and tell which exception it raised."""
        self.calls.clear()
        a, b = (self.values[position % len(self.values)] for position in (step.a, step.b))
        try:
            exec(step.statement, {**self.names, "a": a, "b": b, "c": step.c})
        except (ArithmeticError, ValueError) as error:
            return type(error)
        return None


class Magnitudes(dict[Any, float]):
    """The magnitudes of the gradients of micrograd's Values, kept up step by step."""

    def follow(self, step: Step, a: Any) -> set[type[Exception]]:
        """Follow a step that micrograd is about to take, and tell what the step may raise."""
        errors: set[type[Exception]] = set()
        if step.statement == "a.grad = c":
            self[a] = abs(step.c)
        elif step.statement == "a._backward()":
            errors = self._pass_on(a)
        elif step.statement == "a.backward()":
            self[a] = 1.0
            for node in reversed(operands_first(a)):
                errors |= self._pass_on(node)
        return errors

    def _pass_on(self, node: Any) -> set[type[Exception]]:
        family = {node, *node._prev}
        grads = {member: member.grad for member in family}
        for member in family:
            member.grad = 0.0
        node.grad = 1.0
        try:
            node._backward()
            derivatives = {operand: operand.grad for operand in node._prev}
        except ArithmeticError as error:
            return {type(error)}
        finally:
            for member, grad in grads.items():
                member.grad = grad
        if any(isinstance(derivative, complex) for derivative in derivatives.values()):
            return {ValueError}
        for operand, derivative in derivatives.items():
            self[operand] = self.get(operand, 0.0) + abs(derivative) * self.get(node, 0.0)
        return set()


def operands_first(root: Any) -> list[Any]:
    """List the nodes of a graph of micrograd's in topological order."""
    graph: dict[Any, set[Any]] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node not in graph:
            graph[node] = node._prev
            waiting.extend(node._prev)
    return list(graphlib.TopologicalSorter(graph).static_order())


def assert_same_numbers(expected: Any, actual: Any, magnitude: float) -> None:
    # repr tells ints from floats, 0.0 from -0.0, and any two floats apart.
    assert repr(actual.data) == repr(expected.data)
    if magnitude > LARGEST_INTEGER or not math.isfinite(magnitude):
        return
    assert type(actual.grad) is type(expected.grad)
    tolerance = RELATIVE_TOLERANCE * magnitude + SMALLEST_GRADIENT
    assert math.isclose(actual.grad, expected.grad, rel_tol=0, abs_tol=tolerance)


def assert_same_graphs(expected: list[Any], actual: list[Any], magnitudes: Magnitudes) -> None:
    """Walk both graphs from the values and check that they correspond node by node."""
    counterpart = dict(zip(expected, actual, strict=True))
    waiting = list(counterpart)
    while waiting:
        node = waiting.pop()
        assert counterpart[node]._op == node._op
        assert_same_numbers(node, counterpart[node], magnitudes.get(node, 0.0))
        named = {counterpart[operand] for operand in node._prev if operand in counterpart}
        assert named <= counterpart[node]._prev
        unnamed = [operand for operand in node._prev if operand not in counterpart]
        rest = list(counterpart[node]._prev - named)
        assert sorted(operand._op for operand in rest) == sorted(o._op for o in unnamed)
        # Operands that the program has forgotten are told apart by their operation, if at all.
        told_apart = [operand for operand in unnamed if sole(unnamed, operand._op)]
        counterpart.update((operand, sole(rest, operand._op)[0]) for operand in told_apart)
        waiting.extend(told_apart)
    assert len(set(counterpart.values())) == len(counterpart)


def run_on_both(leaves: list[float], steps: list[Step]) -> None:
    expected, actual = Program(MICROGRAD, leaves), Program(MICROGRADX, leaves)
    magnitudes = Magnitudes()
    for step in steps:
        if step.statement == "values.remove(a)" and len(expected.values) == 1:
            continue
        node = expected.values[step.a % len(expected.values)]
        errors = magnitudes.follow(step, node)
        error = expected.run(step)
        last = expected.values[-1].data
        hypothesis.assume(not isinstance(last, int) or abs(last) <= LARGEST_INTEGER)
        if isinstance(last, complex):
            del expected.values[-1]
            error = ValueError
        if errors:
            # Gradients are left as they were somewhere on the way, which differs.
            assert actual.run(step) in errors
            return
        assert actual.run(step) is error
        assert len(actual.calls) == len(expected.calls)
        for node, value in zip(expected.values, actual.values, strict=True):
            assert_same_numbers(node, value, magnitudes.get(node, 0.0))
    assert_same_graphs(expected.values, actual.values, magnitudes)


numbers = st.integers(-3, 3) | st.floats(-3, 3)
positions = st.integers(0, 99)
steps = st.builds(Step, st.sampled_from(STATEMENTS), positions, positions, numbers)
programs = st.lists(steps, min_size=5, max_size=40).map(lambda steps: [*steps, FINAL_STEP])


@pytest.fixture(scope="module", autouse=True)
def no_garbage_to_begin_with() -> None:
    gc.collect()


def count_nodes() -> int:
    nodes: int = microgradx._core.arena_counters()["nodes"]
    return nodes


@hypothesis.given(st.lists(numbers, min_size=1, max_size=4), programs)
def test_random_program(leaves: list[float], steps: list[Step]) -> None:
    baseline = count_nodes()
    try:
        run_on_both(leaves, steps)
    finally:
        # Only closures make cycles: without them nodes die with their names.
        if any(name in step.statement for step in steps for name in ("product", "hook")):
            gc.collect()
    assert count_nodes() == baseline


def train(engine: Engine, seed: int) -> list[float]:
    """Train a network on a few points as micrograd's demo does; return the losses."""
    random.seed(seed)
    points = [(random.uniform(-1, 1), random.uniform(-1, 1)) for _ in range(10)]
    labels = [1 if x * y > 0 else -1 for x, y in points]
    model = engine.nn.MLP(2, [4, 4, 1])
    losses = []
    for step in range(100):
        scores = [model([engine.Value(x), y]) for x, y in points]
        margins = [(1 + -label * score).relu() for label, score in zip(labels, scores, strict=True)]
        loss = sum(margins) / len(points) + 1e-4 * sum(p * p for p in model.parameters())
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= (1.0 - 0.9 * step / 100) * p.grad
        losses.append(loss.data)
    return losses


@pytest.mark.parametrize("seed", range(3))
def test_training_has_the_same_losses(seed: int) -> None:
    losses = train(MICROGRADX, seed)
    assert losses == pytest.approx(train(MICROGRAD, seed), rel=0, abs=1e-10)
    assert losses[-1] < losses[0] / 2
