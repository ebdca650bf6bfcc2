"""Losses: how far what a model says is from what it should say.

Names, the order of arguments and reductions are those of ``torch.nn.functional``. All work on
Values alone, on lists of them nested however deep, and in compiled functions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any, Literal, TypeAlias, overload

import numpy as np

from microgradx import _core
from microgradx.compiler import take
from microgradx.engine import Value

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "hinge",
    "l2",
    "log_softmax",
    "mse",
    "softmax",
]

_Reduced: TypeAlias = Literal["mean", "sum"]
Reduction: TypeAlias = Literal["mean", "sum", "none"]
_Scalar: TypeAlias = Value | float


@overload
def mse(input: Any, target: Any, reduction: _Reduced = "mean") -> Value: ...
@overload
def mse(input: Any, target: Any, reduction: Literal["none"]) -> Any: ...
def mse(input: Any, target: Any, reduction: Reduction = "mean") -> Any:
    """Squared differences, ``(input - target)**2``.

    Parameters
    ----------
    input : Value, or nested lists of Values
        What the model says.
    target : number, Value, array, or nested lists of these
        What it should say, nested likewise.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Whether the mean or the sum is returned, or every loss by itself.

    Returns
    -------
    Value
        With reduction 'none' nested as `input` is.

    Raises
    ------
    ValueError
        If `target` is nested in another way than `input`, if there is nothing to take the mean of,
        or if `reduction` is none of the three.
    TypeError
        If there is something that is neither a Value nor a number.

    Examples
    --------
    >>> from microgradx import Value, losses
    >>> losses.mse([Value(1.0), Value(4.0)], [1.0, 2.0]).data
    2.0
    """
    if reduction in ("mean", "sum"):
        differences = [x + -y for x, y in _pairs(input, target)]
        squares = _core.dot(differences, differences)
        return squares if reduction == "sum" else squares / _count(differences)
    return _reduced(input, target, _square, reduction)


def _square(x: Value, y: _Scalar) -> Value:
    difference = x + -y
    return difference * difference


@overload
def hinge(input: Any, target: Any, reduction: _Reduced = "mean") -> Value: ...
@overload
def hinge(input: Any, target: Any, reduction: Literal["none"]) -> Any: ...
def hinge(input: Any, target: Any, reduction: Reduction = "mean") -> Any:
    """Max-margin loss, ``max(0, 1 - target * input)``, of scores for the classes -1 and 1.

    Parameters
    ----------
    input : Value, or nested lists of Values
        The scores.
    target : number, Value, array, or nested lists of these
        The classes, -1 or 1, nested likewise.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Whether the mean or the sum is returned, or every loss by itself.

    Returns
    -------
    Value
        With reduction 'none' nested as `input` is.

    Raises
    ------
    ValueError
        If `target` is nested in another way than `input`, if there is nothing to take the mean of,
        or if `reduction` is none of the three.
    TypeError
        If there is something that is neither a Value nor a number.

    Examples
    --------
    >>> from microgradx import Value, losses
    >>> losses.hinge([Value(0.5), Value(-3.0)], [1, -1], reduction="sum").data
    0.5
    """
    return _reduced(input, target, lambda x, y: (1 + -y * x).relu(), reduction)


@overload
def binary_cross_entropy_with_logits(
    input: Any, target: Any, reduction: _Reduced = "mean"
) -> Value: ...
@overload
def binary_cross_entropy_with_logits(
    input: Any, target: Any, reduction: Literal["none"]
) -> Any: ...
def binary_cross_entropy_with_logits(input: Any, target: Any, reduction: Reduction = "mean") -> Any:
    """Cross-entropy of logits for two classes, without overflow however large they are.

    It is ``-target * log(sigmoid(input)) - (1 - target) * log(1 - sigmoid(input))``.

    Parameters
    ----------
    input : Value, or nested lists of Values
        The logits.
    target : number, Value, array, or nested lists of these
        The probabilities of the class 1, from 0 to 1, nested likewise.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Whether the mean or the sum is returned, or every loss by itself.

    Returns
    -------
    Value
        With reduction 'none' nested as `input` is.

    Raises
    ------
    ValueError
        If `target` is nested in another way than `input`, if there is nothing to take the mean of,
        or if `reduction` is none of the three.
    TypeError
        If there is something that is neither a Value nor a number.

    Examples
    --------
    >>> from microgradx import Value, losses
    >>> losses.binary_cross_entropy_with_logits(Value(0.0), 1).data  # log(2)
    0.6931471805599453
    """

    def loss(x: Value, y: _Scalar) -> Value:
        # The larger of x and 0 has half the derivative of each where they are equal, which is just
        # what the sigmoid of 0 is.
        return _core.maximum(x, 0.0) + -y * x + (1 + (-abs(x)).exp()).log()

    return _reduced(input, target, loss, reduction)


@overload
def cross_entropy(
    input: Any, target: Any, *, reduction: _Reduced = "mean", label_smoothing: float = 0.0
) -> Value: ...
@overload
def cross_entropy(
    input: Any, target: Any, *, reduction: Literal["none"], label_smoothing: float = 0.0
) -> Any: ...
def cross_entropy(
    input: Any,
    target: Any,
    *,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Cross-entropy of logits for several classes, without overflow however large they are.

    Parameters
    ----------
    input : sequence of Value, or sequence of such sequences
        The logits of the classes, for one sample or for each of several.
    target : int, Value or sequence of these; or probabilities nested as `input` is
        For each sample the number of its class, from 0 on, or the probability of each class. In a
        compiled function the number may be an argument.
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Whether the mean or the sum over the samples is returned, or every loss by itself.
    label_smoothing : float, default 0
        How much of the probability is spread evenly over all classes, from 0 to 1.

    Returns
    -------
    Value
        With reduction 'none' a list of them, one for each sample, if there are several.

    Raises
    ------
    IndexError
        If there is no class with such a number.
    ValueError
        If `target` does not fit `input`, if there are no classes or nothing to take the mean of, or
        if `reduction` is none of the three.
    TypeError
        If there is something that is neither a Value nor a number.

    Examples
    --------
    >>> from microgradx import Value, losses
    >>> losses.cross_entropy([Value(1000.0), Value(0.0)], 1).data
    1000.0
    """
    _check(reduction)
    if not isinstance(label_smoothing, Real):
        raise TypeError(f"label_smoothing must be a number, not {type(label_smoothing).__name__}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be from 0 to 1, not {label_smoothing}")
    rows = _listed(input, "input")
    targets = _listed(target, "target")
    if not isinstance(rows, list):
        raise ValueError("input must be a sequence of logits, not a single one")
    is_batch = isinstance(rows[0], list) if rows else isinstance(targets, list)
    if not is_batch:
        return _cross_entropy(rows, targets, label_smoothing)
    if not isinstance(targets, list) or len(targets) != len(rows):
        raise ValueError(f"target must be a sequence of {len(rows)}, one for each sample of input")
    losses = [_cross_entropy(*pair, label_smoothing) for pair in zip(rows, targets, strict=True)]
    return _total(losses, reduction)


