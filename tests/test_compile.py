"""What `microgradx.compile` takes, gives, keeps and refuses."""

import collections
import contextlib
import copy
import gc
import math
import multiprocessing
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import microgradx as mgx
import numpy as np
import pytest
from microgradx import CompiledFunction, TraceError, Value, _core
from microgradx.nn import MLP, Layer, Neuron
from microgradx.optim import SGD


def square(x: Any) -> Any:
    return x * x


def polynomial(x: Any, y: Any) -> Any:
    return x * x * y - 2.0 * y + x


def keep(kept: list[Any], item: Any, result: Any) -> Any:
    """Have an item leave the function that is being traced, and return its result."""
    kept.append(item)
    return result


class Counted:
    """A function that counts how often it is traced."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self.function(*args, **kwargs)


def nesting(argument: Any) -> Any:
    """Tell how Values are nested, V for each."""
    if isinstance(argument, (list, tuple)):
        return type(argument)(map(nesting, argument))
    return "V" if isinstance(argument, Value) else repr(argument)


def leaves(nest: Any) -> Iterator[Any]:
    """List the Values of a nest."""
    if isinstance(nest, (list, tuple)):
        for item in nest:
            yield from leaves(item)
    else:
        yield nest


def total(*nests: Any) -> Any:
    """Add up the Values of nests, each times its place."""
    return sum((place * leaf for place, leaf in enumerate(leaves(nests), 1)), Value(0.0))


# Arguments ----------------------------------------------------------------------------------------

MATRIX = np.array([[1.0, 2.0], [3.0, 4.0]])
NESTS: dict[str, tuple[Any, Any]] = {
    "number": (2.5, "V"),
    "int": (2, "V"),
    "bool": (True, "V"),
    "fraction": (Fraction(1, 4), "V"),
    "numpy number": (np.float32(0.5), "V"),
    "array of no axes": (np.array(0.5), "V"),
    "Value": (Value(1.5), "V"),
    "list": ([1.0, 2], ["V", "V"]),
    "tuple": ((1.0, Value(2.0)), ("V", "V")),
    "nothing": ([], []),
    "vector": (np.arange(3), ["V"] * 3),
    "empty vector": (np.empty(0), []),
    "matrix": (MATRIX, [["V", "V"]] * 2),
    "matrix of no columns": (np.empty((2, 0)), [[], []]),
    "array of three axes": (np.ones((2, 1, 2), np.int8), [[["V", "V"]]] * 2),
    "ragged": ([[1.0], (), [2.0, [Value(3.0)]]], [["V"], (), ["V", ["V"]]]),
    "mixed": ((1.0, [MATRIX, Value(1.0)]), ("V", [[["V", "V"]] * 2, "V"])),
    "array of Values": (np.array([Value(1.0), Value(2.0)]), ["V", "V"]),
    "other layouts": (np.asfortranarray(MATRIX)[::-1, ::-1].astype(">f4"), [["V", "V"]] * 2),
}


def unwrapped(nest: Any) -> Any:
    """List the numbers of a nest, however it is made, as eager code would see them."""
    if isinstance(nest, np.ndarray):
        nest = nest.tolist()
    if isinstance(nest, (list, tuple)):
        return [unwrapped(item) for item in nest]
    return nest


@pytest.mark.parametrize(("argument", "expected"), NESTS.values(), ids=NESTS)
def test_arguments_are_values_in_the_same_nesting(argument: Any, expected: Any) -> None:
    seen: list[Any] = []
    compiled = mgx.compile(lambda x: keep(seen, nesting(x), total(x)))
    result = compiled(argument)
    assert seen == [expected]
    assert result.data == float(total(unwrapped(argument)))


@pytest.mark.parametrize(("argument", "_"), NESTS.values(), ids=NESTS)
def test_gradients_are_nested_as_the_arguments(argument: Any, _: Any) -> None:
    def check(gradient: Any, argument: Any) -> None:
        if isinstance(argument, np.ndarray) and argument.dtype != object:
            assert isinstance(gradient, np.ndarray) or argument.ndim == 0
            assert np.shape(gradient) == argument.shape
        elif isinstance(argument, (list, tuple, np.ndarray)):
            assert isinstance(gradient, (list, tuple))
            assert len(gradient) == len(argument)
            for part, its in zip(gradient, argument, strict=True):
                check(part, its)
        else:
            assert type(gradient) is float

    def numbers(nest: Any) -> list[float]:
        if isinstance(nest, (list, tuple)):
            return [number for item in nest for number in numbers(item)]
        return list(np.ravel(nest))

    value, gradient = mgx.compile(lambda x: total(x)).value_and_grad(argument)
    check(gradient, argument)
    assert numbers(gradient) == [1.0 + place for place in range(len(numbers(gradient)))]
    assert type(value) is float


def test_gradients_of_several_arguments_are_a_tuple() -> None:
    value, gradients = mgx.compile(polynomial).value_and_grad(3.0, 2.0)
    assert (value, gradients) == (17.0, (13.0, 7.0))


def test_no_arguments() -> None:
    w = Value(3.0)
    compiled = mgx.compile(lambda: w * w)
    compiled().backward()
    assert w.grad == 6.0
    assert compiled.value_and_grad() == (9.0, ())


def test_constants_and_arguments_as_results() -> None:
    assert mgx.compile(lambda x: 3.5)(1.0).data == 3.5
    assert mgx.compile(lambda x: x)(1.5).data == 1.5
    assert mgx.compile(lambda x: x).value_and_grad(1.5) == (1.5, 1.0)
    assert mgx.compile(lambda x: 3.5).sum(np.ones(5)).data == 17.5
    assert mgx.compile(lambda x: x).sum(np.ones(5)).data == 5.0
    assert mgx.compile(lambda x: 3.5).map(np.ones(3)).tolist() == [3.5, 3.5, 3.5]
    values, gradients = mgx.compile(lambda x: 3.5).map_value_and_grad(np.ones((3, 2)))
    assert values.tolist() == [3.5] * 3
    assert gradients.tolist() == [[0.0, 0.0]] * 3


def test_a_captured_value_as_result() -> None:
    w = Value(2.0)
    compiled = mgx.compile(lambda x: w)
    compiled(1.0).backward()
    compiled.mean(np.ones(4)).backward()
    compiled.sum(np.ones(4)).backward()
    assert w.grad == 6.0
    assert compiled.map(np.ones(2)).tolist() == [2.0, 2.0]


class Point(NamedTuple):
    x: Any
    y: Any


def test_results_are_structured_as_the_function_structures_them() -> None:
    pair = mgx.compile(lambda x: (x, x * 2.0))(1.5)
    assert (type(pair), [value.data for value in pair]) == (tuple, [1.5, 3.0])
    triple = mgx.compile(lambda x: [x, 2, x])(1.5)
    assert (type(triple), [value.data for value in triple]) == (list, [1.5, 2.0, 1.5])
    point = mgx.compile(lambda x: Point(x, -x))(1.5)
    assert (type(point), point.x.data, point.y.data) == (Point, 1.5, -1.5)
    assert mgx.compile(lambda x: [])(1.5) == []


def test_each_of_several_results_has_its_own_gradients() -> None:
    w = Value(2.0)
    compiled = mgx.compile(lambda x: (w * x, w * w))
    first, second = compiled(3.0)
    second.backward()
    assert w.grad == 4.0
    first.backward()
    assert w.grad == 7.0
    w.grad = 0
    first, second = compiled(3.0)
    (first * second).backward()  # w**3 * 3
    assert w.grad == 36.0


def test_the_jacobian_of_several_results() -> None:
    compiled = mgx.compile(lambda x, y: [x[0] * x[1], x[0] - y, y])
    values, (by_x, by_y) = compiled.value_and_grad(np.array([2.0, 3.0]), 5.0)
    assert values.tolist() == [6.0, -3.0, 5.0]
    assert by_x.tolist() == [[3.0, 2.0], [1.0, 0.0], [0.0, 0.0]]
    assert by_y.tolist() == [0.0, -1.0, 1.0]


def test_the_map_of_several_results() -> None:
    mapped = mgx.compile(lambda x: (x, x * x, Value(1.0))).map(np.arange(4.0))
    assert mapped.tolist() == [[0, 0, 1], [1, 1, 1], [2, 4, 1], [3, 9, 1]]
    assert mapped.flags.c_contiguous
    assert mgx.compile(lambda x: [x]).map(np.arange(4.0)).shape == (4, 1)


@pytest.mark.parametrize("result", [None, "1.0", [[1.0]], {"x": 1.0}, 1j, np.ones(2)])
def test_results_that_are_no_values(result: Any) -> None:
    @mgx.compile
    def f(x: Value) -> Any:
        return result

    with pytest.raises(TypeError, match=r"must return a Value .* but f returned a"):
        f(1.0)


# Batches ------------------------------------------------------------------------------------------


def test_sum_and_mean_against_calls_one_by_one() -> None:
    w, b = Value(0.5), Value(-1.0)

    @mgx.compile
    def loss(x: Any, y: Any) -> Any:
        return (w * x[0] - x[1] * b - y) ** 2

    X, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    expected = sum((loss(row, target) for row, target in zip(X, y, strict=True)), Value(0.0))
    expected.backward()
    gradients = w.grad, b.grad
    w.grad = b.grad = 0
    result = loss.sum(X, y)
    result.backward()
    assert result.data == expected.data
    assert (w.grad, b.grad) == gradients
    w.grad = b.grad = 0
    loss.mean(X, y).backward()
    assert (w.grad, b.grad) == pytest.approx([gradient / 6 for gradient in gradients], rel=1e-15)


def test_what_has_no_leading_axis_is_shared() -> None:
    shared = Value(3.0)
    compiled = mgx.compile(lambda x, scale, offset: x * scale[0] * scale[1] + offset)
    result = compiled.sum(np.arange(4.0), (2.0, shared), 1)
    result.backward()
    assert (result.data, shared.grad) == (40.0, 12.0)
    assert compiled.map(np.arange(2.0), (2.0, shared), 1).tolist() == [1.0, 7.0]
    values, (by_x, by_scale, by_offset) = compiled.map_value_and_grad(
        np.arange(2.0), (2.0, shared), 1
    )
    assert values.tolist() == [1.0, 7.0]
    assert by_x.tolist() == [6.0, 6.0]
    assert [by.tolist() for by in by_scale] == [[0.0, 3.0], [0.0, 2.0]]
    assert by_offset.tolist() == [1.0, 1.0]
    assert type(by_scale) is tuple


def test_lists_of_numbers_are_batches() -> None:
    compiled = mgx.compile(lambda x, y: x[0] * y + x[1])
    assert compiled.sum([[1.0, 2.0], [3, 4]], (5.0, 6)).data == 29.0
    assert compiled.map([(1.0, 2.0), (3, 4)], [5.0, 6]).tolist() == [7.0, 22.0]


def test_batches_in_nests() -> None:
    compiled = mgx.compile(lambda nest: nest[0] * nest[1][0] + nest[1][1])
    w = Value(10.0)
    batches = [np.arange(3.0), (w, np.ones(3))]
    assert compiled.map(batches).tolist() == [1.0, 11.0, 21.0]
    _, (by_first, (by_w, by_last)) = compiled.map_value_and_grad(batches)
    assert [by_first.tolist(), by_w.tolist(), by_last.tolist()] == [[10.0] * 3, [0, 1, 2], [1] * 3]


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i1", "u8", "?", "i8", "g"])
def test_arrays_of_other_numbers(dtype: str) -> None:
    X = np.array([[0, 1], [1, 1], [1, 0]]).astype(dtype)
    assert mgx.compile(lambda x: x[0] * 2 + x[1]).map(X).tolist() == [1.0, 3.0, 2.0]


def test_arrays_of_other_layouts_are_read_and_left_alone() -> None:
    numbers = np.arange(24.0).reshape(4, 6)
    compiled = mgx.compile(lambda x: x[0] - 2.0 * x[1] + 0.25 * x[2])
    expected = [row[0] - 2 * row[1] + 0.25 * row[2] for row in numbers[::-1, ::2]]
    for array in (numbers[::-1, ::2], np.asfortranarray(numbers[::-1, ::2])):
        array.flags.writeable = False
        assert compiled.map(array).tolist() == expected
        assert compiled.sum(array).data == sum(expected)
    assert numbers.tolist() == np.arange(24.0).reshape(4, 6).tolist()


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_empty_batches(shape: tuple[int, ...]) -> None:
    w = Value(2.0)
    compiled = mgx.compile(lambda x: w * total(x))
    X = np.empty(shape)
    result = compiled.sum(X)
    result.backward()
    assert (result.data, w.grad) == (0.0, 0.0)
    assert compiled.map(X).shape == (0,)
    values, gradients = compiled.map_value_and_grad(X)
    assert (values.shape, gradients.shape) == ((0,), shape)
    with pytest.raises(ValueError, match="no samples"):
        compiled.mean(X)


def test_empty_batches_beside_what_is_shared() -> None:
    w, shared = Value(2.0), Value(3.0)
    compiled = mgx.compile(lambda x, s, k: w * x * s + k)
    nothing = np.empty(0)
    result = compiled.sum(nothing, shared, 4.0)
    result.backward()
    assert (result.data, w.grad, shared.grad) == (0.0, 0.0, 0.0)
    assert compiled.map(nothing, shared, 4.0).shape == (0,)
    values, (of_x, of_s, of_k) = compiled.map_value_and_grad(nothing, 3.0, 4.0)
    assert [a.shape for a in (values, of_x, of_s, of_k)] == [(0,)] * 4


def test_empty_batches_between_others() -> None:
    w = Value(2.0)
    compiled = mgx.compile(lambda x: w * x)
    for X in ([], [1.0, 2.0], [], [1.0, 2.0, 3.0]):
        batch = np.array(X)
        assert compiled.map(batch).tolist() == [2.0 * x for x in X]
        w.grad = 0
        total = compiled.sum(batch)
        total.backward()
        assert (total.data, w.grad) == (2.0 * sum(X), sum(X))


def test_nothing_fails_in_an_empty_batch() -> None:
    w = Value(-1.0)
    compiled = mgx.compile(lambda x: w.log() * x)
    assert compiled.sum(np.empty(0)).data == 0.0
    assert compiled.map(np.empty(0)).tolist() == []
    with pytest.raises(ValueError, match="log"):
        compiled.sum(np.ones(2))


def test_samples_of_no_numbers() -> None:
    w = Value(2.0)
    compiled = mgx.compile(lambda x: w * len(x) + 1.0)
    result = compiled.sum(np.empty((5, 0)))
    result.backward()
    assert (result.data, w.grad) == (5.0, 0.0)
    assert compiled.map(np.empty((2, 3, 0))).tolist() == [7.0, 7.0]
    values, gradients = compiled.map_value_and_grad(np.empty((2, 0)))
    assert (values.tolist(), gradients.shape) == ([1.0, 1.0], (2, 0))


def test_samples_that_differ_in_number() -> None:
    with pytest.raises(ValueError, match=r"argument 2 has 3 samples .* has 4"):
        mgx.compile(polynomial).sum(np.ones(4), np.ones(3))
    with pytest.raises(ValueError, match="3 samples"):
        mgx.compile(lambda x: x[0] + x[1]).map([np.ones(4), np.ones(3)])


def test_nothing_with_samples() -> None:
    for arguments in ((1.0, 2.0), (Value(1.0), [Value(1.0)]), (np.float64(1.0), np.array(2.0))):
        with pytest.raises(ValueError, match="no argument is an array with a leading axis"):
            mgx.compile(lambda x, y: x).sum(*arguments)


def test_ragged_batches() -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (NumPy's)
        mgx.compile(lambda x: x[0]).sum([[1.0, 2.0], [3.0]])
    # One sample may be as ragged as it likes.
    assert mgx.compile(lambda x: x[0][0] + x[1][1])([[1.0], [2.0, 3.0]]).data == 4.0


@pytest.mark.parametrize(
    "argument",
    ["text", None, {"x": 1.0}, {1.0}, 1j, object(), np.array(["a"]), np.array([1j]), [1.0, None]],
)
@pytest.mark.parametrize("method", ["__call__", "value_and_grad", "sum", "map"])
def test_arguments_that_are_no_numbers(argument: Any, method: str) -> None:
    compiled = mgx.compile(lambda x, y: x)
    with pytest.raises(TypeError, match="argument 2 must"):
        getattr(compiled, method)(np.ones(2), argument)


def test_a_number_that_changes_the_arguments_while_it_is_read() -> None:
    others: list[Value] = []

    class Index:
        def __index__(self) -> int:
            arguments.clear()
            others.extend(Value(100.0 + i) for i in range(1000))
            return 3

    arguments = [Value(2.0)]
    result = mgx.compile(lambda x, y: x[0] * y)(arguments, Index())
    result.backward()
    assert result.data == 6.0
    assert all(other.grad == 0 for other in others)


@pytest.mark.parametrize("method", ["__call__", "value_and_grad", "sum", "map"])
def test_a_nest_that_contains_itself(method: str, run_python: Callable[..., str]) -> None:
    printed = run_python(f"""
        import microgradx
        endless = []
        endless.append(endless)
        try:
            microgradx.compile(lambda x: x[0]).{method}(endless)
        except RecursionError as error:
            print(error)
        deep = [1.0]
        for _ in range(100_000):
            deep = [deep]
        try:
            microgradx.compile(lambda x: x[0]).{method}(deep)
        except RecursionError as error:
            print(error)
    """)
    assert printed.count("recursion") == 2


def test_methods_of_functions_with_several_results() -> None:
    compiled = mgx.compile(lambda x: (x, x))
    for method in (compiled.sum, compiled.mean, compiled.map_value_and_grad):
        with pytest.raises(TypeError, match=r"returns? one Value, not a tuple"):
            method(np.ones(3))


@pytest.mark.parametrize("samples", [1, 7, 64, 300])
def test_numbers_outside_of_a_domain(samples: int) -> None:
    def failing(number: float) -> Any:
        X = np.full(samples, 2.0)
        X[samples // 2] = number
        return X

    where = rf"\(sample {samples // 2}\)"
    logarithm = mgx.compile(lambda x: x.log() * 2.0)
    inverse = mgx.compile(lambda x: 1.0 / x)
    power = mgx.compile(lambda x: x**1e3)
    root = mgx.compile(lambda x: x ** Value(0.5))
    sine = mgx.compile(lambda x: x.sin())
    for how in ("map", "sum", "mean", "map_value_and_grad"):
        with pytest.raises(ValueError, match=where):
            getattr(logarithm, how)(failing(-1.0))
        with pytest.raises(ValueError, match=where):
            getattr(logarithm, how)(failing(0.0))
        with pytest.raises(ZeroDivisionError, match=where):
            getattr(inverse, how)(failing(0.0))
        with pytest.raises(OverflowError, match=where):
            getattr(power, how)(failing(10.0))
        with pytest.raises(ValueError, match=where):
            getattr(root, how)(failing(-1.0))
        with pytest.raises(ValueError, match=where):
            getattr(sine, how)(failing(math.inf))
    for function, number, error in (
        (logarithm, -1.0, ValueError),
        (inverse, 0.0, ZeroDivisionError),
        (power, 10.0, OverflowError),
        (sine, math.inf, ValueError),
    ):
        with pytest.raises(error):
            function(number)
        with pytest.raises(error):
            function.value_and_grad(number)
        assert function.map([1.0]).shape == (1,)  # usable as before


def test_the_first_sample_that_fails_is_named() -> None:
    X = np.ones((300, 2))
    X[250, 0] = X[130, 1] = X[140, 0] = -1.0
    compiled = mgx.compile(lambda x: x[0].log() + x[1].sqrt())
    for threads in (1, 2):
        mgx.set_num_threads(threads)
        try:
            with pytest.raises(ValueError, match=r"\(sample 130\)"):
                compiled.map(X)
        finally:
            mgx.set_num_threads(1)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 5e-324, -0.0, 1.7e308])
def test_unusual_numbers_do_what_they_do_eagerly(number: float) -> None:
    def function(x: Any, y: Any) -> Any:
        kept = mgx.where(mgx.greater(x, y), x + y, y - x)
        return mgx.maximum(x, y) * 0.5 + kept.relu() * x + mgx.minimum(x, abs(y)).tanh()

    compiled = mgx.compile(function)
    for x, y in ((number, 2.0), (-1.5, number), (number, number)):
        operands = Value(x), Value(y)
        expected = function(*operands)
        expected.backward()
        gradients = [operand.grad for operand in operands]
        np.testing.assert_equal(compiled(x, y).data, expected.data)
        value, by = compiled.value_and_grad(x, y)
        np.testing.assert_equal([value, *by], [expected.data, *gradients])
        for samples in (1, 9):
            batch = np.full(samples, x), np.full(samples, y)
            values, (by_x, by_y) = compiled.map_value_and_grad(*batch)
            np.testing.assert_equal(values, np.full(samples, expected.data))
            np.testing.assert_equal(by_x, np.full(samples, gradients[0]))
            np.testing.assert_equal(by_y, np.full(samples, gradients[1]))


@pytest.mark.parametrize("x", [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1e-200, -1e-320])
@pytest.mark.parametrize("exponent", [2, 3, -1, 0.5, 1, 0, -2, 1.5, 2.0, math.inf])
def test_powers_at_the_edges(x: float, exponent: float) -> None:
    def attempt(compute: Callable[[], Any]) -> Any:
        try:
            return compute()
        except (ArithmeticError, ValueError) as error:
            return type(error)

    compiled = mgx.compile(lambda x: x**exponent)
    np.testing.assert_equal(
        attempt(lambda: compiled.map([x]).item()), attempt(lambda: float(Value(x) ** exponent))
    )

    def eager() -> list[float]:
        value = Value(x)
        power = value**exponent
        power.backward()
        return [float(power.data), float(value.grad)]

    expected = attempt(eager)
    actual = attempt(lambda: list(compiled.value_and_grad(x)))
    batch = attempt(lambda: [them.item() for them in compiled.map_value_and_grad([x])])
    for result in (actual, batch):
        if isinstance(expected, list) and isinstance(result, list):
            np.testing.assert_allclose(result, expected, rtol=1e-15, atol=0)
        else:
            assert result == expected


# The cache ----------------------------------------------------------------------------------------


def test_a_function_is_traced_once_for_each_structure() -> None:
    counted = Counted(total)
    compiled = mgx.compile(counted)
    for x in (1.0, 2, Value(3.0), np.float32(4.0)):
        compiled(x)
    assert counted.calls == 1
    for nest in ([1.0, 2.0], [Value(1.0), 2]):
        compiled(nest)
    assert counted.calls == 2
    compiled((1.0, 2.0))
    compiled([[1.0], 2.0])
    compiled([1.0, [2.0]])
    compiled(1.0, 2.0)
    assert counted.calls == 6
    compiled(np.ones(3))
    compiled(np.zeros(3))
    compiled.sum(np.zeros((5, 3)))
    compiled.map(np.zeros((2, 3)))
    assert counted.calls == 7
    compiled(np.ones((3, 1)))
    compiled(np.ones((1, 3)))
    assert counted.calls == 9
    assert len(compiled.programs) == 9


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1.0, (2.0, 3.0)), ((1.0, 2.0), 3.0)),
        (([], [1.0]), ([1.0], [])),
        (([[]],), ([], [])),
        (([1.0, 2.0],), ((1.0, 2.0),)),
        ((np.ones((2, 3)),), (np.ones((3, 2)),)),
        ((np.ones((1, 23)),), (np.ones((12, 3)),)),
        ((np.ones(2), 1.0), (1.0, np.ones(2))),
        ((np.ones(2),), (np.ones((2, 1)),)),
        ((np.ones((0, 2)),), (np.ones((0, 3)),)),
    ],
)
def test_structures_that_are_not_the_same(one: Any, other: Any) -> None:
    seen: list[Any] = []
    compiled = mgx.compile(lambda *args: keep(seen, nesting(args), total(*args)))
    compiled(*one)
    compiled(*other)
    compiled(*one)
    assert len(seen) == 2


def test_programs_can_be_looked_at() -> None:
    compiled = mgx.compile(total)
    with pytest.raises(AttributeError, match="has not been traced yet"):
        _ = compiled.program
    assert len(compiled.programs) == 0
    compiled(1.0)
    first = compiled.program
    compiled([1.0, 2.0])
    second = compiled.program
    assert first is not second
    assert list(compiled.programs.values()) == [first, second]
    compiled(5.0)
    assert compiled.program is first
    assert list(compiled.programs.values()) == [second, first]
    with pytest.raises(TypeError):
        compiled.programs["other"] = first  # type: ignore[index]


def test_the_cache_is_bounded_and_warns() -> None:
    compiled = mgx.compile(cache_size=2)(total)
    compiled([1.0])
    compiled([1.0] * 2)
    compiled([1.0])
    with pytest.warns(RuntimeWarning, match="traced for more than 2 structures") as caught:
        compiled([1.0] * 3)
    assert caught[0].filename == __file__
    assert len(compiled.programs) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled([5.0]).data == 5.0  # used after the other, so still there
    with pytest.warns(RuntimeWarning):
        compiled([1.0] * 2)


def test_static_arguments() -> None:
    counted = Counted(lambda x, n=1, kind="add": x * n if kind == "add" else x - n)

    def function(x: Any, n: int = 1, kind: str = "add") -> Any:
        return counted(x, n, kind)

    compiled = mgx.compile(static_argnames=("n", "kind"))(function)
    assert [compiled(2.0).data, compiled(2.0, 3).data, compiled(2.0, n=3).data] == [2.0, 6.0, 6.0]
    assert counted.calls == 2
    assert compiled(2.0, 3, "sub").data == -1.0
    assert compiled(2.0, kind="sub", n=3).data == -1.0
    assert counted.calls == 3
    assert compiled.map(np.arange(2.0), n=5).tolist() == [0.0, 5.0]
    assert compiled.value_and_grad(2.0, n=5) == (10.0, 5.0)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (1, True), (0.0, -0.0), ((1,), (1.0,)), ((0.0,), (-0.0,)), ((1, (2,)), (1, (2.0,)))],
)
def test_static_arguments_that_are_equal_but_not_the_same(one: Any, other: Any) -> None:
    seen: list[Any] = []

    def function(x: Any, n: Any) -> Any:
        seen.append(n)
        return x

    compiled = CompiledFunction(function, static_argnames="n")
    compiled(1.0, one)
    compiled(1.0, other)
    assert list(map(repr, seen)) == [repr(one), repr(other)]


def test_keywords() -> None:
    compiled = mgx.compile(polynomial)
    expected = compiled(3.0, 2.0).data
    assert compiled(x=3.0, y=2.0).data == expected
    assert compiled(y=2.0, x=3.0).data == expected
    assert compiled(3.0, y=2.0).data == expected
    assert compiled.sum(y=np.array([2.0, 2.0]), x=3.0).data == 2 * expected
    assert compiled.value_and_grad(y=2.0, x=3.0) == (expected, (13.0, 7.0))

    @mgx.compile
    def only_keywords(x: Any, *, scale: Any = 10.0, shift: Any) -> Any:
        return x * scale + shift

    assert only_keywords(1.0, shift=2.0).data == 12.0
    assert only_keywords(1.0, shift=2.0, scale=3.0).data == 5.0
    assert only_keywords.map([1.0, 2.0], shift=2.0).tolist() == [12.0, 22.0]


def test_any_number_of_arguments_and_keywords() -> None:
    compiled = mgx.compile(lambda *xs, last: total(xs) - last)
    assert compiled(1.0, 2.0, last=3.0).data == 2.0
    assert compiled.sum(np.ones(3), 2.0, last=3.0).data == 6.0
    assert compiled.sum(1.0, 2.0, last=np.full(3, 3.0)).data == 6.0


@pytest.mark.parametrize("method", ["__call__", "sum"])
def test_arguments_that_the_function_does_not_have(method: str) -> None:
    compiled = mgx.compile(static_argnames="y")(polynomial)
    with pytest.raises(TypeError, match="missing a required argument"):
        getattr(compiled, method)(np.ones(2))
    with pytest.raises(TypeError, match="too many positional"):
        getattr(compiled, method)(np.ones(2), 1.0, 2.0)
    with pytest.raises(TypeError, match="unexpected keyword"):
        getattr(compiled, method)(np.ones(2), 1.0, z=2.0)
    with pytest.raises(TypeError, match="positional argument"):
        mgx.compile(polynomial)(1.0)


def test_what_cannot_be_compiled() -> None:
    nothing: Any = None
    number: Any = 3
    with pytest.raises(TypeError, match="function must be callable, not int"):
        mgx.compile(number)
    with pytest.raises(ValueError, match="static_argnames has 'z'"):
        mgx.compile(static_argnames=["x", "z"])(polynomial)
    with pytest.raises(ValueError, match="cache_size must be at least 1, not 0"):
        mgx.compile(cache_size=0)(polynomial)
    with pytest.raises(TypeError, match="static arguments must be hashable"):
        mgx.compile(static_argnames="y")(polynomial)(1.0, [nothing])


def test_the_function_is_shown() -> None:
    @mgx.compile
    def named(x: Any) -> Any:
        """Do nothing."""
        return x

    assert repr(named) == "<compiled function named>"
    assert (named.__name__, named.__doc__) == ("named", "Do nothing.")
    assert isinstance(named, CompiledFunction)
    assert mgx.compile(MLP(1, [1]))([2.0]).data is not None


# What is captured ---------------------------------------------------------------------------------


def test_the_current_data_of_captured_values_is_used() -> None:
    w = Value(2.0)
    compiled = mgx.compile(lambda x: w * x)
    assert compiled(3.0).data == 6.0
    w.data = 5.0
    assert compiled(3.0).data == 15.0
    assert compiled.map([3.0, 4.0]).tolist() == [15.0, 20.0]
    w.data = 1
    result = compiled.mean(np.array([1.0, 2.0]))
    result.backward()
    assert (result.data, w.grad) == (1.5, 1.5)


@pytest.mark.parametrize("method", ["__call__", "sum", "mean"])
def test_gradients_are_those_of_the_call(method: str) -> None:
    w, v, shared = Value(2.0), Value(3.0), Value(4.0)
    X = np.array([5.0, 5.0])
    compiled = mgx.compile(lambda x, y: w * v * x[0] * y)
    result = getattr(compiled, method)(X if method == "__call__" else X.reshape(2, 1), shared)
    X[:] = w.data = v.data = shared.data = 100.0
    compiled(np.ones(2), 1.0)
    compiled.sum(np.ones((2, 1)), 1.0)
    result.backward()
    times = 2.0 if method == "sum" else 1.0
    assert [w.grad, v.grad, shared.grad] == [times * 60.0, times * 40.0, times * 30.0]


def test_captured_interior_nodes() -> None:
    w = Value(2.0)
    hidden = w * w
    compiled = mgx.compile(lambda x: hidden * x + w)
    result = compiled(3.0)
    result.backward()
    assert (result.data, hidden.grad, w.grad) == (14.0, 3.0, 13.0)
    w.grad = hidden.grad = 0
    compiled.sum(np.array([1.0, 2.0])).backward()
    assert (hidden.grad, w.grad) == (3.0, 14.0)


def test_captured_operations_of_ones_own() -> None:
    w = Value(2.0)
    cube = Value(w.data**3, (w,), "cube")

    def backward() -> None:
        w.grad += 3 * w.data**2 * cube.grad

    cube._backward = backward
    compiled = mgx.compile(lambda x: cube * x)
    compiled(5.0).backward()
    assert w.grad == 60.0
    w.grad = cube.grad = 0
    compiled.mean(np.array([5.0, 7.0])).backward()
    assert w.grad == 72.0


def test_values_in_arguments() -> None:
    w = Value(2.0)
    hidden = w * 3.0
    compiled = mgx.compile(lambda x, y: x * x * y)
    compiled(hidden, 5.0).backward()
    assert (hidden.grad, w.grad) == (60.0, 180.0)
    other = Value(7.0)
    compiled(other, other).backward()
    assert other.grad == 3 * 49.0
    assert compiled(1.0, 2.0)._prev == set()


def test_a_value_that_is_captured_and_an_argument() -> None:
    w = Value(2.0)
    compiled = mgx.compile(lambda x, y: w * x * y)
    result = compiled(w, [w][0])
    result.backward()
    assert (result.data, w.grad) == (8.0, 12.0)
    assert result._prev == {w}
    w.grad = 0
    compiled.sum(np.array([1.0, 2.0]), w).backward()
    assert w.grad == 12.0


def test_a_replaced_parameter_needs_a_retrace() -> None:
    neuron = Neuron(1, nonlin=False)
    neuron.b.data = 0.0
    old = neuron.w[0]
    old.data = 2.0
    compiled = mgx.compile(neuron)
    assert compiled([1.0]).data == 2.0
    neuron.w[0] = Value(5.0)
    assert compiled([1.0]).data == 2.0
    compiled.retrace()
    result = compiled([1.0])
    result.backward()
    assert (result.data, neuron.w[0].grad, old.grad) == (5.0, 1.0, 0)


def test_parameters_that_are_made_at_the_first_call() -> None:
    model: dict[str, Value] = {}

    @mgx.compile
    def function(x: Any) -> Any:
        w = model.setdefault("w", Value(3.0))
        return w * x

    function(2.0).backward()
    assert model["w"].grad == 2.0
    model["w"].data = 10.0
    assert function(2.0).data == 20.0


def test_all_of_a_model_is_captured() -> None:
    model: Any = MLP(3, [4, 2])
    compiled = mgx.compile(lambda x: model(x))
    compiled([1.0, 2.0, 3.0])
    assert set(compiled.program.captured) == set(model.parameters())


def test_captured_values_live_as_long_as_the_program(living_nodes: Callable[[], int]) -> None:
    before = living_nodes()

    def make() -> Any:
        w = Value(2.0)
        return mgx.compile(lambda x: w * w * x)

    compiled = make()
    compiled(1.0)
    captured = compiled.program.captured
    assert [value.data for value in captured] == [2.0]
    del captured
    compiled.__dict__["_function"] = None  # which holds w as well
    compiled.__dict__.pop("__wrapped__")
    gc.collect()
    assert compiled(3.0).data == 12.0
    del compiled
    assert living_nodes() == before


# Eager code around compiled code ------------------------------------------------------------------


def test_results_compose_with_eager_code() -> None:
    w = Value(2.0)
    compiled = mgx.compile(lambda x: w * x * x)
    x = Value(3.0)
    hidden = x + w  # 5
    loss = (compiled(hidden) * 0.5 + w) ** 2 + compiled.mean(np.array([1.0, 3.0])) * x
    loss.backward()
    # ((w (x + w)^2) / 2 + w)^2 + 5 w x
    inner = 2 * 25 / 2 + 2
    assert loss.data == inner**2 + 30
    assert x.grad == 2 * inner * (2 * 5) + 10
    assert w.grad == 2 * inner * (25 / 2 + 2 * 5 + 1) + 15


def test_a_result_is_a_node_of_the_graph() -> None:
    w, x = Value(2.0), Value(3.0)
    result = mgx.compile(lambda x, y: w * x * y)(x, 4.0)
    assert result._prev == {w, x}
    assert result.grad == 0
    result.backward()
    assert (result.grad, w.grad, x.grad) == (1, 12.0, 8.0)
    result.backward()
    assert (w.grad, x.grad) == (24.0, 16.0)


def test_compiled_functions_of_compiled_results() -> None:
    w = Value(0.5)
    inner = mgx.compile(lambda x: w * x)
    outer = mgx.compile(lambda x: x * x + w)
    x = Value(4.0)
    outer(inner(x)).backward()  # (w x)^2 + w
    assert (x.grad, w.grad) == (2 * 0.25 * 4, 2 * 0.5 * 16 + 1)


def test_a_step_by_hand_does_what_backward_does() -> None:
    w = Value(2.0)
    result = mgx.compile(lambda x: w * w * x)(3.0)
    result.grad = 10.0
    result._backward()
    assert w.grad == 120.0


def test_training_as_the_eager_engine_does() -> None:
    def train(is_compiled: bool) -> list[float]:
        model: Any = MLP(2, [4, 4, 1])
        for place, parameter in enumerate(model.parameters()):
            parameter.data = math.sin(place)
        X = np.sin(np.arange(20.0)).reshape(10, 2)
        y = np.where(X[:, 0] * X[:, 1] > 0, 1.0, -1.0)

        def loss(x: Any, y: Any) -> Any:
            return (1 - y * model(x)).relu()

        compiled = mgx.compile(loss)
        optimizer = SGD(model.parameters(), lr=0.1, momentum=0.5)
        losses = []
        for _ in range(30):
            optimizer.zero_grad()
            if is_compiled:
                mean = compiled.mean(X, y)
            else:
                mean = mgx.mean([loss(list(row), target) for row, target in zip(X, y, strict=True)])
            cost = mean + 1e-4 * mgx.sum([p * p for p in model.parameters()])
            cost.backward()
            optimizer.step()
            losses.append(cost.data)
        return losses

    losses = train(True)
    assert losses == pytest.approx(train(False), rel=1e-9)
    assert losses[-1] < losses[0] / 2


def test_minimizing_with_scipy() -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed")
    banana = mgx.compile(lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)
    found = optimize.minimize(banana.value_and_grad, np.array([-1.2, 1.0]), jac=True)
    assert found.x == pytest.approx([1.0, 1.0], abs=1e-5)


def test_a_chain_of_a_hundred_thousand_calls() -> None:
    w = Value(1.0)
    compiled = mgx.compile(lambda x: x * w + 0.5)
    x = first = Value(0.0)
    for _ in range(100_000):
        x = compiled(x)
    x.backward()
    assert (x.data, first.grad, w.grad) == (50_000.0, 1.0, 0.5 * 99_999 * 100_000 / 2)


# A compiled function inside of another ------------------------------------------------------------


def test_a_compiled_function_inside_of_another() -> None:
    w = Value(2.0)
    inner = mgx.compile(lambda x: w * x)
    outer = mgx.compile(lambda x, y: inner(x) * inner(y) + inner(x))
    result = outer(3.0, 4.0)
    result.backward()
    assert (result.data, w.grad) == (54.0, 2 * 2 * 12 + 3)
    assert len(inner.programs) == 0
    assert inner(5.0).data == 10.0
    assert outer.map([3.0], [4.0]).tolist() == [54.0]


def test_a_compiled_function_that_calls_itself() -> None:
    @mgx.compile(static_argnames="n")
    def power(x: Any, n: int) -> Any:
        return x * power(x, n - 1) if n > 0 else Value(1.0)

    assert power(2.0, 10).data == 1024.0
    assert power.value_and_grad(2.0, 10) == (1024.0, 5120.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda inner, x: inner.sum(np.ones(3), 1.0) * x,
        lambda inner, x: inner.mean(np.ones(3), x),
        lambda inner, x: inner.map(np.ones(3), 1.0)[0] * x,
        lambda inner, x: inner.value_and_grad(2.0, 1.0)[0] * x,
        lambda inner, x: inner.value_and_grad(x, x)[0],
        lambda inner, x: inner.map_value_and_grad(np.ones(3), x)[0][0] * x,
    ],
)
@pytest.mark.parametrize("is_traced", [False, True])
def test_other_methods_inside_of_a_trace(call: Callable[..., Any], is_traced: bool) -> None:
    inner = mgx.compile(polynomial)
    if is_traced:
        inner(1.0, 1.0)
        inner.sum(np.ones(3), 1.0)
    outer = mgx.compile(lambda x: call(inner, x))
    with pytest.raises(TraceError):
        outer(2.0)
    assert inner(3.0, 2.0).data == 17.0


def test_an_unpickled_function_inside_of_a_trace() -> None:
    compiled = mgx.compile(square)
    compiled(2.0)
    twin = pickle.loads(pickle.dumps(compiled))
    with pytest.raises(TraceError):
        mgx.compile(lambda x: twin(x) + 1.0)(3.0)
    assert twin(3.0).data == 9.0


# What a trace refuses -----------------------------------------------------------------------------

LOOKS: dict[str, Callable[[Any, Any], Any]] = {
    "data": lambda x, w: x.data,
    "data of a captured Value": lambda x, w: w.data,
    "grad": lambda x, w: x.grad,
    "grad of a captured Value": lambda x, w: w.grad,
    "float": lambda x, w: float(x),
    "int": lambda x, w: int(x),
    "less": lambda x, w: x if x < 1 else w,
    "greater": lambda x, w: x if x > 1 else w,
    "less than a Value": lambda x, w: x if w < x else w,
    "greater or equal": lambda x, w: x if x >= w else w,
    "max": lambda x, w: max(x, 0),
    "sorted": lambda x, w: sorted([x, w])[0],
    "index": lambda x, w: [1.0, 2.0][x],
    "range": lambda x, w: sum(range(x)),
    "slice": lambda x, w: sum([1.0, 2.0][:x]),
    "math": lambda x, w: math.sqrt(x),
    "NumPy array": lambda x, w: np.array([x, 1.0], dtype=float).sum(),
    "NumPy maximum": lambda x, w: np.maximum(x, 1.0),
    "data of a list": lambda x, w: mgx.data([x])[0],
    "grads of a list": lambda x, w: mgx.grads([x])[0],
    "assign": lambda x, w: mgx.assign([w], [3.0]),
    "set data": lambda x, w: setattr(w, "data", 3.0),
    "set grad": lambda x, w: setattr(w, "grad", 3.0),
    "backward": lambda x, w: (x * w).backward(),
    "backward of a captured Value": lambda x, w: w.backward(),
    "step by hand": lambda x, w: (x * w)._backward(),
    "callback": lambda x, w: setattr(x * w, "_backward", lambda: None),
    "operation of one's own": lambda x, w: Value(1.0, (x, w), "own"),
    "copy": lambda x, w: copy.copy(x) * w,
    "deepcopy": lambda x, w: copy.deepcopy([x])[0] * w,
    "pickle": lambda x, w: pickle.loads(pickle.dumps(x)) * w,
    "optimizer": lambda x, w: SGD([w], lr=0.5).step(),
    "zero_grad": lambda x, w: SGD([w], lr=0.5).zero_grad(),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize("method", ["__call__", "sum"])
def test_looking_at_numbers_is_refused(look: Callable[[Any, Any], Any], method: str) -> None:
    w = Value(2.0)
    w.grad = 0.5
    compiled = mgx.compile(lambda x: look(x, w))
    for _ in range(2):
        with pytest.raises(TraceError):
            getattr(compiled, method)([1.0, 2.0] if method == "sum" else 1.0)
    assert (w.data, w.grad) == (2.0, 0.5)
    assert mgx.compile(square)(3.0).data == 9.0


def test_the_error_names_the_line_and_the_remedy() -> None:
    def function(x: Any) -> Any:
        y = x * 2.0
        return y if y.data > 0 else -y

    line = function.__code__.co_firstlineno + 2
    with pytest.raises(TraceError, match=rf"line {line} of .*test_compile\.py.*microgradx\.where"):
        mgx.compile(function)(1.0)
    assert issubclass(TraceError, TypeError)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 1.0 / (mgx.greater(x, 0.0) + mgx.less(x, 0.0)),
        lambda x: mgx.greater(x, 0.0).log(),
        lambda x: mgx.where(mgx.greater(x, 1.0), x, 0.0).log(),
        lambda x: mgx.where(mgx.less(x, 0.0), -1.0, x).sqrt(),
        lambda x: mgx.where(x, 1.0, mgx.maximum(x, 0.0)) ** -1.0,
        lambda x: mgx.where(mgx.greater(x, 5.0), -1.0, mgx.less(x, 5.0)) ** 0.5,
    ],
)
def test_numbers_that_are_not_known_yet_do_not_fail(function: Callable[[Any], Any]) -> None:
    """Only numbers that are given can be outside of a function's domain."""
    expected = function(Value(2.0)).data
    compiled = mgx.compile(function)
    assert compiled(2.0).data == expected
    assert compiled.map([2.0, 2.0]).tolist() == [expected] * 2


