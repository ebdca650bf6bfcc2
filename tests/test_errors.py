"""Bad input raises the right exception, with a message that names what is wrong."""

import fractions
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from microgradx import Value
from microgradx.nn import Neuron


@pytest.mark.parametrize(
    "data", [None, "1.5", b"1", 1j, [1.0], (1,), {}, object(), Value, Value(1.0), Decimal("1.5")]
)
def test_data_must_be_a_real_number(data: Any) -> None:
    kind = type(data).__name__
    with pytest.raises(TypeError, match=f"data must be a real number, not .*{kind}"):
        Value(data)
    with pytest.raises(TypeError, match=f"data must be a real number, not .*{kind}"):
        Value(data=data)
    value = Value(1.0)
    with pytest.raises(TypeError, match=f"data must be a real number, not .*{kind}"):
        value.data = data
    with pytest.raises(TypeError, match=f"grad must be a real number, not .*{kind}"):
        value.grad = data
    assert repr(value) == "Value(data=1.0, grad=0)"


def test_other_real_numbers_are_converted() -> None:
    assert Value(fractions.Fraction(1, 4)).data == 0.25

    class Index:
        def __index__(self) -> int:
            return 7

    index: Any = Index()
    assert repr(Value(index)) == "Value(data=7, grad=0)"


def test_subclasses_of_numbers_are_numbers() -> None:
    class Degrees(float):
        pass

    class Count(int):
        pass

    assert repr(Value(Degrees(2.5)) * Count(2)) == "Value(data=5.0, grad=0)"


def test_what_a_numbers_own_conversion_raises_passes_through() -> None:
    class Broken:
        def __index__(self) -> int:
            raise LookupError("broken")

    broken: Any = Broken()
    with pytest.raises(LookupError, match="broken"):
        Value(broken)
    with pytest.raises(LookupError, match="broken"):
        Value(1.0) + broken


@pytest.mark.parametrize(
    "use", [Value, lambda huge: Value(1.0) + huge, lambda huge: huge * Value(1.0)]
)
def test_an_int_beyond_every_float(use: Callable[[int], Any]) -> None:
    with pytest.raises(OverflowError, match="too large"):
        use(10**400)


@pytest.mark.parametrize("arguments", [(), (1.0, (), "", "", 5)])
def test_number_of_arguments(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"Value\(\)"):
        Value(*arguments)


def test_unknown_keyword() -> None:
    with pytest.raises(TypeError, match="grad"):
        Value(1.0, grad=2.0)  # type: ignore[call-arg]


@pytest.mark.parametrize("children", [(1.0,), [Value(1.0), None], "ab", [[Value(1.0)]]])
def test_children_must_be_values(children: Any) -> None:
    with pytest.raises(TypeError, match="_children must be Values, not"):
        Value(1.0, children)


@pytest.mark.parametrize("children", [3, 1.5, Value(1.0), print])
def test_children_must_be_iterable(children: Any) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        Value(1.0, children)


def test_an_exception_of_the_iterable_passes_through() -> None:
    def children() -> Any:
        yield Value(1.0)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        Value(1.0, children())


@pytest.mark.parametrize("other", ["2", None, 1j, [1.0], object()])
@pytest.mark.parametrize("symbol", ["+", "-", "*", "/", "**"])
def test_operands_must_be_numbers(symbol: str, other: Any) -> None:
    for expression in (f"value {symbol} other", f"other {symbol} value"):
        with pytest.raises(TypeError):
            eval(expression, {"value": Value(2.0), "other": other})


@pytest.mark.parametrize(
    "expression",
    ["value // 2", "value % 2", "value @ value", "value << 1", "~value", "pow(value, 2, 3)"],
)
def test_operators_that_are_not_differentiable_do_not_exist(expression: str) -> None:
    with pytest.raises(TypeError):
        eval(expression, {"value": Value(2.0)})


@pytest.mark.parametrize(
    "expression",
    [
        *("1 / Value(0.0)", "1 / Value(0)", "Value(1.0) / 0", "Value(1.0) / 0.0"),
        *("Value(1.0) / Value(0.0)", "Value(0.0) ** -1", "Value(0) ** -2", "Value(-0.0) ** -0.5"),
        *("Value(0.0) ** Value(-1.0)", "0 ** Value(-1.0)"),
    ],
)
def test_division_by_zero(expression: str) -> None:
    with pytest.raises(ZeroDivisionError):
        eval(expression, {"Value": Value})


