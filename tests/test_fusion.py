"""What is fused is one node until somebody looks, which nobody can tell from outside.

The numbers are exact, so that graphs are compared to the last bit.
"""

import gc
import math
import random
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from conftest import MICROGRAD, MICROGRADX, PREAMBLE, Engine, count_nodes
from graphs import (
    FRACTIONS,
    LOOKS,
    Program,
    Step,
    change_data,
    drop_in_random_order,
    follow,
    look_and_sweep,
    numbers_of,
    on_both,
    operands_first,
    random_steps,
    run_on_both,
    sweep_after_failures,
)
from microgradx import Value
from microgradx.nn import Layer, Neuron

pytestmark = pytest.mark.usefixtures("nodes_return_to_the_baseline")

STATEMENTS = (
    *("values.append(n((a, b, c)[:len(n.w)]))", "values.append(n((b, b, a)[:len(n.w)]))"),
    *("values.append(n((c, a, 2)[:len(n.w)]))", "values.append(n((n.w[0], a, b)[:len(n.w)]))"),
    *("values.extend(layer([a, b]))", "values.extend(layer([a, c]))", "values.append(mlp([a, b]))"),
    *("values.append(a + b)", "values.append(a * b)", "values.append(a - c)"),
    *("values.append(a - b)", "values.append(-a)", "values.append(2 - a)"),
    *("a._prev", "operands_first(a)"),
    *(f"values.extend(follow(a, {path!r}))" for path in ("+", "*", "++", "+*", "++*", "+++*")),
    *("a.data = c", "a.grad = c", "a.grad = 0", "[setattr(v, 'grad', 0) for v in values]"),
    *("a.backward()", "a.backward()", "a.backward()", "values[-1].backward()"),
    *("step_by_step(a)", "a._backward()"),
    *("hook(a, calls)", "[hook(hidden, calls) for hidden in follow(a, '+')]"),
    *("n.w[-1] = a", "n.w = [a, b]", "n.w = [a * b, c * a]", "n.w = layer.neurons[0].w"),
    *("n.b = a", "n.b = n.w[0]", "values.remove(a)", "values.pop()"),
)


def new_program(engine: Engine) -> Program:
    generator = random.Random(0)
    neurons = [engine.nn.Neuron(3), engine.nn.Neuron(2, nonlin=False), engine.nn.Neuron(1)]
    layer, mlp = engine.nn.Layer(2, 3), engine.nn.MLP(2, [2, 1])
    parameters = [p for network in (*neurons, layer, mlp) for p in network.parameters()]
    for p in parameters:
        if p.data != 0:  # a weight, not a bias
            p.data = generator.choice(FRACTIONS)
    named = [p for neuron in neurons[:2] for p in neuron.parameters()]
    values = [engine.Value(1.0), engine.Value(-2), engine.Value(0.5), *named]
    return Program(values, parameters, neurons, layer=layer, mlp=mlp)


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.filter_too_much])
@hypothesis.given(random_steps(STATEMENTS))
def test_random_program(steps: list[Step]) -> None:
    before = count_nodes()
    try:
        run_on_both(new_program(MICROGRAD), new_program(MICROGRADX), steps)
    finally:
        if any("hook" in step.statement for step in steps):
            gc.collect()  # closures make cycles
    assert count_nodes() == before


def exact_neuron(
    engine: Engine, terms: int, nonlin: bool, bias: float = 0
) -> tuple[Any, list[Any]]:
    generator = random.Random(terms)
    neuron = engine.nn.Neuron(terms, nonlin=nonlin)
    for weight in neuron.w:
        weight.data = generator.choice(FRACTIONS)
    neuron.b = engine.Value(bias)
    return neuron, [engine.Value(generator.choice(FRACTIONS)) for _ in range(terms)]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("bias", [100, -100, 0.5])
@pytest.mark.parametrize("nonlin", [True, False])
@pytest.mark.parametrize("terms", [0, 1, 2, 32, 33, 65, 130])
def test_any_number_of_terms(terms: int, nonlin: bool, bias: float, look: str) -> None:
    def program(engine: Engine) -> list[Any]:
        neuron, x = exact_neuron(engine, terms, nonlin, bias)
        out = neuron(x)
        loss = out * -2 + out
        look_and_sweep(look, out, loss)
        return [*dict.fromkeys([loss, out, *neuron.parameters(), *x])]

    on_both(program)


def test_no_terms_give_the_bias_itself() -> None:
    neuron = Neuron(0, nonlin=False)
    assert neuron([]) is neuron.b


@pytest.mark.parametrize("sweeps", [1, 2])
@pytest.mark.parametrize("factor", [-2, -2.5])
def test_inactive_neuron_passes_on_a_zero_without_a_sign(factor: float, sweeps: int) -> None:
    def program(engine: Engine) -> list[Any]:
        neuron, x = exact_neuron(engine, 3, nonlin=True, bias=-100)
        out = neuron(x)
        loss = out * factor
        for _ in range(sweeps):
            loss.backward()
        return [loss, out, *neuron.parameters(), *x]

    on_both(program)


