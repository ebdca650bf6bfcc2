"""All optimisers take PyTorch's steps, and go on from a state as if they had never stopped.

What SGD does beyond that is in test_optim.py.
"""

import copy
import math
import pickle
import random
from collections.abc import Callable
from typing import Any

import microgradx as mgx
import numpy as np
import pytest
from microgradx import Value, optim
from microgradx.nn import MLP
from microgradx.optim import SGD, Adam, AdamW, Optimizer, RMSprop

pytestmark = pytest.mark.usefixtures("nodes_return_to_the_baseline")

Settings = dict[str, Any]

CASES: list[tuple[str, Settings]] = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "dampening": 0.25}),
    ("SGD", {"lr": 0.1, "dampening": 0.25, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.9}),
    ("RMSprop", {"lr": 0.05, "centered": True}),
    ("RMSprop", {"lr": 0.05, "centered": True, "momentum": 0.5, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.6), "eps": 1e-3}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.6), "amsgrad": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.5}),
    ("AdamW", {"lr": 0.1, "betas": (0.0, 0.6), "amsgrad": True, "weight_decay": 0}),
]

every_case = pytest.mark.parametrize(
    ("name", "settings"),
    [pytest.param(*case, marks=pytest.mark.verifies(f"optim.{case[0]}")) for case in CASES],
    ids=[f"{name}-{'-'.join(f'{k}={v}' for k, v in each.items())}" for name, each in CASES],
)


def random_numbers(count: int, seed: int) -> list[float]:
    generator = random.Random(seed)
    return [generator.gauss(0.0, 1.0) for _ in range(count)]


def optimiser_of(name: str, settings: Settings, params: list[Value]) -> Optimizer:
    made: Optimizer = getattr(optim, name)(params, **settings)
    return made


def take_steps(optimiser: Optimizer, first: int, count: int) -> None:
    for step in range(first, first + count):
        gradients = random_numbers(len(optimiser.params), seed=step + 1)
        for p, grad in zip(optimiser.params, gradients, strict=True):
            p.grad = grad
        optimiser.step()


def data_of(optimiser: Optimizer) -> list[float]:
    return [p.data for p in optimiser.params]


def new_params() -> list[Value]:
    return [Value(x) for x in random_numbers(12, seed=0)]


class Formula:
    """The formulas of the documentation, on arrays."""

    def __init__(self, name: str, settings: Settings) -> None:
        signature: Settings = {
            "SGD": {"lr": 1e-3, "momentum": 0, "dampening": 0, "nesterov": False},
            "RMSprop": {"lr": 1e-2, "alpha": 0.99, "momentum": 0, "centered": False},
            "Adam": {"lr": 1e-3, "betas": (0.9, 0.999), "amsgrad": False},
            "AdamW": {"lr": 1e-3, "betas": (0.9, 0.999), "amsgrad": False, "weight_decay": 1e-2},
        }
        self.name = name
        self.settings = {"weight_decay": 0, "eps": 1e-8} | signature[name] | settings
        self.v: Any = None
        self.m: Any = 0.0
        self.s: Any = 0.0
        self.largest: Any = 0.0
        self.steps = 0

    def __call__(self, p: Any, g: Any) -> Any:
        of = self.settings
        self.steps += 1
        if self.name == "AdamW":
            p = p - of["lr"] * of["weight_decay"] * p
        else:
            g = g + of["weight_decay"] * p
        if self.name == "SGD":
            self.v = g if self.v is None else of["momentum"] * self.v + (1 - of["dampening"]) * g
            change = g + of["momentum"] * self.v if of["nesterov"] else self.v
            return p - of["lr"] * (change if of["momentum"] else g)
        if self.name == "RMSprop":
            self.s = of["alpha"] * self.s + (1 - of["alpha"]) * g**2
            self.m = of["alpha"] * self.m + (1 - of["alpha"]) * g
            variance = self.s - self.m**2 if of["centered"] else self.s
            self.v = of["momentum"] * (self.v or 0) + g / (np.sqrt(variance) + of["eps"])
            return p - of["lr"] * self.v
        beta1, beta2 = of["betas"]
        self.m = beta1 * self.m + (1 - beta1) * g
        self.s = beta2 * self.s + (1 - beta2) * g**2
        self.largest = max(self.largest, self.s) if of["amsgrad"] else self.s
        root = np.sqrt(self.largest / (1 - beta2**self.steps))
        return p - of["lr"] * (self.m / (1 - beta1**self.steps)) / (root + of["eps"])


