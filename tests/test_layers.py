"""A layer is one affine map, which the engine remembers: nobody can tell, whatever changes.

The numbers are exact, so that graphs are compared to the last bit.
"""

import copy
import gc
import math
import pickle
import textwrap
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis
import microgradx
import pytest
from conftest import MICROGRAD, MICROGRADX, PREAMBLE, Engine, count_living_nodes, count_nodes
from graphs import (
    FRACTIONS,
    Program,
    Step,
    exact_layer,
    follow,
    numbers_of,
    on_both,
    operands_first,
    random_steps,
    run_on_both,
)
from microgradx import Value
from microgradx.nn import MLP
from test_overriding import constantly

pytestmark = pytest.mark.usefixtures("nodes_return_to_the_baseline")


def grads_of(*networks: Any) -> list[str]:
    return [repr(p.grad) for network in networks for p in network.parameters()]


def data_of(out: Any) -> list[float]:
    return [node.data for node in (out if isinstance(out, list) else [out])]


def total_of(outs: list[Any]) -> Any:
    total = outs[0]
    for out in outs[1:]:
        total = total + out
    return total


# What can happen to a layer between two calls, with the first and the last of its three neurons.
CHANGES = {
    "data of the first weight": "first.w[0].data = 0.25",
    "data of the last weight": "last.w[-1].data += 0.25",
    "data of a weight, negated": "first.w[0].data = -first.w[0].data",
    "data of a bias": "last.b.data = 0.25",
    "data of a weight, now an int": "last.w[0].data = 3",
    "data of a bias, now an int": "last.b.data = 3",
    "a weight initialised again": "last.w[1].__init__(0.25)",
    "another weight": "first.w[1] = Value(0.25)",
    "another weight that may lie where the old one did": "last.w.pop(); last.w.append(Value(0.25))",
    "another list of weights": "last.w = [Value(0.25), Value(0.75)]",
    "another bias": "first.b = Value(0.25)",
    "an int for a bias": "last.b = Value(3)",
    "an int for a weight": "last.w[1] = Value(3)",
    "a number for a weight": "last.w[1] = 0.25",
    "a number for a bias": "last.b = 0.25",
    "weights in another order": "last.w.reverse()",
    "weights exchanged": "first.w[0], last.w[0] = last.w[0], first.w[0]",
    "biases exchanged": "first.b, last.b = last.b, first.b",
    "a weight and its bias exchanged": "last.w[0], last.b = last.b, last.w[0]",
    "weights of another neuron": "last.w = first.w",
    "a weight twice": "last.w[1] = last.w[0]",
    "a weight for a bias": "last.b = first.w[0]",
    "an input for a weight": "last.w[0] = x[0]",
    "a computed weight": "last.w[0] = Value(0.5) * 0.5",
    "a computed bias": "first.b = x[0] * 0.5",
    "a tuple of weights": "last.w = tuple(last.w)",
    "a weight of a subclass": "last.w[0] = Special(0.25)",
    "another class of a weight": "last.w[0].__class__ = Special",
    "another class of a bias": "last.b.__class__ = Special",
    "no activation function": "first.nonlin = not first.nonlin",
    "nonlin that is no bool": "last.nonlin = []",
    "neurons in another order": "layer.neurons.reverse()",
    "another first neuron": "layer.neurons[0] = similar_to(last)",
    "another last neuron": "layer.neurons[-1] = similar_to(first)",
    "one neuron more": "layer.neurons.append(similar_to(first))",
    "one neuron less": "layer.neurons.pop()",
    "a neuron twice": "layer.neurons.append(first)",
    "one neuron alone": "layer.neurons = [last]",
    "a tuple of neurons": "layer.neurons = tuple(layer.neurons[1:])",
    "a class of a neuron that calls otherwise": "last.__class__ = Doubling",
    "a class of the first neuron with other weights": "first.__class__ = Scaled",
    "a class of the last neuron with other weights": "last.__class__ = Scaled",
    "a class of two neurons with another bias": "first.__class__ = last.__class__ = Biased",
    "a class of a neuron that is always linear": "last.__class__ = Linear",
    "a gradient, which is of no importance": "first.w[0].grad = 2.0",
    "a name, which is of no importance": "first.w[0].name = 'weight'",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("nonlin", [True, False])
def test_change_between_two_calls(nonlin: bool, change: str) -> None:
    def program(engine: Engine) -> list[Any]:
        class Special(engine.Value):  # type: ignore[name-defined, misc]
            def __mul__(self, other: Any) -> Any:
                return super().__mul__(other) + 8.0

            def __add__(self, other: Any) -> Any:
                return super().__add__(other) + 4.0

            __radd__ = __add__

        class Doubling(engine.nn.Neuron):  # type: ignore[name-defined, misc]
            def __call__(self, x: Any) -> Any:
                return super().__call__(x) * 2.0

        class Scaled(engine.nn.Neuron):  # type: ignore[name-defined, misc]
            @property
            def w(self) -> Any:
                return [scale, scale]

        class Biased(engine.nn.Neuron):  # type: ignore[name-defined, misc]
            def __getattribute__(self, name: str) -> Any:
                return scale if name == "b" else super().__getattribute__(name)

        class Linear(engine.nn.Neuron):  # type: ignore[name-defined, misc]
            nonlin = property(lambda self: False)

        def similar_to(other: Any) -> Any:
            neuron = engine.nn.Neuron(2, nonlin=other.nonlin)
            neuron.w = other.w[::-1]
            return neuron

        layer, x = exact_layer(engine, 2, 3, nonlin=nonlin), [engine.Value(0.5), engine.Value(-2)]
        scale = engine.Value(0.25)
        before = layer(x)
        first, last = layer.neurons[0], layer.neurons[-1]
        names = {"layer": layer, "first": first, "last": last, "x": x, "Value": engine.Value}
        names |= {"Special": Special, "Doubling": Doubling, "similar_to": similar_to}
        names |= {"Scaled": Scaled, "Biased": Biased, "Linear": Linear}
        exec(CHANGES[change], names)
        after = layer(x)
        after = after if isinstance(after, list) else [after]
        (total_of([*before, *after]) * 0.5).backward()
        values = [*before, *after, *first.w, *last.w, first.b, last.b, scale, *x]
        return [v for v in dict.fromkeys(values) if isinstance(v, engine.Value)]

    on_both(program)


@pytest.mark.parametrize("name", ["relu", "__mul__", "__add__", "__radd__", "__rmul__"])
def test_method_replaced_between_two_calls(
    engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x = exact_layer(engine, 2, 3, nonlin=True), [engine.Value(0.5), engine.Value(-2.0)]
    expected = data_of(layer(x))
    calls = []
    original = getattr(engine.Value, name)

    def recording(self: Any, *others: Any) -> Any:
        calls.append(name)
        return original(self, *others)

    monkeypatch.setattr(engine.Value, name, recording)
    assert data_of(layer(x)) == expected
    assert len(calls) == {"relu": 3, "__mul__": 6, "__add__": 6}.get(name, 0)
    monkeypatch.undo()
    calls.clear()
    assert data_of(layer(x)) == expected
    assert calls == []


@pytest.mark.parametrize("activation", ["tanh", "linear", "exp", abs, lambda total: total * 2.0])
def test_activation_changed_between_two_calls(activation: Any) -> None:
    layer, x = exact_layer(MICROGRADX, 2, 3, nonlin=True), [Value(0.5), Value(-2.0)]
    layer(x)
    layer.neurons[1].activation = activation
    assert data_of(layer(x)) == [neuron(x).data for neuron in layer.neurons]


def test_activation_deleted_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = exact_layer(MICROGRADX, 1, 2, nonlin=True)
    expected = data_of(layer([0.5]))
    with monkeypatch.context() as patch:
        patch.delattr(Value, "relu")
        with pytest.raises(AttributeError, match="relu"):
            layer([0.5])
    assert data_of(layer([0.5])) == expected


@pytest.mark.parametrize("owner", ["Neuron", "Layer"])
def test_call_replaced_on_the_class_between_two_calls(
    engine: Engine, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = engine.nn.MLP(1, [2, 2])
    expected = data_of(model([1.0]))
    with monkeypatch.context() as patch:
        patch.setattr(getattr(engine.nn, owner), "__call__", lambda self, x: "replaced")
        assert model([1.0]) == (["replaced"] * 2 if owner == "Neuron" else "replaced")
    assert data_of(model([1.0])) == expected


OVERRIDES: dict[str, Callable[[Engine], Any]] = {
    "w": lambda engine: [engine.Value(1.0), engine.Value(2.0)],
    "b": lambda engine: engine.Value(9.0),
    "nonlin": lambda engine: False,
}


@pytest.mark.parametrize("network", ["Neuron(2)", "Layer(2, 2)", "MLP(2, [2, 2])"])
@pytest.mark.parametrize("name", OVERRIDES)
def test_attribute_replaced_on_the_class_between_two_calls(
    name: str, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for engine in (MICROGRAD, MICROGRADX):
        model, override = eval(network, vars(engine.nn)), constantly(OVERRIDES[name](engine))
        for p in model.parameters():
            p.data = -1.0
        results.append([data_of(model([1.0, 2.0]))])
        with monkeypatch.context() as patch:
            patch.setattr(engine.nn.Neuron, name, override, raising=False)
            results[-1].append(data_of(model([1.0, 2.0])))
        results[-1].append(data_of(model([1.0, 2.0])))
    assert results[1] == results[0]
    before, meanwhile, after = results[1]
    assert before == after != meanwhile


def test_callback_on_a_parameter_between_two_calls(engine: Engine) -> None:
    layer = exact_layer(engine, 2, 3)
    layer([1.0, 2.0])
    weight, bias = layer.neurons[0].w[1], layer.neurons[2].b
    seen = []
    weight._backward = lambda: seen.append(weight.grad)
    bias._backward = lambda: seen.append(bias.grad)
    (total_of(layer([1.0, 2.0])) * 0.5).backward()
    assert sorted(seen) == [0.5, 1.0]


def test_callback_on_a_parameter_that_leads_to_later_outputs() -> None:
    """Nodes that the collector should find in the cycle stand for themselves, and go with it."""
    before = count_nodes()
    layer = exact_layer(MICROGRADX, 2, 3)
    layer([1.0, 2.0])
    later: list[Any] = []
    layer.neurons[1].w[0]._backward = lambda kept=later: kept
    later += layer([1.0, 2.0])
    del layer, later
    assert count_living_nodes() == before


def test_layer_replaced_between_two_calls() -> None:
    def program(engine: Engine) -> list[Any]:
        model = engine.nn.MLP(2, [2, 2])
        model.layers = [exact_layer(engine, 2, 2, nonlin=True, seed=seed) for seed in (1, 2)]
        x = [engine.Value(1.0), engine.Value(-0.5)]
        outs = model(x)
        model.layers[0] = exact_layer(engine, 2, 2, nonlin=True, seed=3)
        outs += model(x)
        model.layers.reverse()
        outs += model(x)
        model.layers.append(exact_layer(engine, 2, 2, seed=4))
        outs += model(x)
        (total_of(outs) * 0.5).backward()
        return [*outs, *model.parameters(), *x]

    on_both(program)


def test_neurons_of_two_layers() -> None:
    """Both layers begin with the neuron that remembers, in turn, the map of either."""

    def program(engine: Engine) -> list[Any]:
        one, other = exact_layer(engine, 2, 3, seed=1), exact_layer(engine, 2, 2, seed=2)
        other.neurons[0] = one.neurons[0]
        x = [engine.Value(0.5), engine.Value(2.0)]
        outs = []
        for data in (0.5, 1.5, -1.0):
            outs += [*one(x), *other(x), one.neurons[0](x), *other(x), *one(x)]
            one.neurons[0].w[1].data = data
            one.neurons.append(other.neurons[1])
        (total_of(outs) * 0.5).backward()
        return [*outs, *dict.fromkeys(one.parameters() + other.parameters()), *x]

    on_both(program)


def test_weight_changed_between_two_layers_of_one_call() -> None:
    """A layer in the middle changes one before and one behind itself."""

    def program(engine: Engine) -> list[Any]:
        class Changing(engine.nn.Layer):  # type: ignore[name-defined, misc]
            def __call__(self, x: Any) -> Any:
                for layer in model.layers[::2]:
                    layer.neurons[0].w[0].data += 0.5
                return x

        model = engine.nn.MLP(2, [])
        model.layers = [exact_layer(engine, 2, 2, seed=seed) for seed in (1, 2, 3)]
        model.layers[1] = Changing(2, 2)
        x = [engine.Value(0.5), engine.Value(2.0)]
        outs = [*model(x), *model(x), *model(x)]
        (total_of(outs) * 0.5).backward()
        return [*outs, *model.layers[0].parameters(), *model.layers[2].parameters(), *x]

    on_both(program)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copy_of_a_used_model_has_weights_of_its_own(copied: Callable[[Any], Any]) -> None:
    model = MLP(2, [3, 2])
    expected = data_of(model([0.5, 1.0]))
    other = copied(model)
    assert data_of(other([0.5, 1.0])) == expected
    for p in other.parameters():
        p.data += 1.0
    assert data_of(model([0.5, 1.0])) == expected
    changed = data_of(other([0.5, 1.0]))
    assert changed != expected
    del model
    assert data_of(other([0.5, 1.0])) == changed


def test_shallow_copy_of_a_used_layer_shares_its_neurons() -> None:
    layer = exact_layer(MICROGRADX, 1, 3)
    expected = data_of(layer([1.0]))
    other = copy.copy(layer)
    other.neurons = other.neurons[:2]
    assert data_of(other([1.0])) == expected[:2]
    assert data_of(layer([1.0])) == expected


class Tag:
    """Something to attach to a Value, which tells when it is gone."""


def test_remembered_map_keeps_nothing_alive() -> None:
    layer = exact_layer(MICROGRADX, 2, 3)
    neuron = layer.neurons[1]
    neuron.w[0].tag = Tag()
    references = [weakref.ref(neuron.w[0].tag), weakref.ref(neuron.w[1]), weakref.ref(neuron.b)]
    before = count_nodes()
    layer([1.0, Value(2.0)])
    assert count_nodes() == before
    neuron.w[0] = neuron.w[1] = neuron.b = Value(0.5)
    assert [reference() for reference in references] == [None] * 3
    assert count_nodes() == before - 2
    del layer, neuron
    assert count_nodes() == before - 9


def test_map_of_a_graph_that_lives_longer_than_the_model() -> None:
    before = count_nodes()
    model, x = MLP(2, [3, 2]), Value(0.5)
    outs: Any = model([x, 1.0])
    expected = data_of(outs)
    del model
    gc.collect()
    assert data_of(outs) == expected
    total = outs[0] + outs[1]
    total.backward()
    assert repr(x.grad) != "0"
    del outs, total, x
    assert count_nodes() == before


def test_graphs_that_are_dropped_while_the_model_lives() -> None:
    model = MLP(2, [3, 2])
    before = count_nodes()
    for _ in range(3):
        kept: Any = model([1.0, Value(2.0)])
        other: Any = model([Value(1.0), 2.0])
        kept = kept[1:]
        other[0].backward()
        operands_first(other[1])
        del other
        model.layers[1].neurons[0].b.data += 1.0
    del kept
    assert count_nodes() == before


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_parameters_die_with_the_output_of_their_neuron(engine: Engine, kept: int) -> None:
    layer = exact_layer(engine, 2, 3)
    references = [[weakref.ref(p) for p in neuron.parameters()] for neuron in layer.neurons]
    out = layer([engine.Value(1.0), 2.0])[kept]
    del layer
    gc.collect()
    alive = [{reference() is not None for reference in row} for row in references]
    assert alive == [{row == kept} for row in range(3)]
    assert out.data is not None


def test_attributes_of_parameters_die_with_the_output_of_their_neuron(engine: Engine) -> None:
    layer = exact_layer(engine, 1, 2)
    layer.neurons[1].w[0].tag = Tag()
    reference = weakref.ref(layer.neurons[1].w[0].tag)
    (out, _) = layer([engine.Value(1.0)])
    del layer, _
    gc.collect()
    assert reference() is None
    assert out.data is not None


def test_output_in_an_attribute_of_a_parameter_that_it_does_not_depend_on(engine: Engine) -> None:
    layer = exact_layer(engine, 1, 2)
    tag: Any = Tag()
    layer.neurons[1].w[0].tag = tag
    reference = weakref.ref(tag)
    tag.out = layer([engine.Value(1.0)])[0]
    del layer, tag
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("number", [2, 0.5, -1, True])
@pytest.mark.parametrize("sweeps", [0, 1, 2])
def test_number_is_a_leaf_of_its_own_for_each_neuron(number: float, sweeps: int) -> None:
    def program(engine: Engine) -> list[Any]:
        layer, x = exact_layer(engine, 3, 3), engine.Value(0.5)
        outs = layer([+number, x, +number])
        loss = total_of(outs) * 0.5
        for _ in range(sweeps):
            loss.backward()
        products = [node for node in operands_first(loss) if node._op == "*" and node is not loss]
        weights = set(layer.parameters())
        leaves = {o for node in products for o in node._prev - weights if not o._op and o is not x}
        assert sum(leaf.data == number for leaf in leaves) == 6
        return [loss, *outs, *layer.parameters(), x]

    on_both(program)


@pytest.mark.parametrize("moment", ["before the sweep", "after the sweep", "between two sweeps"])
@pytest.mark.parametrize("nonlin", [True, False])
def test_weights_changed_after_a_call_with_numbers(nonlin: bool, moment: str) -> None:
    def program(engine: Engine) -> list[Any]:
        layer, x = exact_layer(engine, 2, 3, nonlin=nonlin), engine.Value(0.5)
        outs = layer([2, x])
        loss = total_of(outs) * 0.5
        if moment != "before the sweep":
            loss.backward()
        layer.neurons[1].w[0].data += 0.5
        layer.neurons[2].b.data += 1.0
        if moment != "after the sweep":
            loss.backward()
        return [loss, *outs, *layer.parameters(), x]

    on_both(program)


@pytest.mark.parametrize("used", [(0,), (1,), (2,), (0, 2), (2, 1), (1, 1)])
@pytest.mark.parametrize("nonlin", [True, False])
@pytest.mark.parametrize("factor", [1, 0.5])
def test_outputs_that_are_not_used(factor: float, nonlin: bool, used: tuple[int, ...]) -> None:
    def program(engine: Engine) -> list[Any]:
        layer, x = exact_layer(engine, 2, 3, nonlin=nonlin), [engine.Value(0.5), engine.Value(-2)]
        outs = layer(x)
        (total_of([outs[row] for row in used]) * factor).backward()
        for row in {0, 1, 2} - set(used):
            assert grads_of(layer.neurons[row]) == ["0", "0", "0"]
        return [*outs, *layer.parameters(), *x]

    on_both(program)


@pytest.mark.parametrize("dropped", [0, 1, 2])
def test_outputs_that_are_dropped(dropped: int) -> None:
    def program(engine: Engine) -> list[Any]:
        layer, x = exact_layer(engine, 2, 3), [engine.Value(0.5), engine.Value(-2.0)]
        outs = layer(x)
        del outs[dropped]
        for out in outs:
            (out * 0.5).backward()
        assert grads_of(layer.neurons[dropped]) == ["0", "0", "0"]
        return [*outs, *layer.parameters(), *x]

    on_both(program)


SWEEPS = {
    "one output after the other": "outs[0].backward(); outs[2].backward(); outs[1].backward()",
    "one output twice": "outs[1].backward(); outs[1].backward()",
    "one output, then all": "outs[1].backward(); loss.backward()",
    "all, then one output": "loss.backward(); outs[1].backward()",
    "all twice": "loss.backward(); loss.backward()",
    "one looked at": "outs[1]._prev; loss.backward()",
    "one looked at between two sweeps": "loss.backward(); outs[0]._prev; loss.backward()",
    "the last looked at, one swept": "outs[2]._prev; outs[0].backward(); loss.backward()",
    "a hidden node swept": "hidden[0].backward(); loss.backward()",
    "a step by hand": "outs[1].grad = 2.0; outs[1]._backward(); loss.backward()",
    "a gradient by hand": "outs[1].grad = -0.5; loss.backward()",
    "data of an output": "outs[1].data = -3.0; loss.backward()",
    "data of an input": "loss.backward(); x[0].data = 3.0; loss.backward()",
    "data of parameters": "layer.neurons[1].w[0].data = 3.0; loss.backward()",
    "data of parameters between two sweeps": (
        "loss.backward(); layer.neurons[1].w[0].data = 3.0; loss.backward()"
    ),
    "a second application": "loss.backward(); (layer(x)[1] * loss).backward()",
    "a second layer": "total_of(layer([outs[0], outs[2]])).backward(); loss.backward()",
}


@pytest.mark.parametrize("sweeps", SWEEPS)
@pytest.mark.parametrize("nonlin", [True, False])
def test_sweeps_through_some_outputs(nonlin: bool, sweeps: str) -> None:
    def program(engine: Engine) -> list[Any]:
        layer, x = exact_layer(engine, 2, 3, nonlin=nonlin), [engine.Value(0.5), engine.Value(-2)]
        for neuron in layer.neurons:
            neuron.b.data = 8.0
        outs = layer(x)
        loss = outs[0] * 0.5 + outs[1] * -2 + outs[2]
        names = {"x": x, "layer": layer, "outs": outs, "loss": loss, "total_of": total_of}
        names |= {"hidden": follow(outs[1], "++" if nonlin else "+")} if "hidden" in sweeps else {}
        exec(SWEEPS[sweeps], names)
        return [loss, *outs, *layer.parameters(), *x]

    on_both(program)


# The 2s are ints: micrograd's product of two ints, a weight and a gradient, is one, too.
@pytest.mark.parametrize("data", [2, 2.0])
@pytest.mark.parametrize("root", ["outs[0]", "outs[0] + outs[1]", "outs[1] * 0.5"])
@pytest.mark.parametrize("nonlin", [True, False])
def test_weights_that_become_ints_after_the_forward_pass(
    nonlin: bool, root: str, data: float
) -> None:
    def program(engine: Engine) -> list[Any]:
        layer, x = exact_layer(engine, 2, 2, nonlin=nonlin), [engine.Value(0.5), engine.Value(1.0)]
        outs = layer(x)
        for neuron in layer.neurons:
            for weight in neuron.w:
                weight.data = data
        eval(root, {"outs": outs}).backward()
        return [*outs, *layer.parameters(), *x]

    on_both(program)


INPUTS = (
    *("[a, a]", "[w, a]", "[w, w]", "[b, w]", "[a, 2]", "[2, 0.5]", "[a * 1, a]"),
    *("[layer(c)[0], a]", "(a, w)", "iter([a, b])", "{a: 1, w: 2}"),
)  # fmt: skip


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("sweeps", [1, 2])
def test_inputs_that_have_to_do_with_each_other(inputs: str, sweeps: int) -> None:
    def program(engine: Engine) -> list[Any]:
        layer, a = exact_layer(engine, 2, 3), engine.Value(0.5)
        names = {"a": a, "b": layer.neurons[0].b, "w": layer.neurons[1].w[0], "layer": layer}
        c = [engine.Value(1), engine.Value(-2)]
        # micrograd would have the first neuron exhaust an iterator.
        x = eval(inputs, {**names, "c": c} | ({"iter": list} if engine is MICROGRAD else {}))
        outs = layer(x)
        for _ in range(sweeps):
            (total_of(outs) * 0.5).backward()
        return [*outs, *layer.parameters(), a, *c]

    on_both(program)


@pytest.mark.parametrize("nonlin", [True, False])
def test_many_samples_with_the_same_weights(nonlin: bool) -> None:
    def program(engine: Engine) -> list[Any]:
        layers = [exact_layer(engine, 2, 2, nonlin=nonlin, seed=seed) for seed in (1, 2)]
        model = engine.nn.MLP(2, [])
        model.layers = layers
        samples = [[i / 2, -i] for i in range(-5, 5)]
        outs = [out for sample in samples for out in model(sample)]
        (total_of(outs) * 0.5).backward()
        return [*outs, *model.parameters()]

    on_both(program)


@pytest.mark.parametrize(("nin", "nout"), [(1, 70), (70, 2), (66, 66), (1, 1)])
def test_layers_of_any_size(nin: int, nout: int) -> None:
    """Such as reach from page to page of the arena's, or whose memory is not kept."""

    def program(engine: Engine) -> list[Any]:
        layer = exact_layer(engine, nin, nout, nonlin=True)
        x = [engine.Value(FRACTIONS[i % 6]) for i in range(nin)]
        used = []
        for _ in range(2):
            outs = layer(x)
            used += outs[:: max(1, nout // 3)] if isinstance(outs, list) else [outs]
            layer.neurons[-1].w[-1].data = 0.5
        operands_first(used[0])
        (total_of(used) * 0.5).backward()
        return [*used, *layer.neurons[-1].parameters(), *x]

    on_both(program)


@dataclass(frozen=True)
class TwoLayers:
    """Layers one behind the other, with one node between them at which a sweep is watched.

    The callback comes after the forward pass: a layer of watched inputs would not be fused.
    """

    first: Any
    second: Any
    middle: Any
    loss: Any

    @classmethod
    def of(cls, engine: Engine, factor: float = 0.5, nonlin: bool = False) -> "TwoLayers":
        first = exact_layer(engine, 2, 3, nonlin=nonlin, seed=1)
        second = exact_layer(engine, 1, 4, nonlin=nonlin, seed=2)
        middle = total_of(first([engine.Value(1.0), -0.5])) * 1
        return cls(first, second, middle, total_of(second([middle])) * factor)

    def watch(self, callback: Callable[[], None]) -> None:
        original = self.middle._backward

        def backward() -> None:
            callback()
            original()

        self.middle._backward = backward

    def grads(self) -> list[str]:
        return [*grads_of(self.first, self.second), repr(self.middle.grad)]


def on_two_layers(program: Callable[[TwoLayers], object], **options: Any) -> None:
    """Check that the program returns the same on both engines."""
    expected, actual = (program(TwoLayers.of(e, **options)) for e in (MICROGRAD, MICROGRADX))
    assert actual == expected


@pytest.mark.parametrize("factor", [1, 0.5])
@pytest.mark.parametrize("nonlin", [True, False])
@pytest.mark.parametrize("before", [0, 3, -0.0, 0.25])
def test_callback_sees_the_gradients_so_far(before: float, nonlin: bool, factor: float) -> None:
    def program(layers: TwoLayers) -> object:
        seen: list[list[str]] = []
        for p in layers.first.parameters() + layers.second.parameters():
            p.grad = before
        layers.watch(lambda: seen.append(layers.grads()))
        layers.loss.backward()
        layers.loss.backward()
        assert [grads[0] for grads in seen[:1]] == [repr(before)]
        return seen, layers.grads()

    on_two_layers(program, factor=factor, nonlin=nonlin)


@pytest.mark.parametrize("factor", [0, 2.0])
@pytest.mark.parametrize("before", [0, 0.25])
def test_callback_changes_the_gradients_so_far(before: float, factor: float) -> None:
    def program(layers: TwoLayers) -> object:
        for p in layers.first.parameters() + layers.second.parameters():
            p.grad = before

        def scale() -> None:
            for p in layers.first.parameters() + layers.second.parameters():
                p.grad = (p.grad + 1) * factor

        layers.watch(scale)
        layers.loss.backward()
        return layers.grads()

    on_two_layers(program)


def test_callback_changes_weights_that_are_still_to_be_passed() -> None:
    def program(layers: TwoLayers) -> object:
        def change() -> None:
            for p in layers.first.parameters() + layers.second.parameters():
                p.data = p.data * 2 + 0.5

        x = next(o for o in operands_first(layers.first([3.0, 4.0])[0]) if o.data == 3.0)
        layers.watch(change)
        layers.loss.backward()
        return layers.grads(), x.grad

    on_two_layers(program)


@pytest.mark.parametrize("first", ["layer", "callback"])
@pytest.mark.parametrize("what", ["looks", "sets to zero", "fails"])
def test_callback_beside_a_layer(engine: Engine, what: str, first: str) -> None:
    """It runs before or after the layer's step, but not in the middle of it."""
    layer, x, y = exact_layer(engine, 2, 3), [engine.Value(1.0), 0.5], engine.Value(1.0)
    owner = y * 1.0 if first == "callback" else None
    total = total_of(layer(x))
    owner = owner or y * 1.0
    seen: list[bool] = []

    def callback() -> None:
        for value in [x[0], *layer.parameters()]:
            seen.append(value.grad != 0)
            if what == "sets to zero":
                value.grad = 0
        if what == "fails":
            raise KeyError

    owner._backward = callback
    loss = (total + owner) * 0.5
    if what == "fails":
        with pytest.raises(KeyError):
            loss.backward()
    else:
        loss.backward()
    after = [value.grad != 0 for value in (x[0], *layer.parameters())]
    assert len(set(seen)) == len(set(after)) == 1
    assert after[0] == {"looks": True, "sets to zero": not seen[0], "fails": seen[0]}[what]


def test_callback_between_two_applications_of_the_same_weights(engine: Engine) -> None:
    """The map is closed for the callback and opened again behind it, with the data of then."""
    layer = exact_layer(engine, 1, 2)
    first, second = layer.neurons
    for p, data in zip(layer.parameters(), (2.0, 0.0, 3.0, 0.0), strict=True):
        p.data = data
    x = engine.Value(1.0)
    middle = total_of(layer([x])) * 1.0
    loss = total_of(layer([middle])) * 1.0
    original = middle._backward
    seen = []

    def backward() -> None:
        seen.append([p.grad for p in layer.parameters()])
        first.w[0].data = 20.0
        original()

    middle._backward = backward
    loss.backward()
    assert seen == [[5.0, 1.0, 5.0, 1.0]]  # the data of the middle: 2 + 3
    assert x.grad == (2.0 + 3.0) * (20.0 + 3.0)
    assert [first.w[0].grad, second.w[0].grad] == [5.0 + 5.0] * 2
    assert [first.b.grad, second.b.grad] == [1.0 + 5.0] * 2


@pytest.mark.parametrize("other", ["second", "first", "both", "itself"])
def test_sweep_in_a_callback_between_two_layers(other: str) -> None:
    def program(layers: TwoLayers) -> object:
        def sweep() -> None:
            grad = layers.middle.grad
            if other in ("first", "both"):
                total_of(layers.first([3.0, 4.0])).backward()
            if other in ("second", "both"):
                (total_of(layers.second([3])) * 0.5).backward()
            if other == "itself":
                layers.middle._backward = lambda: None
                layers.loss.backward()
            layers.middle.grad = grad

        layers.watch(sweep)
        layers.loss.backward()
        return layers.grads()

    on_two_layers(program)


@pytest.mark.parametrize("sweeps", [1, 2])
@pytest.mark.parametrize("before", [0, 0.25])
def test_sweep_that_a_callback_ends_leaves_the_gradients_so_far(before: float, sweeps: int) -> None:
    def program(layers: TwoLayers) -> object:
        for p in layers.first.parameters() + layers.second.parameters():
            p.grad = before

        def fail() -> None:
            raise KeyError("on purpose")

        layers.watch(fail)
        for _ in range(sweeps):
            with pytest.raises(KeyError):
                layers.loss.backward()
        return layers.grads()

    on_two_layers(program)


def test_sweep_that_an_operation_ends_leaves_the_gradients_so_far() -> None:
    """No callback runs, so that the gradients wait for the sweep to be over."""

    def program(engine: Engine) -> list[Any]:
        layer, x = exact_layer(engine, 1, 3), engine.Value(0.0)
        root = x**0.5
        outs = layer([root])
        with pytest.raises(ZeroDivisionError):
            (total_of(outs) * 0.5).backward()
        return [*layer.parameters(), root, x]

    on_both(program)


def test_callback_that_replaces_the_layer_whose_outputs_are_swept() -> None:
    def program(layers: TwoLayers) -> object:
        neurons = [*layers.first.neurons, *layers.second.neurons]

        def replace() -> None:
            layers.first.neurons.clear()
            layers.second.neurons = []
            gc.collect()

        layers.watch(replace)
        layers.loss.backward()
        return grads_of(*neurons)

    on_two_layers(program)


STATEMENTS = (
    *["values.extend(layer([a, b]))"] * 3,
    *("values.extend(layer([a, c]))", "values.extend(layer([a, a]))"),
    *("values.extend(layer([n.w[0], b]))", "values.extend(layer(layer([a, b])[:2]))"),
    *("values.extend(model([a, b]))", "values.extend(model([c, a]))", "values.append(n([a, b]))"),
    *("values.append(a + b)", "values.append(a * b)", "values.append(a * c)"),
    *("n.w[0].data = float(c)", "n.w[1].data = float(c)", "n.b.data = float(c)"),
    *("n.w[1] = Value(float(c))", "n.w[0] = a", "n.b = Value(c)", "n.b = a", "n.b = n.w[0]"),
    *("n.w = m.w", "n.w.reverse()", "n.w[0], m.w[1] = m.w[1], n.w[0]", "n.nonlin = not n.nonlin"),
    *("layer.neurons.reverse()", "layer.neurons[1] = n", "layer.neurons[0] = n"),
    *("model.layers.reverse()", "layer.neurons = [n, m, n]"),
    *("n.w[0].tag = 't'", "n.b.grad = float(c)", "hook(n.w[0], calls)", "hook(a, calls)"),
    *("a._prev", "operands_first(a)", "follow(a, '+')"),
    *["a.backward()"] * 3,
    *("total_of(values[-3:]).backward()", "(total_of(values) * 0.5).backward()"),
    *("[setattr(p, 'grad', 0) for p in layer.parameters() + model.parameters()]",),
    *("[setattr(p, 'data', p.data * 0.5) for p in set(model.parameters())]",),
    *("values.remove(a)", "del values[-2:]", "values[:] = values[:4]"),
)  # fmt: skip


class LayersProgram(Program):
    def __init__(self, engine: Engine) -> None:
        layer, model = exact_layer(engine, 2, 3, seed=1), engine.nn.MLP(2, [])
        model.layers = [exact_layer(engine, 2, 2, nonlin=True, seed=i) for i in (2, 3)]
        super().__init__(
            [engine.Value(data) for data in (1.0, -2, 0.5, 2.0)],
            layer.parameters() + model.parameters(),
            [neuron for part in (layer, *model.layers) for neuron in part.neurons],
            **{"Value": engine.Value, "layer": layer, "model": model, "total_of": total_of},
        )

    def watched(self) -> list[Any]:
        networks = (self.names["layer"], self.names["model"])
        return [*self.roots, *(p for part in networks for p in part.parameters()), *self.values]


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.filter_too_much])
@hypothesis.given(random_steps(STATEMENTS))
def test_random_program(steps: list[Step]) -> None:
    run_on_both(LayersProgram(MICROGRAD), LayersProgram(MICROGRADX), steps)


# Terms of at most 1 are lost in it one by one, in whatever order, while their sum would not be.
HUGE = 1.5 * 2.0**53
GRADS = ("HUGE", "-HUGE", "1.7e308", "math.inf", "-math.inf", "math.nan", "-0.0", "0", "3", "0.25")

# Data and derivatives are such that no term exceeds 1.
ACCUMULATING = (
    *(f"{target} = {grad}" for target in ("a.grad", "n.w[0].grad", "n.b.grad") for grad in GRADS),
    *["[setattr(p, 'grad', HUGE) for p in roots]"] * 6,
    *("total_of(layer([a, b])).backward()", "total_of(model([a, b])).backward()"),
    *["(total_of(layer([a, b])) * (c / 2)).backward()"] * 4,
    "(total_of([*layer([a, b]), *layer([b, a]), *layer([a, 0.5])]) * (c / 2)).backward()",
    "(total_of([*model([a, b]), *model([b, 1]), *model([b, a])]) * (c / 2)).backward()",
    "(total_of(layer(layer([a, b])[:2])) * (c / 4)).backward()",
    "(total_of([*layer([a, a]), *layer([n.w[0], b]), *layer([a, b])]) * (c / 2)).backward()",
    "total_of([layer([a, b])[0], *(out * 0.5 for out in layer([a, b]))]).backward()",
    "(total_of([*layer([a, b]), n([a, b]), m([b, a]), *layer([a, b])]) * (c / 2)).backward()",
    "(total_of([n.w[0] * a, *layer([a, b]), n.w[0] * b]) * (c / 2)).backward()",
    "(total_of([*layer([a, b]), *change(n.w[0], c / 4), *layer([a, b])]) * 0.5).backward()",
    *("n.w[0].data = c / 4", "n.w[0] = m.w[0]", "n.w[1] = n.w[0]", "n.w = m.w"),
    *("layer.neurons[0].b = layer.neurons[0].w[1]", "layer.neurons[1].w[1] = roots[0]"),
)


class AccumulatingProgram(Program):
    def __init__(self, engine: Engine) -> None:
        layers = [exact_layer(engine, 2, nout, nonlin=nout == 2) for nout in (3, 2, 2)]
        model = engine.nn.MLP(2, [])
        model.layers = layers[1:]
        neurons = [neuron for layer in layers for neuron in layer.neurons]
        for i, neuron in enumerate(neurons):
            neuron.b.data = 0.0
            for weight, data in zip(neuron.w, (0.5, -0.25 if i % 3 == 0 else 0.25), strict=True):
                weight.data = data
        values = [engine.Value(data) for data in (0.5, 1.0, -1, 1)]
        parameters = [p for neuron in neurons for p in neuron.parameters()]
        super().__init__(values, parameters, neurons, layer=layers[0], model=model)
        self.names |= {"roots": self.roots, "total_of": total_of, "change": self.change}
        self.names |= {"HUGE": HUGE, "math": math}

    @staticmethod
    def change(weight: Any, data: float) -> list[Any]:
        weight.data = data
        return []


@hypothesis.given(random_steps(ACCUMULATING))
def test_terms_are_added_one_by_one_to_gradients_of_before(steps: list[Step]) -> None:
    expected, actual = AccumulatingProgram(MICROGRAD), AccumulatingProgram(MICROGRADX)
    for step in steps:
        expected.run(step)
        actual.run(step)
        assert [*map(numbers_of, actual.roots)] == [*map(numbers_of, expected.roots)]


@pytest.mark.parametrize("grad", [1e16, -1e16, 1e-320, 1.7e308])
@pytest.mark.parametrize("samples", [1, 2])
def test_sum_of_terms_that_the_gradient_of_before_does_not_add_to(
    samples: int, grad: float
) -> None:
    def program(engine: Engine) -> list[Any]:
        layer, x = engine.nn.Layer(1, 2, nonlin=False), engine.Value(1.0)
        for p in layer.parameters():
            p.data = 1.0
        for p in [x, *layer.parameters()]:
            p.grad = grad
        (total_of([out for _ in range(samples) for out in layer([x])]) * 1.0).backward()
        return [x, *layer.parameters()]

    on_both(program)


@pytest.mark.parametrize("before", [0, 0.25, HUGE])
def test_compiled_function_between_calls_of_a_layer_whose_weight_it_captures(
    before: float,
) -> None:
    def grads_with(transform: Callable[[Any], Any]) -> list[str]:
        layer, x = exact_layer(MICROGRADX, 1, 2), Value(1.0)
        weight = layer.neurons[1].w[0]
        for p in layer.parameters():
            p.data, p.grad = 0.5, before
        function = transform(lambda value: weight * value)
        (total_of([*layer([x]), function(x), *layer([x])]) * 1.0).backward()
        return [*grads_of(layer), repr(x.grad)]

    assert grads_with(microgradx.compile) == grads_with(lambda function: function)


@pytest.mark.parametrize("data", [-1e308, 1e308])
def test_sum_of_terms_that_is_infinite_without_the_gradient_of_before(data: float) -> None:
    def program(engine: Engine) -> list[Any]:
        layer, x = engine.nn.Layer(1, 2, nonlin=False), engine.Value(1.0)
        for neuron in layer.neurons:
            neuron.w[0].data = data
        x.grad = math.copysign(1.7e308, -data)
        (total_of(layer([x])) * 1.0).backward()
        assert math.isfinite(x.grad)
        return [x, *layer.parameters()]

    on_both(program)


@pytest.mark.parametrize("row", [0, 1, 99])
@pytest.mark.parametrize("place", ["first", "last"])
def test_activation_outside_of_its_domain(
    row: int, place: str, run_python: Callable[..., str]
) -> None:
    """The outputs of the neurons before are taken back once, and their pages are not given twice.

    In a process of its own, since an arena that is out of order can bring it down.
    """
    run_python(
        f"""
        from microgradx import Value, _core
        from microgradx.nn import MLP

        model = MLP(1, [100, 100])
        layer = model.layers[{0 if place == "first" else 1}]
        for neuron in layer.neurons:
            neuron.nonlin, neuron.activation, neuron.b.data = True, "log", 1e9
        bias = layer.neurons[{row}].b
        bias.data = -1e9
        x = Value(1.0)
        before = _core.arena_counters()["nodes"]
        for _ in range(3):
            try:
                model([x])
            except ValueError as error:
                assert "log() is not defined" in str(error)
            else:
                raise AssertionError
            assert _core.arena_counters()["nodes"] == before
        one, other = ([Value(float(i)) * 1.0 for i in range(300)] for _ in range(2))
        assert [v.data for v in one] == [v.data for v in other] == [float(i) for i in range(300)]
        bias.data = 1e9
        sum(model([x])).backward()
        assert bias.grad != 0
        """
    )


MUTATIONS = (
    *("layer.neurons.clear()", "layer.neurons.pop(0)", "layer.neurons.reverse()"),
    *("layer.neurons = [Neuron(2)]", "del layer.neurons", "layer.neurons[0].w.clear()"),
    *("layer.neurons[0].w = [Value(1.0)] * 2", "layer.neurons[0].w.append(Value(1.0))"),
    *("layer.neurons[1].b = Value(1)", "layer.neurons[0].w[0].data = 5.0", "model.layers.pop()"),
    *("layer.neurons[1].activation = 'tanh'", "model.layers.clear()", "model.layers.reverse()"),
    *("layer.neurons[0].w[0]._backward = int", "y._backward = int", "y.tag = [y]"),
    *("layer([1.0, 2.0])", "layer.neurons[0]([1.0, 2.0])", "model([1.0, 2.0])"),
    *("inputs.clear()", "inputs[:] = [1.0] * 500", "inputs[1] = Value(3.0)", "gc.collect()"),
    *("layer.__class__ = Other", "layer.neurons[1].__class__ = Special", "del layer.neurons[1].w"),
)

PROGRAMS = {
    "attributes that are missing": """
        for attribute in ("w", "b", "nonlin", "activation"):
            for make in (lambda: Layer(2, 2), lambda: MLP(2, [2])):
                for used in (False, True):
                    network = make()
                    if used:
                        network([1.0, 2.0])
                    layer = network if isinstance(network, Layer) else network.layers[0]
                    delattr(layer.neurons[1], attribute)
                    for call in (network, layer.neurons[1]):
                        try:
                            call([1.0, 2.0])
                        except AttributeError as error:
                            assert attribute in str(error)
                        else:
                            raise AssertionError(attribute)
        del network, layer, call
    """,
    "numbers whose conversion changes everything": f"""
        class Other(Layer):
            def __call__(self, x):
                return x
        class Special(Neuron):
            def __call__(self, x):
                return Value(1.0)
        class Float(fractions.Fraction):
            def __float__(self):
                exec(mutation, globals())
                return 0.5
        class Index:
            def __index__(self):
                exec(mutation, globals())
                return 1
        for mutation in {MUTATIONS}:
            for number in (Float(1, 2), Index()):
                for used in (False, True):
                    model = MLP(2, [3, 2])
                    layer, y = model.layers[0], Value(2.0)
                    for network in (model, layer):
                        if used:
                            attempt(lambda: network([1.0, 2.0]))
                        inputs = [number, y]
                        attempt(lambda: network(inputs)[-1].backward())
                        attempt(lambda: network([1.0, y])[0].backward())
        del model, layer, network, inputs, y, number
    """,
    "callbacks that change everything in the middle of a sweep": f"""
        class Other(Layer):
            pass
        class Special(Neuron):
            pass
        for mutation in {MUTATIONS}:
            for place in range(3):
                model = MLP(2, [3, 2])
                layer, y = model.layers[0], Value(2.0)
                inputs = [1.0, y]
                middle = layer(inputs)
                outs = model.layers[1](middle)
                loss = outs[0] * outs[1]
                chosen = (loss, outs[0], middle[1])[place]
                chosen._backward = lambda: attempt(lambda: exec(mutation, globals()))
                del middle, outs, chosen
                loss.backward()
                loss.backward()
        del model, layer, loss, inputs, y
    """,
    "finalisers and weak callbacks of parameters": """
        class Payload:
            def __del__(self):
                outs = other([1.0, Value(2.0)])
                (outs[0] * outs[1]).backward()
        other = Layer(2, 2)
        for _ in range(50):
            layer = Layer(2, 3)
            references = []
            for p in layer.parameters()[::2]:
                p.tag = Payload()
            for p in layer.parameters()[1::2]:
                references.append(weakref.ref(p, lambda _: other([1.0, 2.0])))
            outs = layer([Value(1.0), 2])
            layer.neurons[1].w[0] = layer.neurons[2].b = Value(0.5)
            last = layer.neurons.pop()
            (outs[0] * outs[1]).backward()
            p = None
            del layer, last
            outs[0]._prev
            outs = outs[1:]
            del outs
        del references, other
    """,
    "a collection at every allocation": """
        gc.set_threshold(1)
        kept = []
        for _ in range(20):
            model = MLP(2, [3, 3, 2])
            model.layers[0].neurons[0].owner = model
            for i in range(5):
                outs = model([Value(1.0), i])
                (outs[0] * outs[1]).backward()
                kept.append(outs[i % 2]._prev)
                model.layers[1].neurons[1].b.data += 1.0
            kept = kept[-7:]
        del model, outs, kept
    """,
    "collections that look at the graph while its Values are made": """
        def look(phase, information):
            x.tag = []
        x, y = Value(1.0), Value(2.0)
        kept = [Value(0.0) for _ in range(2000)]  # so that memory for more must be allocated
        networks = [Layer(2, 8), MLP(2, [4, 4, 3])]
        gc.callbacks.append(look)
        gc.set_threshold(1)
        for _ in range(50):
            for network in networks:
                outs = network([x, y])
                kept.append(outs)
                sum(outs).backward()
        gc.callbacks.clear()
        gc.set_threshold(700)
        del kept, outs, networks, network, x, y
    """,
    "perceptrons that look at the graph between two layers": """
        class Looking(Layer):
            @property
            def neurons(self):
                x.tag = []
                return self.given
            @neurons.setter
            def neurons(self, neurons):
                self.given = neurons
        for activation in ("relu", lambda total: total):
            for _ in range(10):
                model = MLP(2, [3, 3, 2])
                model.layers[1] = Looking(3, 3, activation=activation)
                x = Value(1.0)
                outs = model([x, 2.0])
                sum(outs).backward()
                x.tag = outs
        del model, x, outs
    """,
    "activation functions that look at all objects": """
        def look(total):
            for thing in gc.get_objects():
                if type(thing) is list:
                    total in thing
            return total
        out = Layer(2, 3, activation=look)([1.0, 2.0])
        del out
    """,
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_nothing_breaks_and_nothing_is_left(program: str, run_python: Callable[..., str]) -> None:
    printed = run_python(
        f"{PREAMBLE}{textwrap.dedent(program)}\nprint(living_nodes())", "-X", "dev"
    )
    assert printed == "0\n"
