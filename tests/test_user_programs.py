"""What public programs written for micrograd do with it, small, and on both engines."""

import functools
import gc
import math
import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import Engine
from microgradx import Value


def test_optimiser_state_lives_on_the_parameters(engine: Engine) -> None:
    """Adam, with its moments as attributes."""
    random.seed(0)
    model = engine.nn.MLP(1, [4, 1])
    for p in model.parameters():
        p.m = p.v = 0.0
    losses = []
    for step in range(1, 60):
        loss = sum((model([x]) - x * x) ** 2 for x in (-1.0, -0.5, 0.5, 1.0))
        model.zero_grad()
        loss.backward()
        if step % 20 == 0:
            gc.collect()
        for p in model.parameters():
            p.m = 0.9 * p.m + 0.1 * p.grad
            p.v = 0.99 * p.v + 0.01 * p.grad**2
            p.data -= 0.05 * (p.m / (1 - 0.9**step)) / (math.sqrt(p.v / (1 - 0.99**step)) + 1e-8)
        losses.append(loss.data)
    assert losses[-1] < losses[0] / 10


def test_type_checks(engine: Engine) -> None:
    value = engine.Value(1.0)
    results = (value, value + 1, -value, value.relu())
    assert all(isinstance(x, (int, float, engine.Value)) for x in results)
    assert all(type(x) == engine.Value for x in results)  # noqa: E721
    assert all(x.__class__ is engine.Value for x in results)
    assert not isinstance(value, (int, float))


def test_values_as_keys_and_in_lists(engine: Engine) -> None:
    a, b = engine.Value(1.0), engine.Value(1.0)
    names = {a: "a", b: "b", a * b: "product"}
    assert (names[a], names[b], len(names)) == ("a", "b", 3)
    assert a in [b, a]
    assert a not in [b]
    assert [b, a].index(a) == 1


def test_topological_sort_by_the_user(engine: Engine) -> None:
    a, b = engine.Value(2.0), engine.Value(-3.0)
    root = (a * b + a).relu() - b / a
    order: list[Any] = []

    def visit(node: Any) -> None:
        if node not in order:
            for operand in node._prev:
                visit(operand)
            order.append(node)

    visit(root)
    root.grad = 1.0
    for node in reversed(order):
        node._backward()
    gradients = [a.grad, b.grad]
    a.grad = b.grad = 0
    again = (a * b + a).relu() - b / a
    again.backward()
    assert gradients == [a.grad, b.grad]


def test_children_as_a_list_of_many(engine: Engine) -> None:
    """A fused softmax, as programs with their own loss functions define it."""
    logits = [engine.Value(float(i)) for i in range(5)]
    exponentials = [math.exp(logit.data) for logit in logits]
    probabilities = [e / sum(exponentials) for e in exponentials]
    loss = engine.Value(-math.log(probabilities[2]), logits, "cross entropy")

    def backward() -> None:
        for i, (logit, probability) in enumerate(zip(logits, probabilities, strict=True)):
            logit.grad += (probability - (i == 2)) * loss.grad

    loss._backward = backward
    (loss * 2.0).backward()
    assert [logit.grad for logit in logits] == pytest.approx(
        [2 * (p - (i == 2)) for i, p in enumerate(probabilities)]
    )
    assert loss._prev == set(logits)


def test_operands_are_unpacked(engine: Engine) -> None:
    a, b = engine.Value(2.0), engine.Value(3.0)
    left, right = (a + b)._prev
    assert {left, right} == {a, b}
    (only,) = (a**2)._prev
    assert only is a


def test_gradients_of_intermediates_are_read_and_reset(engine: Engine) -> None:
    x = engine.Value(2.0)
    hidden = x * 3.0
    root = hidden * hidden
    root.backward()
    assert hidden.grad == 12.0
    for node in (x, hidden, root):
        node.grad = 0.0
    root.backward()
    assert (hidden.grad, x.grad) == (12.0, 36.0)