@pytest.mark.parametrize(
    "expression",
    [
        *("Value(-8.0) ** (1 / 3)", "Value(-2) ** 0.5", "Value(-2.0) ** -0.5"),
        *("Value(-2.0) ** Value(0.5)", "(-2.0) ** Value(0.5)"),
    ],
)
def test_negative_base_with_a_fractional_power(expression: str) -> None:
    with pytest.raises(ValueError, match="negative number cannot be raised to a fractional power"):
        eval(expression, {"Value": Value})


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("Value(0.0).log()", r"log\(\) is not defined for data = 0"),
        ("Value(-1.5).log()", r"log\(\) is not defined for data = -1.5"),
        ("Value(-1e-300).sqrt()", r"sqrt\(\) is not defined for data = -1e-300"),
        ("Value(float('inf')).sin()", r"sin\(\) is not defined for data = inf"),
        ("Value(float('-inf')).cos()", r"cos\(\) is not defined for data = -inf"),
    ],
)
def test_outside_the_domain(expression: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        eval(expression, {"Value": Value})


@pytest.mark.parametrize(
    "expression", ["Value(10.0) ** 400", "Value(1e200) ** 2", "10.0 ** Value(400.0)"]
)
def test_power_beyond_every_float(expression: str) -> None:
    with pytest.raises(OverflowError, match="too large"):
        eval(expression, {"Value": Value})


@pytest.mark.parametrize(
    ("exponent", "data", "error"),
    [(0.5, 0.0, ZeroDivisionError), (1.5, -1.0, ValueError), (-3, 1e-100, OverflowError)],
)
def test_a_derivative_that_does_not_exist(
    exponent: float, data: float, error: type[Exception]
) -> None:
    x, y = Value(1.0), Value(2.0)
    root = x**exponent + y * y
    x.data = data
    with pytest.raises(error):
        root.backward()
    x.data = 4.0
    x.grad = y.grad = 0
    for node in root._prev:
        node.grad = 0
    root.backward()
    assert (x.grad, y.grad) == (exponent * 4.0 ** (exponent - 1), 4.0)


def test_the_step_of_a_node_raises_as_the_whole_does() -> None:
    x = Value(1.0)
    root = x**0.5
    x.data = 0.0
    with pytest.raises(ZeroDivisionError):
        root._backward()


@pytest.mark.parametrize("name", ["data", "grad", "_prev"])
def test_what_every_value_has_cannot_be_deleted(name: str) -> None:
    value = Value(1.0) * 2
    with pytest.raises(AttributeError, match=name):
        delattr(value, name)
    assert value.data == 2.0


def test_operands_cannot_be_exchanged() -> None:
    value = Value(1.0) * 2
    with pytest.raises(AttributeError, match=r"_prev .* constructor"):
        value._prev = {Value(1.0)}  # type: ignore[misc]


@pytest.mark.parametrize("name", ["label", "_op", "momentum"])
def test_an_attribute_that_is_not_there_cannot_be_deleted(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        delattr(Value(1.0), name)


def test_a_node_cannot_be_initialised_again() -> None:
    value = Value(1.0) * 2
    with pytest.raises(RuntimeError, match="cannot be called again"):
        value.__init__(3.0)  # type: ignore[misc]
    assert value.data == 2.0


def test_a_value_is_no_sequence_and_no_int() -> None:
    value = Value(3)
    uses: list[Callable[[], Any]] = [
        lambda: len(value),
        lambda: iter(value),
        lambda: value[0],  # type: ignore[index]
        lambda: range(value),
        value,  # type: ignore[list-item]
    ]
    for use in uses:
        with pytest.raises(TypeError):
            use()


def test_errors_leave_no_nodes(living_nodes: Callable[[], int]) -> None:
    x: Any = Value(0.0)
    text: Any = "text"
    before = living_nodes()
    failures: list[Callable[[], Any]] = [
        lambda: 1 / x,
        lambda: x / 0,
        lambda: x.log(),
        lambda: x + text,
        lambda: Value(None),  # type: ignore[arg-type]
        lambda: Value(1.0, [x, None]),  # type: ignore[list-item]
        lambda: (x - 8) ** (1 / 3),
        lambda: Value(math.inf) * x + 10**400,
        lambda: Neuron(3)([1.0, 2.0, text]),
        lambda: Neuron(3)([1.0, x]),
    ]
    for fail in failures:
        with pytest.raises((ArithmeticError, TypeError, ValueError)):
            fail()
    assert living_nodes() == before
