"""optim.SGD takes the steps of its documentation, which are PyTorch's, to the last bit."""

import copy
import math
import pickle
import random
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from conftest import MICROGRADX, Engine
from graphs import on_both
from microgradx import Value
from microgradx.nn import MLP, Layer
from microgradx.optim import SGD

pytestmark = pytest.mark.usefixtures("nodes_return_to_the_baseline")

SETTINGS = [
    *[(0.1, 0, 0), (0.1, 0.9, 0), (0.1, 0, 0.01), (0.05, 0.9, 0.01), (1, 1, 1), (0, 0.5, 0.5)],
    *[(0.3, 1e-300, 0), (0.3, 0, 1e-300), (3.0, 2.0, 4.0)],
]

every_setting = pytest.mark.parametrize(("lr", "momentum", "weight_decay"), SETTINGS)


class PlainSGD:
    """The same on floats."""

    def __init__(self, data: Iterable[float]) -> None:
        self.data = list(data)
        self.velocities = [0.0] * len(self.data)

    def step(self, grads: list[float], lr: float, momentum: float, weight_decay: float) -> None:
        for i, g in enumerate(grads):
            g = g + weight_decay * self.data[i]
            if momentum:
                g = self.velocities[i] = momentum * self.velocities[i] + g
            self.data[i] = self.data[i] - lr * g


def random_numbers(count: int, seed: int) -> list[float]:
    generator = random.Random(seed)
    return [generator.gauss(0.0, 1.0) for _ in range(count)]


def data_of(params: Iterable[Value]) -> list[str]:
    # repr tells ints from floats, 0.0 from -0.0, and any two floats apart.
    return [repr(p.data) for p in params]


def set_grads(params: Iterable[Value], grads: Iterable[float]) -> None:
    for p, grad in zip(params, grads, strict=True):
        p.grad = grad


@pytest.mark.verifies(
    "optim.SGD", against="the documentation's formulas: 20 steps, to the last bit"
)
@every_setting
def test_steps_are_those_of_the_documentation(
    lr: float, momentum: float, weight_decay: float
) -> None:
    params = [Value(x) for x in random_numbers(20, seed=0)]
    expected = PlainSGD(p.data for p in params)
    optimiser = SGD(params, lr, momentum, weight_decay)
    for step in range(20):
        grads = random_numbers(20, seed=step + 1)
        set_grads(params, grads)
        optimiser.step()
        expected.step(grads, lr, momentum, weight_decay)
        assert data_of(params) == list(map(repr, expected.data))
        assert [p.grad for p in params] == grads


def test_settings_may_be_assigned_between_steps() -> None:
    params = [Value(x) for x in random_numbers(5, seed=0)]
    expected = PlainSGD(p.data for p in params)
    optimiser = SGD(params, 1.0)
    for step, (lr, momentum, weight_decay) in enumerate(SETTINGS):
        optimiser.lr, optimiser.momentum, optimiser.weight_decay = lr, momentum, weight_decay
        set_grads(params, random_numbers(5, seed=step + 1))
        optimiser.step()
        expected.step([p.grad for p in params], lr, momentum, weight_decay)
        assert data_of(params) == list(map(repr, expected.data))


def exact_layer(engine: Engine) -> Any:
    layer = engine.nn.Layer(2, 3)
    for i, p in enumerate(layer.parameters()):
        p.data = (i % 5 - 2) * 0.5
    return layer


@pytest.mark.verifies(
    "optim.SGD", against="micrograd with a loop over the parameters: to the last bit"
)
def test_training_is_micrograds() -> None:
    """The numbers are exact, so that the graphs are the same to the last bit."""

    def program(engine: Engine) -> list[Any]:
        layer = exact_layer(engine)
        optimiser = SGD(layer.parameters(), 0.125) if engine is MICROGRADX else None
        losses = []
        for x in ([1.0, -0.5], [2, 1.5], [-0.5, 0.5]):
            outs = layer([engine.Value(number) for number in x])
            losses.append(sum(out * out for out in outs))
            if optimiser:
                optimiser.zero_grad()
                losses[-1].backward()
                optimiser.step()
            else:
                for p in layer.parameters():
                    p.grad = 0
                losses[-1].backward()
                for p in layer.parameters():
                    p.data -= 0.125 * p.grad
        return [*losses, *layer.parameters()]

    on_both(program)


@pytest.mark.verifies("optim.SGD", against="a loop over the parameters: 20 steps, to the last bit")
def test_training_is_that_of_a_loop() -> None:
    losses: list[list[str]] = []
    for with_optimiser in (True, False):
        random.seed(1337)
        network = MLP(2, [8, 8, 1], activation="tanh")
        optimiser = SGD(network.parameters(), lr=0.05)
        losses.append([])
        for _ in range(20):
            outs: list[Any] = [network([a, b]) for a, b in ((0.5, 1.0), (-1.0, 2.0), (1.5, -0.5))]
            loss: Any = sum(
                (out - target) ** 2 for out, target in zip(outs, (1, 0, 1), strict=True)
            )
            network.zero_grad()
            loss.backward()
            if with_optimiser:
                optimiser.step()
            else:
                for p in network.parameters():
                    p.data -= 0.05 * p.grad
            losses[-1].append(repr(loss.data))
    assert losses[0] == losses[1]
    assert float(losses[0][-1]) < float(losses[0][0]) / 10


