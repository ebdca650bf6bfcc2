"""Networks: micrograd's names, weights, numbers and graphs, and what was added."""

import inspect
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import MICROGRAD, MICROGRADX, Engine
from graphs import ERRORS, ODD_NUMBERS, OddReal, Stranger
from microgradx import Value, nn
from microgradx.nn import MLP, Layer, Module, Neuron


def seeded(network: str, engine: Engine = MICROGRADX, seed: int = 0) -> Any:
    """Make a network, given as an expression, with the same weights in every call."""
    random.seed(seed)
    return eval(network, dict(vars(engine.nn)))


@pytest.mark.parametrize("name", ["Module", "Neuron", "Layer", "MLP"])
def test_names_and_constructors(name: str) -> None:
    ours, theirs = (
        list(inspect.signature(getattr(engine.nn, name)).parameters.values())
        for engine in (MICROGRADX, MICROGRAD)
    )
    assert name in nn.__all__
    assert [(p.name, p.kind, p.default) for p in ours[: len(theirs)]] == [
        (p.name, p.kind, p.default) for p in theirs
    ]
    assert [p.name for p in ours[len(theirs) :]] in ([], ["activation"])


def test_neuron(engine: Engine) -> None:
    neuron = engine.nn.Neuron(3)
    assert isinstance(neuron, engine.nn.Module)
    assert all(isinstance(w, engine.Value) and -1 <= w.data < 1 for w in neuron.w)
    assert len(neuron.w) == 3
    assert repr(neuron.b) == "Value(data=0, grad=0)"
    assert neuron.nonlin is True
    assert neuron.parameters() == [*neuron.w, neuron.b]


def test_layer(engine: Engine) -> None:
    layer = engine.nn.Layer(3, 2, nonlin=False)
    assert isinstance(layer, engine.nn.Module)
    first, second = layer.neurons
    assert not first.nonlin
    assert layer.parameters() == first.parameters() + second.parameters()


def test_mlp(engine: Engine) -> None:
    model = engine.nn.MLP(3, [4, 2, 1])
    assert isinstance(model, engine.nn.Module)
    assert [len(layer.neurons) for layer in model.layers] == [4, 2, 1]
    assert [len(layer.neurons[0].w) for layer in model.layers] == [3, 4, 2]
    assert [layer.neurons[0].nonlin for layer in model.layers] == [True, True, False]
    assert model.parameters() == [p for layer in model.layers for p in layer.parameters()]


def test_module(engine: Engine) -> None:
    class Pair(engine.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            self.both = [engine.Value(1.0), engine.Value(2.0)]

        def parameters(self) -> list[Any]:
            return self.both

    assert engine.nn.Module().parameters() == []
    pair = Pair()
    (pair.both[0] * pair.both[1]).backward()
    assert [p.grad for p in pair.both] == [2.0, 1.0]
    pair.zero_grad()
    assert [repr(p.grad) for p in pair.both] == ["0", "0"]


def test_zero_grad_assigns_to_whatever_the_parameters_are(engine: Engine) -> None:
    assigned: list[Any] = []

    class Own:
        grad = 5.0

    class Watched(engine.Value):  # type: ignore[name-defined, misc]
        @property
        def grad(self) -> Any:
            return 7.0

        @grad.setter
        def grad(self, grad: Any) -> None:
            assigned.append(grad)

    class Mixed(engine.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            self.all = [engine.Value(1.0), Own(), Watched(2.0)]

        def parameters(self) -> list[Any]:
            return self.all

    mixed = Mixed()
    mixed.all[0].grad = 3.0
    assigned.clear()
    mixed.zero_grad()
    assert repr(mixed.all[0].grad) == repr(mixed.all[1].grad) == "0"
    assert assigned == [0]
    mixed.all.insert(0, None)
    with pytest.raises(AttributeError, match="grad"):
        mixed.zero_grad()


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("nn.Neuron(2)", "ReLUNeuron(2)"),
        ("nn.Neuron(3, False)", "LinearNeuron(3)"),
        ("nn.Layer(2, 2)", "Layer of [ReLUNeuron(2), ReLUNeuron(2)]"),
        ("nn.MLP(2, [1, 1])", "MLP of [Layer of [ReLUNeuron(2)], Layer of [LinearNeuron(1)]]"),
    ],
)
def test_representation(engine: Engine, expression: str, text: str) -> None:
    assert repr(eval(expression, {"nn": engine.nn})) == text


