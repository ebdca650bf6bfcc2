"""Every row of the table of operations: value, derivative, limits, label, documentation."""

import functools
import inspect
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import MICROGRAD
from microgradx import Value, _core
from microgradx._core import OPS

# The same operation on floats, from Python's own library.
REFERENCE: dict[str, Callable[..., float]] = {
    "add": operator.add,
    "mul": operator.mul,
    "subtract": operator.sub,
    "pow": math.pow,
    "maximum": max,
    "minimum": min,
    "greater": lambda x, y: float(x > y),
    "less": lambda x, y: float(x < y),
    "if_true": lambda x, y: y if x else -0.0,
    "if_false": lambda x, y: -0.0 if x else y,
    "relu": lambda x: max(x, 0.0),
    "tanh": math.tanh,
    "exp": math.exp,
    "log": math.log,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "sqrt": math.sqrt,
    "abs": abs,
    "sin": math.sin,
    "cos": math.cos,
    "erf": math.erf,
}
LABELS = {
    **{"add": "+", "mul": "*", "subtract": "-", "pow": "**", "relu": "ReLU"},
    **{"maximum": "max", "minimum": "min", "greater": ">", "less": "<"},
    **{"if_true": "if", "if_false": "else"},
}
# Where PyTorch has no function of the name; it does not differentiate comparisons at all.
TORCH: dict[str, Callable[..., Any]] = {
    "if_true": lambda torch, x, y: torch.where(x != 0, y, -0.0),
    "if_false": lambda torch, x, y: torch.where(x == 0, y, -0.0),
}
COMPARISONS = ("greater", "less")

rows = pytest.mark.parametrize("row", OPS, ids=lambda row: row.name)


def operation(row: Any) -> Callable[..., Value]:
    if row.arity == 1:
        return operator.methodcaller(row.name)
    binary: Callable[..., Value] = getattr(operator, row.name, None) or getattr(_core, row.name)
    return binary


def points(row: Any) -> list[tuple[float, ...]]:
    # No two operands are equal, as a comparison jumps there.
    low, high = row.interval
    lines = [np.linspace(low, high, 9 - place)[1:-1] for place in range(row.arity)]
    return [tuple(map(float, p)) for p in np.stack(np.meshgrid(*lines), -1).reshape(-1, row.arity)]


def gradients(row: Any, point: tuple[float, ...]) -> list[float]:
    operands = [Value(x) for x in point]
    operation(row)(*operands).backward()
    return [operand.grad for operand in operands]


def test_the_table_has_every_operation() -> None:
    assert {row.name for row in OPS} == REFERENCE.keys()


@rows
def test_value(row: Any) -> None:
    for point in points(row):
        expected = REFERENCE[row.name](*point)
        assert operation(row)(*map(Value, point)).data == pytest.approx(expected, rel=4e-16, abs=0)


@rows
def test_derivative_against_finite_differences(row: Any) -> None:
    step = 1e-5
    for point in points(row):
        for position, derivative in enumerate(gradients(row, point)):
            above, below = (
                [x + shift * (i == position) for i, x in enumerate(point)]
                for shift in (step, -step)
            )
            difference = (REFERENCE[row.name](*above) - REFERENCE[row.name](*below)) / (2 * step)
            assert derivative == pytest.approx(difference, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize(
    "row", [row for row in OPS if row.name not in COMPARISONS], ids=lambda row: row.name
)
def test_derivative_against_torch(row: Any) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    function = (
        functools.partial(TORCH[row.name], torch) if row.name in TORCH else getattr(torch, row.name)
    )
    for point in points(row):
        operands = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in point]
        function(*operands).backward()
        expected = [0.0 if it.grad is None else it.grad.item() for it in operands]
        assert gradients(row, point) == pytest.approx(expected, rel=1e-14, abs=1e-15)


@rows
def test_the_gradient_is_multiplied_by_that_of_the_result(row: Any) -> None:
    point = points(row)[1]
    operands = [Value(x) for x in point]
    (operation(row)(*operands) * 3.0).backward()
    assert [operand.grad for operand in operands] == pytest.approx(
        [3.0 * derivative for derivative in gradients(row, point)], rel=1e-15
    )


@rows
def test_one_operand_in_all_places(row: Any) -> None:
    x = sum(row.interval) / 2
    operand = Value(x)
    result = operation(row)(*[operand] * row.arity)
    result.backward()
    assert result._prev == {operand}
    assert operand.grad == pytest.approx(sum(gradients(row, (x,) * row.arity)), rel=1e-15)


@rows
def test_label(row: Any) -> None:
    assert row.label == LABELS.get(row.name, row.name)
    assert operation(row)(*map(Value, points(row)[0]))._op == row.label


@rows
def test_documentation(row: Any) -> None:
    assert row.doc.endswith(".")
    is_method = row.arity == 1
    documented = getattr(Value if is_method else _core, row.name, None)
    if documented is not None:  # an operator's method has Python's documentation
        documentation = inspect.getdoc(documented) or ""
        assert documentation.startswith(f"{row.doc}\n\n")
        assert documentation.endswith(f"\n{row.example}")
        expected = "(self, /)" if is_method else "(x, y, /)"
        assert str(inspect.signature(documented)) == expected