def test_numbers_that_are_given_may_change_until_they_are_in_the_domain() -> None:
    w = Value(-4.0)
    compiled = mgx.compile(lambda x: w.sqrt() * x + Value(2.0) / w)
    for method in (compiled, compiled.map, compiled.value_and_grad, compiled.sum):
        w.data = -4.0
        with pytest.raises(ValueError, match="sqrt"):
            method([1.0] if method in (compiled.map, compiled.sum) else 1.0)
        w.data = 0.0
        with pytest.raises(ZeroDivisionError):
            method([1.0] if method in (compiled.map, compiled.sum) else 1.0)
        w.data = 4.0
        assert compiled(1.0).data == 2.5
        compiled.retrace()


def test_an_operation_of_ones_own_leaves_the_engine_as_it_was() -> None:
    """Its wrapper, not its node, holds the operands, which end with the same trace."""
    scattered = [Value(i) for i in range(400)]
    del scattered[::2]
    for _ in range(4):
        with pytest.raises(TraceError):
            mgx.compile(lambda x: Value(1.0, (x,), "own"))(1.0)
    leaves = [Value(float(i)) for i in range(1000)]
    doubled = [2 * leaf for leaf in leaves]
    assert [leaf.data for leaf in leaves] == list(range(1000))
    assert [value.data for value in doubled] == list(range(0, 2000, 2))


