"""Choices between Values, made eagerly: maximum, minimum, where, greater, less and take."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import hypothesis
import microgradx as mgx
import numpy as np
import pytest
from hypothesis import strategies as st
from microgradx import Value, _core

NUMBERS = (-math.inf, -1e308, -2.5, -5e-324, -0.0, 0.0, 5e-324, 0.5, 3.0, math.inf, math.nan)
PAIRS = [(x, y) for x in NUMBERS for y in NUMBERS]

NUMPY: dict[str, Callable[[float, float], Any]] = {
    "maximum": np.maximum,
    "minimum": np.minimum,
    "greater": np.greater,
    "less": np.less,
}
every_choice = pytest.mark.parametrize("name", NUMPY)


def choose(name: str, x: Any, y: Any) -> Value:
    choice: Value = getattr(mgx, name)(x, y)
    return choice


def gradients(name: str, x: float, y: float, seed: float = 1.0) -> tuple[float, float]:
    left, right = Value(x), Value(y)
    (choose(name, left, right) * seed).backward()
    return left.grad, right.grad


def where(condition: float, x: float, y: float) -> tuple[float, ...]:
    """Choose by a Value; return the data and the gradients."""
    operands = Value(condition), Value(x), Value(y)
    chosen = mgx.where(*operands)
    chosen.backward()
    return chosen.data, *(operand.grad for operand in operands)


@every_choice
@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_values_are_numpys(name: str, x: float, y: float) -> None:
    expected = float(NUMPY[name](x, y))
    for choice in (
        choose(name, Value(x), Value(y)),
        choose(name, Value(x), y),
        choose(name, x, Value(y)),
        choose(name, x, y),
    ):
        assert isinstance(choice, Value)
        assert choice.data == expected or (math.isnan(choice.data) and math.isnan(expected))


@every_choice
@hypothesis.given(st.floats(), st.floats())
def test_values_of_any_numbers_are_numpys(name: str, x: float, y: float) -> None:
    np.testing.assert_equal(float(choose(name, x, y).data), float(NUMPY[name](x, y)))


@pytest.mark.parametrize(
    ("name", "x", "y", "expected"),
    [
        ("maximum", 2, 3, "3"),
        ("maximum", 2, 1.0, "2"),
        ("maximum", 2, 3.0, "3.0"),
        ("minimum", 2, 3, "2"),
        ("minimum", True, 3.5, "1"),
        ("greater", 2.5, 2, "1"),
        ("less", 2.5, 2, "0"),
        ("maximum", Fraction(1, 2), np.float32(0.25), "0.5"),
    ],
)
def test_ints_stay_ints(name: str, x: Any, y: Any, expected: str) -> None:
    assert repr(choose(name, x, y).data) == expected


@every_choice
@pytest.mark.parametrize(("x", "y"), [(1.0, 2.0), (2.0, -1.0), (-3.0, -0.5), (0.0, 1e-3)])
def test_gradients_against_finite_differences(name: str, x: float, y: float) -> None:
    step, function = 1e-6, NUMPY[name]
    assert gradients(name, x, y) == pytest.approx(
        (
            (float(function(x + step, y)) - float(function(x - step, y))) / (2 * step),
            (float(function(x, y + step)) - float(function(x, y - step))) / (2 * step),
        ),
        abs=1e-9,
    )


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize("x", [0.0, -2.0, 1e300, math.inf])
def test_equal_operands_share_the_gradient(name: str, x: float) -> None:
    assert gradients(name, x, x, seed=3.0) == (1.5, 1.5)
    assert gradients(name, -0.0, 0.0, seed=3.0) == (1.5, 1.5)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_one_operand_on_both_sides_gets_all(name: str) -> None:
    x = Value(-1.5)
    choice = choose(name, x, x)
    choice.backward()
    assert (choice.data, choice._prev, x.grad) == (-1.5, {x}, 1.0)


@every_choice
def test_comparisons_of_equal_operands_have_no_gradient(name: str) -> None:
    if name in ("greater", "less"):
        assert gradients(name, 2.0, 2.0) == (0.0, 0.0)
        assert choose(name, 2.0, 2.0).data == 0


@every_choice
@pytest.mark.parametrize(("x", "y"), [(math.nan, 1.0), (1.0, math.nan), (math.nan, math.nan)])
def test_nan_gets_no_part_of_a_gradient_by_a_tie(name: str, x: float, y: float) -> None:
    assert gradients(name, x, y) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize(("x", "y"), [(1.0, 2.0), (2.0, -1.0), (0.5, 0.5), (-math.inf, math.inf)])
def test_gradients_against_torch(name: str, x: float, y: float) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    operands = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in (x, y)]
    (getattr(torch, name)(*operands) * 3.0).backward()
    assert gradients(name, x, y, seed=3.0) == tuple(it.grad.item() for it in operands)


@pytest.mark.parametrize(
    ("name", "label"), [("maximum", "max"), ("minimum", "min"), ("greater", ">"), ("less", "<")]
)
def test_the_graph_shows_the_choice(name: str, label: str) -> None:
    x, y = Value(1.0), Value(2.0)
    choice = choose(name, x, y)
    assert (choice._op, choice._prev) == (label, {x, y})


@pytest.mark.parametrize("condition", [1.0, -1.0, 5e-324, math.inf, math.nan])
def test_where_a_condition_holds(condition: float) -> None:
    assert where(condition, 2.0, 3.0) == (2.0, 0.0, 1.0, 0.0)


@pytest.mark.parametrize("condition", [0.0, -0.0])
def test_where_a_condition_does_not_hold(condition: float) -> None:
    assert where(condition, 2.0, 3.0) == (3.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("x", NUMBERS)
@pytest.mark.parametrize("other", NUMBERS)
def test_what_is_not_chosen_leaves_no_trace(x: float, other: float) -> None:
    assert repr(where(1.0, x, other)[0]) == repr(x)
    assert repr(where(0.0, other, x)[0]) == repr(x)
    assert where(1.0, x, other)[1:] == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("condition", [True, 1, 2.0, np.bool_(True), np.float64(0.5)])
def test_where_with_a_plain_condition(condition: Any) -> None:
    x, y = Value(2.0), Value(3.0)
    assert mgx.where(condition, x, y) is x
    assert mgx.where(not condition, x, y) is y
    assert mgx.where(condition, 5, y).data == 5


def test_where_by_a_comparison_against_torch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for a, b in ((1.0, 2.0), (2.0, 1.0), (1.5, 1.5)):
        values = Value(a), Value(b)
        mgx.where(
            mgx.greater(*values), values[0] * values[1], values[0] ** 2 - values[1]
        ).backward()
        s, t = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (a, b))
        torch.where(s > t, s * t, s**2 - t).backward()
        assert [value.grad for value in values] == [s.grad.item(), t.grad.item()]


def test_where_computes_both_sides() -> None:
    x = Value(-1.0)
    with pytest.raises(ValueError, match="log"):
        mgx.where(mgx.greater(x, 0.0), x.log(), 0.0)


def test_choices_among_choices_of_clipped_numbers() -> None:
    for x in np.linspace(-2.0, 2.0, 9):
        value = Value(x)
        clipped = mgx.minimum(mgx.maximum(value, -1.0), 1.0)
        clipped.backward()
        assert clipped.data == np.clip(x, -1.0, 1.0)
        assert value.grad == (0.5 if abs(x) == 1.0 else float(abs(x) < 1.0))


def test_the_two_halves_of_where() -> None:
    """The rows of the table of operations that `where` is the sum of."""
    for condition in (0.0, -0.0, 2.0, math.nan):
        for number in NUMBERS:
            kept = _core.if_true(Value(condition), Value(number)).data
            other = _core.if_false(Value(condition), Value(number)).data
            expected = (number, -0.0) if condition != 0 else (-0.0, number)
            assert repr((float(kept), float(other))) == repr(expected)


def test_take_gives_the_entry_itself() -> None:
    table = [Value(float(i)) for i in range(4)]
    for index in (2, 2.0, np.int64(2), np.float32(2.0), Value(2), Value(2.0)):
        assert mgx.take(table, index) is table[2]
    assert mgx.take(tuple(table), 0) is table[0]
    rows = [table[:2], table[2:]]
    assert mgx.take(rows, Value(1.0)) is rows[1]


def test_the_gradient_passes_to_the_entry_that_is_taken() -> None:
    table = [Value(float(i)) for i in range(4)]
    index = Value(1.0)
    (mgx.take(table, index) * index).backward()
    assert [entry.grad for entry in table] == [0.0, 1.0, 0.0, 0.0]
    assert index.grad == 1.0  # by the factor alone


@pytest.mark.parametrize("index", [-1, 3, 0.5, -0.5, 1e300, math.inf, math.nan])
def test_an_index_that_is_none(index: float) -> None:
    table = [Value(1.0), Value(2.0), Value(3.0)]
    for given in (index, Value(index)):
        with pytest.raises(IndexError, match=r"whole number from 0 to 2, not"):
            mgx.take(table, given)


def test_a_table_without_entries() -> None:
    with pytest.raises(IndexError):
        mgx.take([], 0)


def test_rows_that_differ_in_length() -> None:
    with pytest.raises(ValueError, match=r"length|longer|shorter"):
        mgx.take([[Value(1.0)], [Value(2.0), Value(3.0)]], 0)


@every_choice
@pytest.mark.parametrize("other", ["2", None, 1j, [1.0], np.ones(2)])
def test_operands_must_be_numbers(name: str, other: Any) -> None:
    with pytest.raises(TypeError, match="y must be a real number, not"):
        choose(name, Value(1.0), other)
    with pytest.raises(TypeError, match="x must be a real number, not"):
        choose(name, other, Value(1.0))


@pytest.mark.parametrize("condition", [Value(1.0), Value(0.0), True, False])
def test_what_where_chooses_from_must_be_numbers(condition: Any) -> None:
    nothing: Any = None
    with pytest.raises(TypeError, match="x must be a real number, not NoneType"):
        mgx.where(condition, nothing, 1.0)
    with pytest.raises(TypeError, match="y must be a real number, not NoneType"):
        mgx.where(condition, 1.0, nothing)


@pytest.mark.usefixtures("nodes_return_to_the_baseline")
def test_nodes_die_with_their_names() -> None:
    for _ in range(100):
        x, y = Value(1.0), Value(2.0)
        mgx.where(mgx.less(x, y), mgx.maximum(x, y), mgx.minimum(x, y)).backward()
        with pytest.raises(TypeError):
            mgx.maximum(x, "y")  # type: ignore[arg-type]
