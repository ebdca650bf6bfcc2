"""The Value as users see it: construction, attributes, the visible graph, identity, order."""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from conftest import Engine
from microgradx import Value, engine


def test_there_is_one_class() -> None:
    assert engine.Value is Value
    assert (Value.__module__, Value.__qualname__) == ("microgradx.engine", "Value")


def test_signature_is_micrograds_and_a_label() -> None:
    parameters = inspect.signature(Value).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    empty = inspect.Parameter.empty
    assert defaults == {"data": empty, "_children": (), "_op": "", "label": ""}


@pytest.mark.parametrize("number", [2, -3, 0, 2.5, -0.0, float("inf"), True])
def test_leaf(engine: Engine, number: float) -> None:
    leaf = engine.Value(number)
    assert leaf.data == number
    assert (leaf.grad, leaf._prev, leaf._op) == (0, set(), "")


@pytest.mark.parametrize(
    "expression",
    [
        "Value(3.5, (a, b), 'mean')",
        "Value(3.5, _children=(a, b), _op='mean')",
        "Value(data=3.5, _children=(a, b), _op='mean')",
    ],
)
def test_node_with_children(engine: Engine, expression: str) -> None:
    a, b = engine.Value(3.0), engine.Value(4.0)
    node = eval(expression, {"Value": engine.Value, "a": a, "b": b})
    assert (node.data, node.grad, node._prev, node._op) == (3.5, 0, {a, b}, "mean")


@pytest.mark.parametrize("collection", [tuple, list, set, dict.fromkeys, iter])
def test_children_may_be_any_iterable(
    engine: Engine, collection: Callable[[list[Any]], Iterable[Any]]
) -> None:
    children = [engine.Value(i) for i in range(3)]
    assert engine.Value(1, collection(children))._prev == set(children)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 65, 10_000])
def test_there_may_be_any_number_of_children(engine: Engine, count: int) -> None:
    children = [engine.Value(i) for i in range(count)]
    assert engine.Value(1, children)._prev == set(children)


def test_a_repeated_child_is_one_operand(engine: Engine) -> None:
    a = engine.Value(3.0)
    assert engine.Value(9.0, (a, a), "square")._prev == {a}
    assert (a * a)._prev == {a}


@pytest.mark.parametrize(
    "construct",
    [
        lambda: Value(1.0, label="x"),
        lambda: Value(1.0, (), "", "x"),
        lambda: Value(1.0, (), "op", "x"),
    ],
)
def test_label(construct: Callable[[], Value]) -> None:
    value = construct()
    assert value.label == "x"
    value.label = "y"
    assert value.label == "y"


def test_label_is_empty_unless_given() -> None:
    assert Value(1.0).label == (Value(1.0) * 2).label == ""


def test_operation_may_be_renamed(engine: Engine) -> None:
    node = engine.Value(1.0) + 2
    node._op = "plus"
    assert node._op == "plus"


@pytest.mark.parametrize("number", [2, 2.0, -0.0, 1e300, 1e-7, float("nan"), 10**15])
def test_representation(engine: Engine, number: float) -> None:
    value = engine.Value(number)
    value.grad = number
    assert repr(value) == str(value) == f"Value(data={number}, grad={number})"


def test_representation_of_a_subclass(engine: Engine) -> None:
    assert repr(type("Parameter", (engine.Value,), {})(1.5)) == "Value(data=1.5, grad=0)"


def test_data_and_grad_can_be_set(engine: Engine) -> None:
    for value in (engine.Value(1.0), engine.Value(1.0) * 2):
        value.data, value.grad = 5.5, -2.5
        assert (value.data, value.grad) == (5.5, -2.5)


@pytest.mark.parametrize(
    ("operation", "label", "count"),
    [
        (lambda a, b: a + b, "+", 2),
        (lambda a, b: a * b, "*", 2),
        (lambda a, b: a**2, "**2", 1),
        (lambda a, b: a**-0.5, "**-0.5", 1),
        (lambda a, b: a**2.0, "**2.0", 1),
        (lambda a, b: a.relu(), "ReLU", 1),
    ],
)
def test_operands_are_the_same_objects(
    engine: Engine, operation: Callable[[Any, Any], Any], label: str, count: int
) -> None:
    a, b = engine.Value(2.0), engine.Value(3.0)
    node = operation(a, b)
    assert node._op == label
    assert node._prev == set([a, b][:count])


