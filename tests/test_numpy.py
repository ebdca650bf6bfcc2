"""Values beside NumPy's scalars and in its arrays."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import Engine
from microgradx import Value

OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
FLOATS: list[Any] = [np.float64, np.float32, np.float16, np.longdouble]
INTEGERS: list[Any] = [np.int64, np.int32, np.int8, np.uint8, np.uint64]


@pytest.mark.parametrize("kind", FLOATS + INTEGERS)
@pytest.mark.parametrize("operation", OPERATORS)
def test_scalar_on_either_side(operation: Callable[[Any, Any], Any], kind: type) -> None:
    value, number = Value(3.0), kind(2)
    assert type(operation(value, number)) is type(operation(number, value)) is Value
    assert operation(value, number).data == pytest.approx(operation(3.0, 2.0), rel=1e-15)
    assert operation(number, value).data == pytest.approx(operation(2.0, 3.0), rel=1e-15)


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul])
def test_scalar_on_either_side_makes_micrograds_graph(
    engine: Engine, operation: Callable[[Any, Any], Any]
) -> None:
    value = engine.Value(3.0)
    for node in (operation(value, np.float64(2)), operation(np.int64(2), value)):
        assert isinstance(node, engine.Value)
        node.backward()
    assert value.grad == {"add": 2, "sub": 0, "mul": 4}[operation.__name__]


@pytest.mark.parametrize("kind", FLOATS)
def test_float_scalars_are_floats(kind: type) -> None:
    value = Value(kind(2.5))
    assert repr(value) == "Value(data=2.5, grad=0)"
    value.data, value.grad = kind(0.5), kind(1.5)
    assert repr(value) == "Value(data=0.5, grad=1.5)"


@pytest.mark.parametrize("kind", [*INTEGERS, np.bool_])
def test_integer_scalars_are_ints(kind: type) -> None:
    value = Value(kind(1))
    assert repr(value) == "Value(data=1, grad=0)"
    assert repr(value * kind(1)) == "Value(data=1, grad=0)"
    value.grad = kind(1)
    assert repr(value.grad) == "1"


def test_power_by_a_numpy_scalar() -> None:
    value = Value(4.0)
    assert (value ** np.float64(0.5))._op == "**0.5"
    assert (value ** np.int64(2))._op == "**2"
    (value ** np.int64(2)).backward()
    assert value.grad == 8.0


def test_array_without_dimensions_is_a_number() -> None:
    number: Any = np.array(2.5)
    value = Value(number)
    value.grad = number
    assert repr(value) == "Value(data=2.5, grad=2.5)"
    assert [(value * number).data, (number * value).data] == [6.25, 6.25]


@pytest.mark.parametrize("array", [np.array([1.0, 2.0]), np.array([[1, 2], [3, 4]])])
@pytest.mark.parametrize("operation", OPERATORS)
def test_array_on_either_side(operation: Callable[[Any, Any], Any], array: Any) -> None:
    value = Value(3.0)
    for actual, expected in (
        (operation(array, value), operation(array.astype(float), 3.0)),
        (operation(value, array), operation(3.0, array.astype(float))),
    ):
        assert actual.dtype == object
        assert all(isinstance(node, Value) for node in actual.flat)
        np.testing.assert_allclose(actual.astype(float), expected, rtol=1e-15)


def test_array_on_the_left_makes_micrograds_graph(engine: Engine) -> None:
    value = engine.Value(3.0)
    total = np.sum(np.array([1.0, 2.0]) * value + np.array([5, 6]))
    total.backward()
    assert (total.data, value.grad) == (20.0, 3.0)


def test_empty_array() -> None:
    assert (np.array([]) * Value(1.0)).shape == (0,)


def values(engine: Engine) -> Any:
    return np.array([engine.Value(data) for data in (1.0, 3.0, -2.0)])


def test_values_make_an_object_array(engine: Engine) -> None:
    array = values(engine)
    assert array.dtype == object
    assert all(isinstance(value, engine.Value) for value in array)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("array + array", [2.0, 6.0, -4.0]),
        ("array * value", [2.0, 6.0, -4.0]),
        ("array - 1", [0.0, 2.0, -3.0]),
        ("-array", [-1.0, -3.0, 2.0]),
        ("array**2", [1.0, 9.0, 4.0]),
        ("array / np.array([1.0, 2.0, 4.0])", [1.0, 1.5, -0.5]),
        ("np.multiply(array, np.array([2, 3, 4]))", [2.0, 9.0, -8.0]),
        ("np.cumsum(array)", [1.0, 4.0, 2.0]),
        ("[np.sum(array)]", [2.0]),
        ("[array.sum()]", [2.0]),
        ("[np.prod(array)]", [-6.0]),
        ("[np.add.reduce(array)]", [2.0]),
        ("[array @ np.array([1.0, 2.0, 3.0])]", [1.0]),
        ("np.array([[1, 0, 0], [0, 0, 2]]) @ array", [1.0, -4.0]),
        ("[np.dot(array, array)]", [14.0]),
        ("np.dstack([array, array]).ravel()[:2]", [1.0, 1.0]),
        ("np.concatenate([array, array])[3:]", [1.0, 3.0, -2.0]),
        ("np.vstack([array, array])[1]", [1.0, 3.0, -2.0]),
    ],
)
def test_object_arrays_under_ufuncs_and_reductions(
    engine: Engine, expression: str, expected: list[float]
) -> None:
    names = {"np": np, "array": values(engine), "value": engine.Value(2.0)}
    result = eval(expression, names)
    assert [value.data for value in result] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("name", ["exp", "tanh", "sin", "cos"])
def test_ufuncs_call_the_method_of_their_name(name: str) -> None:
    array = np.array([Value(0.5), Value(1.5)])
    results = getattr(np, name)(array)
    assert [node._op for node in results] == [name, name]
    np.testing.assert_allclose(results.astype(float), getattr(np, name)([0.5, 1.5]), rtol=1e-15)


def test_reductions_by_order() -> None:
    array = np.array([Value(1.0), Value(3.0), Value(-2.0)])
    assert np.max(array) is array[1]
    assert np.min(array) is array[2]
    assert np.argmax(array) == 1
    assert [value.data for value in np.sort(array)] == [-2.0, 1.0, 3.0]
    assert [value.data for value in np.abs(array)] == [1.0, 3.0, 2.0]
    assert np.maximum(array, 0)[2] == 0


def test_mean() -> None:
    # Which micrograd cannot do: NumPy divides by one of its ints.
    array = np.array([Value(1.0), Value(3.0)])
    np.mean(array).backward()
    assert [value.grad for value in array] == [0.5, 0.5]


def test_gradients_reach_the_elements(engine: Engine) -> None:
    array = values(engine)
    np.sum(array * array).backward()
    assert [value.grad for value in array] == [2.0, 6.0, -4.0]


def test_equality_is_elementwise(engine: Engine) -> None:
    array = values(engine)
    assert (array == array[1]).tolist() == [False, True, False]
    assert (array[1] == array).tolist() == [False, True, False]
    assert (array != array[1]).tolist() == [True, False, True]
    assert array[1] in array
    assert engine.Value(3.0) not in array


def test_order_is_elementwise() -> None:
    array = np.array([Value(1.0), Value(3.0), Value(-2.0)])
    assert (array > Value(0.0)).tolist() == [True, True, False]
    assert (Value(1.0) >= array).tolist() == [True, False, True]
    assert (np.array([1.0, 3.0]) < Value(2.0)).tolist() == [True, False]


def test_order_beside_a_scalar() -> None:
    assert np.float64(1.0) < Value(2.0)
    assert Value(2.0) >= np.int64(2)
    assert not np.float32(3.0) <= Value(2.0)


def test_values_become_floats() -> None:
    assert np.array([Value(1.0), Value(2)]).astype(float).tolist() == [1.0, 2.0]
    assert np.float64(Value(2.5)) == 2.5


def test_in_place_on_an_object_array(engine: Engine) -> None:
    array = values(engine)
    array += engine.Value(1.0)
    assert [value.data for value in array] == [2.0, 4.0, -1.0]


@pytest.mark.parametrize(
    "array", [np.array([1j]), np.array(["text"]), np.array([None]), np.array([[1j]])]
)
def test_arrays_of_what_is_no_number(array: Any) -> None:
    with pytest.raises(TypeError):
        array * Value(1.0)
    with pytest.raises(TypeError):
        Value(1.0) * array


@pytest.mark.parametrize(
    "scalar", [np.complex128(1j), np.str_("1"), np.array([1.0]), np.array([[1]]), np.array(1j)]
)
def test_what_is_no_real_number_is_refused(scalar: Any) -> None:
    with pytest.raises(TypeError, match="data must be a real number"):
        Value(scalar)