@pytest.mark.parametrize("network", ["MLP(2, [16, 16, 1])", "MLP(1, [1])", "MLP(3, [4, 2])"])
@pytest.mark.parametrize("seed", [0, 1337])
def test_seeded_weights_and_outputs_are_micrograds(network: str, seed: int) -> None:
    theirs, ours = (seeded(network, engine, seed) for engine in (MICROGRAD, MICROGRADX))
    assert [repr(p) for p in ours.parameters()] == [repr(p) for p in theirs.parameters()]
    for _ in range(10):
        x = [random.uniform(-2, 2) for _ in ours.layers[0].neurons[0].w]
        outputs = [model(x) for model in (theirs, ours)]
        shown = [list(map(repr, as_list(out))) for out in outputs]
        assert shown[1] == shown[0]


def test_random_numbers_are_drawn_as_by_micrograd() -> None:
    after = []
    for engine in (MICROGRAD, MICROGRADX):
        seeded("MLP(3, [4, 2])", engine, seed=5)
        after.append(random.random())
    assert after[0] == after[1]


def test_gradients_are_micrograds() -> None:
    gradients = []
    for engine in (MICROGRAD, MICROGRADX):
        model = seeded("MLP(2, [5, 3, 1])", engine, seed=3)
        inputs = [engine.Value(0.5), engine.Value(-1.5)]
        model(inputs).backward()
        gradients.append([p.grad for p in model.parameters() + inputs])
    assert gradients[1] == pytest.approx(gradients[0], rel=1e-12, abs=1e-15)


INPUTS = (
    *("[0.5, -2]", "(0.5, -2)", "[Value(0.5), Value(-2)]", "[Value(0.5), -2.0]"),
    *("[Value(0.5) * 2, Value(3.0).relu()]", "[Value(0.5)] * 2", "[Value(3), 4]"),
    *("np.array([0.5, -2.0])", "np.array([3, -2])", "np.array([Value(0.5), Value(-2)])"),
    *("[np.float64(0.5), np.int64(-2)]", "[float('inf'), 1.0]"),
)
NETWORKS = ("Neuron(2)", "Neuron(2, False)", "Layer(2, 3)", "MLP(2, [3, 1])")


def as_list(out: Any) -> list[Any]:
    return out if isinstance(out, list) else [out]


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_inputs_of_any_kind(inputs: str, network: str) -> None:
    results = []
    for engine in (MICROGRAD, MICROGRADX):
        model = seeded(network, engine)
        outputs = as_list(model(eval(inputs, {"np": np, "Value": engine.Value})))
        results.append([repr(float(out.data)) for out in outputs])
    assert results[1] == results[0]


@pytest.mark.parametrize("network", [Neuron(2), Layer(2, 3), MLP(2, [3, 2])], ids=repr)
def test_inputs_may_be_any_iterable(network: Any) -> None:
    expected = [out.data for out in as_list(network([0.5, -2.0]))]
    for inputs in (iter([0.5, -2.0]), (x for x in (0.5, -2.0)), {0.5: None, -2.0: None}):
        assert [out.data for out in as_list(network(inputs))] == expected


def test_one_value_alone_is_the_input_of_a_network_with_one() -> None:
    x = Value(0.5)
    assert [out.data for out in Layer(1, 2)(x)] != []
    narrow = MLP(1, [1, 1, 1])
    out = narrow(x)
    assert isinstance(out, Value)
    assert out.data == narrow([0.5]).data


@pytest.mark.parametrize("count", [0, 1, 3, 100])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("convert", [list, iter, np.array])
def test_a_wrong_number_of_inputs(network: str, count: int, convert: Callable[..., Any]) -> None:
    model = eval(network)
    with pytest.raises(ValueError, match=rf"expected 2 inputs, .* got {count}"):
        model(convert([1.0] * count))
    with pytest.raises(ValueError, match=rf"expected 2 inputs, .* got {count}"):
        model([Value(1.0)] * count)