@pytest.mark.parametrize(
    ("operation", "shape"),
    [
        (lambda a, b: -a, "(a * -1)"),
        (lambda a, b: a - b, "(a + (b * -1))"),
        (lambda a, b: a - 2, "(a + -2)"),
        (lambda a, b: 2 - a, "((a * -1) + 2)"),
        (lambda a, b: a / b, "(a * (b)**-1)"),
        (lambda a, b: a / 2, "(a * 0.5)"),
        (lambda a, b: 2 / a, "((a)**-1 * 2)"),
        (lambda a, b: 2 + a, "(a + 2)"),
        (lambda a, b: 2 * a, "(a * 2)"),
        (lambda a, b: sum([a, b]), "((a + 0) + b)"),
    ],
)
def test_composed_operations_show_their_parts(
    engine: Engine, operation: Callable[[Any, Any], Any], shape: str
) -> None:
    a, b = engine.Value(3.0), engine.Value(5.0)

    def matches(node: Any, text: str) -> bool:
        return text in renderings(node, {a: "a", b: "b"})

    assert matches(operation(a, b), shape)


def renderings(node: Any, names: dict[Any, str]) -> set[str]:
    """All ways to write a graph as an expression, since operands have no order."""
    if not node._prev:
        return {names.get(node, str(node.data))}
    orders = itertools.permutations(node._prev)
    written = (map(sorted, map(functools.partial(renderings, names=names), o)) for o in orders)
    if node._op.startswith("**"):
        return {f"({text}){node._op}" for (texts,) in written for text in texts}
    joined = f" {node._op} "
    return {f"({joined.join(parts)})" for order in written for parts in itertools.product(*order)}


def test_intermediate_values_are_the_same_objects_at_every_look(engine: Engine) -> None:
    root = engine.Value(2.0) * 3 + 1
    assert {id(node) for node in root._prev} == {id(node) for node in root._prev}
    (product,) = (node for node in root._prev if node._op == "*")
    assert product in root._prev


def test_changing_the_set_of_operands_changes_no_graph() -> None:
    a, b = Value(1.0), Value(2.0)
    node = a + b
    node._prev.clear()
    assert node._prev == {a, b}


def test_equality_and_hash_are_those_of_the_object(engine: Engine) -> None:
    a, b = engine.Value(1.0), engine.Value(1.0)
    assert a == a
    assert a != b
    assert a != 1.0
    assert len({a, b, a}) == 2
    assert hash(a) == hash(a)
    assert [b, a].index(a) == 1
    assert a not in [b]


def test_a_value_is_true_whatever_its_data(engine: Engine) -> None:
    assert engine.Value(0)


def test_float() -> None:
    assert repr(float(Value(2.5))) == "2.5"
    assert repr(float(Value(2) * 3)) == "6.0"


@pytest.mark.parametrize("other", [2, 2.5, 3, Value(2.0), Value(3)])
@pytest.mark.parametrize("data", [2, 2.5, 3.0])
def test_order_is_that_of_the_data(data: float, other: Any) -> None:
    value, number = Value(data), float(other)
    assert (value < other) is (data < number)
    assert (value <= other) is (data <= number)
    assert (value > other) is (data > number)
    assert (value >= other) is (data >= number)
    assert (other < value) is (number < data)
    assert (other >= value) is (number >= data)


def test_nan_has_no_order() -> None:
    nan = Value(float("nan"))
    assert not any((nan < 1, nan <= 1, nan > 1, nan >= 1, nan <= nan))


def test_sorting() -> None:
    values = [Value(data) for data in (3.0, 1, 2.5)]
    assert [value.data for value in sorted(values)] == [1, 2.5, 3.0]
    assert max(values) is values[0]
    assert min(values) is values[1]