def test_weights_that_two_layers_share() -> None:
    w = [Value(1.0), Value(2.0), Value(3.0)]

    @mgx.compile
    def function(x: Any) -> Any:
        one = mgx.dot([w[0], w[1]], x).relu()
        other = mgx.dot([w[2], w[0]], [one, x[1]], w[1])
        return other + mgx.dot([w[1], w[0]], x)

    def expected(x: float, y: float) -> Any:
        one = (w[0] * x + w[1] * y).relu()
        return (w[1] + w[2] * one + w[0] * y) + (w[1] * x + w[0] * y)

    for scale in (1.0, 2.0, 0.5):
        for value in w:
            value.data = value.data * scale
            value.grad = 0
        result = expected(2.0, 3.0)
        result.backward()
        gradients = [4 * value.grad for value in w]
        for value in w:
            value.grad = 0
        assert function.map([[2.0, 3.0]]).tolist() == [result.data]
        function.sum([[2.0, 3.0]] * 3).backward()
        function([2.0, 3.0]).backward()
        assert [value.grad for value in w] == gradients


def test_other_threads_may_look_at_numbers_meanwhile() -> None:
    w = Value(2.0)
    seen: list[Any] = []

    def look() -> None:
        other = w * 3.0
        other.backward()
        seen.append((other.data, w.grad, float(w), w < 3))

    def function(x: Any) -> Any:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return x * 2.0

    assert mgx.compile(function)(1.0).data == 2.0
    assert seen == [(6.0, 3.0, 2.0, True)]


