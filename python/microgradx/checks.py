"""Checks of gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from microgradx._core import data, grads, values
from microgradx.engine import Value

__all__ = ["GradCheck", "grad_check"]


@dataclass(frozen=True)
class GradCheck:
    """What :func:`grad_check` has found; true if all gradients agree.

    Attributes
    ----------
    ok : bool
        Whether all entries agree.
    entries : int
        How many were compared.
    argument : int
        The number of the argument, from 1 on, that the worst entry is of.
    index : tuple of int
        Where in the argument it is; empty if that is a number.
    gradient : float
        The entry as ``backward()`` gives it.
    difference : float
        The entry as the difference of values gives it.

    Examples
    --------
    >>> from microgradx import grad_check
    >>> found = grad_check(lambda x: x[0] * x[1], [2.0, 3.0])
    >>> found.ok, found.entries
    (True, 2)
    >>> found.argument, len(found.index)
    (1, 1)
    """

    ok: bool
    entries: int
    argument: int
    index: tuple[int, ...]
    gradient: float
    difference: float

    def __bool__(self) -> bool:
        """Tell whether all entries agree."""
        return self.ok

    def __str__(self) -> str:
        """Tell of the worst entry."""
        place = f"argument {self.argument}" + "".join(f"[{i}]" for i in self.index)
        return (
            f"{'all' if self.ok else 'NOT all'} gradients agree; the worst of {self.entries} is by "
            f"{place}: {self.gradient:.9g}, by differences {self.difference:.9g}"
        )


def grad_check(
    function: Callable[..., Any],
    *args: Any,
    step: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-8,
) -> GradCheck:
    """Compare the gradients of a function with central differences of its values.

    Parameters
    ----------
    function : callable
        Of Values, nested in lists as the arguments are; it returns a Value. A compiled function is
        one.
    *args : numbers, arrays or nested lists of them; or Values, or nested lists of Values
        Where the gradients are compared: a place where the function is smooth. The function gets
        new Values, with the data of those given.
    step : float, default 1e-6
        How far away the values are taken, relative to the numbers that are larger than 1.
    rtol, atol : float
        How far gradients may be from differences: ``atol + rtol * abs(difference)``.

    Returns
    -------
    GradCheck
        True if all agree; it tells of the entry that is worst.

    Raises
    ------
    TypeError
        If an argument consists of something else than real numbers or Values, `step` is no number,
        or the function returns something else than a Value.
    ValueError
        If there is no number to differentiate by, or `step` is not positive.

    Examples
    --------
    >>> from microgradx import Value, grad_check
    >>> bool(grad_check(lambda x, y: x * y[0].exp(), 2.0, [0.0]))
    True
    >>> def forgets_a_factor(x):
    ...     square = Value(x.data**2, (x,))
    ...     def backward():
    ...         x.grad += x.data * square.grad
    ...     square._backward = backward
    ...     return square
    >>> print(grad_check(forgets_a_factor, 0.5))
    NOT all gradients agree; the worst of 1 is by argument 1: 0.5, by differences 1
    """
    if not isinstance(step, Real):
        raise TypeError(f"step must be a number, not {type(step).__name__}")
    if not step > 0:
        raise ValueError(f"step must be positive, not {step}")
    arrays = []
    for number, arg in enumerate(args, 1):
        array = np.asarray(arg)
        if array.dtype.kind == "O":
            try:
                array = data(arg)
            except TypeError:
                raise TypeError(
                    f"argument {number} must consist of real numbers or of Values"
                ) from None
        if array.size and array.dtype.kind not in "fiub":
            raise TypeError(f"argument {number} must consist of real numbers, not {array.dtype}")
        arrays.append(array.astype(np.float64))
    if not sum(array.size for array in arrays):
        raise ValueError("there is no number among the arguments to differentiate by")

    def evaluate(at: list[Any]) -> tuple[Any, Value]:
        nests = [values(array) for array in at]
        result = function(*nests)
        if not isinstance(result, Value):
            raise TypeError(f"function must return a Value, not {type(result).__name__}")
        return nests, result

    nests, result = evaluate(arrays)
    result.backward()
    worst: tuple[float, GradCheck] | None = None
    entries = sum(array.size for array in arrays)
    for number, (array, nest) in enumerate(zip(arrays, nests, strict=True)):
        gradients = grads(nest)
        for index in np.ndindex(array.shape):
            ends = []
            for sign in (1.0, -1.0):
                moved = array.copy()
                moved[index] += sign * step * max(1.0, abs(float(array[index])))
                at = [*arrays[:number], moved, *arrays[number + 1 :]]
                ends.append((moved[index], evaluate(at)[1].data))
            (right, upper), (left, lower) = ends
            difference = float((upper - lower) / (right - left))
            gradient = float(gradients[index])
            error = abs(gradient - difference)
            bound = atol + rtol * abs(difference)
            ok = error <= bound  # not for NaN
            excess = error / bound if bound > 0 and error == error else 0.0 if ok else np.inf
            if worst is None or excess > worst[0]:
                found = GradCheck(ok, entries, number + 1, index, gradient, difference)
                worst = excess, found
    assert worst is not None
    return worst[1]