@pytest.mark.parametrize("looks_first", [False, True])
@pytest.mark.parametrize("changed", ["w", "x", "b", "out", "hidden"])
@pytest.mark.parametrize("nonlin", [True, False])
def test_data_changed_after_the_forward_pass(nonlin: bool, changed: str, looks_first: bool) -> None:
    def program(engine: Engine) -> list[Any]:
        neuron, x = exact_neuron(engine, 3, nonlin, 20)
        out = neuron(x)
        named = [out, *neuron.parameters(), *x]
        if looks_first:
            operands_first(out)
        chosen = {"w": neuron.w, "x": x, "b": [neuron.b], "out": [out]}
        hidden = [] if changed in chosen else [o for o in operands_first(out) if o not in named]
        change_data(chosen.get(changed, hidden))
        out.backward()
        change_data(chosen.get(changed, hidden))
        out.backward()
        return named

    on_both(program)


@pytest.mark.parametrize("sweeps_before", [0, 1, 2])
@pytest.mark.parametrize("grad", [0, 0.5, -2])
def test_gradients_of_hidden_nodes_set_by_hand(grad: float, sweeps_before: int) -> None:
    def program(engine: Engine) -> list[Any]:
        neuron, x = exact_neuron(engine, 40, nonlin=True, bias=100)
        out = neuron(x)
        for _ in range(sweeps_before):
            out.backward()
        for node in operands_first(out):
            node.grad = grad
        out.backward()
        return [out, *neuron.parameters(), *x]

    on_both(program)


@pytest.mark.parametrize("path", ["+", "+*", "++", "++*", "+++*"])
@pytest.mark.parametrize("sweeps_before", [0, 1])
@pytest.mark.parametrize("keeps", ["both", "hidden"])
def test_hidden_node_as_an_operand(path: str, sweeps_before: int, keeps: str) -> None:
    def program(engine: Engine) -> list[Any]:
        neuron, x = exact_neuron(engine, 50, nonlin=True, bias=100)
        out = neuron(x)
        for _ in range(sweeps_before):
            out.backward()
        (hidden,) = follow(out, path)
        kept = [out] if keeps == "both" else []
        del out
        hidden.backward()
        again = neuron([hidden, *x[1:]])
        newer = hidden * hidden + again
        newer.backward()
        hidden.backward()
        return [newer, again, hidden, *kept, *neuron.parameters(), *x]

    on_both(program)


def test_hidden_nodes_outlive_the_fused_one_in_any_order() -> None:
    for seed in range(10):
        neuron, x = exact_neuron(MICROGRADX, 70, nonlin=True, bias=100)
        before = count_nodes()
        drop_in_random_order(operands_first(neuron(x)), seed)
        assert count_nodes() == before


def test_nodes_are_counted_while_they_live_only() -> None:
    neuron, x = exact_neuron(MICROGRADX, 3, nonlin=True, bias=100)
    before = count_nodes()
    (bias_and_first,) = follow(neuron(x), "+++")
    assert count_nodes() == before + 2  # it, and the product below it
    assert bias_and_first.data == 100 + neuron.w[0].data * x[0].data


def test_interior_nodes_as_weights_inputs_and_bias() -> None:
    def program(engine: Engine) -> list[Any]:
        a, b = engine.Value(0.5), engine.Value(2.0)
        neuron = engine.nn.Neuron(2, nonlin=False)
        product, total = a * b, a + b
        neuron.w, neuron.b = [product, total], total * 2.0
        inner = neuron([product, a])
        neuron.w = [inner, a]
        outer = neuron([inner, inner * b])
        outer.backward()
        outer.backward()
        return [outer, inner, product, total, neuron.b, a, b]

    on_both(program)


@pytest.mark.parametrize("sweeps", [1, 2])
def test_one_value_in_several_places(sweeps: int) -> None:
    def program(engine: Engine) -> list[Any]:
        v, number = engine.Value(1.5), engine.Value(2)
        first, second = engine.nn.Neuron(3), engine.nn.Neuron(3)
        first.w, first.b = [v, v, engine.Value(0.5)], v
        second.w, second.b = first.w, number
        outs = [first([v, v, number]), second([number, v, 3]), first([v, number, 0.5])]
        loss = sum(outs)
        for _ in range(sweeps):
            loss.backward()
        return [loss, *outs, v, number, first.w[2]]

    on_both(program)


