"""values, data, grads and assign: Values in bulk, in the shapes of NumPy's arrays."""

import gc
import math
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import microgradx
import numpy as np
import pytest
from conftest import MICROGRADX, Engine
from graphs import on_both, operands_first
from microgradx import Value
from microgradx.nn import MLP, Layer

pytestmark = pytest.mark.usefixtures("nodes_return_to_the_baseline")

SHAPES = [(), (1,), (3,), (2, 3), (2, 3, 2), (1, 1, 1, 1), (0,), (2, 0), (2, 3, 0)]

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def array_of(shape: tuple[int, ...]) -> Any:
    return np.arange(math.prod(shape), dtype=float).reshape(shape) - 0.5


def flat(nest: Any) -> list[Any]:
    return [v for item in nest for v in flat(item)] if isinstance(nest, list) else [nest]


def numbers_of(nest: Any) -> list[str]:
    # repr tells ints from floats, 0.0 from -0.0, and any two floats apart.
    return [repr(v.data) for v in flat(nest)]


@every_shape
def test_values_are_nested_as_the_array_is(shape: tuple[int, ...]) -> None:
    array = array_of(shape)
    values = microgradx.values(array)
    assert np.array(values, dtype=object).shape == shape
    assert numbers_of(values) == [repr(float(x)) for x in array.flat]
    assert all(type(item) is list for item in ([values] if shape else []))


def test_values_are_new_leaves() -> None:
    values = flat(microgradx.values([[1, 2], [1, 2]]))
    assert len(set(map(id, values))) == 4
    for v in values:
        assert type(v) is Value
        assert (v._prev, v._op, repr(v.grad)) == (set(), "", "0")
    (values[0] * values[1] + values[2]).backward()
    assert [v.grad for v in values] == [2, 1, 1, 0]


NUMBERS: dict[str, tuple[Any, list[str]]] = {
    "ints": ([1, -2], ["1", "-2"]),
    "ints and floats": ([1, 2.5], ["1.0", "2.5"]),
    "int64": (np.array([1, 2]), ["1", "2"]),
    "int8": (np.array([-1, 2], dtype=np.int8), ["-1", "2"]),
    "uint64": (np.array([1, 2**63], dtype=np.uint64), ["1", repr(2.0**63)]),
    "2**53": ([2**53, -(2**53)], [repr(2**53), repr(-(2**53))]),
    "beyond 2**53": ([2**53 + 1, -(2**60)], [repr(2.0**53), repr(-(2.0**60))]),
    "beyond int64": ([2**70, 1], [repr(2.0**70), "1"]),
    "bools": ([True, False], ["1", "0"]),
    "float32": (np.array([0.1], dtype=np.float32), [repr(float(np.float32(0.1)))]),
    "float16": (np.array([0.1], dtype=np.float16), [repr(float(np.float16(0.1)))]),
    "longdouble": (np.array([0.5], dtype=np.longdouble), ["0.5"]),
    "objects": (np.array([1, 2.5, True, Fraction(1, 4)], dtype=object), ["1", "2.5", "1", "0.25"]),
    "not finite": ([math.nan, math.inf, -math.inf, -0.0], ["nan", "inf", "-inf", "-0.0"]),
    "range": (range(3), ["0", "1", "2"]),
    "tuple": ((1.5, 2.5), ["1.5", "2.5"]),
    "int": (3, ["3"]),
    "NumPy's int": (np.int64(3), ["3"]),
    "array without dimensions": (np.array(2.5), ["2.5"]),
    "transposed": (np.array([[1, 2], [3, 4]]).T, ["1", "3", "2", "4"]),
    "column-major": (np.array([[1, 2], [3, 4]], order="F"), ["1", "2", "3", "4"]),
    "strided": (np.arange(6)[::-2], ["5", "3", "1"]),
    "big-endian": (np.array([1.5, 2.5], dtype=">f8"), ["1.5", "2.5"]),
    "broadcast": (np.broadcast_to(np.array(1.5), (3,)), ["1.5"] * 3),
}

every_array = pytest.mark.parametrize(("array", "expected"), NUMBERS.values(), ids=NUMBERS)


@every_array
def test_numbers_become_data(array: Any, expected: list[str]) -> None:
    assert numbers_of(microgradx.values(array)) == expected


@every_array
def test_numbers_are_assigned(array: Any, expected: list[str]) -> None:
    values = microgradx.values(np.zeros(np.shape(array)))
    microgradx.assign(values, array)
    assert numbers_of(values) == expected


def test_readonly_array() -> None:
    array = array_of((2, 2))
    array.flags.writeable = False
    values = microgradx.values(array)
    microgradx.assign(values, array * 2)
    microgradx.assign(values, array)
    assert np.array_equal(microgradx.data(values), array)