@pytest.mark.parametrize("name", ["__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"])
@pytest.mark.parametrize("foreign", ["2", None, 1j, object(), [2.0]])
def test_comparison_with_a_foreign_type_is_left_to_it(name: str, foreign: object) -> None:
    assert getattr(Value(2.0), name)(foreign) is NotImplemented


@pytest.mark.parametrize(
    "name", ["__add__", "__radd__", "__mul__", "__rmul__", "__sub__", "__truediv__", "__pow__"]
)
def test_arithmetic_with_a_foreign_type_is_left_to_it(name: str) -> None:
    class Foreign:
        def __add__(self, other: object) -> str:
            return "foreign"

        __radd__ = __mul__ = __rmul__ = __rsub__ = __rtruediv__ = __rpow__ = __add__

    assert getattr(Value(2.0), name)(Foreign()) is NotImplemented
    assert Value(2.0) + Foreign() == Value(2.0) ** Foreign() == Foreign() * Value(2.0) == "foreign"


def test_augmented_assignment_makes_new_nodes(engine: Engine) -> None:
    first = value = engine.Value(3.0)
    value += 1
    value *= 2
    value -= engine.Value(2.0)
    value /= 3
    value **= 2
    assert value.data == 4.0
    assert first.data == 3.0
    value.backward()
    assert first.grad == pytest.approx(2 * 2.0 * 2 / 3)


def test_augmented_assignment_of_data_and_grad(engine: Engine) -> None:
    value = engine.Value(1.0)
    value.data -= 0.25
    value.grad += 2.0
    value.grad *= 3
    assert (value.data, value.grad) == (0.75, 6.0)


def test_gradients_accumulate_until_reset(engine: Engine) -> None:
    a = engine.Value(3.0)
    square = a * a
    square.backward()
    square.backward()
    assert (a.grad, square.grad) == (12.0, 1)
    a.grad = 0
    square.backward()
    assert a.grad == 6.0


def test_backward_from_an_interior_node_stays_below_it(engine: Engine) -> None:
    a = engine.Value(3.0)
    product = a * 2
    above = product + 1
    product.backward()
    assert (a.grad, product.grad, above.grad) == (2.0, 1, 0)


def test_backward_of_a_leaf(engine: Engine) -> None:
    a = engine.Value(3.0)
    assert a.backward() is None
    assert a.grad == 1


def test_operands_are_read_when_differentiating(engine: Engine) -> None:
    a, b = engine.Value(2.0), engine.Value(3.0)
    product, power, relu = a * b, a**2, b.relu()
    a.data, b.data, relu.data = 10.0, 20.0, -1.0
    for root in (product, power, relu):
        root.backward()
    assert (a.grad, b.grad) == (20.0 + 20.0, 10.0)


def test_a_node_can_be_differentiated_step_by_step(engine: Engine) -> None:
    a, b = engine.Value(2.0), engine.Value(-3.0)
    product = a * b
    out = product.relu()
    out.grad = 1.0
    assert out._backward() is None
    product.grad = 4.0
    product._backward()
    b._backward()
    assert (a.grad, b.grad) == (-12.0, 8.0)


@pytest.mark.parametrize("expression", ["Value(1.0)", "Value(1.0) * 2"])
def test_arbitrary_attributes(engine: Engine, expression: str) -> None:
    value = eval(expression, vars(engine))
    value.momentum = 0.5
    value.__dict__["history"] = [1, 2]
    assert (value.momentum, value.history) == (0.5, [1, 2])
    assert vars(value)["momentum"] == 0.5
    del value.momentum
    assert not hasattr(value, "momentum")


def test_initialising_a_leaf_again_resets_it(engine: Engine) -> None:
    leaf = engine.Value(1.0)
    leaf.grad = 3.0
    leaf.__init__(5)
    assert repr(leaf) == "Value(data=5, grad=0)"


def test_documentation() -> None:
    for name in ("data", "grad", "_prev", "_op", "_backward", "backward"):
        assert inspect.getdoc(getattr(Value, name)), name
    assert "_children" in (inspect.getdoc(Value) or "")