# When a trace ends --------------------------------------------------------------------------------

TRACED = mgx.compile(square)
TRACED(1.0)

USES: dict[str, Callable[[Any], Any]] = {
    "data": lambda leak: leak.data,
    "grad": lambda leak: leak.grad,
    "set data": lambda leak: setattr(leak, "data", 1.0),
    "add": lambda leak: leak + 1.0,
    "add on the right": lambda leak: Value(1.0) + leak,
    "multiply": lambda leak: Value(2.0) * leak,
    "power": lambda leak: 2.0**leak,
    "power of a Value": lambda leak: Value(2.0) ** leak,
    "float": float,
    "less": lambda leak: leak < 1,
    "tanh": lambda leak: leak.tanh(),
    "abs": abs,
    "backward": lambda leak: leak.backward(),
    "operands": lambda leak: leak._prev,
    "sum": lambda leak: mgx.sum([leak, 1.0]),
    "mean": lambda leak: mgx.mean([leak]),
    "dot": lambda leak: mgx.dot([Value(1.0)], [leak]),
    "neuron": lambda leak: Neuron(1)([leak]),
    "layer": lambda leak: Layer(1, 2)([leak]),
    "maximum": lambda leak: mgx.maximum(leak, 1.0),
    "where": lambda leak: mgx.where(Value(1.0), leak, 1.0),
    "take": lambda leak: mgx.take([1.0, 2.0], leak),
    "data of a list": lambda leak: mgx.data([leak]),
    "grads of a list": lambda leak: mgx.grads([leak]),
    "assign": lambda leak: mgx.assign([leak], [1.0]),
    "operation of one's own": lambda leak: Value(1.0, (leak,)),
    "argument": lambda leak: mgx.compile(square)(leak),
    "argument of a traced function": lambda leak: TRACED(leak),
    "shared argument": lambda leak: mgx.compile(polynomial).sum(np.ones(2), leak),
    "captured": lambda leak: mgx.compile(lambda x: x * leak)(1.0),
    "result": lambda leak: mgx.compile(lambda x: leak)(1.0),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("kind", ["input", "computed", "taken"])
def test_values_that_leak_out_of_a_trace(use: Callable[[Any], Any], kind: str) -> None:
    kept: list[Any] = []
    w = Value(1.0)

    def function(x: Any) -> Any:
        kept.append(
            {"input": lambda: x, "computed": lambda: x * w, "taken": lambda: mgx.take([w, w], x)}[
                kind
            ]()
        )
        return x + w

    assert mgx.compile(function)(1.0).data == 2.0
    (leak,) = kept
    with pytest.raises(TraceError):
        use(leak)


def test_leaks_of_a_trace_that_failed() -> None:
    kept: list[Any] = []

    def function(x: Any) -> Any:
        kept.append((x * 2.0).exp())
        raise KeyError("on purpose")

    with pytest.raises(KeyError, match="on purpose"):
        mgx.compile(function)(1.0)
    with pytest.raises(TraceError):
        _ = kept[0].data


def test_what_a_trace_takes_by_a_captured_index_does_not_leak() -> None:
    kept: list[Any] = []
    index, table = Value(1.0), [Value(5.0), Value(6.0)]
    compiled = mgx.compile(lambda x: keep(kept, mgx.take(table, index), x))
    compiled(2.0)
    with pytest.raises(TraceError):
        _ = kept[0].data


def test_what_does_not_depend_on_the_arguments_may_leave_a_trace() -> None:
    kept: list[Any] = []
    w = Value(2.0)
    mgx.compile(lambda x: keep(kept, w * w, x))(1.0)
    (outside,) = kept
    outside.backward()
    assert (outside.data, w.grad) == (4.0, 4.0)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit, RecursionError])