def test_data_is_assigned_after_construction(engine: Engine) -> None:
    """Dropout and clipping by hand."""
    x = engine.Value(2.0)
    activation = x * 3.0
    activation.data = 0.5
    (activation * activation).backward()
    assert (activation.grad, x.grad) == (1.0, 3.0)


def power(self: Any, other: Any) -> Any:
    """Raise to a power that may be a Value, which micrograd lacks."""
    other = other if isinstance(other, type(self)) else type(self)(other)
    out = type(self)(self.data**other.data, (self, other), "pow")

    def backward() -> None:
        self.grad += other.data * self.data ** (other.data - 1) * out.grad
        other.grad += out.data * math.log(self.data) * out.grad

    out._backward = backward
    return out


def logarithm(self: Any) -> Any:
    out = type(self)(math.log(self.data), (self,), "ln")

    def backward() -> None:
        self.grad += 1 / self.data * out.grad

    out._backward = backward
    return out


def exponential(self: Any) -> Any:
    out = type(self)(math.exp(self.data), (self,), "e")

    def backward() -> None:
        self.grad += out.data * out.grad

    out._backward = backward
    return out


def test_operations_replaced_on_the_class(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, function in (("__pow__", power), ("log", logarithm), ("exp", exponential)):
        monkeypatch.setattr(engine.Value, name, function, raising=False)
    x, y = engine.Value(2.0), engine.Value(3.0)
    root = (x**y).log() + (x / y).exp()
    root.backward()
    ratio = math.exp(2 / 3)
    assert root.data == pytest.approx(3 * math.log(2) + ratio)
    assert x.grad == pytest.approx(3 / 2 + ratio / 3)
    assert y.grad == pytest.approx(math.log(2) - ratio * 2 / 9)
    assert {"ln", "e"} == {node._op for node in root._prev}


def test_equality_replaced_on_the_class(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        engine.Value,
        "__eq__",
        lambda self, other: self.data == (other.data if hasattr(other, "data") else other),
    )
    monkeypatch.setattr(engine.Value, "__hash__", lambda self: id(self))
    x = engine.Value(2.0)
    assert x == 2
    assert engine.Value(2.0) in [engine.Value(1.0), x]
    (x * x).backward()
    assert x.grad == 4.0


def test_total_ordering(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("__lt__", "__le__", "__gt__", "__ge__"):
        monkeypatch.setattr(engine.Value, name, getattr(engine.Value, name))
    engine.Value.__lt__ = lambda self, other: self.data < other.data
    assert functools.total_ordering(engine.Value) is engine.Value
    values = [engine.Value(data) for data in (3.0, -1.0, 2.0)]
    assert [value.data for value in sorted(values)] == [-1.0, 2.0, 3.0]
    assert max(values) is values[0]


def test_total_ordering_of_what_is_ordered_already() -> None:
    assert functools.total_ordering(Value) is Value
    assert Value(1.0) < Value(2.0)


def test_numpy_over_object_arrays(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine.Value is not Value:  # such programs add these to micrograd
        monkeypatch.setattr(engine.Value, "exp", exponential, raising=False)
        for name in ("__gt__", "__ge__", "__lt__", "__le__"):
            compare = functools.partial(
                lambda self, other, name: getattr(self.data, name)(other.data), name=name
            )
            monkeypatch.setattr(
                engine.Value, name, lambda self, other, compare=compare: compare(self, other)
            )
    logits = np.array([[engine.Value(1.0), engine.Value(3.0)], [engine.Value(0.5)] * 2])
    assert np.max(logits) is logits[0, 1]
    shifted = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    softmax = shifted / np.sum(shifted, axis=1, keepdims=True)
    assert softmax[0, 1].data == pytest.approx(1 / (1 + math.exp(-2)))
    stacked = np.dstack([softmax, logits])
    assert stacked.shape == (2, 2, 2)
    np.sum(stacked).backward()
    assert logits[0, 0].grad == pytest.approx(1.0)


def test_walks_over_the_weights(engine: Engine) -> None:
    model = engine.nn.MLP(2, [3, 1])
    total: Any = 0
    for i in range(len(model.layers)):
        for j in range(len(model.layers[i].neurons)):
            neuron = model.layers[i].neurons[j]
            for k in range(len(neuron.w)):
                neuron.w[k].data = i + j + k
                total += neuron.w[k]
            neuron.b = engine.Value(0.5)
    total.backward()
    assert total.data == (0 + 1) + (1 + 2) + (2 + 3) + (1 + 2 + 3)
    assert all(w.grad == 1 for layer in model.layers for n in layer.neurons for w in n.w)
    assert model([0.0, 0.0]).data == 0.5 * (1 + 2 + 3) + 0.5


def test_a_chain_of_sample_graphs_is_never_differentiated(
    engine: Engine, living_nodes: Callable[[], int]
) -> None:
    """A running loss over many samples, which holds all of their graphs until it is dropped."""
    before = living_nodes()
    model = engine.nn.MLP(2, [4, 1])
    running = engine.Value(0)
    for i in range(300):
        running += (model([i / 300, 1.0]) - 1.0) ** 2
    assert running.data > 0
    del running, model
    assert living_nodes() == before


def test_a_deep_graph_needs_no_recursion_limit(living_nodes: Callable[[], int]) -> None:
    before = living_nodes()
    limit = sys.getrecursionlimit()
    x = Value(1.0)
    out = x
    for _ in range(20 * limit):
        out = out * 1.0 + 0.0
    out.backward()
    assert x.grad == 1.0
    depth = 0
    while out._prev:
        out = max(out._prev, key=lambda node: len(node._prev))
        depth += 1
    assert depth == 40 * limit
    del x, out
    assert living_nodes() == before


def test_raising_the_recursion_limit_does_no_harm(engine: Engine) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 5000))
    try:
        x = engine.Value(1.0)
        sum(x * i for i in range(500)).backward()
        assert x.grad == sum(range(500))
    finally:
        sys.setrecursionlimit(limit)


def test_gradient_checking_by_finite_differences(engine: Engine) -> None:
    """Change a parameter's data, compute anew, and compare."""
    random.seed(1)
    model = engine.nn.MLP(2, [3, 1])

    def loss() -> Any:
        return (model([0.3, -0.7]) - 1.0) ** 2

    loss().backward()
    for p in model.parameters():
        original = p.data
        p.data = original + 1e-6
        above = loss().data
        p.data = original - 1e-6
        below = loss().data
        p.data = original
        assert p.grad == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-7)


