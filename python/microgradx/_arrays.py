"""Arrays that others give."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["real_array"]


def real_array(name: str, given: Any, kinds: str = "fiub") -> npt.NDArray[Any]:
    """Make an array of something that must be one of real numbers.

    Parameters
    ----------
    name : str
        What an error calls it.
    given : array_like
    kinds : str, default 'fiub'
        The kinds of numbers that it may consist of, as NumPy's ``dtype.kind``.

    Raises
    ------
    TypeError
        If it consists of something else.
    ValueError
        If it is ragged.
    """
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ValueError(f"{name} must be an array: {error}") from error
    if array.dtype.kind not in kinds:
        raise TypeError(f"{name} must be an array of real numbers, not of {array.dtype}")
    return array