@pytest.mark.usefixtures("nodes_return_to_the_baseline")
def test_exceptions_in_the_middle_of_a_trace(error: type[BaseException]) -> None:
    w = Value(2.0)
    is_failing = True

    def function(x: Any) -> Any:
        y = x * w
        if is_failing:
            raise error
        return y.tanh()

    compiled = mgx.compile(function)
    for method in (compiled, compiled.sum, compiled.map, compiled.value_and_grad):
        with pytest.raises(error):
            method([1.0] if method in (compiled.sum, compiled.map) else 1.0)
        assert not _core.is_tracing()
        assert (w * 3.0).data == 6.0
        assert w < 3
    assert len(compiled.programs) == 0
    is_failing = False
    assert compiled(0.5).data == math.tanh(1.0)


def test_an_exception_in_a_function_inside_of_another() -> None:
    def fail(x: Any) -> Any:
        raise KeyError("inside")

    outer = mgx.compile(lambda x: mgx.compile(fail)(x) + x)
    with pytest.raises(KeyError, match="inside"):
        outer(1.0)
    assert not _core.is_tracing()


def test_a_function_that_recovers_from_a_refusal() -> None:
    def function(x: Any) -> Any:
        try:
            return x if x.data > 0 else -x
        except TraceError:
            return mgx.maximum(x, -x)

    compiled = mgx.compile(function)
    assert compiled.map([-2.0, 3.0]).tolist() == [2.0, 3.0]


