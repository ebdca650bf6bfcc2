"""Nodes live as long as something refers to them, and not longer."""

import copy
import gc
import pickle
import random
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import count_nodes
from graphs import operands_first
from microgradx import Value, _core
from microgradx.nn import MLP, Layer, Neuron

pytestmark = pytest.mark.usefixtures("nodes_return_to_the_baseline")


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def leaf() -> Any:
    return Value(1.0)


def every_operation() -> Any:
    x, y = Value(0.5), Value(2.0)
    parts = [x + y, x * y, x - y, x / y, -x, x**2, x**y, 2**x, 1 / x, 1 - x, x + 1, 1 + x, abs(x)]
    parts += [getattr(x, row.name)() for row in _core.OPS if row.arity == 1]
    return sum(parts)


def shared_parts() -> Any:
    x = Value(1.0)
    for _ in range(1000):
        x = x * x - x / 2
        x.data = 1.0
    return x


def neuron() -> Any:
    return Neuron(3)([1.0, Value(2.0), Value(3.0) * 2])


def network() -> Any:
    return MLP(2, [5, 4, 1])([1.0, -1.0])


def network_of_many_outputs() -> Any:
    return MLP(2, [5, 4], activation="tanh")([Value(1.0), Value(-1.0)])


def model_alone() -> Any:
    return MLP(2, [5, 1])


def attributes() -> Any:
    x = Value(1.0, label="x")
    y = x * 2
    x.m, y.label, y.payload = 0.5, "y", [1, 2, 3]
    return y + 1


def subclass() -> Any:
    special = type("Special", (Value,), {})
    x = special(2.0)
    return special(3.0, (x * x, x), "own") * 2


def many_children() -> Any:
    return Value(1.0, [Value(float(i)) * 2 for i in range(1000)], "many")


def array() -> Any:
    return np.sum(np.array([1.0, 2.0]) * Value(3.0)) + np.prod(np.array([Value(1.0), Value(2.0)]))


def copies() -> Any:
    model = pickle.loads(pickle.dumps(copy.deepcopy(MLP(1, [2, 1]))))
    return model([1.0])


def data_by_itself() -> Any:
    x = Value(1.0)
    x.friends = [x]
    return x


PROGRAMS = [
    *(leaf, every_operation, shared_parts, neuron, network, network_of_many_outputs, model_alone),
    *(attributes, subclass, many_children, array, copies, data_by_itself),
]