NO_NUMBERS: dict[str, Any] = {
    "complex": [1.0, 1j],
    "complex array": np.array([1.0 + 0j]),
    "strings": ["1", "2"],
    "string": "1",
    "bytes": b"12",
    "None": [1.0, None],
    "Value": [1.0, Value(1.0)],
    "dict": {1: 2},
    "generator": (x for x in [1.0]),
    "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "nanoseconds": np.array(["2020-01-01"], dtype="datetime64[ns]"),
    "time spans": np.array([1], dtype="timedelta64[ns]"),
    "records": np.array([(1, 2)], dtype="i8,i8"),
    "lists in an array": np.array([[1, 2], [3]], dtype=object),
}
no_numbers = pytest.mark.parametrize("array", NO_NUMBERS.values(), ids=NO_NUMBERS)


@no_numbers
def test_values_of_what_are_no_numbers(array: Any) -> None:
    with pytest.raises(TypeError, match=r"array must be (a|of) real number"):
        microgradx.values(array)


RAGGED = [[[1, 2], [3]], [[1], 2], [[[1]], [2]]]


@pytest.mark.parametrize("array", RAGGED, ids=str)
def test_ragged_arrays(array: Any) -> None:
    with pytest.raises(ValueError, match="array must not be ragged"):
        microgradx.values(array)
    with pytest.raises(ValueError, match="array must not be ragged"):
        microgradx.assign([Value(1.0), Value(1.0)], array)


def test_masked_arrays() -> None:
    leaf = Value(1.0)
    for array in (np.ma.array([1.0], mask=[True]), np.ma.array([1.0])):
        with pytest.raises(TypeError, match="array must not be masked"):
            microgradx.values(array)
        with pytest.raises(TypeError, match="array must not be masked"):
            microgradx.assign([leaf], array)
    assert leaf.data == 1.0


@pytest.mark.parametrize("array", [10**400, [1, 10**400]], ids=["number", "list"])
def test_int_beyond_every_float(array: Any) -> None:
    with pytest.raises(OverflowError):
        microgradx.values(array)


def test_list_that_contains_itself(run_python: Callable[..., str]) -> None:
    run_python("""
        import numpy as np, microgradx
        endless = []
        endless.append(endless)
        array = np.empty(1, dtype=object)
        array[0] = endless
        for bad in (endless, array):
            for use in (microgradx.values, lambda a: microgradx.assign([microgradx.Value(1.0)], a)):
                try:
                    use(bad)
                except (TypeError, ValueError):
                    continue
                raise AssertionError("no error")
    """)


@every_shape
def test_data_and_gradients_have_the_shape_of_the_nesting(shape: tuple[int, ...]) -> None:
    array = array_of(shape)
    values = microgradx.values(array)
    for v in flat(values):
        v.grad = v.data * 2
    for found, expected in (microgradx.data(values), array), (microgradx.grads(values), array * 2):
        assert type(found) is np.ndarray
        assert found.shape == shape
        assert found.dtype == np.float64
        assert np.array_equal(found, expected)


def test_ints_and_what_is_not_finite_are_floats_in_arrays() -> None:
    values = [Value(3), Value(math.nan), Value(-0.0), Value(math.inf)]
    for v in values:
        v.grad = v.data
    for found in (microgradx.data(values), microgradx.grads(values)):
        assert list(map(repr, found.tolist())) == ["3.0", "nan", "-0.0", "inf"]


SEQUENCES: dict[str, Callable[[list[Any]], Any]] = {
    "tuple": tuple,
    "deque": deque,
    "iterator": iter,
    "keys": dict.fromkeys,
    "generator": lambda rows: (tuple(row) for row in rows),
    "object array": lambda rows: np.array(rows, dtype=object),
    "transposed twice": lambda rows: np.array(np.array(rows, dtype=object).T.tolist()).T,
    "list of arrays": lambda rows: [np.array(row, dtype=object) for row in rows],
}


@pytest.mark.parametrize("kind", SEQUENCES)
def test_any_sequence(kind: str) -> None:
    values = microgradx.values([[1.0, 2.0], [3.0, 4.0]])
    rows = flat(values) if kind == "keys" else values
    nest = SEQUENCES[kind]
    expected = np.array([1.0, 2.0, 3.0, 4.0]).reshape(np.shape(rows))
    assert np.array_equal(microgradx.data(nest(rows)), expected)
    assert np.array_equal(microgradx.grads(nest(rows)), expected * 0)
    microgradx.assign(nest(rows), expected * 10)
    assert numbers_of(values) == ["10.0", "20.0", "30.0", "40.0"]


