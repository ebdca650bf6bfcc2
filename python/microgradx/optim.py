"""Optimisers: they change parameters so that what was differentiated gets smaller."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from numbers import Real

from microgradx import _core
from microgradx.engine import Value

__all__ = ["SGD"]


def _setting(name: str, number: float) -> float:
    if not isinstance(number, Real):
        raise TypeError(f"{name} must be a real number, not {type(number).__name__}")
    if not number >= 0:
        raise ValueError(f"{name} must be 0 or positive, not {number}")
    return float(number)


class SGD:
    """Stochastic gradient descent, with momentum and weight decay if wanted.

    A step does, for each parameter with the data `p` and the gradient `g`::

        g = g + weight_decay * p
        v = momentum * v + g        # v is 0 at first
        p = p - lr * v

    as ``torch.optim.SGD`` does.

    Parameters
    ----------
    params : iterable of Value
        The parameters, each once, such as ``model.parameters()``.
    lr : float
        The learning rate, which may be assigned at any time, as may be the other two.
    momentum : float, default 0
        How much of the last step goes into the next.
    weight_decay : float, default 0
        The factor of the penalty on the squares of the parameters.

    Raises
    ------
    TypeError
        If `params` is not an iterable of Values, or another argument not a real number.
    ValueError
        If `params` is empty or names a parameter twice, or if `lr`, `momentum` or `weight_decay`
        is negative or NaN.
    """

    def __init__(
        self, params: Iterable[Value], lr: float, momentum: float = 0, weight_decay: float = 0
    ) -> None:
        if isinstance(params, Value):
            raise TypeError("params must be an iterable of Values, not one Value: write [value]")
        if not isinstance(params, Iterable):
            raise TypeError(f"params must be an iterable of Values, not {type(params).__name__}")
        values = list(params)
        self._parameters = _core.Parameters(values)
        if not values:
            raise ValueError("params is empty: there is nothing to optimise")
        if len(set(map(id, values))) < len(values):
            raise ValueError("params names a parameter twice: it would take two steps at once")
        self.lr = _setting("lr", lr)
        self.momentum = _setting("momentum", momentum)
        self.weight_decay = _setting("weight_decay", weight_decay)
        self._velocities = array("d", [0.0]) * len(values)

    @property
    def params(self) -> list[Value]:
        """The parameters, as a new list."""
        return self._parameters.values

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0."""
        self._parameters.zero_grads()

    def step(self) -> None:
        """Change the parameters by their gradients."""
        self._parameters.sgd_step(self.lr, self.momentum, self.weight_decay, self._velocities)