def _cross_entropy(row: Any, target: Any, smoothing: float) -> Value:
    logits = _shifted(row)
    total = _log_sum_exp(logits)
    weight: Any = 1.0  # of all classes together
    if isinstance(target, list):
        if len(target) != len(logits) or any(isinstance(p, list) for p in target):
            raise ValueError(
                f"target must be a class or {len(logits)} probabilities for each sample of input"
            )
        expected = _core.dot(logits, target)
        weight = _core.sum(target)
    else:
        try:
            expected = take(logits, target)
        except IndexError as error:
            raise IndexError(f"target must be the number of a class: {error}") from error
    if smoothing:
        expected = (1 - smoothing) * expected + smoothing * _core.mean(logits)
        weight = (1 - smoothing) * weight + smoothing
    loss: Value = weight * total - expected
    return loss


def log_softmax(input: Any, dim: int = -1) -> Any:
    """Logarithms of :func:`softmax`, without overflow however large the logits are.

    Parameters
    ----------
    input : sequence of Value, or nested sequences of them
        The logits; the innermost sequences are those of one sample.
    dim : int, default -1
        The dimension of the classes, as PyTorch names it. It is always the last one, -1.

    Returns
    -------
    list of Value
        Nested as `input` is.

    Raises
    ------
    ValueError
        If there are no logits, or `dim` is not -1.
    TypeError
        If there is something that is neither a Value nor a number.

    Examples
    --------
    >>> from microgradx import Value, losses
    >>> [x.data for x in losses.log_softmax([Value(1000.0), Value(0.0)])]
    [0.0, -1000.0]
    """

    def of_row(row: list[Any]) -> list[Value]:
        logits = _shifted(row)
        total = _log_sum_exp(logits)
        return [x - total for x in logits]

    return _each_row(_classes_last(input, dim), of_row)


