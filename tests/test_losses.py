"""Losses have PyTorch's values and gradients, also compiled, and are finite for huge logits."""

import math
import random
from collections.abc import Callable
from typing import Any

import microgradx as mgx
import numpy as np
import pytest
import scipy.special
from microgradx import Value, losses

pytestmark = pytest.mark.usefixtures("nodes_return_to_the_baseline")

REDUCTIONS = ["mean", "sum", "none"]


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def signs(*shape: int) -> Any:
    return np.sign(normal(*shape, seed=1))


def probabilities(*shape: int) -> Any:
    numbers = np.random.default_rng(2).random(shape)
    return numbers / numbers.sum(axis=-1, keepdims=True)


def classes(samples: int, count: int) -> Any:
    return np.random.default_rng(3).integers(0, count, samples)


def softmax(x: Any) -> Any:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def log_softmax(x: Any) -> Any:
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def binary_cross_entropy(x: Any, y: Any) -> Any:
    return np.maximum(x, 0) - x * y + np.log1p(np.exp(-abs(x)))


def cross_entropy(x: Any, y: Any, label_smoothing: float = 0.0) -> Any:
    if y.shape != x.shape:
        y = np.eye(x.shape[-1])[y]
    y = (1 - label_smoothing) * y + label_smoothing / x.shape[-1]
    return -(y * log_softmax(x)).sum(axis=-1)


# By name: the loss of every sample in NumPy; what PyTorch calls it; input, target and options.
Case = tuple[Callable[..., Any], str, Any, Any, dict[str, Any]]
CASES: dict[str, Case] = {
    "mse": (lambda x, y: (x - y) ** 2, "mse_loss", normal(5), signs(5), {}),
    "mse of a matrix": (lambda x, y: (x - y) ** 2, "mse_loss", normal(3, 2), signs(3, 2), {}),
    "hinge": (
        lambda x, y: np.maximum(0, 1 - x * y),
        "margin_ranking_loss",
        normal(9),
        signs(9),
        {},
    ),
    "binary_cross_entropy_with_logits": (
        binary_cross_entropy,
        "binary_cross_entropy_with_logits",
        np.array([0.0, 0.0, 1.5, -2.5, 40.0, -40.0, 1000.0, -1000.0, 30.0]),
        np.array([0.0, 1.0, 0.25, 1.0, 1.0, 0.0, 0.0, 1.0, 0.5]),
        {},
    ),
    "cross_entropy": (cross_entropy, "cross_entropy", normal(6, 4), classes(6, 4), {}),
    "cross_entropy of huge logits": (
        cross_entropy,
        "cross_entropy",
        np.array([[1000.0, -1000.0, 0.0], [-1000.0, -1000.0, -999.0], [1000.0, 1000.0, 1000.0]]),
        np.array([1, 0, 2]),
        {},
    ),
    "cross_entropy of probabilities": (
        cross_entropy,
        "cross_entropy",
        normal(6, 4),
        probabilities(6, 4),
        {},
    ),
    "cross_entropy smoothed": (
        cross_entropy,
        "cross_entropy",
        normal(6, 4),
        classes(6, 4),
        {"label_smoothing": 0.25},
    ),
    "cross_entropy of unequal weights smoothed": (
        cross_entropy,
        "cross_entropy",
        normal(2, 2),
        np.array([[0.2, 0.3], [0.5, 0.6]]),
        {"label_smoothing": 0.3},
    ),
    "cross_entropy of probabilities smoothed": (
        cross_entropy,
        "cross_entropy",
        normal(6, 4),
        probabilities(6, 4),
        {"label_smoothing": 0.25},
    ),
}

every_case = pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.verifies(f"losses.{case.split()[0]}")) for case in CASES],
)
every_softmax = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.verifies(f"losses.{name}"))
        for name in ("softmax", "log_softmax")
    ],
)
every_shape = pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)], ids=str)
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


def loss_of(case: str) -> Callable[..., Any]:
    loss: Callable[..., Any] = getattr(losses, case.split()[0])
    return loss