def test_traces_of_several_threads_take_turns() -> None:
    w = Value(2.0)
    results: dict[int, float] = {}

    def work(number: int) -> None:
        def function(x: Any) -> Any:
            total = x * w
            for i in range(100):
                total = total + float(i) * w
                if i % 20 == 0:
                    time.sleep(0.001)
            return total

        results[number] = mgx.compile(function)(float(number)).data

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: 2.0 * number + 2 * 4950 for number in range(8)}


def test_threads_that_share_a_function_of_many_structures() -> None:
    compiled = mgx.compile(cache_size=2)(total)
    wrong: list[Any] = []
    is_over = threading.Event()

    def work(number: int) -> None:
        try:
            while not is_over.is_set():
                if compiled(np.ones(number)).data != number * (number + 1) / 2:
                    wrong.append(number)
                if number == 5:
                    compiled.retrace()
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 6)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for thread in threads:
                thread.start()
            time.sleep(1.0)
            is_over.set()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


# Programs -----------------------------------------------------------------------------------------


def test_the_listing_of_a_program() -> None:
    w, b = Value(2.0), Value(1.0)
    compiled = mgx.compile(lambda x: (w * x[0] + b * x[1] + b).tanh() * 3.0)
    compiled([1.0, 2.0])
    text = str(compiled.program)
    assert "inputs %0..%1" in text
    assert "captured %2..%3" in text
    assert "tanh" in text
    assert "3" in text
    assert text.splitlines()[-1].startswith("return %")


def statistics(compiled: Any) -> dict[str, dict[str, Any]]:
    return {row["pass"]: row for row in compiled.program.stats}


def test_statistics_count_nodes() -> None:
    compiled = mgx.compile(lambda x: ((x * x + 1.0) * (x * x)).relu() + 0 * 5.0)
    x = Value(1.0)
    compiled(x)
    rows = compiled.program.stats
    assert rows[0]["pass"] == "trace"
    assert rows[0]["nodes"] == 7 - 1  # 0 * 5.0 is Python's
    assert rows[-1]["nodes"] < rows[0]["nodes"]
    assert all(row["instructions"] >= 0 for row in rows)


def test_constants_are_folded() -> None:
    compiled = mgx.compile(lambda x: x * (Value(2.0) * 3.0 + 1.0).exp())
    compiled(1.0)
    assert "exp" not in str(compiled.program)
    assert compiled(1.0).data == math.exp(7.0)


def test_common_subexpressions_are_computed_once() -> None:
    compiled = mgx.compile(lambda x: (x.exp() + 1.0) * (x.exp() + 1.0))
    compiled(1.0)
    assert str(compiled.program).count("exp") == 1
    assert compiled.value_and_grad(0.0) == (4.0, 4.0)


def test_dead_code_goes() -> None:
    compiled = mgx.compile(lambda x: ((x * 3.0).exp(), x.sin())[1])
    compiled(1.0)
    assert "exp" not in str(compiled.program)


def test_loops_become_affine() -> None:
    weights = [[Value(float(i - j)) for i in range(3)] for j in range(4)]
    biases = [Value(0.5) for _ in range(4)]

    @mgx.compile
    def layer(x: Any) -> Any:
        rows = []
        for row, bias in zip(weights, biases, strict=True):
            total = bias
            for w, number in zip(row, x, strict=True):
                total = total + w * number
            rows.append(total.tanh())
        return rows

    layer(np.ones(3))
    text = str(layer.program)
    assert "affine(4 x 3)" in text
    assert "then tanh" in text
    assert "add" not in text


def test_threads() -> None:
    assert mgx.get_num_threads() == 1
    for wrong in (0, -1):
        with pytest.raises((ValueError, TypeError)):
            mgx.set_num_threads(wrong)
    try:
        mgx.set_num_threads(3)
        assert mgx.get_num_threads() == 3
    finally:
        mgx.set_num_threads(1)


# Pickles ------------------------------------------------------------------------------------------


def every_kind_of_instruction(w: Any, table: Any) -> Callable[..., Any]:
    layer: Any = Layer(2, 3)

    def function(x: Any, i: Any) -> Any:
        hidden = [neuron.tanh() for neuron in layer(x)]
        chosen = mgx.take(table, i) * mgx.take([x[0], x[1], hidden[0]], i)
        dot = x[0] * x[1] + hidden[1] * x[0] + hidden[2]
        return mgx.sum([chosen, dot, mgx.maximum(x[0], w) ** 3, 2.5, (x[1] * w).exp()])

    return function