NOT_NESTS: dict[str, tuple[type[Exception], str]] = {
    "3.0": (TypeError, "values must be Values.*, but there is a float"),
    "[v, 3.0]": (TypeError, "values must be Values.*, but there is a float"),
    "[[v], [None]]": (TypeError, "values must be Values.*, but there is a NoneType"),
    "'ab'": (TypeError, "values must be Values.*, but there is a str"),
    "{'w': v}": (TypeError, "values must be Values.*, but there is a str"),
    "b'a'": (TypeError, "values must be Values.*, but there is a int"),
    "np.ones(2)": (TypeError, "values must be Values.*, but there is a numpy.float64"),
    "[v, [v]]": (ValueError, "values must have the shape of an array"),
    "[[v], v]": (ValueError, "values must have the shape of an array"),
    "[[v], [v, v]]": (ValueError, "values must have the shape of an array"),
    "[[v, v], [v]]": (ValueError, "values must have the shape of an array"),
    "[[v], []]": (ValueError, "values must have the shape of an array"),
    "[[], [v]]": (ValueError, "values must have the shape of an array"),
    "[[], v]": (ValueError, "values must have the shape of an array"),
    "[v, []]": (ValueError, "values must have the shape of an array"),
    "[[], [[]]]": (ValueError, "values must have the shape of an array"),
    "endless": (ValueError, "values must have the shape of an array"),
    "deep": (ValueError, "values must have the shape of an array"),
    "failing()": (KeyError, "on purpose"),
    "bad": (AttributeError, r"super\(\).__init__"),
}


def failing() -> Any:
    yield Value(1.0)
    raise KeyError("on purpose")


class WithoutNumber(Value):
    def __init__(self) -> None:
        pass


@pytest.mark.parametrize("nest", NOT_NESTS)
def test_what_is_no_nest_of_values(nest: str) -> None:
    v = Value(1.0)
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = v
    for _ in range(1000):
        deep = [deep]
    names = {"v": v, "np": np, "endless": endless, "deep": deep, "failing": failing}
    error, message = NOT_NESTS[nest]
    for use in (microgradx.data, microgradx.grads, lambda bad: microgradx.assign(bad, [1.0])):
        with pytest.raises(error, match=message):
            use(eval(nest, {**names, "bad": [v, WithoutNumber()]}))
    assert repr(v) == "Value(data=1.0, grad=0)"
    endless.clear()


def test_as_many_dimensions_as_numpy_always_had() -> None:
    values = microgradx.values(np.full((1,) * 32, 2.5))
    assert microgradx.data(values).shape == (1,) * 32


def test_the_array_is_a_copy() -> None:
    v = Value(1.0)
    for array in (microgradx.data([v]), microgradx.grads([v])):
        array += 5.0
        assert repr(v) == "Value(data=1.0, grad=0)"
    array = np.array([1.0])
    values = microgradx.values(array)
    array[0] = 7.0
    assert values[0].data == 1.0


def test_data_and_gradients_of_a_network() -> None:
    network = MLP(2, [3, 1], activation="tanh")
    hidden: Any = network.layers[0]([0.5, Value(-2.0)])
    out: Any = network.layers[1](hidden)
    (out * out).backward()
    for nest in (network.parameters(), hidden, out, operands_first(out)):
        nodes = nest if isinstance(nest, list) else [nest]
        assert microgradx.data(nest).ravel().tolist() == [node.data for node in nodes]
        assert microgradx.grads(nest).ravel().tolist() == [node.grad for node in nodes]
    assert np.any(microgradx.grads(network.parameters()) != 0)


WEIGHTS = [[0.5, -1.0, 2.0], [1.5, 0.5, -0.5]]


@pytest.mark.parametrize("when", ["before", "between", "after"])
@pytest.mark.parametrize("looks", [False, True])
def test_assigning_is_setting_data(when: str, looks: bool) -> None:
    """Whenever it happens, the graph is micrograd's with its data set one by one."""

    def program(engine: Engine) -> list[Any]:
        layer, x = engine.nn.Layer(3, 2), [engine.Value(1.5), engine.Value(-1), engine.Value(0.5)]
        assign(engine, [n.w for n in layer.neurons], [[1.0, 1.0, 1.0]] * 2)
        outs = layer(x)
        for time in ("before", "between", "after"):
            if time == when:
                assign(engine, [n.w for n in layer.neurons], WEIGHTS)
                assign(engine, x, [2, 1, 0])
                assign(engine, outs[0], 3)
            if looks:
                operands_first(outs[0])
            root = layer(outs + outs[:1])[0] * 2.0
            root.backward()
        return [root, *outs, *x, *layer.parameters()]

    on_both(program)


