"""Ints stay ints where Python's arithmetic keeps them so, up to what a float holds exactly."""

import math
import operator
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from conftest import MICROGRAD, MICROGRADX
from hypothesis import strategies as st
from microgradx import Value

LARGEST = 2**53

EXPRESSIONS = (
    *("a + b", "a * b", "a - b", "a / b", "-a", "a + 2", "2 + a", "a + 2.0", "2.0 * a", "3 * a"),
    *("a - 1", "1 - a", "1.0 - a", "a / 2", "2 / a", "a * 0", "a * 0.0", "0 * a", "a + 0"),
    *("a**0", "a**0.0", "a**1", "a**2", "a**3", "a**-1", "a**-2", "a**2.0", "a**1.0"),
    *("a.relu()", "(-a).relu()", "sum([a, b])", "sum([a, b], 1.5)", "(a * b + a)**2"),
)


@pytest.mark.parametrize(("a", "b"), [(2, 3), (-2, 3), (2.0, 3), (2, -0.5), (2.0, 3.0)])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_numbers_are_of_micrograds_types(expression: str, a: float, b: float) -> None:
    shown = []
    for engine in (MICROGRAD, MICROGRADX):
        names = {"a": engine.Value(a), "b": engine.Value(b)}
        root = eval(expression, names)
        root.backward()
        operands = sorted(repr((node._op, node.data, node.grad)) for node in root._prev)
        shown.append([repr(root), repr(names["a"].grad), repr(names["b"].grad), operands])
    assert shown[1] == shown[0]


@pytest.mark.parametrize("expression", ["a * 2", "a.relu()", "a + 1.5", "a**2"])
def test_zero_and_its_sign(expression: str) -> None:
    for zero in (0, 0.0, -0.0):
        results = [repr(eval(expression, {"a": e.Value(zero)})) for e in (MICROGRAD, MICROGRADX)]
        assert results[1] == results[0]


def test_a_bool_is_an_int() -> None:
    assert repr(Value(True)) == "Value(data=1, grad=0)"
    assert repr(Value(3) * False) == "Value(data=0, grad=0)"


def test_assigned_ints_and_floats() -> None:
    value = Value(1.5)
    value.data, value.grad = 2, 3
    assert repr(value) == "Value(data=2, grad=3)"
    assert repr(value * 2) == "Value(data=4, grad=0)"
    value.data, value.grad = 2.0, 3.0
    assert repr(value) == "Value(data=2.0, grad=3.0)"


def test_ints_reach_the_gradients() -> None:
    a = Value(3)
    root = a * a + 2 * a
    root.backward()
    assert (repr(a.grad), repr(root.grad)) == ("8", "1")
    b = Value(3)
    (0.5 * (b * b)).backward()
    assert repr(b.grad) == "3.0"


@pytest.mark.parametrize("name", ["tanh", "exp", "log", "sigmoid", "sqrt", "sin", "cos", "erf"])
def test_transcendental_functions_give_floats(name: str) -> None:
    assert type(getattr(Value(1), name)().data) is float


def test_absolute_value_of_an_int_is_an_int() -> None:
    a = Value(-3)
    magnitude = abs(a)
    magnitude.backward()
    assert repr((magnitude.data, a.grad)) == "(3, -1)"


near_the_limit = st.integers(-3, 3) | st.integers(-30, 30).map(lambda i: LARGEST + i)
signed = st.tuples(st.sampled_from([-1, 1]), near_the_limit).map(math.prod)


@hypothesis.given(signed)
def test_an_int_that_a_float_may_not_hold_becomes_a_float(number: int) -> None:
    assert_exact_or_float(Value(number).data, number)


@hypothesis.given(signed, signed)
@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul])
def test_a_result_that_a_float_may_not_hold_becomes_a_float(
    operation: Callable[[Any, Any], Any], left: int, right: int
) -> None:
    result = operation(Value(left), Value(right)).data
    if max(abs(left), abs(right)) >= LARGEST:
        # An operand, or the -right of left - right, may be a float.
        assert isinstance(result, float) or result == operation(left, right)
    else:
        assert_exact_or_float(result, operation(left, right))


@pytest.mark.parametrize(
    ("base", "exponent"), [(2, 52), (2, 54), (3, 33), (3, 34), (-7, 19), (7, 20)]
)
def test_a_power_that_a_float_may_not_hold_becomes_a_float(base: int, exponent: int) -> None:
    assert_exact_or_float((Value(base) ** exponent).data, base**exponent)


def assert_exact_or_float(actual: float, exact: int) -> None:
    """Check that what is shown as an int is that int, and that small ints are shown as such."""
    if isinstance(actual, int):
        assert actual == exact
    else:
        # Operands may have been rounded before.
        assert math.isclose(actual, exact, rel_tol=1e-15, abs_tol=64)
        assert abs(exact) >= LARGEST - 64


def test_ints_do_not_wrap_around() -> None:
    assert (Value(2**52) * 2**52).data == float(2**104)
    assert Value(10**300).data == 1e300