def test_parameters_shared_between_models(engine: Engine) -> None:
    first, second = engine.nn.Neuron(2, False), engine.nn.Neuron(2, False)
    second.w = first.w
    (first([1.0, 2.0]) * second([3.0, 4.0])).backward()
    a, b = (w.data for w in first.w)
    assert first.w[0].grad == pytest.approx((3 * a + 4 * b) + 3 * (a + 2 * b))


def test_mini_batches_with_numpy_labels(engine: Engine) -> None:
    """micrograd's own demo multiplies NumPy's ints by Values."""
    random.seed(2)
    model = engine.nn.MLP(2, [4, 1])
    points = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.5]])
    labels = np.array([1, -1, 1])
    inputs = [list(map(engine.Value, row)) for row in points]
    scores = list(map(model, inputs))
    losses = [(1 + -y * score).relu() for y, score in zip(labels, scores, strict=True)]
    loss = sum(losses) * (1.0 / len(losses))
    loss.backward()
    accuracy = [(y > 0) == (score.data > 0) for y, score in zip(labels, scores, strict=True)]
    assert 0 <= sum(accuracy) / len(accuracy) <= 1
    assert any(p.grad != 0 for p in model.parameters())
    assert isinstance(loss, engine.Value)


def test_a_generator_of_values_is_summed(engine: Engine) -> None:
    values = [engine.Value(float(i)) for i in range(10)]
    total = sum((value * value for value in values), engine.Value(1.0))
    total.backward()
    assert total.data == 286.0
    assert [value.grad for value in values] == [2.0 * i for i in range(10)]