def assign(engine: Engine, values: Any, numbers: Any) -> None:
    if engine is MICROGRADX:
        microgradx.assign(values, numbers)
    else:
        for v, number in zip(flat(values), flat(numbers), strict=True):
            v.data = number


def test_assigning_leaves_all_else_alone() -> None:
    a, b = Value(1.0, label="a"), Value(2.0)
    a.grad, a.tag = 5, "kept"
    product = a * b
    microgradx.assign(a, 3)
    microgradx.assign([product], [10.5])
    assert (repr(a), a.label, a.tag) == ("Value(data=3, grad=5)", "a", "kept")
    assert (product.data, product._prev, product._op) == (10.5, {a, b}, "*")
    assert b.data == 2.0


def test_value_in_several_places_gets_the_last_number() -> None:
    a, b = Value(1.0), Value(2.0)
    microgradx.assign([a, b, a], [3, 4, 5])
    assert (a.data, b.data) == (5, 4)


def test_subclass_and_value_with_a_callback() -> None:
    class Special(Value):
        pass

    special, called = Special(1.0), Value(2.0)
    called._backward = lambda: None
    microgradx.assign([special, called], [3, 4])
    assert microgradx.data([special, called]).tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    ("values_shape", "array_shape"),
    [
        *[((3,), ()), ((), (1,)), ((3,), (1,)), ((3,), (4,)), ((2, 3), (3, 2)), ((2, 3), (6,))],
        *[((3,), (3, 1)), ((3,), (1, 3)), ((2, 0), (0,)), ((2, 0), (0, 2)), ((1,), (0,))],
    ],
)
def test_shapes_that_differ(values_shape: tuple[int, ...], array_shape: tuple[int, ...]) -> None:
    values = microgradx.values(array_of(values_shape))
    before = numbers_of(values)
    with pytest.raises(ValueError, match=r"array must have the shape of values, \(.*\), not \("):
        microgradx.assign(values, np.ones(array_shape))
    assert numbers_of(values) == before


@no_numbers
def test_nothing_is_assigned_after_an_error(array: Any) -> None:
    numbers = array if isinstance(array, (list, np.ndarray)) else [array]
    values = microgradx.values(np.zeros(len(numbers)))
    with pytest.raises(TypeError, match=r"array must be (a|of) real number"):
        microgradx.assign(values, numbers)
    assert not np.any(microgradx.data(values))


def test_nothing_is_assigned_after_an_error_at_the_end() -> None:
    a, b = Value(1.0), Value(2.0)
    bad_calls: list[tuple[Any, Any]] = [
        *[([a, b], [5, 10**400]), ([a, b], [5, None]), ([a, 3], [5, 5]), ([a, [b]], [5, 5])],
        *[([[a], [b, b]], [5, 5]), ([a, WithoutNumber()], [5, 5]), ([a, b], [5, 5, 5])],
    ]
    for values, array in bad_calls:
        with pytest.raises((TypeError, ValueError, OverflowError, AttributeError)):
            microgradx.assign(values, array)
        assert (a.data, b.data) == (1.0, 2.0)


def test_number_that_drops_the_values_while_it_is_converted() -> None:
    class Number(Fraction):
        def __float__(self) -> float:
            values.clear()
            gc.collect()
            return 0.5

    values = [Value(1.0), Value(2.0)]
    (kept,) = values[1:]
    microgradx.assign(values, np.array([Number(1, 2), 3.5], dtype=object))
    assert kept.data == 3.5


def test_layer_uses_the_weights_assigned_last() -> None:
    layer = Layer(2, 2, nonlin=False)
    x: list[Any] = [Value(2.0), 3.0]
    for weights in ([[1.0, 2.0], [3.0, 4.0]], [[0.5, 0.0], [-1.0, 2.0]], [[1, 2], [3, 4]]):
        for bias in (0.0, 1.5):
            microgradx.assign([n.w for n in layer.neurons], weights)
            microgradx.assign([n.b for n in layer.neurons], [bias, bias])
            expected = np.array(weights) @ np.array([2.0, 3.0]) + bias
            assert microgradx.data(layer(x)).tolist() == expected.tolist()


def test_many_values() -> None:
    array = np.linspace(-1.0, 1.0, 100_000).reshape(100, 1000)
    values = microgradx.values(array)
    microgradx.assign(values, array[::-1])
    assert np.array_equal(microgradx.data(values), array[::-1])
    microgradx.sum(v for row in values for v in row).backward()
    assert np.all(microgradx.grads(values) == 1.0)