def test_layer_called_after_a_step_uses_the_new_weights() -> None:
    layer = Layer(1, 2, nonlin=False)
    for p, number in zip(layer.parameters(), (1.0, 2.0, 3.0, 4.0), strict=True):
        p.data, p.grad = number, 1.0
    optimiser = SGD(layer.parameters(), 0.5)
    for step in range(3):
        outs: Any = layer([10.0])
        taken = 0.5 * step
        assert [out.data for out in outs] == [12.0 - 11 * taken, 34.0 - 11 * taken]
        optimiser.step()


def test_step_between_forward_and_backward() -> None:
    """The operands are read in the backward sweep, as by micrograd."""

    def program(engine: Engine) -> list[Any]:
        layer, x = exact_layer(engine), [engine.Value(1.5), engine.Value(2.0)]
        params = layer.parameters()
        for p in params:
            p.grad = 2.0
        outs = layer(x)
        if engine is MICROGRADX:
            SGD(params, 0.25).step()
        else:
            for p in params:
                p.data -= 0.25 * p.grad
        loss = sum(outs) * 2.0
        loss.backward()
        return [loss, *outs, *x, *params]

    on_both(program)


def test_step_in_the_middle_of_a_sweep() -> None:
    """What a callback assigns counts for the rest of the sweep."""

    def program(engine: Engine) -> list[Any]:
        layer, x = exact_layer(engine), [engine.Value(1.5), engine.Value(2.0)]
        params = layer.parameters()
        outs = layer(x)
        middle = sum(outs) * 2.0
        loss = sum(layer([middle, outs[0]])) * 0.5
        original = middle._backward

        def backward() -> None:
            original()
            if engine is MICROGRADX:
                optimiser = SGD(params, 0.25)
                optimiser.step()
                optimiser.zero_grad()
            else:
                for p in params:
                    p.data -= 0.25 * p.grad
                    p.grad = 0

        middle._backward = backward
        loss.backward()
        return [loss, middle, *outs, *x, *params]

    on_both(program)


def test_zero_grad() -> None:
    a, b, other = Value(1.0), Value(2), Value(3.0)
    set_grads([a, b, other], [1.5, 2, 3.5])
    SGD([a, b], 0.1).zero_grad()
    assert [repr(v) for v in (a, b, other)] == [
        "Value(data=1.0, grad=0)",
        "Value(data=2, grad=0)",
        "Value(data=3.0, grad=3.5)",
    ]


def test_zero_grad_keeps_the_momentum() -> None:
    p = Value(0.0)
    optimiser = SGD([p], 1.0, momentum=0.5)
    p.grad = 1.0
    for expected in (-1.0, -1.5, -1.75):
        optimiser.step()
        optimiser.zero_grad()
        assert p.data == expected


def take_step(optimiser: SGD, grad: float) -> None:
    set_grads(optimiser.params, [grad] * len(optimiser.params))
    optimiser.step()


