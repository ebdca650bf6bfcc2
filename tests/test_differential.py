"""Random programs do on microgradx what they do on micrograd.

A program is a list of Python statements over a list of values, run on both engines statement by
statement. Numbers computed forward are the same to the last bit, int or float. Gradients are sums,
one term for each path through the graph, and the two engines may add these in different orders, so
they differ by a few roundings of the largest terms, however much of those cancels. The tolerance of
a gradient is therefore relative to the sum of its terms' absolute values, its magnitude.
"""

import gc
import math
import operator
import random
from typing import Any

import hypothesis
import pytest
from conftest import MICROGRAD, MICROGRADX, Engine, count_nodes
from graphs import Program, Step, match_nodes, operands_first
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("nodes_return_to_the_baseline")

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
    *("a._prev", "values.extend(follow(a, '+'))", "values.extend(follow(a, '*'))"),
    *("hook(a, calls)", "values.remove(a)"),
)


FINAL_STEP = Step("a.backward()", a=0, b=0, c=0)


def product(a: Any, b: Any) -> Any:
    """Multiply with an operation that the user defines."""
    out = type(a)(a.data * b.data, (a, b), "product")

    def backward() -> None:
        a.grad += b.data * out.grad
        b.grad += a.data * out.grad

    out._backward = backward
    return out


def new_program(engine: Engine, leaves: list[float]) -> Program:
    random.seed(0)
    neurons = [engine.nn.Neuron(2), engine.nn.Neuron(2, nonlin=False)]
    layer = engine.nn.Layer(2, 2)
    parameters = [p for network in (*neurons, layer) for p in network.parameters()]
    values = [engine.Value(number) for number in leaves] + parameters
    names = {"product": product, "neuron": neurons[0], "linear": neurons[1], "layer": layer}
    return Program(values, parameters, neurons, **names)


def error_of(program: Program, step: Step) -> type[Exception] | None:
    """Run a step and tell which exception it raised."""
    try:
        program.run(step)
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


def assert_same_numbers(expected: Any, actual: Any, magnitude: float) -> None:
    # repr tells ints from floats, 0.0 from -0.0, and any two floats apart.
    assert repr(actual.data) == repr(expected.data)
    if magnitude > LARGEST_INTEGER or not math.isfinite(magnitude):
        return
    assert type(actual.grad) is type(expected.grad)
    tolerance = RELATIVE_TOLERANCE * magnitude + SMALLEST_GRADIENT
    assert math.isclose(actual.grad, expected.grad, rel_tol=0, abs_tol=tolerance)


def run_on_both(leaves: list[float], steps: list[Step]) -> None:
    expected, actual = new_program(MICROGRAD, leaves), new_program(MICROGRADX, leaves)
    magnitudes = Magnitudes()
    for step in steps:
        if step.statement == "values.remove(a)" and len(expected.values) == 1:
            continue
        errors = magnitudes.follow(step, expected.value_at(step.a))
        error = error_of(expected, step)
        last = expected.values[-1].data
        hypothesis.assume(not isinstance(last, int) or abs(last) <= LARGEST_INTEGER)
        if isinstance(last, complex):
            del expected.values[-1]
            error = ValueError
        if errors:
            # Gradients are left as they were somewhere on the way, which differs.
            assert error_of(actual, step) in errors
            return
        assert error_of(actual, step) is error
        assert sorted(actual.calls) == sorted(expected.calls)
        for node, value in zip(expected.values, actual.values, strict=True):
            assert_same_numbers(node, value, magnitudes.get(node, 0.0))
    counterparts = match_nodes(expected.values, actual.values, operator.attrgetter("_op"))
    for node, value in counterparts.items():
        assert_same_numbers(node, value, magnitudes.get(node, 0.0))


numbers = st.integers(-3, 3) | st.floats(-3, 3)
positions = st.integers(0, 99)
steps = st.builds(Step, st.sampled_from(STATEMENTS), positions, positions, numbers)
programs = st.lists(steps, min_size=5, max_size=40).map(lambda steps: [*steps, FINAL_STEP])


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
