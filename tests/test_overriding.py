"""Subclasses of Value and Neuron, and methods and operators replaced on the class."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
from conftest import MICROGRAD, MICROGRADX, Engine

OPERATORS = (
    *("__add__", "__radd__", "__mul__", "__rmul__", "__sub__", "__rsub__"),
    *("__truediv__", "__rtruediv__", "__pow__", "__neg__"),
)
COMPOSED_OF = ("__add__", "__mul__", "__pow__", "__neg__")
EXPRESSIONS = (
    *("a + b", "a + 2", "2 + a", "a * b", "a * 2", "2 * a", "a**2"),
    *("-a", "a - b", "a - 2", "2 - a", "a / b", "a / 2", "2 / a", "sum([a, b])"),
    *("neuron([a, b])", "neuron([1, 2.0])", "layer([a, 2])[1]"),
)
ORDERS = list(itertools.permutations(("plain", "special")))


def recorder(name: str, original: Callable[..., Any], calls: list[Any]) -> Callable[..., Any]:
    """Wrap an operator so that it records what it is called with, and the result in its data."""

    def operator(self: Any, *others: Any) -> Any:
        result = original(self, *others)
        calls.append((name, self.data, *(getattr(other, "data", other) for other in others)))
        return result

    return operator


def constantly(result: Any) -> property:
    """Make a property that is the same for all."""
    return property(lambda self: result)


def networks(engine: Engine) -> dict[str, Any]:
    names = {"neuron": engine.nn.Neuron(2), "layer": engine.nn.Layer(2, 2)}
    for network in names.values():
        for i, p in enumerate(network.parameters()):
            p.data = i + 0.5
    return names


@pytest.mark.parametrize("names", [(name,) for name in OPERATORS] + [OPERATORS], ids="+".join)
def test_replaced_operators_are_called_as_micrograd_calls_them(
    names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: dict[str, list[Any]] = {}
    for key, engine in (("micrograd", MICROGRAD), ("microgradx", MICROGRADX)):
        calls[key] = []
        with monkeypatch.context() as patch:
            for name in names:
                original = getattr(engine.Value, name)
                patch.setattr(engine.Value, name, recorder(name, original, calls[key]))
            for expression in EXPRESSIONS:
                a, b = engine.Value(2.0), engine.Value(4.0)
                calls[key].append(expression)
                eval(expression, {"a": a, "b": b, **networks(engine)})
    assert calls["microgradx"] == calls["micrograd"]


@pytest.mark.parametrize("kinds", [("special", "special"), *ORDERS], ids=", ".join)
@pytest.mark.parametrize("names", [(name,) for name in OPERATORS] + [COMPOSED_OF], ids="+".join)
def test_overridden_operators_are_called_as_micrograd_calls_them(
    names: tuple[str, ...], kinds: tuple[str, str]
) -> None:
    calls: dict[str, list[Any]] = {}
    for key, engine in (("micrograd", MICROGRAD), ("microgradx", MICROGRADX)):
        calls[key] = []
        overrides = {
            name: recorder(name, getattr(engine.Value, name), calls[key]) for name in names
        }
        classes = {"plain": engine.Value, "special": type("Special", (engine.Value,), overrides)}
        for expression in EXPRESSIONS:
            a, b = classes[kinds[0]](2.0), classes[kinds[1]](4.0)
            calls[key].append(expression)
            eval(expression, {"a": a, "b": b, **networks(engine)})
    assert calls["microgradx"] == calls["micrograd"]


def test_a_replaced_operator_gives_the_results(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saturating(self: Any, other: Any) -> Any:
        data = other.data if isinstance(other, engine.Value) else other
        return engine.Value(min(self.data * data, 10.0), (self,), "saturating")

    neuron = engine.nn.Neuron(2)
    for p in neuron.parameters():
        p.data = 4.0
    with monkeypatch.context() as patch:
        patch.setattr(engine.Value, "__mul__", saturating)
        assert (engine.Value(4.0) * 3)._op == (3 * engine.Value(4.0))._op == "saturating"
        assert (-engine.Value(-40.0)).data == 10.0
        assert (engine.Value(40.0) / 2).data == 10.0
        assert neuron([100.0, 1.0]).data == 4.0 + 10.0 + 4.0
    assert (engine.Value(4.0) * 3).data == 12.0
    assert neuron([100.0, 1.0]).data == 4.0 + 400.0 + 4.0


def test_a_replaced_method_is_called_by_networks(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    neuron = engine.nn.Neuron(1)
    monkeypatch.setattr(engine.Value, "relu", lambda self: "replaced")
    assert neuron([1.0]) == "replaced"
    assert engine.nn.MLP(1, [2, 2]).layers[0]([1.0]) == ["replaced", "replaced"]


def test_a_new_method_is_every_values(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def cube(self: Any) -> Any:
        out = engine.Value(self.data**3, (self,), "cube")

        def backward() -> None:
            self.grad += 3 * self.data**2 * out.grad

        out._backward = backward
        return out

    monkeypatch.setattr(engine.Value, "cube", cube, raising=False)
    a = engine.Value(2.0)
    (a * 2).cube().backward()
    assert a.grad == 2 * 3 * 4.0**2


def test_a_replaced_representation(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.Value, "__repr__", lambda self: f"<{self.data}>")
    assert repr(engine.Value(1.0) + 1) == str(engine.Value(2.0)) == "<2.0>"


def test_a_replaced_initialiser(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    original = engine.Value.__init__

    def initialise(self: Any, data: float, *arguments: Any) -> None:
        original(self, data * 10, *arguments)

    monkeypatch.setattr(engine.Value, "__init__", initialise)
    assert engine.Value(2.0).data == 20.0
    assert engine.Value(2.0, (), "op").data == 20.0


def test_a_replaced_equality(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.Value, "__eq__", lambda self, other: self.data == other.data)
    assert engine.Value(2.0) == engine.Value(2.0)
    assert engine.Value(2.0) in [engine.Value(1.0), engine.Value(2.0)]


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_put_back_is_as_before(name: str) -> None:
    value_type = MICROGRADX.Value
    original = value_type.__dict__[name]
    setattr(value_type, name, lambda *operands: pytest.fail("called after it was put back"))
    setattr(value_type, name, original)
    a, b = value_type(3.0), value_type(5.0)
    results = [eval(e, {"a": a, "b": b, **networks(MICROGRADX)}).data for e in EXPRESSIONS]
    a, b = MICROGRAD.Value(3.0), MICROGRAD.Value(5.0)
    assert results == [eval(e, {"a": a, "b": b, **networks(MICROGRAD)}).data for e in EXPRESSIONS]


def subclass(engine: Engine) -> Any:
    class Parameter(engine.Value):  # type: ignore[name-defined, misc]
        def __init__(self, data: float, name: str) -> None:
            super().__init__(data)
            self.name = name

    return Parameter


def test_subclass_with_an_initialiser_of_its_own(engine: Engine) -> None:
    parameter = subclass(engine)(2.0, "rate")
    assert (parameter.data, parameter.grad, parameter.name) == (2.0, 0, "rate")
    (parameter * parameter).backward()
    assert parameter.grad == 4.0


def test_another_class_assigned_stays(engine: Engine) -> None:
    class Special(engine.Value):  # type: ignore[misc,name-defined]
        pass

    a = engine.Value(1.0)
    a.__class__ = Special
    b = a.relu()
    del a
    assert [type(operand) for operand in b._prev] == [Special]


def test_results_of_a_subclass_are_plain_values(engine: Engine) -> None:
    parameter = subclass(engine)(2.0, "rate")
    for result in (parameter + 1, 1 - parameter, -parameter, parameter.relu(), parameter**2):
        assert type(result) is engine.Value


def test_subclass_without_an_initialiser(engine: Engine) -> None:
    special: Any = type("Special", (engine.Value,), {"double": lambda self: self + self})
    a = special(3.0, (), "op")
    assert type(a) is special
    assert a.double()._prev == {a}
    assert a._op == "op"


def test_subclass_as_a_node(engine: Engine) -> None:
    special = type("Special", (engine.Value,), {})
    a = engine.Value(3.0)
    node = special(6.0, (a,), "double")
    node._backward = lambda: setattr(a, "grad", a.grad + 2 * node.grad)
    (above,) = (node * 1.0)._prev - {node} or {None}
    assert above is not None
    (node * 5.0).backward()
    assert (a.grad, node.grad) == (10.0, 5.0)


def test_subclass_with_properties_and_slots(engine: Engine) -> None:
    class Bounded(engine.Value):  # type: ignore[name-defined, misc]
        __slots__ = ("bound",)

        @property
        def clipped(self) -> float:
            return min(float(self.data), float(self.bound))

    bounded: Any = Bounded(5.0)
    bounded.bound = 2.0
    assert bounded.clipped == 2.0
    assert (bounded * 2).data == 10.0


def test_a_subclass_that_forgets_to_initialise_says_so() -> None:
    class Forgetful(MICROGRADX.Value):  # type: ignore[name-defined, misc]
        def __init__(self, data: float) -> None:
            pass

    forgetful = Forgetful(1.0)
    uses: list[Callable[[], Any]] = [
        lambda: forgetful.data,
        lambda: forgetful.grad,
        lambda: forgetful._prev,
        lambda: forgetful._op,
        lambda: forgetful._backward,
        lambda: setattr(forgetful, "data", 1.0),
        lambda: setattr(forgetful, "_backward", print),
        lambda: repr(forgetful),
        lambda: float(forgetful),
        lambda: -forgetful,
        lambda: forgetful + 1,
        lambda: 1 - forgetful,
        lambda: 1 / forgetful,
        lambda: MICROGRADX.Value(1.0) ** forgetful,
        lambda: forgetful < 1,
        lambda: forgetful.tanh(),
        lambda: forgetful.backward(),
        lambda: MICROGRADX.Value(1.0, (forgetful,)),
        lambda: MICROGRADX.nn.Neuron(1)([forgetful]),
    ]
    for use in uses:
        with pytest.raises(AttributeError, match=r"super\(\).__init__\(data\)"):
            use()


class Scaled:
    """Twice the weights, computed at each look."""

    @property
    def w(self) -> list[Any]:
        return [weight * 2 for weight in self.weights]

    @w.setter
    def w(self, weights: list[Any]) -> None:
        self.weights = weights


class Shifted:
    @property
    def b(self) -> Any:
        return self.bias + 3.0

    @b.setter
    def b(self, bias: Any) -> None:
        self.bias = bias


class Switched:
    """Linear for every other look."""

    looks = 0

    @property
    def nonlin(self) -> bool:
        self.looks += 1
        return self.looks % 2 == 0

    @nonlin.setter
    def nonlin(self, nonlin: bool) -> None:
        pass


class Looking:
    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return found * 5.0 if name == "b" else found


class Forwarding:
    """Attributes that are stored under other names."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(f"own_{name}", value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("own_"):
            raise AttributeError(name)
        return getattr(self, f"own_{name}")