def values_in(result: Any) -> list[Value]:
    return [v for v in (result if isinstance(result, list) else [result]) if isinstance(v, Value)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_dropped_at_once(program: Callable[[], Any]) -> None:
    program()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("passes", [1, 2])
def test_differentiated(program: Callable[[], Any], passes: int) -> None:
    for value in values_in(program()):
        for _ in range(passes):
            value.backward()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("order", ["before", "after"])
def test_inspected(program: Callable[[], Any], order: str) -> None:
    for value in values_in(program()):
        if order == "after":
            value.backward()
        operands_first(value)
        if order == "before":
            value.backward()


@pytest.mark.parametrize("program", PROGRAMS)
def test_kept_by_an_interior_node(program: Callable[[], Any]) -> None:
    """The root goes first, a part of its graph later."""
    for value in values_in(program()):
        nodes = sorted(operands_first(value), key=id)
        del value
        random.Random(0).shuffle(nodes)
        while nodes:
            nodes.pop().backward()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("program", [p for p in PROGRAMS if p is not data_by_itself])
def test_released_without_the_collector(program: Callable[[], Any]) -> None:
    before = count_nodes()
    for value in values_in(program()):
        value.backward()
        del value
    if program not in (copies,):  # pickle itself leaves garbage
        assert count_nodes() == before


def test_counters() -> None:
    before = _core.arena_counters()
    x, y = Value(1.0), Value(2.0)
    product = x * y
    total = product + x
    del product
    after = _core.arena_counters()
    grown = {name: after[name] - before[name] for name in after}
    assert (grown["nodes"], grown["interior_nodes"], grown["leaves"]) == (4, 2, 2)
    assert grown["wrapped_nodes"] == 3
    assert after["pages"] > 0
    assert after["bytes"] > 0
    assert total.data == 3.0


def test_a_part_keeps_only_what_it_depends_on() -> None:
    before = count_nodes()
    x = Value(1.0)
    part = x * 2
    whole = part + Value(3.0)
    assert count_nodes() == before + 5
    del whole
    assert count_nodes() == before + 3
    del x
    assert count_nodes() == before + 3
    assert part._prev
    del part
    assert count_nodes() == before


def test_wrappers_do_not_pile_up() -> None:
    before = _core.arena_counters()["wrapped_nodes"]
    x = Value(1.0)
    for _ in range(100):
        x = x * 2 + 1
    assert _core.arena_counters()["wrapped_nodes"] == before + 1
    assert len(operands_first(x)) == 401


def test_operands_are_one_object_as_long_as_the_node_lives() -> None:
    root = Value(1.0) * 2 + 3
    first = {id(node) for node in operands_first(root)}
    gc.collect()
    scratch = [Value(float(i)) for i in range(1000)]  # which would take freed memory
    assert {id(node) for node in operands_first(root)} == first
    assert len(scratch) == 1000


def test_an_operand_held_by_the_user_is_the_one_in_the_graph() -> None:
    x = Value(1.0)
    root = (x * 2).tanh()
    (product,) = root._prev
    del root
    assert x in product._prev
    above = product + 1
    assert product in above._prev


@pytest.mark.parametrize("name", ["payload", "label", "_op"])
def test_attributes_live_as_long_as_the_node(name: str) -> None:
    x = Value(1.0)
    product = x * 2
    setattr(product, name, "mine")
    root = product + 1
    del product
    gc.collect()
    (found,) = (node for node in root._prev if node._prev)
    assert getattr(found, name) == "mine"


def test_attributes_of_a_parameter_live_as_long_as_a_graph_with_it() -> None:
    model = Neuron(2, nonlin=False)
    for i, p in enumerate(model.parameters()):
        p.number = i
    out = model([1.0, 2.0])
    del model, p
    gc.collect()
    numbers = [node.number for node in operands_first(out) if hasattr(node, "number")]
    assert sorted(numbers) == [0, 1, 2]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_attributes_of_inputs_live_as_long_as_the_output(activation: str) -> None:
    model = MLP(1, [2, 1], activation=activation)
    x = Value(1.0, label="input")
    out = model([x])
    assert isinstance(out, Value)
    del x
    gc.collect()
    assert [node.label for node in operands_first(out) if node.label] == ["input"]
    del out
    gc.collect()
    assert len(model.parameters()) == 7


def test_attributes_are_released_with_the_node() -> None:
    class Payload:
        pass

    payload = Payload()
    dead = weakref.ref(payload)
    x = Value(1.0)
    x.payload = payload
    root = x * 2
    del x, payload
    assert dead() is not None
    del root
    assert dead() is None


def test_a_subclass_instance_lives_as_long_as_its_node() -> None:
    class Special(Value):
        pass

    special = Special(2.0)
    special.name = "special"
    root = special * 3
    del special
    gc.collect()
    (found,) = (node for node in root._prev if type(node) is Special)
    assert found.name == "special"


def test_weak_reference_to_a_leaf() -> None:
    x = Value(1.0)
    reference = weakref.ref(x)
    assert reference() is x
    root = x * 2
    del x
    gc.collect()
    found = reference()
    assert found is not None
    assert found in root._prev
    del found, root
    assert reference() is None


def test_weak_reference_to_an_interior_node() -> None:
    product = Value(1.0) * 2
    reference = weakref.ref(product)
    root = product + 1
    del product
    gc.collect()
    assert reference() in root._prev
    root.backward()
    del root
    assert reference() is None


def test_callback_of_a_weak_reference() -> None:
    events = []
    x = Value(1.0)
    reference = weakref.ref(x, lambda _: events.append("dead"))
    root = x * 2
    del x
    assert events == []
    del root
    assert (events, reference()) == (["dead"], None)


def test_weak_dictionary_of_values() -> None:
    """Optimiser state may be kept this way."""
    model = Neuron(2)
    state = weakref.WeakKeyDictionary(dict.fromkeys(model.parameters(), 0.5))
    out = model([1.0, 2.0])
    assert len(state) == 3
    del model
    assert len(state) == 3
    del out
    assert len(state) == 0


@pytest.mark.usefixtures("_no_collector")
def test_weak_reference_to_a_weight_whose_outputs_are_gone() -> None:
    layer, dead = Layer(2, 3), list[Any]()
    before = count_nodes()
    for call in range(10):
        layer([1.0, 2.0])
        reference = weakref.ref(layer.neurons[0].w[0], dead.append)
        layer.neurons[0].w[0] = Value(0.5)
        assert (len(dead), reference()) == (call + 1, None)
    assert count_nodes() == before


@pytest.mark.usefixtures("_no_collector")
def test_weak_set_of_the_parameters_of_a_layer_whose_outputs_are_gone() -> None:
    layer = Layer(2, 3)
    parameters = weakref.WeakSet(layer.parameters())
    layer([1.0, 2.0])
    out = layer([1.0, 2.0])[1]
    del layer
    assert len(parameters) == 3
    del out
    assert len(parameters) == 0


class Tracked(Value):
    """Counts its instances that have been finalised."""

    finalised = 0

    def __del__(self) -> None:
        Tracked.finalised += 1


def test_finalisers_run_once() -> None:
    Tracked.finalised = 0
    x = Tracked(1.0)
    root = x * 2
    del x
    assert Tracked.finalised == 0
    del root
    assert Tracked.finalised == 1


# A cycle in which an attribute leads back to a later node is garbage like any other.


def test_an_attribute_that_leads_to_a_consumer() -> None:
    x = Value(1.0)
    x.consumer = x * 2


def test_an_attribute_that_leads_to_a_consumers_consumer() -> None:
    x = Value(1.0)
    product = x * 2
    product.users = [product + 1]


def test_an_attribute_of_a_subclass_that_leads_to_a_consumer() -> None:
    parameter = type("Parameter", (Value,), {})(1.0)
    parameter.loss = (parameter * 2).tanh()


def test_an_attribute_of_a_parameter_that_leads_to_the_loss() -> None:
    model = MLP(2, [2, 1])
    loss = model([1.0, 2.0])
    assert isinstance(loss, Value)
    loss.backward()
    for p in model.parameters():
        p.loss = loss


def test_a_released_page_is_used_again() -> None:
    def work() -> None:
        x = Value(1.0)
        for _ in range(5000):
            x = x * 1.0
        x.backward()

    work()
    work()
    bytes_taken = _core.arena_counters()["bytes"]
    for _ in range(20):
        work()
    assert _core.arena_counters()["bytes"] <= bytes_taken


def test_ten_million_nodes(run_python: Callable[..., str]) -> None:
    """A chain as deep as that is made, differentiated, looked into and freed."""
    printed = run_python(
        """
        from microgradx import Value, _core

        x = Value(1.0)
        out = x
        for _ in range(10_000_000):
            out = out.relu()
        out.backward()
        (operand,) = out._prev
        print(_core.arena_counters()["nodes"], x.grad, operand.grad)
        del operand, out
        print(_core.arena_counters()["nodes"])
        """
    )
    assert printed == "10000001 1 1\n1\n"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system has no /proc")
def test_training_takes_constant_memory(run_python: Callable[..., str]) -> None:
    printed = run_python(
        """
        import resource
        from microgradx import Value, _core, nn

        model = nn.MLP(2, [4, 1])

        def train(steps):
            for _ in range(steps):
                loss = sum((model([x, 1.0]) - 1.0) ** 2 for x in (0.5, -0.5))
                loss = loss + 1e-4 * sum(p * p for p in model.parameters())
                model.zero_grad()
                loss.backward()
                for p in model.parameters():
                    p.velocity = 0.9 * getattr(p, "velocity", 0.0) - 0.01 * p.grad
                    p.data += p.velocity

        def resident():
            with open("/proc/self/statm") as statm:
                return int(statm.read().split()[1]) * resource.getpagesize()

        train(500)
        nodes, memory = _core.arena_counters()["nodes"], resident()
        train(10_000)
        print(_core.arena_counters()["nodes"] - nodes, resident() - memory)
        """
    )
    nodes, memory = map(int, printed.split())
    assert nodes == 0
    assert memory < 1_000_000