def test_a_pickled_function_computes_the_same() -> None:
    w, table = Value(0.5), [Value(float(i)) for i in range(3)]
    compiled = mgx.compile(every_kind_of_instruction(w, table))
    X, indices = np.sin(np.arange(40.0)).reshape(20, 2), np.arange(20) % 3
    compiled(X[0], 1)
    expected = compiled.map(X, indices)
    gradients = compiled.map_value_and_grad(X, indices)[1]
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        twin = pickle.loads(pickle.dumps(compiled, protocol))
        assert repr(twin) == repr(compiled)
        assert twin.map(X, indices).tolist() == expected.tolist()
        again = twin.map_value_and_grad(X, indices)[1]
        assert [part.tolist() for part in again] == [part.tolist() for part in gradients]
        assert str(twin.program) == str(compiled.program)
    w.data = 5.0
    assert twin.map(X, indices).tolist() == expected.tolist()  # has parameters of its own


def test_parameters_stay_those_of_the_model_that_is_pickled_along() -> None:
    model: Any = MLP(2, [3, 1])
    compiled = mgx.compile(lambda x: model(x))
    compiled([1.0, 2.0])
    twin_model, twin = pickle.loads(pickle.dumps((model, compiled)))
    assert set(twin.program.captured) == set(twin_model.parameters())
    assert not set(twin_model.parameters()) & set(model.parameters())
    twin([1.0, 2.0]).backward()
    assert any(parameter.grad != 0 for parameter in twin_model.parameters())
    assert all(parameter.grad == 0 for parameter in model.parameters())
    for parameter in twin_model.parameters():
        parameter.data = 0.0
    assert twin([1.0, 2.0]).data == 0.0


def test_a_captured_interior_node_is_pickled_as_a_number() -> None:
    w = Value(2.0)
    hidden = w * w
    compiled = mgx.compile(lambda x: hidden * x)
    compiled(1.0)
    twin = pickle.loads(pickle.dumps(compiled))
    assert twin(3.0).data == 12.0
    assert [value._prev for value in twin.program.captured] == [set()]


def test_an_unpickled_function_knows_only_what_was_recorded() -> None:
    compiled = mgx.compile(static_argnames="n")(lambda x, n=2: x * n)
    compiled(2.0)
    other = mgx.compile(square)
    other(2.0)
    twin = pickle.loads(pickle.dumps(other))
    assert twin(5.0).data == 25.0
    with pytest.raises(TraceError, match="has been unpickled"):
        twin([5.0])
    with pytest.raises(TraceError, match="has been unpickled"):
        twin(x=5.0)
    with pytest.raises(TraceError, match="has been unpickled"):
        pickle.loads(pickle.dumps(compiled))(5.0, n=3)
    twin_of_twin = pickle.loads(pickle.dumps(twin))
    assert twin_of_twin(5.0).data == 25.0
    assert copy.deepcopy(other)(5.0).data == 25.0


def test_an_unpickled_function_takes_keywords_and_static_arguments() -> None:
    no_picklable_default = lambda: 2  # noqa: E731

    @mgx.compile(static_argnames=("n", "kind"))
    def power(x: Any, n: Any = no_picklable_default, *, shift: Any = 0.0, kind: Any = None) -> Any:
        return (x + shift) ** (n if isinstance(n, int) else 2) * (3 if kind == "thrice" else 1)

    calls: list[tuple[Any, dict[str, Any]]] = [
        ((2.0,), {}),
        ((2.0,), {"n": 3}),
        ((2.0, 4), {"shift": 1.0}),
        ((), {"x": 2.0, "kind": "thrice"}),
    ]
    expected = [power(*args, **kwargs).data for args, kwargs in calls]
    X = np.arange(1.0, 5.0)
    assert power.map(X, n=3).tolist() == (X**3).tolist()
    twin = pickle.loads(pickle.dumps(power))
    for _ in range(2):
        assert [twin(*args, **kwargs).data for args, kwargs in calls] == expected
        assert twin.map(X, n=3).tolist() == (X**3).tolist()
        twin = pickle.loads(pickle.dumps(twin))
    with pytest.raises(TypeError, match="unexpected keyword argument 'power'"):
        twin(2.0, power=3)
    with pytest.raises(TraceError, match="has been unpickled"):
        twin(2.0, 5)


def test_an_unpickled_program_knows_its_statistics() -> None:
    compiled = mgx.compile(lambda x: x * x + x * x)
    compiled(2.0)
    twin = pickle.loads(pickle.dumps(compiled))
    assert twin.program.stats == compiled.program.stats
    assert [row["nodes"] for row in twin.program.stats[:3]] == [3, 3, 2]


def test_a_spawned_process_computes_the_same() -> None:
    model: Any = MLP(2, [3, 1])
    compiled = mgx.compile(lambda x: model(x).tanh())
    X = np.sin(np.arange(20.0)).reshape(10, 2)
    expected = compiled.map(X)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(compiled.map, (X,)).tolist() == expected.tolist()
        assert pool.apply(_data_of, (compiled, X[0])) == compiled(X[0]).data


def _data_of(compiled: Any, x: Any) -> float:
    data: float = compiled(x).data
    return data


def test_a_forked_process_has_threads_of_its_own(run_python: Callable[..., str]) -> None:
    printed = run_python("""
        import os, sys
        import numpy as np
        import microgradx
        compiled = microgradx.compile(lambda x: x.exp() * x)
        X = np.linspace(-1.0, 1.0, 100_000)
        microgradx.set_num_threads(2)
        expected = compiled.map(X)
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            ok = compiled.map(X).tobytes() == expected.tobytes()
            os._exit(0 if ok else 1)
        print(os.waitpid(process, 0)[1], compiled.map(X).tobytes() == expected.tobytes())
    """)
    assert printed.split() == ["0", "True"]


def test_damaged_pickles_do_no_harm(run_python: Callable[..., str]) -> None:
    printed = run_python("""
        import random
        import numpy as np
        import microgradx
        from microgradx import Value, nn
        layer, table = nn.Layer(2, 3), [Value(float(i)) for i in range(3)]
        def function(x, i):
            hidden = [neuron.tanh() for neuron in layer(x)]
            return microgradx.sum([microgradx.take(table, i), hidden[0] * x[1] + hidden[1] ** 2])
        compiled = microgradx.compile(function)
        compiled([1.0, 2.0], 1)
        state = compiled.program.__reduce__()[1][0]
        generator = random.Random(0)

        def damaged(part):
            if generator.random() < 0.05:
                return generator.choice([None, -1, 2**70, "a", (), [1], [(1, 2)], np.ones(2)])
            if isinstance(part, (list, tuple)) and part and generator.random() < 0.8:
                parts = list(part)
                place = generator.randrange(len(parts))
                parts[place] = damaged(parts[place])
                return type(part)(parts)
            if isinstance(part, (list, tuple)):
                return part[:generator.randrange(len(part) + 1)]
            if not isinstance(part, np.ndarray):
                return generator.choice([0, 1, 2, 4, 5, 100, 2**32 - 1])
            part = part.copy()
            if generator.random() < 0.2:
                return part[:generator.randrange(len(part) + 1)]
            if generator.random() < 0.1:
                return part.reshape(1, -1)
            if len(part):
                largest = 1e300 if part.dtype.kind == "f" else np.iinfo(part.dtype).max
                numbers = [*range(20), 40, 200, 255, largest]
                part[generator.randrange(len(part))] = generator.choice(numbers)
            return part

        restore, refused, restored = microgradx._core.restore_program, 0, 0
        for _ in range(4000):
            parts = list(state)
            for _ in range(generator.choice([1, 1, 2, 3])):
                place = generator.randrange(1, len(state))
                parts[place] = damaged(parts[place])
            try:
                program = restore(tuple(parts))
            except ValueError:
                refused += 1
                continue
            restored += 1
            try:
                str(program), program.stats, program.captured
                batch = ([np.ones(4), np.ones(4)], np.ones(4))
                program.call(([1.0, 2.0], 1.0))
                program.map_value_and_grad(batch)
                program.sum(batch)
            except (ArithmeticError, IndexError, TypeError, ValueError):
                pass
        print(refused, restored)
    """)
    refused, restored = map(int, printed.split())
    assert refused > 500
    assert restored > 500


def pickled_state(compiled: Any) -> list[Any]:
    return list(compiled.program.__reduce__()[1][0])


@pytest.mark.parametrize(
    ("activation", "is_sound"),
    [
        *((activation, True) for activation in (Value.relu, Value.tanh, Value.sigmoid, Value.exp)),
        *((activation, False) for activation in (Value.sqrt, Value.log, Value.sin, Value.abs)),
        (lambda x: x**3, False),
    ],
)
def test_a_pickled_layer_has_an_activation_that_layers_may_have(
    activation: Callable[[Value], Value], is_sound: bool
) -> None:
    other = mgx.compile(activation)
    other(1.0)
    layer = Layer(2, 2)
    compiled = mgx.compile(lambda x: mgx.sum(layer(x)))
    compiled([1.0, 2.0])
    assert "then relu" in str(compiled.program)
    state = pickled_state(compiled)
    lines = str(compiled.program).splitlines()[2:]
    [place] = [place for place, line in enumerate(lines) if "affine" in line]
    state[5] = state[5].copy()
    state[5][place] = pickled_state(other)[5][-1]
    if is_sound:
        _core.restore_program(tuple(state)).map((np.ones((3, 2)),))
    else:
        with pytest.raises(ValueError, match="damaged"):
            _core.restore_program(tuple(state))