class Defaults:
    w: Any = None
    b: Any = None
    nonlin: Any = None


OVERRIDING = (Scaled, Shifted, Switched, Looking, Forwarding, Defaults)


@pytest.mark.parametrize("network", ["neuron", "layer"])
@pytest.mark.parametrize("override", OVERRIDING)
def test_overridden_attributes_of_neurons_are_looked_up(override: type, network: str) -> None:
    results = []
    for engine in (MICROGRAD, MICROGRADX):
        random.seed(1)
        special = type("Special", (override, engine.nn.Neuron), {})
        layer = engine.nn.Layer(2, 3)
        layer.neurons[1] = neuron = special(2)
        neuron.b.data = -0.25
        model = neuron if network == "neuron" else layer
        outs = [model([1.0, x]) for x in (-2.0, 2.0, engine.Value(0.5))]
        outs = outs if network == "neuron" else [out for outs_ in outs for out in outs_]
        for out in outs:
            out.backward()
        gradients = [p.grad for p in neuron.parameters()]
        results.append([*(out.data for out in outs), *gradients])
    assert results[1] == pytest.approx(results[0], rel=1e-14)


def test_a_neuron_calls_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Class attributes that no instance can have in micrograd go before the neuron's own here."""
    neuron = MICROGRADX.nn.Neuron(1)
    neuron.w[0].data = -1.0
    assert neuron([1.0]).data == 0.0
    with monkeypatch.context() as patch:
        patch.setattr(MICROGRADX.nn.Neuron, "activation", "tanh")
        assert (neuron.activation, neuron([1.0])._op) == ("tanh", "tanh")
        patch.setattr(MICROGRADX.nn.Neuron, "nonlin", False)
        assert (neuron.nonlin, neuron([1.0]).data) == (False, -1.0)
    assert neuron([1.0])._op == "ReLU"