@pytest.mark.parametrize("network", [Neuron(2), Layer(2, 3), MLP(2, [3, 1])], ids=repr)
def test_inputs_that_are_no_numbers(network: Any) -> None:
    for inputs in ("ab", [None, 1.0], [1.0, "text"], [[1.0], [2.0]], [1j, 1.0], 3, None):
        with pytest.raises(TypeError):
            network(inputs)


@pytest.mark.parametrize("inputs", ["ab", [1.0, "b"], [None, 1.0], [Value(1.0), [2.0]], [1j, 1]])
@pytest.mark.parametrize("network", [Neuron(2), Layer(2, 3), MLP(2, [3, 1])], ids=repr)
def test_messages_of_inputs_that_are_no_numbers(network: Any, inputs: Any) -> None:
    with pytest.raises(TypeError, match="inputs of a neuron must be Values or real numbers, not"):
        network(inputs)


# What makes of a neuron one that Python's operators compute.
UNUSUAL = {
    "nothing": "pass",
    "an int for a weight": "neuron.w[0] = Value(1)",
    "a callback on a weight": "neuron.w[1]._backward = lambda: None",
    "a weight of a subclass": "neuron.w[0] = type('Special', (Value,), {})(0.5)",
    "a callback on the bias": "neuron.b._backward = lambda: None",
    "a tuple of weights": "neuron.w = tuple(neuron.w)",
    "weights by a property": "neuron.__class__ = type('N', (Neuron,), {'w': property(doubled)})",
    "a computed bias": "neuron.b = Value(1.0) + 1.0",
    "another activation function": "neuron.activation = abs",
}


def first_neuron(model: Any) -> Any:
    layer = getattr(model, "layers", [model])[0]
    return getattr(layer, "neurons", [layer])[0]


def unusual(network: str, change: str) -> Any:
    model = seeded(network)
    neuron = first_neuron(model)
    own = list(neuron.w)
    names = {"neuron": neuron, "doubled": lambda self: [w * 2 for w in own]}
    exec(UNUSUAL[change], {**globals(), **names})
    return model


@pytest.mark.parametrize("make", ODD_NUMBERS)
@pytest.mark.parametrize("change", UNUSUAL)
@pytest.mark.parametrize("network", NETWORKS)
def test_an_input_is_converted_but_once(network: str, change: str, make: Any) -> None:
    model, number = unusual(network, change), make[0]()
    expected = as_list(model([make[1], Value(2.0)]))
    assert [out.data for out in as_list(model([number, Value(2.0)]))] == [
        out.data for out in expected
    ]
    assert number.conversions == 1


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("make", ODD_NUMBERS)
@pytest.mark.parametrize("change", UNUSUAL)
@pytest.mark.parametrize("network", NETWORKS)
def test_an_exception_of_a_conversion_reaches_the_caller(
    network: str, change: str, make: Any, error: type[BaseException]
) -> None:
    model, number, behind = unusual(network, change), make[0](), make[0]()
    number.error = error("on purpose")
    with pytest.raises(error, match="on purpose"):
        model([number, behind])
    assert (number.conversions, behind.conversions) == (1, 0)


@pytest.mark.parametrize("make", ODD_NUMBERS)
@pytest.mark.parametrize("change", UNUSUAL)
@pytest.mark.parametrize("network", NETWORKS)
def test_inputs_with_operators_of_their_own(network: str, change: str, make: Any) -> None:
    model, number, stranger = unusual(network, change), make[0](), Stranger()
    expected = as_list(model([make[1], 10.0]))
    assert [out.data for out in as_list(model([number, stranger]))] == [
        out.data for out in expected
    ]
    assert number.conversions == 1
    assert stranger.questions <= 1