@pytest.mark.parametrize("place", ["result", "sum", "product", "weight", "input", "bias"])
@pytest.mark.parametrize("sweeps_before", [0, 1])
def test_sweep_that_failed_and_one_after_it(place: str, sweeps_before: int) -> None:
    def program(engine: Engine) -> list[Any]:
        neuron, x = exact_neuron(engine, 40, nonlin=True, bias=100)
        layer = engine.nn.Layer(1, 3)
        for weight in (n.w[0] for n in layer.neurons):
            weight.data = 0.5
        out = neuron(x)
        loss = sum(layer([out])) * 2.0
        for _ in range(sweeps_before):
            loss.backward()
        places = {"result": [out], "weight": neuron.w, "input": x, "bias": [neuron.b]}
        failing = (places.get(place) or follow(out, "++*" if place == "product" else "++"))[-1]
        sweep_after_failures(loss, failing)
        return [loss, out, *layer.parameters(), *neuron.parameters(), *x]

    on_both(program)


@pytest.mark.parametrize("looks", [False, True])
def test_sweep_within_a_sweep(looks: bool) -> None:
    """A callback at the root sweeps through what the outer sweep has still before it."""

    def program(engine: Engine) -> list[Any]:
        neuron, x = exact_neuron(engine, 40, nonlin=True, bias=100)
        out = neuron(x)
        other = neuron([out, *x[1:]])
        root = out + other
        original = root._backward

        def backward() -> None:
            original()
            grads = [out.grad, other.grad]
            other.backward()
            if looks:
                operands_first(other)
            out.grad, other.grad = grads

        root._backward = backward
        root.backward()
        return [root, out, other, *neuron.parameters(), *x]

    on_both(program)


def test_sweep_within_a_sweep_from_hidden_nodes() -> None:
    """Each hidden node's callback sweeps through another graph with the same leaves."""

    def program(engine: Engine) -> list[Any]:
        neuron, x = exact_neuron(engine, 40, nonlin=True, bias=100)
        out, other = neuron(x), neuron(x)
        hidden = [node for node in operands_first(out) if node._op]

        def sweeping(original: Callable[[], None]) -> Callable[[], None]:
            def backward() -> None:
                original()
                other.grad = 0
                (other * 2.0 + x[0]).backward()

            return backward

        for node in hidden:
            node._backward = sweeping(node._backward)
        loss = out * 2.0
        loss.backward()
        leaves = [*neuron.parameters(), *x]
        return [out, *leaves]

    expected, actual = program(MICROGRAD), program(MICROGRADX)
    assert numbers_of(actual[0]) == numbers_of(expected[0])
    for node, value in zip(expected, actual, strict=True):
        assert math.isclose(value.grad, node.grad, rel_tol=1e-12)


@pytest.mark.parametrize("place", ["w", "x", "b"])
def test_callback_assigned_in_the_middle_of_a_sweep(place: str) -> None:
    """The sweep runs a callback that is assigned before it comes to the node."""

    def calls(engine: Engine) -> list[str]:
        neuron, x = exact_neuron(engine, 2, nonlin=False)
        out = neuron(x)
        chosen = {"w": neuron.w[0], "x": x[0], "b": neuron.b}[place]
        root = out * 2.0
        original = root._backward
        calls = []

        def backward() -> None:
            original()
            chosen._backward = lambda: calls.append(place)

        root._backward = backward
        root.backward()
        return calls

    assert calls(MICROGRADX) == calls(MICROGRAD) == [place]


def test_callback_assigned_to_an_operand_by_its_consumer(engine: Engine) -> None:
    calls = []
    x = engine.Value(1.0)
    y = x * 2.0

    def backward() -> None:
        x._backward = lambda: calls.append("x")

    y._backward = backward
    (y * 3.0).backward()
    assert calls == ["x"]


def test_callback_assigned_between_two_neurons_of_a_layer() -> None:
    """The oldest neuron's output is passed after the callback, whose owner is its consumer."""
    calls: list[str] = []
    sums: list[Any] = []

    def take_sum(total: Any) -> Any:
        sums.append(total)
        return total

    class Watching(Neuron):
        def __call__(self, x: Any) -> Any:
            out = Value(1.0, sums, "watch")

            def backward() -> None:
                sums[0].grad += out.grad
                x[0]._backward = lambda: calls.append("x")

            out._backward = backward
            return out

    layer = Layer(2, 3, nonlin=False)
    layer.neurons[0].nonlin = True
    layer.neurons[0].activation = take_sum
    layer.neurons[1] = Watching(2)
    outs: Any = layer([Value(1.0), Value(2.0)])
    (outs[1] * outs[2]).backward()
    assert calls == ["x"]


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("looks_first", [False, True])
def test_activation_functions_of_our_own(activation: str, looks_first: bool) -> None:
    neuron, x = exact_neuron(MICROGRADX, 3, nonlin=True, bias=0.5)
    neuron.activation = activation
    out = neuron(x)
    total = 0.5 + sum(w.data * v.data for w, v in zip(neuron.w, x, strict=True))
    y = math.tanh(total) if activation == "tanh" else 1 / (1 + math.exp(-total))
    assert out.data == pytest.approx(y, rel=1e-15)
    assert out._op == activation
    loss = out * 3.0
    if looks_first:
        operands_first(loss)
    loss.backward()
    derivative = 3.0 * {"tanh": 1 - y * y, "sigmoid": y * (1 - y)}[activation]
    (hidden,) = out._prev
    assert hidden.data == total
    assert hidden.grad == pytest.approx(derivative, rel=1e-12)
    for w, v in zip(neuron.w, x, strict=True):
        assert w.grad == pytest.approx(derivative * v.data, rel=1e-12)
        assert v.grad == pytest.approx(derivative * w.data, rel=1e-12)