def test_a_class_changed_again_and_again_is_looked_at_each_time(engine: Engine) -> None:
    special = type("Special", (engine.nn.Neuron,), {})
    neuron = special(1, nonlin=False)
    neuron.w = [engine.Value(2.0)]
    for i in range(3000):  # more often than Python numbers the states of a class
        setattr(special, "b", constantly(engine.Value(float(i))))  # noqa: B010
        assert neuron([1.0]).data == 2.0 + i
        delattr(special, "b")
        assert neuron([1.0]).data == 2.0


def test_an_exception_of_an_overridden_attribute_reaches_the_caller(engine: Engine) -> None:
    class Failing(engine.nn.Neuron):  # type: ignore[name-defined, misc]
        def __getattribute__(self, name: str) -> Any:
            if name == failing:
                raise KeyboardInterrupt
            return super().__getattribute__(name)

    layer, failing = engine.nn.Layer(1, 2), ""
    layer.neurons[1] = Failing(1)
    for failing in ("w", "b", "nonlin"):  # noqa: B007
        for network in (layer, layer.neurons[1]):
            with pytest.raises(KeyboardInterrupt):
                network([1.0])


def test_inputs_that_go_while_an_attribute_is_looked_up() -> None:
    class Clearing(MICROGRADX.nn.Neuron):  # type: ignore[name-defined, misc]
        def __getattribute__(self, name: str) -> Any:
            if name in ("w", "b"):
                inputs.clear()
            return super().__getattribute__(name)

    inputs: list[Any] = []
    neuron = Clearing(2)
    inputs = [MICROGRADX.Value(1.0), MICROGRADX.Value(2.0)]
    with pytest.raises(ValueError, match="expected 2 inputs"):
        neuron(inputs)