def test_weights_with_operators_of_their_own_get_the_inputs_as_they_are() -> None:
    class Weight:
        def __mul__(self, other: Any) -> Any:
            seen.append(other)
            return Value(1.0)

    seen: list[Any] = []
    neuron, inputs = Neuron(2, nonlin=False), [ODD_NUMBERS[0][0](), "text"]
    neuron.w = [Weight(), Weight()]  # type: ignore[list-item]
    assert neuron(inputs).data == 2.0
    assert seen == inputs


@pytest.mark.parametrize("network", NETWORKS)
def test_weight_that_is_replaced_while_an_input_is_converted(network: str) -> None:
    """The sum is not fused then, but the input is not converted once more."""

    class Number(OddReal):
        def __float__(self) -> float:
            first_neuron(model).w[1] = Value(2)
            return super().__float__()

    model, number = seeded(network), Number(1, 2)
    outs = as_list(model([number, 4.0]))
    assert number.conversions == 1
    assert [out.data for out in outs] == [out.data for out in as_list(model([0.5, 4.0]))]


@pytest.mark.parametrize("arguments", [(), (1,), ([1.0], [2.0])])
def test_a_neuron_takes_one_argument(arguments: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Neuron(1)(*arguments)


def test_the_argument_may_be_named() -> None:
    neuron = Neuron(1)
    assert neuron(x=[1.0]).data == neuron([1.0]).data
    assert Layer(1, 1)(x=[1.0]) is not None
    assert MLP(1, [1])(x=[1.0]) is not None


def test_columns_of_an_array_make_an_array_of_sums() -> None:
    neuron = seeded("Neuron(2, nonlin=False)")
    columns = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    out = neuron(columns)
    assert [node.data for node in out] == [neuron(column).data for column in columns.T]


def test_no_inputs(engine: Engine) -> None:
    neuron = engine.nn.Neuron(0)
    assert neuron([]).data == 0
    assert neuron.parameters() == [neuron.b]
    assert engine.nn.Layer(2, 0)([1.0, 2.0]) == []
    assert engine.nn.MLP(2, [])([1.0, 2.0]) == [1.0, 2.0]


def trace(root: Any) -> list[tuple[str, str, str, int]]:
    """List all nodes of a graph in an order that does not depend on addresses."""
    seen = {root}
    waiting = [root]
    while waiting:
        for operand in waiting.pop()._prev:
            if operand not in seen:
                seen.add(operand)
                waiting.append(operand)
    return sorted((n._op, repr(n.data), f"{n.grad:.12g}", len(n._prev)) for n in seen)


@pytest.mark.parametrize("network", ["Neuron(1)", "Neuron(3)", "Layer(3, 2)", "Neuron(100, False)"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_graph_is_micrograds(network: str, moment: str) -> None:
    """Whether one looks at it before differentiating or after."""
    traces = []
    for engine in (MICROGRAD, MICROGRADX):
        model = seeded(network, engine)
        for p in model.parameters():
            p.data += 0.5
        count = len(getattr(model, "w", [1.0] * 3))
        out = model([float(i + 1) for i in range(count)])
        root: Any = sum(out) if isinstance(out, list) else out * 1.0
        if moment == "before":
            trace(root)
        root.backward()
        traces.append(trace(root))
    assert traces[1] == traces[0]


def test_parameters_are_the_operands() -> None:
    neuron = Neuron(2, nonlin=False)
    x, y = Value(1.0), Value(2.0)
    out = neuron([x, y])
    (last,) = (node for node in out._prev if node._op == "*")
    (inner,) = (node for node in out._prev if node._op == "+")
    (first,) = (node for node in inner._prev if node._op == "*")
    assert last._prev == {neuron.w[1], y}
    assert inner._prev == {neuron.b, first}
    assert first._prev == {neuron.w[0], x}


def test_the_parts_of_a_sum_can_be_changed_and_differentiated(engine: Engine) -> None:
    neuron = engine.nn.Neuron(2, nonlin=False)
    neuron.w[0].data, neuron.w[1].data, neuron.b.data = 2.0, 3.0, 4.0
    out = neuron([5.0, 6.0])
    (product,) = (node for node in out._prev if node._op == "*")
    assert (out.data, product.data) == (32.0, 18.0)
    product.backward()
    assert [p.grad for p in neuron.parameters()] == [0, 6.0, 0]
    product.data = 100.0
    out.grad, product.grad = 10.0, 0
    out._backward()
    assert (product.grad, out.data) == (10.0, 32.0)


def test_gradients_accumulate_over_several_passes() -> None:
    """What is inside a neuron's sum keeps its gradient from pass to pass as everything does."""
    gradients = []
    for engine in (MICROGRAD, MICROGRADX):
        model = seeded("MLP(2, [2, 1])", engine, seed=7)
        for p in model.parameters():
            p.data = abs(p.data) + 0.1
        out = model([0.5, 1.5])
        for _ in range(3):
            out.backward()
        gradients.append([p.grad for p in model.parameters()])
    assert gradients[1] == pytest.approx(gradients[0], rel=1e-12)


def test_weights_changed_between_forward_and_backward() -> None:
    gradients = []
    for engine in (MICROGRAD, MICROGRADX):
        model = seeded("MLP(2, [2, 1])", engine, seed=7)
        inputs = [engine.Value(0.5), engine.Value(1.5)]
        out = model(inputs)
        for p in model.parameters() + inputs:
            p.data = p.data * 2 + 0.25
        out.backward()
        gradients.append([p.grad for p in model.parameters() + inputs])
    assert gradients[1] == pytest.approx(gradients[0], rel=1e-12)


def test_a_closure_on_a_parameter_runs_when_its_gradient_is_complete(engine: Engine) -> None:
    neuron = engine.nn.Neuron(2, nonlin=False)
    first, second = neuron([2.0, 3.0]), neuron([5.0, 7.0])
    seen = []
    neuron.w[0]._backward = lambda: seen.append(neuron.w[0].grad)
    (first + second).backward()
    assert seen == [7.0]


def test_parameters_may_be_replaced(engine: Engine) -> None:
    neuron = engine.nn.Neuron(2, nonlin=False)
    neuron.w = [engine.Value(2.0), engine.Value(3.0)]
    neuron.b = engine.Value(1.0)
    assert neuron([10.0, 100.0]).data == 321.0
    neuron.w[1] = engine.Value(0.0)
    assert neuron([10.0, 100.0]).data == 21.0
    neuron.nonlin = True
    neuron.b.data = -50.0
    assert neuron([10.0, 100.0]).data == 0
    assert neuron.parameters() == [*neuron.w, neuron.b]


@pytest.mark.parametrize(
    "weights",
    [
        *("(Value(2.0), Value(3.0))", "np.array([Value(2.0), Value(3.0)])", "[2.0, 3.0]"),
        *("[Value(2), Value(3)]", "[Value(1.0) + 1.0, Value(3.0)]"),
        "[Value(2.0), type('Special', (Value,), {})(3.0)]",
    ],
)
def test_weights_of_any_kind(engine: Engine, weights: str) -> None:
    neuron = engine.nn.Neuron(2, nonlin=False)
    neuron.w = eval(weights, {"np": np, "Value": engine.Value})
    x = engine.Value(10.0)
    out = neuron([x, 100.0])
    out.backward()
    assert (out.data, x.grad) == (320.0, 2.0)


def test_a_network_of_computed_weights(engine: Engine) -> None:
    source = engine.Value(3.0)
    neuron = engine.nn.Neuron(1, nonlin=False)
    neuron.w, neuron.b = [source * source], source * 2
    neuron([5.0]).backward()
    assert source.grad == 5 * 6.0 + 2


def test_extra_attributes(engine: Engine) -> None:
    model = engine.nn.MLP(1, [1])
    model.name, model.layers[0].name, model.layers[0].neurons[0].name = "model", "layer", "neuron"
    assert model.layers[0].neurons[0].name == "neuron"
    assert vars(model.layers[0])["name"] == "layer"


ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "linear": lambda x: x,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("x", [2.0, -2.0])
def test_activation_by_name(name: str, x: float) -> None:
    neuron = Neuron(1, activation=name)
    neuron.w[0].data = 1.5
    assert neuron.activation == name
    assert neuron([x]).data == pytest.approx(ACTIVATIONS[name](1.5 * x), rel=1e-15)
    assert repr(neuron) == f"{'ReLU' if name == 'relu' else name.capitalize()}Neuron(1)"


class Sine:
    def __call__(self, value: Value) -> Value:
        return value.sin()


@pytest.mark.parametrize("activation", [Value.sin, lambda value: value.sin(), Sine()])
def test_activation_by_a_callable(activation: Callable[[Value], Value]) -> None:
    neuron = Neuron(1, activation=activation)
    neuron.w[0].data = 1.5
    out = neuron([2.0])
    out.backward()
    assert (out.data, out._op) == (math.sin(3.0), "sin")
    assert neuron.w[0].grad == pytest.approx(2.0 * math.cos(3.0), rel=1e-15)
    assert neuron.activation is activation
    assert "Neuron(1)" in repr(neuron)


def test_activation_of_layers() -> None:
    model = MLP(2, [2, 2, 1], activation="tanh")
    activations = [(n.activation, n.nonlin) for layer in model.layers for n in layer.neurons]
    assert activations == [("tanh", True)] * 4 + [("tanh", False)]
    assert repr(Layer(1, 1, activation="sigmoid")) == "Layer of [SigmoidNeuron(1)]"
    out = model([0.5, 0.5])
    assert isinstance(out, Value)
    assert out._op == "+"


def test_activation_may_be_changed() -> None:
    neuron = Neuron(1)
    neuron.activation = "tanh"
    assert neuron([1.0])._op == "tanh"
    neuron.activation = Value.exp
    assert neuron([1.0])._op == "exp"


@pytest.mark.parametrize(
    "make", ["Neuron(2, True, {})", "Layer(2, 1, activation={})", "MLP(2, [1], {})"]
)
def test_bad_activation(make: str) -> None:
    with pytest.raises(ValueError, match=r"activation must be one of .*'tanh'.*, not 'softplus'"):
        eval(make.format("'softplus'"))
    with pytest.raises(TypeError, match=r"activation must be .*, not int"):
        eval(make.format(3))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        ("Neuron(-1)", ValueError, "nin must be 0 or more, not -1"),
        ("Neuron(2.0)", TypeError, "nin must be an int, not float"),
        ("Layer(2, -3)", ValueError, "nout must be 0 or more, not -3"),
        ("MLP(2, [3, None])", TypeError, "nout must be an int, not NoneType"),
        ("MLP(2, 3)", TypeError, "nouts must be a sequence of ints, not int"),
    ],
)
def test_messages_of_bad_sizes(make: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        eval(make)


def test_an_exception_of_an_activation_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        MLP(1, [2, 1], activation=lambda value: value / 0)([1.0])


@pytest.mark.parametrize("bad", ["Neuron(2.5)", "Layer('a', 1)", "MLP(2)", "MLP(2, 3)"])
def test_bad_sizes(engine: Engine, bad: str) -> None:
    with pytest.raises(TypeError):
        eval(bad, vars(engine.nn))


def test_unknown_options_are_refused(engine: Engine) -> None:
    with pytest.raises(TypeError, match="bias"):
        engine.nn.Layer(2, 1, bias=False)


def test_a_neuron_that_overrides_call(engine: Engine) -> None:
    class Doubling(engine.nn.Neuron):  # type: ignore[name-defined, misc]
        def __call__(self, x: Any) -> Any:
            return super().__call__(x) * 2

    layer = engine.nn.Layer(1, 2)
    layer.neurons[1] = Doubling(1)
    for neuron in layer.neurons:
        neuron.w[0].data = 3.0
    assert [out.data for out in layer([1.0])] == [3.0, 6.0]


def test_a_neuron_that_overrides_call_gets_the_inputs_as_they_are(engine: Engine) -> None:
    class Recording(engine.nn.Neuron):  # type: ignore[name-defined, misc]
        def __call__(self, x: Any) -> Any:
            seen.append(x)
            return super().__call__(x)

    seen: list[Any] = []
    layer, x = engine.nn.Layer(2, 2), [1.0, 2.0]
    layer.neurons[1] = Recording(2)
    layer(x)
    assert seen[0] is x


def test_a_neuron_that_overrides_call_on_the_class(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = engine.nn.MLP(1, [2, 1])
    with monkeypatch.context() as patch:
        patch.setattr(engine.nn.Neuron, "__call__", lambda self, x: 7.0)
        assert model([1.0]) == 7.0
    assert isinstance(model([1.0]), engine.Value)


def test_a_layer_that_overrides_call(engine: Engine) -> None:
    class Residual(engine.nn.Layer):  # type: ignore[name-defined, misc]
        def __call__(self, x: Any) -> Any:
            return [out + xi for out, xi in zip(super().__call__(x), x, strict=True)]

    model = engine.nn.MLP(2, [2, 2])
    model.layers[0] = Residual(2, 2)
    for p in model.layers[0].parameters():
        p.data = 0.0
    assert [out.data for out in model.layers[0]([3.0, 4.0])] == [3.0, 4.0]
    assert len(model([3.0, 4.0])) == 2


def test_parameters_that_are_overridden_are_those_of_the_model(engine: Engine) -> None:
    class WithoutBias(engine.nn.Neuron):  # type: ignore[name-defined, misc]
        def parameters(self) -> list[Any]:
            return list(self.w)

    layer = engine.nn.Layer(2, 2)
    layer.neurons = [WithoutBias(2), WithoutBias(2)]
    assert len(layer.parameters()) == 4
    model = engine.nn.MLP(2, [2])
    model.layers = [layer]
    assert len(model.parameters()) == 4
    layer.neurons[0].b.grad = layer.neurons[0].w[0].grad = 5.0
    model.zero_grad()
    assert (layer.neurons[0].b.grad, layer.neurons[0].w[0].grad) == (5.0, 0)


def test_a_subclass_with_an_initialiser_of_its_own(engine: Engine) -> None:
    class Constant(engine.nn.Neuron):  # type: ignore[name-defined, misc]
        def __init__(self, nin: int, value: float) -> None:
            super().__init__(nin, nonlin=False)
            for w in self.w:
                w.data = value

    assert Constant(2, 2.0)([3.0, 4.0]).data == 14.0


def test_a_neuron_that_forgets_to_initialise_says_so() -> None:
    class Forgetful(Neuron):
        def __init__(self) -> None:
            pass

    with pytest.raises(AttributeError, match="w"):
        Forgetful()([1.0])
    with pytest.raises(AttributeError, match="w"):
        Forgetful().parameters()


def test_inputs_of_a_subclass_have_its_operators_called(engine: Engine) -> None:
    class Recorded(engine.Value):  # type: ignore[name-defined, misc]
        def __rmul__(self, other: Any) -> Any:
            return engine.Value(1000.0)

    neuron = engine.nn.Neuron(2, nonlin=False)
    assert neuron([Recorded(1.0), 0.0]).data == 1000.0


def test_modules_of_ones_own(engine: Engine) -> None:
    class Attention(engine.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            self.key, self.query = engine.nn.Layer(2, 2, nonlin=False), engine.nn.Neuron(2, False)

        def __call__(self, x: Any) -> Any:
            return self.query(self.key(x))

        def parameters(self) -> list[Any]:
            return [*self.key.parameters(), *self.query.parameters()]

    block = Attention()
    block([1.0, 2.0]).backward()
    assert any(p.grad != 0 for p in block.parameters())
    block.zero_grad()
    assert all(p.grad == 0 for p in block.parameters())


def test_a_module_is_collected_with_its_nodes(living_nodes: Callable[[], int]) -> None:
    before = living_nodes()
    model = MLP(2, [3, 1])
    model.itself = model  # type: ignore[attr-defined]
    model.layers[0].neurons[0].owner = model  # type: ignore[attr-defined]
    for _ in range(3):
        out = model([1.0, 2.0])
        assert isinstance(out, Value)
        out.backward()
    del model, out
    assert living_nodes() == before


def test_module_is_the_base_of_all() -> None:
    assert issubclass(Neuron, Module)
    assert issubclass(Layer, Module)
    assert issubclass(MLP, Module)