@pytest.mark.parametrize("grad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_goes_through(grad: float) -> None:
    a, b = Value(1.0), Value(2.0)
    set_grads([a, b], [grad, 1.0])
    SGD([a, b], 0.5).step()
    assert repr(a.data) == repr(1.0 - 0.5 * grad)
    assert b.data == 1.5


@pytest.mark.parametrize("kind", [list, tuple, iter, dict.fromkeys, lambda ps: (p for p in ps)])
def test_any_iterable_of_parameters(kind: Callable[[list[Value]], Any]) -> None:
    params = [Value(1.0), Value(2.0)]
    optimiser = SGD(kind(params), 0.5)
    assert optimiser.params == params
    assert optimiser.params is not params
    take_step(optimiser, 1.0)
    take_step(optimiser, 1.0)
    assert [p.data for p in params] == [0.0, 1.0]


@pytest.mark.parametrize("lr", [np.float64(0.5), np.float32(0.5), Fraction(1, 2)], ids=repr)
def test_any_real_number_as_a_setting(lr: Any) -> None:
    p = Value(1.0)
    take_step(SGD([p], lr, lr, lr), 1.0)
    assert p.data == 1.0 - 0.5 * (1.0 + 0.5)


def test_any_values_as_parameters() -> None:
    class Special(Value):
        pass

    special, called, leaf = Special(2.0), Value(2.0), Value(1.0)
    called._backward = lambda: None
    computed = leaf * 2.0
    take_step(SGD([special, called, computed], 0.5), 1.0)
    assert [special.data, called.data, computed.data] == [1.5, 1.5, 1.5]
    assert computed._prev >= {leaf}


BAD_PARAMS: dict[str, tuple[type[Exception], str]] = {
    "v": (TypeError, "params must be an iterable of Values, not one Value"),
    "3": (TypeError, "params"),
    "None": (TypeError, "params"),
    "[v, 1.0]": (TypeError, "params must be Values, not float"),
    "[[v]]": (TypeError, "params must be Values, not list"),
    "'ab'": (TypeError, "params must be Values, not str"),
    "np.ones(2)": (TypeError, "params must be Values, not float64"),
    "[]": (ValueError, "params is empty"),
    "iter([])": (ValueError, "params is empty"),
    "[v, w, v]": (ValueError, "params names a parameter twice"),
}


@pytest.mark.parametrize("params", BAD_PARAMS)
def test_bad_parameters(params: str) -> None:
    error, message = BAD_PARAMS[params]
    with pytest.raises(error, match=message):
        SGD(eval(params, {"v": Value(1.0), "w": Value(2.0), "np": np}), 0.1)


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay"])
@pytest.mark.parametrize("setting", [-1, -0.1, -1e-300, -math.inf, math.nan])
def test_negative_settings(name: str, setting: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be 0 or positive, not {setting}"):
        SGD([Value(1.0)], **{"lr": 0.1, name: setting})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay"])
@pytest.mark.parametrize("setting", ["0.1", None, 1j, [0.1]], ids=repr)
def test_settings_that_are_no_numbers(name: str, setting: Any) -> None:
    with pytest.raises(TypeError, match=name):
        SGD([Value(1.0)], **{"lr": 0.1, name: setting})


def test_nothing_changes_after_an_error() -> None:
    params = [Value(1.0), Value(2.0)]
    optimiser = SGD(params, 0.5, momentum=0.5)
    set_grads(params, [1.0, 1.0])
    for lr in ("0.5", None):
        with pytest.raises(TypeError, match="lr must be a real number"):
            optimiser.lr = lr  # type: ignore[assignment]
    with pytest.raises(ValueError, match="lr must be 0 or positive, not nan"):
        optimiser.lr = math.nan
    assert data_of(params) == ["1.0", "2.0"]
    optimiser.step()
    assert data_of(params) == ["0.5", "1.5"]


def test_the_list_of_parameters_is_a_copy() -> None:
    params = [Value(1.0), Value(2.0)]
    optimiser = SGD(params, 0.5)
    params.append(Value(3.0))
    optimiser.params.append(Value(4.0))
    assert optimiser.params == params[:2]
    set_grads(params, [1.0, 1.0, 1.0])
    optimiser.step()
    assert data_of(params) == ["0.5", "1.5", "3.0"]


def through_pickle(protocol: int) -> Callable[[Any], Any]:
    return lambda value: pickle.loads(pickle.dumps(value, protocol))


WAYS: dict[str, Callable[[Any], Any]] = {"deepcopy": copy.deepcopy} | {
    f"protocol {protocol}": through_pickle(protocol)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
}


@pytest.mark.parametrize("duplicate", WAYS.values(), ids=WAYS)
def test_duplicate_goes_on_from_where_the_original_was(
    duplicate: Callable[[Any], Any],
) -> None:
    network = MLP(2, [2, 1])
    optimiser = SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    for grad in (1.0, -2.0, 0.5):
        take_step(optimiser, grad)
    twin_network, twin = duplicate((network, optimiser))
    assert all(
        p is q and p is not original
        for p, q, original in zip(
            twin.params, twin_network.parameters(), optimiser.params, strict=True
        )
    )
    before = data_of(optimiser.params)
    assert data_of(twin.params) == before
    for grad in (3.0, -1.0):
        take_step(twin, grad)
    assert data_of(optimiser.params) == before != data_of(twin.params)
    for grad in (3.0, -1.0):
        take_step(optimiser, grad)
    assert data_of(optimiser.params) == data_of(twin.params)
    assert (twin.lr, twin.momentum, twin.weight_decay) == (0.1, 0.9, 0.01)


def test_optimiser_of_computed_values_cannot_be_copied() -> None:
    with pytest.raises(TypeError, match="computed"):
        copy.deepcopy(SGD([Value(1.0) * 2.0], 0.1))


def test_many_parameters() -> None:
    params = [Value(float(i)) for i in range(100_000)]
    take_step(SGD(params, 0.5), 1.0)
    assert [p.data for p in params] == [i - 0.5 for i in range(100_000)]


@pytest.mark.verifies("optim.SGD", against="PyTorch: 20 steps, its gradients included")
@every_setting
def test_steps_are_those_of_torch(lr: float, momentum: float, weight_decay: float) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    start = random_numbers(20, seed=0)
    tensor = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    params = [Value(x) for x in start]
    optimisers = [
        torch.optim.SGD([tensor], lr=lr, momentum=momentum, weight_decay=weight_decay),
        SGD(params, lr=lr, momentum=momentum, weight_decay=weight_decay),
    ]
    for step in range(20):
        factors = random_numbers(20, seed=step + 1)
        for optimiser in optimisers:
            optimiser.zero_grad()
        (tensor * tensor * torch.tensor(factors, dtype=torch.float64)).sum().backward()
        for p, factor in zip(params, factors, strict=True):
            (p * p * factor).backward()
        for optimiser in optimisers:
            optimiser.step()
        assert [p.data for p in params] == pytest.approx(tensor.tolist(), rel=1e-12)
