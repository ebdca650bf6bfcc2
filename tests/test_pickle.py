"""Leaves and models can be copied and pickled; computed Values say why they cannot."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from microgradx import Value
from microgradx.nn import MLP, Layer, Neuron


def through_pickle(protocol: int) -> Callable[[Any], Any]:
    return lambda value: pickle.loads(pickle.dumps(value, protocol))


WAYS: dict[str, Callable[[Any], Any]] = {"copy": copy.copy, "deepcopy": copy.deepcopy} | {
    f"protocol {protocol}": through_pickle(protocol)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
}

every_way = pytest.mark.parametrize("duplicate", WAYS.values(), ids=WAYS)
every_deep_way = pytest.mark.parametrize("duplicate", list(WAYS.values())[1:], ids=list(WAYS)[1:])


class Parameter(Value):
    """At module level, where pickle can find it."""

    def __init__(self, data: float, name: str) -> None:
        super().__init__(data)
        self.name = name


@every_way
@pytest.mark.parametrize("data", [2, 2.5, -0.0, float("inf"), 2**53])
def test_leaf(duplicate: Callable[[Any], Any], data: float) -> None:
    leaf = Value(data, label="x")
    leaf.grad = -1.5
    twin = duplicate(leaf)
    assert type(twin) is Value
    assert twin is not leaf
    assert repr(twin) == f"Value(data={data}, grad=-1.5)"
    assert twin.label == "x"
    twin.data = 7
    assert leaf.data == data


@every_way
def test_a_duplicate_is_a_leaf_like_any_other(duplicate: Callable[[Any], Any]) -> None:
    twin = duplicate(Value(3.0))
    (twin * twin).backward()
    assert (twin.grad, twin._prev, twin._op) == (6.0, set(), "")


@every_way
def test_attributes(duplicate: Callable[[Any], Any]) -> None:
    leaf = Value(1.0, (), "input")
    leaf.momentum = 0.5
    twin = duplicate(leaf)
    assert (twin.momentum, twin._op) == (0.5, "input")
    twin.momentum = 0.75
    assert leaf.momentum == 0.5


@every_way
def test_subclass(duplicate: Callable[[Any], Any]) -> None:
    twin = duplicate(Parameter(2.5, "rate"))
    assert type(twin) is Parameter
    assert (twin.data, twin.name) == (2.5, "rate")


@every_deep_way
def test_structure_is_kept(duplicate: Callable[[Any], Any]) -> None:
    leaf = Value(1.0)
    leaf.friends = [leaf, Value(2.0)]
    first, again = duplicate([leaf, leaf])
    assert first is again
    assert first.friends[0] is first
    assert first is not leaf


@every_deep_way
@pytest.mark.parametrize("activation", ["relu", "tanh", Value.sin])
def test_model(duplicate: Callable[[Any], Any], activation: Any) -> None:
    model = MLP(2, [3, 2], activation=activation)
    for i, p in enumerate(model.parameters()):
        p.grad = float(i)
        p.m = i / 2
    twin = duplicate(model)
    assert repr(twin) == repr(model)
    old, new = model.parameters(), twin.parameters()
    assert not set(old) & set(new)
    assert [(p.data, p.grad, p.m) for p in new] == [(p.data, p.grad, p.m) for p in old]
    assert [out.data for out in twin([0.5, -1.0])] == [out.data for out in model([0.5, -1.0])]
    sum(twin([0.5, -1.0])).backward()
    assert [p.grad for p in old] == [float(i) for i in range(len(old))]


@every_deep_way
def test_attributes_of_a_model(duplicate: Callable[[Any], Any]) -> None:
    neuron = Neuron(2)
    neuron.name = "first"  # type: ignore[attr-defined]
    neuron.b.label = "bias"
    twin = duplicate(neuron)
    assert (twin.name, twin.b.label) == ("first", "bias")


@every_way
@pytest.mark.parametrize("make", [lambda: Neuron(3, nonlin=False), lambda: Layer(2, 3)])
def test_parts_of_models(duplicate: Callable[[Any], Any], make: Callable[[], Any]) -> None:
    part = make()
    twin = duplicate(part)
    assert repr(twin) == repr(part)
    assert [p.data for p in twin.parameters()] == [p.data for p in part.parameters()]


@every_way
@pytest.mark.parametrize(
    "make", [lambda x: x * 2, lambda x: -x, lambda x: x.relu(), lambda x: Value(1.0, (x,), "own")]
)
def test_a_computed_value_refuses_and_says_what_to_do(
    duplicate: Callable[[Any], Any], make: Callable[[Value], Value]
) -> None:
    with pytest.raises(TypeError, match=r"computed .* copy the leaves and compute it again"):
        duplicate(make(Value(1.0)))


@every_deep_way
def test_a_computed_value_among_others_refuses(duplicate: Callable[[Any], Any]) -> None:
    model = Neuron(1)
    model.last = model([1.0])  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="computed"):
        duplicate(model)


@every_way
def test_a_leaf_with_a_closure_refuses(duplicate: Callable[[Any], Any]) -> None:
    leaf = Value(1.0)
    leaf._backward = lambda: None
    with pytest.raises(TypeError, match="_backward"):
        duplicate(leaf)
    del leaf._backward
    assert duplicate(leaf).data == 1.0


@pytest.mark.parametrize(
    "state", [None, 3, (), (1.0,), (1.0, 2.0, 3.0), ("a", 0, {}), (1, 0, {}, 4)]
)
def test_a_forged_state_is_refused(state: Any) -> None:
    with pytest.raises(TypeError):
        Value.__new__(Value).__setstate__(state)


def test_a_value_that_has_a_number_takes_no_state() -> None:
    value = Value(1.0)
    with pytest.raises(TypeError):
        value.__setstate__((2.0, 0, {}))
    assert value.data == 1.0


def test_nothing_is_left_behind(living_nodes: Callable[[], int]) -> None:
    before = living_nodes()
    model = MLP(2, [3, 1])
    for duplicate in WAYS.values():
        duplicate(model)
    del model
    assert living_nodes() == before