@rows
def test_interval(row: Any) -> None:
    low, high = row.interval
    assert -math.inf < low < high < math.inf


@pytest.mark.parametrize(
    ("apply", "x", "expected"),
    [
        (Value.tanh, 1000.0, 1.0),
        (Value.tanh, -1000.0, -1.0),
        (Value.sigmoid, 1000.0, 1.0),
        (Value.sigmoid, -1000.0, 0.0),
        (Value.sigmoid, 0.0, 0.5),
        (Value.sigmoid, -745.0, 5e-324),
        (Value.exp, 1000.0, math.inf),
        (Value.exp, -1000.0, 0.0),
        (Value.log, math.inf, math.inf),
        (Value.log, 5e-324, math.log(5e-324)),
        (Value.sqrt, 0.0, 0.0),
        (Value.sqrt, 1e308, 1e154),
        (Value.relu, -0.0, -0.0),
        (Value.relu, -1e308, 0),
        (abs, -0.0, 0.0),
    ],
)
def test_limits(apply: Callable[[Value], Value], x: float, expected: float) -> None:
    assert apply(Value(x)).data == pytest.approx(expected, rel=1e-15, abs=0)


@pytest.mark.parametrize(
    ("apply", "x", "derivative"),
    [
        (Value.tanh, 1000.0, 0.0),
        (Value.sigmoid, 1000.0, 0.0),
        (Value.sigmoid, -1000.0, 0.0),
        (Value.exp, 1000.0, math.inf),
        (Value.exp, -1000.0, 0.0),
        (Value.relu, 0.0, 0),
        (Value.relu, -0.0, 0),
        (Value.sqrt, 0.0, math.inf),
        (abs, 0.0, 0),
        (abs, -0.0, 0),
        (lambda v: v**0, 0.0, 0),
        (lambda v: v**0, 3.0, 0),
        (lambda v: v**1, 0.0, 1),
        (lambda v: v**2, 0.0, 0),
        (lambda v: 0**v, 2.0, 0),
        (lambda v: 1**v, 2.0, 0),
        (lambda v: 2**v, 0.0, math.log(2)),
        (lambda v: v ** Value(0.0), 0.0, 0),
        (lambda v: v ** Value(2.0), -3.0, -6.0),
    ],
)
def test_derivatives_at_the_edges(
    apply: Callable[[Value], Value], x: float, derivative: float
) -> None:
    value = Value(x)
    apply(value).backward()
    assert value.grad == derivative


@pytest.mark.parametrize("name", [row.name for row in OPS if row.arity == 1])
def test_nan_stays_nan(name: str) -> None:
    assert math.isnan(getattr(Value(math.nan), name)().data)


def test_nothing_is_lost_near_zero() -> None:
    tiny = Value(1e-200)
    assert tiny.tanh().data == tiny.sin().data == 1e-200
    assert (tiny.sigmoid() - 0.5).data == 0.0


@pytest.mark.parametrize(
    ("x", "y"), [(2.0, 3.0), (0.5, -1.5), (4, 2), (2, -1), (0.0, 0.0), (-2.0, 3)]
)
def test_power_of_two_values(x: float, y: float) -> None:
    base, exponent = Value(x), Value(y)
    power = base**exponent
    assert repr(power.data) == repr(x**y)
    assert (power._op, power._prev) == ("**", {base, exponent})


def test_power_of_a_number_and_a_value() -> None:
    exponent = Value(3.0)
    power = 2**exponent
    power.backward()
    assert (power.data, power._op) == (8.0, "**")
    assert exponent.grad == pytest.approx(8 * math.log(2), rel=1e-15)
    (base,) = power._prev - {exponent}
    assert repr(base.data) == "2"


def test_power_with_a_number_shows_the_base_alone() -> None:
    base = Value(3.0)
    assert (base**2)._prev == {base}
    assert (base**2)._op == "**2"


EDGES = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 1e300, -1e300, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize(
    "exponent", [1, 2, 3, -1, -3, 0.5, 2.0, -2.0, 1e10, math.inf, -math.inf, math.nan]
)
@pytest.mark.parametrize("base", EDGES)
def test_power_at_the_edges_is_pythons(base: float, exponent: float) -> None:
    def evaluate(value: type) -> tuple[Any, Any] | type[Exception]:
        x = value(base)
        try:
            power = x**exponent
            power.backward()
        except ArithmeticError as error:
            return type(error)
        except ValueError:
            return ValueError
        if isinstance(power.data, complex) or isinstance(x.grad, complex):
            return ValueError
        return repr(power.data), repr(x.grad)

    assert evaluate(Value) == evaluate(MICROGRAD.Value)


def test_abs_is_the_function_and_the_method() -> None:
    assert abs(Value(-2.0)).data == Value(-2.0).abs().data == 2.0