def test_a_pickle_with_more_inputs_than_numbers_can_name_is_refused() -> None:
    captured = [Value(1.0) for _ in range(8)]
    compiled = mgx.compile(lambda x: sum(captured, Value(0.0)) * x)
    compiled(1.0)
    state = pickled_state(compiled)
    state[2] = 0xFFFFFFFF
    state[10], state[12] = state[10] * 0, state[12] * 0
    with pytest.raises(ValueError, match="damaged"):
        _core.restore_program(tuple(state))


@pytest.mark.parametrize("ranges", [[(0, 4)], [(7, 4)], [(0, 0xFFFFFFFF), (0xFFFFFFFF, 5)]])
def test_weights_of_a_pickled_layer_are_captured_or_constant(
    ranges: list[tuple[int, int]],
) -> None:
    layer = Layer(2, 2)
    compiled = mgx.compile(lambda x: mgx.sum(layer(x)))
    compiled([1.0, 2.0])
    state = pickled_state(compiled)
    [(_, biases)] = state[11]
    state[11] = [(tuple(np.array(ranges, np.uint32).T.copy()), biases)]
    with pytest.raises(ValueError, match="damaged"):
        _core.restore_program(tuple(state))


def test_a_program_with_several_outputs_has_no_sum() -> None:
    compiled = mgx.compile(lambda x: [x[0] * 2, x[1] * 3])
    compiled(np.ones(2))
    for name in ("sum", "mean", "map_value_and_grad"):
        with pytest.raises(TypeError, match="has 2 outputs, but this is of programs with one"):
            getattr(compiled.program, name)((np.ones((5, 2)),))


def test_retracing_in_the_middle_of_a_trace() -> None:
    weights = [Value(2.0), Value(5.0)]

    def function(x: Value) -> Value:
        result = x * weights[0]
        if len(weights) > 1:
            del weights[0]
            compiled.retrace()
        return result

    compiled = mgx.compile(function)
    compiled(1.0)
    assert compiled(1.0).data == 5.0


@pytest.mark.parametrize("depth", [0, 3])
@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize("width", [1, 40])
def test_the_first_error_in_the_functions_own_order_is_raised(
    depth: int, is_first: bool, width: int
) -> None:
    def quotient(y: Any) -> Any:
        for _ in range(depth):
            y = y * 2.0
        return y**-1

    def function(x: Any, y: Any) -> Any:
        if is_first:
            results = [quotient(y + i) for i in range(width)] + [
                (x + i).log() for i in range(width)
            ]
        else:
            results = [(x + i).log() for i in range(width)] + [
                quotient(y + i) for i in range(width)
            ]
        return mgx.sum(results)

    compiled = mgx.compile(function)
    assert compiled(1.0, 1.0).data == pytest.approx(function(Value(1.0), Value(1.0)).data)
    with pytest.raises(ZeroDivisionError if is_first else ValueError):
        function(Value(-1.0), Value(0.0))
    with pytest.raises(ZeroDivisionError if is_first else ValueError):
        compiled(-1.0, 0.0)
    assert compiled(1.0, 1.0).data == pytest.approx(function(Value(1.0), Value(1.0)).data)


# Large programs, long calls, memory ---------------------------------------------------------------


def test_a_program_of_a_million_nodes() -> None:
    w, b = Value(1.0 - 2.0**-20), Value(2.0**-10)

    def chain(x: Any) -> Any:
        for _ in range(500_000):
            x = w * x + b
        return x

    compiled = mgx.compile(chain)
    x = Value(3.0)
    expected = chain(x)
    expected.backward()
    gradients = [x.grad, w.grad, b.grad]
    for value in (x, w, b):
        value.grad = 0
    result = compiled(x)
    result.backward()
    assert result.data == expected.data
    assert [x.grad, w.grad, b.grad] == pytest.approx(gradients, rel=1e-9)
    assert compiled.program.stats[0]["nodes"] == 1_000_000
    assert compiled.map([3.0]).tolist() == [expected.data]
    values, by_x = compiled.map_value_and_grad(np.array([3.0]))
    assert (values.item(), by_x.item()) == pytest.approx((expected.data, gradients[0]), rel=1e-9)


def test_a_sum_of_a_million_nodes() -> None:
    w = [Value(float(i % 7) - 3.0) for i in range(1000)]

    def product(x: Any) -> Any:
        total = Value(0.0)
        for i in range(500_000):
            total = total + w[i % 1000] * x[i % 999]
        return total

    compiled = mgx.compile(product)
    x = np.arange(999.0) % 5
    expected = float(sum((i % 1000 % 7 - 3.0) * (i % 999 % 5) for i in range(500_000)))
    assert compiled(x).data == expected
    result = compiled.sum(np.stack([x, x]))
    result.backward()
    assert result.data == 2 * expected
    assert w[1].grad == 2.0 * sum(i % 999 % 5 for i in range(1, 500_000, 1000))


@contextlib.contextmanager
def interrupted_soon() -> Iterator[None]:
    """Check that Ctrl-C, pressed after a moment, ends the block at once."""
    previous = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            yield
        assert time.monotonic() - start < 1.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("method", ["map", "sum", "map_value_and_grad"])
def test_ctrl_c_during_a_long_batch(threads: int, method: str) -> None:
    w = Value(0.5)

    def function(x: Any) -> Any:
        for _ in range(500):
            x = (x * w).sin() + x.cos()
        return x

    compiled = mgx.compile(function)
    few, many = np.linspace(0.0, 1.0, 3), np.linspace(0.0, 1.0, 400_000)
    expected = compiled.map(few).tolist()
    mgx.set_num_threads(threads)
    try:
        with interrupted_soon():
            getattr(compiled, method)(many)
    finally:
        mgx.set_num_threads(1)
    assert compiled.map(few).tolist() == expected
    compiled.sum(few).backward()
    assert w.grad != 0


@pytest.mark.parametrize("method", ["__call__", "value_and_grad"])
def test_ctrl_c_during_the_gradients_of_many_results(method: str) -> None:
    w = Value(0.5)

    def function(x: Any) -> Any:
        results = []
        for _ in range(2500):
            for _ in range(40):
                x = (x * w).sin()
            results.append(x)
        return results

    compiled = mgx.compile(function)
    compiled.map([1.0])
    with interrupted_soon():
        getattr(compiled, method)(1.0)
    assert compiled.map([1.0]).shape == (1, 2500)


def test_signal_handlers_may_call_compiled_functions() -> None:
    compiled = mgx.compile(lambda x: sum((x * float(i)).sin() for i in range(1, 100)))
    many = np.linspace(0.0, 1.0, 200_000)
    expected = compiled.map(many[:50_000])
    found = []
    previous = signal.signal(
        signal.SIGALRM, lambda *_: found.append(compiled.map(many[:50_000]).tolist())
    )
    mgx.set_num_threads(2)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        whole = compiled.map(many)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
        mgx.set_num_threads(1)
    assert whole[:50_000].tolist() == expected.tolist()
    assert found == [expected.tolist()]


def test_other_threads_run_during_a_long_call() -> None:
    compiled = mgx.compile(lambda x: sum((x * float(i)).sin() for i in range(1, 200)))
    many = np.linspace(0.0, 1.0, 100_000)
    compiled.map(many[:1])
    is_over = threading.Event()
    ticks = collections.Counter[str]()

    def tick() -> None:
        while not is_over.is_set():
            ticks["in all"] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    before = ticks["in all"]
    compiled.map(many)
    during = ticks["in all"] - before
    is_over.set()
    thread.join()
    assert during >= 5


def test_thousands_of_calls_leave_nothing_behind() -> None:
    model: Any = MLP(2, [3, 1])
    loss = mgx.compile(lambda x, y: (model(x) - y) ** 2)
    pair = mgx.compile(lambda x: (x[0] * x[1], mgx.take(model.parameters(), x[0])))
    shared = Value(0.5)
    X, y = np.ones((5, 2)), np.ones(5)

    def calls() -> None:
        for _ in range(500):
            loss(X[0], shared).backward()
            (loss.mean(X, y) * loss.sum(X, shared)).backward()
            loss.map(X, y)
            loss.value_and_grad(X[0], 1.0)
            loss.map_value_and_grad(X, y)
            pair(X[0])[1].backward()
            for wrong in (np.ones(3), np.ones((5, 2, 1))):
                with pytest.raises((TypeError, ValueError, AttributeError)):
                    loss.sum(wrong, y)

    calls()
    gc.collect()
    before = _core.arena_counters()
    calls()
    gc.collect()
    assert _core.arena_counters() == before


def test_thousands_of_traces_leave_nothing_behind() -> None:
    model: Any = MLP(2, [3, 1])
    compiled = mgx.compile(lambda x: model(x).tanh() + mgx.take(model.parameters(), x[0]) * 2.0)

    def traces() -> None:
        for _ in range(300):
            compiled.retrace()
            compiled([1.0, 2.0]).backward()
            with pytest.raises(TraceError):
                mgx.compile(lambda x: (model(x) * 3.0).data)([1.0, 2.0])

    traces()
    gc.collect()
    before = _core.arena_counters()
    traces()
    gc.collect()
    assert _core.arena_counters() == before


@pytest.mark.usefixtures("nodes_return_to_the_baseline")
def test_all_nodes_die_with_the_function() -> None:
    def make() -> Any:
        model: Any = MLP(2, [3, 1])
        return mgx.compile(lambda x: model(x).tanh())

    compiled = make()
    compiled([1.0, 2.0]).backward()
    compiled.mean(np.ones((3, 2))).backward()
    kept = compiled([Value(1.0), 2.0])
    del compiled
    kept.backward()