@pytest.mark.verifies(against="its formula in NumPy: values")
@every_reduction
@every_case
def test_values(case: str, reduction: str) -> None:
    formula, _, x, y, options = CASES[case]
    loss = loss_of(case)(mgx.values(x), y, reduction=reduction, **options)
    expected = formula(x, y, **options)
    if reduction != "none":
        expected = getattr(expected, reduction)()
    np.testing.assert_allclose(mgx.data(loss), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.verifies(against="finite differences of its formula in NumPy: gradients")
@every_case
def test_gradients_are_finite_differences(case: str) -> None:
    formula, _, x, y, options = CASES[case]
    logits = mgx.values(x)
    loss_of(case)(logits, y, **options).backward()
    step = 1e-4
    for place in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[place] += step
        below[place] -= step
        slope = (formula(above, y, **options) - formula(below, y, **options)).mean() / (2 * step)
        assert mgx.grads(logits)[place] == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.verifies(against="its own eager results, when compiled: values and gradients")
@every_case
def test_compiled(case: str) -> None:
    _, _, x, y, options = CASES[case]
    loss = loss_of(case)
    eager = loss(mgx.values(x), y, reduction="none", **options)
    compiled = mgx.compile(lambda x, y: loss(x, y, reduction="sum", **options))
    np.testing.assert_allclose(
        compiled.map(x, y), mgx.data(eager).reshape(len(x), -1).sum(axis=1), rtol=1e-12, atol=1e-15
    )
    inputs = mgx.values(x)
    loss(inputs, y, reduction="sum", **options).backward()
    _, (gradients, _) = compiled.map_value_and_grad(x, y.astype(float))
    np.testing.assert_allclose(gradients, mgx.grads(inputs), rtol=1e-9, atol=1e-13)


@pytest.mark.verifies(against="SciPy: values, also compiled")
@every_shape
@every_softmax
def test_softmax(name: str, shape: tuple[int, ...]) -> None:
    x = normal(*shape) * 10
    function, expected = getattr(losses, name), getattr(scipy.special, name)(x, axis=-1)
    np.testing.assert_allclose(mgx.data(function(mgx.values(x))), expected, rtol=1e-12, atol=1e-15)
    if len(shape) == 2:
        compiled = mgx.compile(function).map(x)
        np.testing.assert_allclose(compiled, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.verifies(against="finite differences of SciPy's values: gradients")
@every_softmax
def test_gradients_of_softmax_are_finite_differences(name: str) -> None:
    x, weights = normal(2, 3), normal(2, 3, seed=4)
    logits = mgx.values(x)
    mgx.dot(np.ravel(getattr(losses, name)(logits)).tolist(), weights.ravel()).backward()
    step = 1e-4
    for place in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[place] += step
        below[place] -= step
        changes = (getattr(scipy.special, name)(each, axis=-1) for each in (above, below))
        slope = np.subtract(*((weights * change).sum() for change in changes)) / (2 * step)
        assert mgx.grads(logits)[place] == pytest.approx(slope, rel=1e-6, abs=1e-8)


@every_softmax
def test_softmax_is_along_the_last_dimension(name: str) -> None:
    x = mgx.values(normal(2, 3))
    function = getattr(losses, name)
    assert np.array_equal(mgx.data(function(x, dim=-1)), mgx.data(function(x)))
    with pytest.raises(ValueError, match="dim must be -1, the innermost sequences, not 0"):
        function(x, dim=0)


def test_softmax_of_huge_logits() -> None:
    logits = mgx.values([1000.0, 999.0, -1000.0])
    (losses.softmax(logits)[0]).backward()
    p = 1 / (1 + math.exp(-1))
    np.testing.assert_allclose(mgx.grads(logits), [p * (1 - p), -p * (1 - p), 0.0], atol=1e-15)
    np.testing.assert_allclose(mgx.data(losses.log_softmax(logits))[2], math.log(p) - 2000)


def test_logits_that_are_large_beside_their_differences() -> None:
    assert losses.cross_entropy(mgx.values([1e16, 1e16]), 0).data == pytest.approx(math.log(2))
    found = mgx.data(losses.log_softmax(mgx.values([1e10, 1e10 + 1])))
    np.testing.assert_allclose(found, log_softmax(np.array([0.0, 1.0])), rtol=1e-15)


def test_numbers_among_the_logits() -> None:
    x = Value(3.0)
    np.testing.assert_allclose(mgx.data(losses.softmax([x, 0.0])), softmax(np.array([3.0, 0.0])))
    assert losses.cross_entropy([0.0, x], 1).data == pytest.approx(math.log1p(math.exp(-3)))


def test_large_differences() -> None:
    for reduction in REDUCTIONS:
        assert losses.mse(Value(1e200), 0.0, reduction=reduction).data == math.inf  # type: ignore[call-overload]


def test_no_samples() -> None:
    assert losses.cross_entropy([], [], reduction="sum").data == 0
    assert losses.cross_entropy([], [], reduction="none") == []
    with pytest.raises(ValueError, match="no losses, so they have no mean"):
        losses.cross_entropy(np.empty((0, 3)), [])


def test_infinitely_small_logits() -> None:
    logits = mgx.values([-math.inf, 0.0, 0.0])
    loss = losses.cross_entropy(logits, 1)
    assert loss.data == pytest.approx(math.log(2))
    loss.backward()
    assert mgx.grads(logits).tolist() == [0.0, -0.5, 0.5]


def test_one_number() -> None:
    x = Value(3.0)
    assert losses.mse(x, 1).data == 4.0
    assert losses.mse(x, Value(1), reduction="none").data == 4.0
    assert losses.hinge(x, -1).data == 4.0
    assert losses.cross_entropy([x, Value(3.0)], 0).data == pytest.approx(math.log(2))


def test_targets_may_be_values() -> None:
    x, y = Value(3.0), Value(1.0)
    losses.mse([x], [y]).backward()
    assert (x.grad, y.grad) == (4.0, -4.0)
    assert losses.cross_entropy([x, y], Value(1)).data == pytest.approx(math.log(1 + math.e**2))


@pytest.mark.parametrize("kind", [tuple, iter, np.array, lambda xs: (x for x in xs)])
def test_any_iterables(kind: Callable[[Any], Any]) -> None:
    assert losses.mse(kind(mgx.values([1.0, 4.0])), kind([1.0, 2.0])).data == 2.0
    assert losses.l2(kind(mgx.values([3.0, 4.0]))).data == 25.0


@pytest.mark.verifies("losses.l2", against="its formula: the value in NumPy, the gradient 2 p")
def test_l2() -> None:
    network = mgx.nn.MLP(3, [4, 1])
    params = network.parameters()
    losses.l2(params).backward()
    assert [p.grad for p in params] == [2 * p.data for p in params]
    assert losses.l2([]).data == 0
    assert losses.l2(mgx.values(normal(2, 3))).data == pytest.approx((normal(2, 3) ** 2).sum())


def test_graphs_are_small() -> None:
    """An operation a number, however many there are."""
    x = mgx.values(normal(100))
    before = mgx._core.arena_counters()["interior_nodes"]
    loss = losses.mse(x, signs(100))
    assert mgx._core.arena_counters()["interior_nodes"] - before <= 102
    assert loss.data > 0


BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "reduction": (lambda: losses.mse(Value(1.0), 1, reduction="x"), ValueError, "reduction must"),  # type: ignore[call-overload]
    "reduction of hinge": (lambda: losses.hinge([], [], reduction=""), ValueError, "reduction"),  # type: ignore[call-overload]
    "length": (lambda: losses.mse([Value(1.0)], [1, 2]), ValueError, "a list of 2 stand"),
    "depth": (lambda: losses.hinge([Value(1.0)], 1), ValueError, "one number stand for a list"),
    "nothing": (lambda: losses.mse([], []), ValueError, "no losses, so they have no mean"),
    "text": (lambda: losses.mse(["a"], ["b"]), TypeError, "input must consist of Values and num"),
    "target": (lambda: losses.mse([Value(1.0)], [None]), TypeError, "target must consist"),
    "complex": (lambda: losses.l2([1j]), TypeError, "parameters must consist .* not complex"),
    "no class": (lambda: losses.cross_entropy([], 0), ValueError, "at least one class"),
    "no logits": (lambda: losses.cross_entropy([[]], [0]), ValueError, "at least one class"),
    "single": (lambda: losses.cross_entropy(Value(1.0), 0), ValueError, "a sequence of logits"),
    "class": (lambda: losses.cross_entropy([Value(1.0)], 1), IndexError, "from 0 to 0, not 1"),
    "negative class": (lambda: losses.cross_entropy([Value(1.0)], -1), IndexError, "not -1"),
    "fraction": (lambda: losses.cross_entropy([Value(1.0)] * 2, 0.5), IndexError, "not 0.5"),
    "samples": (
        lambda: losses.cross_entropy([[Value(1.0)]] * 2, [0]),
        ValueError,
        "target must be a sequence of 2",
    ),
    "probabilities": (
        lambda: losses.cross_entropy([Value(1.0)] * 2, [1.0, 0.0, 0.0]),
        ValueError,
        "a class or 2 probabilities",
    ),
    "classes of one sample": (
        lambda: losses.cross_entropy([Value(1.0)] * 2, [[1], [0]]),
        ValueError,
        "a class or 2 probabilities",
    ),
    "depth of logits": (
        lambda: losses.cross_entropy([[[Value(1.0)]]], [0]),
        ValueError,
        "nested no deeper",
    ),
    "ragged logits": (
        lambda: losses.log_softmax([Value(1.0), [Value(1.0)]]),
        ValueError,
        "nested no deeper",
    ),
    "text as smoothing": (
        lambda: losses.cross_entropy([Value(1.0)], 0, label_smoothing="a"),  # type: ignore[call-overload]
        TypeError,
        "label_smoothing must be a number, not str",
    ),
    "smoothing": (
        lambda: losses.cross_entropy([Value(1.0)], 0, label_smoothing=2),
        ValueError,
        "label_smoothing must be from 0 to 1",
    ),
    "softmax of a number": (lambda: losses.softmax(Value(1.0)), ValueError, "a sequence of log"),
    "softmax of nothing": (lambda: losses.softmax([]), ValueError, "at least one class"),
}


@pytest.mark.parametrize("which", BAD)
def test_bad_arguments(which: str) -> None:
    function, error, message = BAD[which]
    with pytest.raises(error, match=message):
        function()


def test_a_network_learns_classes() -> None:
    random.seed(0)
    points = normal(60, 2)
    labels = (points[:, 0] * points[:, 1] > 0).astype(int) + (points[:, 0] > 1)
    network = mgx.nn.MLP(2, [12, 3], activation="tanh")
    loss = mgx.compile(lambda x, label: losses.cross_entropy(network(x), label))
    optimiser = mgx.optim.Adam(network.parameters(), lr=0.05)
    first = loss.mean(points, labels).data
    for _ in range(150):
        optimiser.zero_grad()
        loss.mean(points, labels).backward()
        optimiser.step()
    assert loss.mean(points, labels).data < first / 5


@pytest.mark.verifies(against="PyTorch: values and gradients")
@every_shape
@every_softmax
def test_softmax_is_torchs(name: str, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, weights = normal(*shape) * 10, normal(*shape, seed=4)
    tensor = torch.tensor(x, requires_grad=True)
    expected = getattr(torch, name)(tensor, dim=-1)
    (expected * torch.tensor(weights)).sum().backward()
    inputs = mgx.values(x)
    actual = getattr(losses, name)(inputs)
    np.testing.assert_allclose(mgx.data(actual), expected.detach(), rtol=1e-12, atol=1e-15)
    mgx.dot(np.ravel(actual).tolist(), weights.ravel()).backward()
    np.testing.assert_allclose(mgx.grads(inputs), tensor.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.verifies(against="PyTorch: values and gradients")
@every_reduction
@every_case
def test_torch(case: str, reduction: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    _, name, x, y, options = CASES[case]
    tensor = torch.tensor(x, requires_grad=True)
    operands = [tensor, torch.tensor(y)]
    if name == "margin_ranking_loss":  # of two scores, the other of which is 0 here
        operands.insert(1, torch.zeros_like(tensor))
        options = {"margin": 1.0}
    expected = getattr(torch.nn.functional, name)(*operands, reduction=reduction, **options)
    expected.sum().backward()
    inputs = mgx.values(x)
    actual = loss_of(case)(inputs, y, reduction=reduction, **CASES[case][-1])
    np.testing.assert_allclose(mgx.data(actual), expected.detach(), rtol=1e-12, atol=1e-15)
    nest = np.ravel(np.array(actual, dtype=object))
    mgx.sum(list(nest)).backward()
    np.testing.assert_allclose(mgx.grads(inputs), tensor.grad, rtol=1e-12, atol=1e-15)