def softmax(input: Any, dim: int = -1) -> Any:
    """Probabilities of classes by their logits, ``exp(x) / sum(exp(x))``.

    There is no overflow, however large the logits are.

    Parameters
    ----------
    input : sequence of Value, or nested sequences of them
        The logits; the innermost sequences are those of one sample.
    dim : int, default -1
        The dimension of the classes, as PyTorch names it. It is always the last one, -1.

    Returns
    -------
    list of Value
        Nested as `input` is.

    Raises
    ------
    ValueError
        If there are no logits, or `dim` is not -1.
    TypeError
        If there is something that is neither a Value nor a number.

    Examples
    --------
    >>> from microgradx import Value, losses
    >>> [x.data for x in losses.softmax([Value(1000.0), Value(1000.0)])]
    [0.5, 0.5]
    """

    def of_row(row: list[Any]) -> list[Value]:
        powers = [x.exp() for x in _shifted(row)]
        scale = _core.sum(powers) ** -1
        return [x * scale for x in powers]

    return _each_row(_classes_last(input, dim), of_row)


def l2(parameters: Any) -> Value:
    """Sum of squares, the penalty that keeps parameters small.

    Parameters
    ----------
    parameters : iterable of Value, or nested lists of them
        Such as ``model.parameters()``.

    Returns
    -------
    Value

    Raises
    ------
    TypeError
        If there is something that is neither a Value nor a number.

    Examples
    --------
    >>> from microgradx import Value, losses
    >>> losses.l2([Value(3.0), Value(4.0)]).data
    25.0
    """
    values = _flat(_listed(parameters, "parameters"))
    return _core.dot(values, values)


def _classes_last(input: Any, dim: int) -> Any:
    if dim != -1:
        raise ValueError(f"dim must be -1, the innermost sequences, not {dim!r}")
    return _listed(input, "input")


def _shifted(row: Any) -> list[Value]:
    """Return logits less the largest, so that no exponential overflows."""
    if not isinstance(row, list) or not row:
        raise ValueError("input must have the logits of at least one class for each sample")
    if any(isinstance(x, list) for x in row):
        raise ValueError("input must be nested no deeper than a sequence of logits for each sample")
    values = [x if isinstance(x, Value) else Value(x) for x in row]
    # The derivative by the largest, which is subtracted from all, is 0.
    if _core.is_tracing():
        peak: Any = functools.reduce(_core.maximum, values)
    else:
        peak = max(x.data for x in values)
    return [x + -peak for x in values]


def _log_sum_exp(logits: list[Value]) -> Value:
    return _core.sum([x.exp() for x in logits]).log()


def _listed(nest: Any, name: str) -> Any:
    """Make lists of all iterables."""
    if isinstance(nest, Value):
        return nest
    if isinstance(nest, (np.ndarray, np.generic)):
        nest = nest.tolist()
    if isinstance(nest, Real):
        return nest
    if isinstance(nest, Iterable) and not isinstance(nest, (str, bytes)):
        return [_listed(item, name) for item in nest]
    raise TypeError(f"{name} must consist of Values and numbers, not {type(nest).__name__}")


def _flat(nest: Any) -> list[Any]:
    return [leaf for item in nest for leaf in _flat(item)] if isinstance(nest, list) else [nest]


def _each_row(nest: Any, of_row: Callable[[list[Any]], list[Value]]) -> Any:
    if not isinstance(nest, list):
        raise ValueError("input must be a sequence of logits, not a single one")
    if nest and all(isinstance(item, list) for item in nest):
        return [_each_row(item, of_row) for item in nest]
    return of_row(nest)


def _zipped(x: Any, y: Any) -> Any:
    """Nest pairs as both are nested."""
    if isinstance(x, list) != isinstance(y, list) or (isinstance(x, list) and len(x) != len(y)):
        raise ValueError(f"target must be nested as input is, but {_size(y)} stand for {_size(x)}")
    return list(map(_zipped, x, y)) if isinstance(x, list) else (x, y)


def _size(nest: Any) -> str:
    return f"a list of {len(nest)}" if isinstance(nest, list) else "one number"


def _pairs(input: Any, target: Any) -> list[tuple[Any, Any]]:
    return _flat(_zipped(_listed(input, "input"), _listed(target, "target")))


def _reduced(
    input: Any, target: Any, loss: Callable[[Any, Any], Value], reduction: Reduction
) -> Any:
    _check(reduction)
    zipped = _zipped(_listed(input, "input"), _listed(target, "target"))

    def of_nest(nest: Any) -> Any:
        if isinstance(nest, list):
            return [of_nest(item) for item in nest]
        x, y = nest
        return loss(x if isinstance(x, Value) else Value(x), y)

    losses = of_nest(zipped)
    return losses if reduction == "none" else _total(_flat(losses), reduction)


def _total(losses: list[Value], reduction: Reduction) -> Any:
    if reduction == "none":
        return losses
    return _core.sum(losses) if reduction == "sum" else _core.sum(losses) / _count(losses)


def _count(losses: list[Any]) -> int:
    if not losses:
        raise ValueError("there are no losses, so they have no mean")
    return len(losses)


def _check(reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