@pytest.mark.parametrize("breaks_off", ["at an int weight", "outside of the domain"])
def test_sum_that_cannot_be_fused_after_all(breaks_off: str) -> None:
    neuron = Neuron(2)
    neuron.w[0].tag = "kept"
    if breaks_off == "at an int weight":
        neuron.w[1] = Value(2)
        assert neuron([1.0, 2.0])._op == "ReLU"
    else:
        neuron.activation, neuron.b = "log", Value(-100.0)
        with pytest.raises(ValueError, match="not defined"):
            neuron([1.0, 2.0])
    # That no node is left is checked after every test here.


PROGRAMS = {
    "callbacks that delete each other": """
a, b = Value(1.0), Value(2.0)
def delete_b(): del b._backward
def delete_a(): del a._backward
a._backward, b._backward = delete_b, delete_a
(a * b).backward()
neuron = Neuron(2)
out = neuron([a, b])
a._backward, b._backward = delete_b, delete_a
out.backward()
""",
    "a number that takes the weights away when converted": """
class Number(fractions.Fraction):
    def __float__(self):
        neuron.w.clear()
        neuron.w = []
        neuron.b = None
        gc.collect()
        return 0.5
neuron = Neuron(3)
for _ in range(10):
    neuron.w, neuron.b = [Value(0.5) for _ in range(3)], Value(0)
    attempt(lambda: neuron([Number(1, 2), Value(1.0), Value(2.0)]))
""",
    "a number that changes the list of inputs when converted": """
class Longer(fractions.Fraction):
    def __float__(self):
        x[:] = [1, 2, 3, 4, 5, 6] * 1000
        return 0.5
class Shorter(fractions.Fraction):
    def __float__(self):
        x.clear()
        return 0.5
neuron = Neuron(3)
for kind in (Longer, Shorter):
    x = [kind(1, 2), kind(1, 3), Value(2.0)]
    attempt(lambda: neuron(x))
""",
    "an activation function that changes the list of neurons": """
def clear(total):
    layer.neurons.clear()
    gc.collect()
    return total
def extend(total):
    layer.neurons.extend(Neuron(2) for _ in range(1000))
    return total
for activation in (clear, extend):
    for _ in range(10):
        layer = Layer(2, 4, activation=activation)
        attempt(lambda: layer([Value(1.0), Value(2.0)]))
""",
    "a neuron that changes the list of inputs": """
class Shortening(Neuron):
    def __call__(self, x):
        del x[1:]
        return x[0]
for _ in range(10):
    layer = Layer(300, 3)
    layer.neurons[1:] = [Shortening(1), Neuron(1)]
    out = attempt(lambda: layer([Value(float(i)) for i in range(300)]))
    assert out is None or len(list(out[2]._prev)) == 1
    if out is not None:
        (total,) = out[2]._prev
        (product,) = [o for o in total._prev if o._op == "*"]
        assert layer.neurons[2].w[0] in product._prev
""",
    "graphs that are looked at while the collector runs all the time": """
gc.set_threshold(1)
layer = Layer(3, 4)
for _ in range(20):
    x = [Value(1.0), 2, Value(0.5) * 2]
    outs = layer(x)
    loss = sum(outs)
    kept = [next(iter(out._prev)) for out in outs[::2]]
    loss.backward()
    outs[0]._backward = lambda: (loss, kept)
    (kept[0] * outs[1]).backward()
    del loss, outs
    kept[0].backward()
    for hidden in kept:
        hidden.tag = [hidden]
        hidden._backward = lambda hidden=hidden: hidden
    kept[0].backward()
""",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_that_could_crash(program: str, run_python: Callable[..., str]) -> None:
    run_python(PREAMBLE + PROGRAMS[program], "-X", "dev")


def test_layer_of_the_same_inputs_returns_its_nodes() -> None:
    layer, x, y = Layer(3, 5), Value(1.0), Value(2.0)
    before = count_nodes()
    outs: Any = layer([x, y, 3])
    operands_first(outs[1])
    outs[3].backward()
    del outs
    assert count_nodes() == before