@pytest.mark.verifies(against="the documentation's formulas: 15 steps")
@every_case
def test_steps_are_those_of_the_documentation(name: str, settings: Settings) -> None:
    optimiser = optimiser_of(name, settings, new_params())
    expected = data_of(optimiser)
    formulas = [Formula(name, settings) for _ in expected]
    for step in range(15):
        gradients = random_numbers(len(expected), seed=step + 1)
        expected = [f(p, g) for f, p, g in zip(formulas, expected, gradients, strict=True)]
        take_steps(optimiser, step, 1)
        assert data_of(optimiser) == pytest.approx(expected, rel=1e-12, abs=1e-14)


@every_case
def test_a_state_is_all_there_is(name: str, settings: Settings) -> None:
    optimiser = optimiser_of(name, settings, new_params())
    take_steps(optimiser, 0, 4)
    state, data = optimiser.state_dict(), data_of(optimiser)
    take_steps(optimiser, 4, 4)
    twin = optimiser_of(name, {}, [Value(x) for x in data])
    twin.load_state_dict(state)
    take_steps(twin, 4, 4)
    assert data_of(twin) == data_of(optimiser)
    assert {key: state[key] for key in settings} == settings


@every_case
def test_copies_and_pickles_go_on(name: str, settings: Settings) -> None:
    optimiser = optimiser_of(name, settings, new_params())
    take_steps(optimiser, 0, 3)
    twins = [copy.deepcopy(optimiser), pickle.loads(pickle.dumps(optimiser))]
    take_steps(optimiser, 3, 3)
    for twin in twins:
        take_steps(twin, 3, 3)
        assert data_of(twin) == data_of(optimiser)


def test_settings_are_shown() -> None:
    optimiser = optim.RMSprop([Value(1.0)], lr=0.5)
    optimiser.lr = 0.25
    assert repr(optimiser) == (
        "RMSprop(lr=0.25, alpha=0.99, eps=1e-08, weight_decay=0.0, momentum=0.0, centered=False)"
    )


def test_a_state_is_a_copy() -> None:
    optimiser = Adam(new_params())
    take_steps(optimiser, 0, 1)
    state = optimiser.state_dict()
    before = state["exp_avg"].copy()
    take_steps(optimiser, 1, 1)
    assert (state["exp_avg"] == before).all()
    optimiser.load_state_dict(state)
    take_steps(optimiser, 1, 1)
    assert (state["exp_avg"] == before).all()


def test_a_fresh_state_forgets() -> None:
    optimiser = SGD(new_params(), 0.1, momentum=0.9)
    state = optimiser.state_dict()
    assert state["momentum_buffer"] is None
    take_steps(optimiser, 0, 1)
    optimiser.load_state_dict(state)
    assert optimiser.momentum_buffer is None


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam", "AdamW"])
def test_settings_may_be_assigned_between_steps(name: str) -> None:
    slow, fast = (optimiser_of(name, {"lr": 0.0}, new_params()) for _ in range(2))
    start = data_of(slow)
    take_steps(slow, 0, 2)
    assert data_of(slow) == start
    fast.lr = 0.5
    take_steps(fast, 0, 1)
    assert data_of(fast) != start


def without(state: Settings, name: str) -> Settings:
    return {key: value for key, value in state.items() if key != name}


BAD_STATES: dict[str, tuple[Callable[[Settings], Any], type[Exception], str]] = {
    "missing setting": (lambda s: without(s, "lr"), KeyError, "no entry 'lr'"),
    "missing memory": (lambda s: without(s, "exp_avg"), KeyError, "no entry 'exp_avg'"),
    "missing count": (lambda s: without(s, "steps"), KeyError, "no entry 'steps'"),
    "extra": (lambda s: s | {"momentum": 0.9}, KeyError, "'momentum', which Adam has not"),
    "too many": (lambda s: s | {"exp_avg": np.zeros(13)}, ValueError, r"\(12,\).*not \(13,\)"),
    "shape": (lambda s: s | {"exp_avg_sq": np.zeros((12, 1))}, ValueError, "'exp_avg_sq'"),
    "text": (lambda s: s | {"exp_avg": "abc"}, TypeError, r"state\['exp_avg'\] must be an array"),
    "complex": (lambda s: s | {"exp_avg": np.ones(12) * 1j}, TypeError, "an array of real numbers"),
    "steps": (lambda s: s | {"steps": "two"}, ValueError, r"state\['steps'\] must be a whole numb"),
    "negative steps": (lambda s: s | {"steps": -1}, ValueError, "must be a whole number from 0 on"),
    "setting": (lambda s: s | {"eps": math.nan}, ValueError, "eps must be 0 or positive, not nan"),
    "pair": (lambda s: s | {"betas": 0.9}, TypeError, "betas must be a pair of numbers, not 0.9"),
}


@pytest.mark.parametrize("which", BAD_STATES)
def test_bad_states(which: str) -> None:
    damage, error, message = BAD_STATES[which]
    optimiser, twin = Adam(new_params()), Adam(new_params())
    for each in (optimiser, twin):
        take_steps(each, 0, 2)
    with pytest.raises(error, match=message):
        optimiser.load_state_dict(damage(optimiser.state_dict() | {"lr": 100.0}))
    for each in (optimiser, twin):
        take_steps(each, 2, 2)
    assert data_of(optimiser) == data_of(twin)


BAD_SETTINGS: list[tuple[type[Optimizer], Settings, type[Exception], str]] = [
    (SGD, {"nesterov": True}, ValueError, "nesterov needs a momentum"),
    (SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, ValueError, "no dampening"),
    (SGD, {"dampening": -1}, ValueError, "dampening must be 0 or positive"),
    (RMSprop, {"alpha": -0.1}, ValueError, "alpha must be 0 or positive"),
    (RMSprop, {"eps": math.nan}, ValueError, "eps must be 0 or positive"),
    (RMSprop, {"momentum": "x"}, TypeError, "momentum must be a real number"),
    (Adam, {"betas": (1.0, 0.9)}, ValueError, r"betas\[0\] must be less than 1"),
    (Adam, {"betas": (0.9, -0.1)}, ValueError, r"betas\[1\] must be 0 or positive"),
    (Adam, {"betas": (0.9, None)}, TypeError, r"betas\[1\] must be a real number"),
    (AdamW, {"weight_decay": -1}, ValueError, "weight_decay must be 0 or positive"),
    (AdamW, {"lr": None}, TypeError, "lr must be a real number"),
    (Adam, {"betas": (0.9, 0.9, 0.9)}, TypeError, "betas must be a pair of numbers"),
    (SGD, {"momentum": 0.9, "nesterov": "False"}, TypeError, "nesterov must be True or False"),
    (Adam, {"amsgrad": 2}, TypeError, "amsgrad must be True or False"),
]


@pytest.mark.parametrize(("kind", "settings", "error", "message"), BAD_SETTINGS)
def test_bad_settings(kind: Any, settings: Settings, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        kind([Value(1.0)], **settings)


@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"])
def test_an_array_that_was_replaced(name: str) -> None:
    optimiser = Adam(new_params(), amsgrad=True)
    take_steps(optimiser, 0, 1)
    before = data_of(optimiser)
    setattr(optimiser, name, np.zeros(3))
    with pytest.raises(ValueError, match=f"{name} must be a vector with a number for each"):
        optimiser.step()
    assert data_of(optimiser) == before


def test_an_array_of_another_type() -> None:
    optimiser = Adam(new_params())
    take_steps(optimiser, 0, 1)
    optimiser.exp_avg = optimiser.exp_avg.astype(np.float32)  # type: ignore[union-attr]
    with pytest.raises(TypeError, match="incompatible function arguments"):
        optimiser.step()


def test_an_optimiser_made_in_a_trace() -> None:
    made: list[Optimizer] = []

    def function(x: Value) -> Value:
        made.append(SGD([x], 1.0))
        return x * 2

    with pytest.raises(mgx.TraceError, match="optimising a Value"):
        mgx.compile(function)(1.0)
    assert made == []


@pytest.mark.parametrize("name", ["RMSprop", "Adam", "AdamW"])
def test_what_is_not_finite_goes_through(name: str) -> None:
    params = [Value(1.0), Value(2.0)]
    optimiser = optimiser_of(name, {}, params)
    params[0].grad, params[1].grad = math.nan, 1.0
    optimiser.step()
    assert math.isnan(params[0].data)
    assert params[1].data < 2.0


@pytest.mark.parametrize("kind", [RMSprop, Adam, AdamW])
def test_networks_learn(kind: Any) -> None:
    random.seed(1)
    network = MLP(2, [8, 1], activation="tanh")
    optimiser = kind(network.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        outs: list[Any] = [network([a, b]) for a, b in ((0, 0), (0, 1), (1, 0), (1, 1))]
        loss: Any = sum((out - target) ** 2 for out, target in zip(outs, (0, 1, 1, 0), strict=True))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.data)
    assert losses[-1] < losses[0] / 20


@pytest.mark.verifies(against="PyTorch: 15 steps")
@every_case
def test_steps_are_those_of_torch(name: str, settings: Settings) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    optimiser = optimiser_of(name, settings, new_params())
    tensor = torch.tensor(data_of(optimiser), dtype=torch.float64, requires_grad=True)
    peer = getattr(torch.optim, name)([tensor], **settings)
    for step in range(15):
        tensor.grad = torch.tensor(random_numbers(12, seed=step + 1), dtype=torch.float64)
        peer.step()
        take_steps(optimiser, step, 1)
        assert data_of(optimiser) == pytest.approx(tensor.tolist(), rel=1e-12, abs=1e-14)
