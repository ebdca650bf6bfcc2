"""Optimisers: they change parameters so that what was differentiated gets smaller.

Their rules, settings and defaults are those of ``torch.optim``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from microgradx import _core
from microgradx._arrays import real_array
from microgradx.engine import Value

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]


def _number(name: str, number: Any) -> float:
    if not isinstance(number, Real):
        raise TypeError(f"{name} must be a real number, not {type(number).__name__}")
    value = float(number)
    if not value >= 0:
        raise ValueError(f"{name} must be 0 or positive, not {number}")
    return value


def _flag(name: str, flag: Any) -> bool:
    if not isinstance(flag, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, not {flag!r}")
    return bool(flag)


def _decays(name: str, pair: Any) -> tuple[float, float]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"{name} must be a pair of numbers, not {pair!r}")
    first, second = (_number(f"{name}[{i}]", number) for i, number in enumerate(pair))
    for i, number in enumerate((first, second)):
        if not number < 1:
            raise ValueError(f"{name}[{i}] must be less than 1, not {number}")
    return first, second


class Optimizer:
    """What all optimisers have in common.

    Settings such as `lr` are attributes and may be assigned at any time. Each is checked by itself,
    as when an optimiser is made; how they fit together is checked only then.

    Parameters
    ----------
    params : iterable of Value
        The parameters, each once, such as ``model.parameters()``.

    Raises
    ------
    TypeError
        If `params` is not an iterable of Values.
    ValueError
        If `params` is empty or names a parameter twice.

    Examples
    --------
    >>> from microgradx import Value, optim
    >>> x = Value(4.0)
    >>> optimiser = optim.SGD([x], lr=0.25)
    >>> for step in range(3):
    ...     optimiser.zero_grad()
    ...     (x * x).backward()
    ...     optimiser.step()
    >>> x.data
    0.5
    >>> optimiser.params
    [Value(data=0.5, grad=2.0)]
    """

    # The attributes that a state consists of: settings, which may be assigned at any time and are
    # checked by these functions, and what is remembered from step to step, a vector with a number
    # for each parameter, or None as long as there is nothing to remember.
    _settings: ClassVar[dict[str, Callable[[str, Any], Any]]] = {}
    _memories: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Iterable[Value]) -> None:
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
        self._count = len(values)
        for name in self._memories:
            setattr(self, name, None)

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign an attribute; settings must be what they may be."""
        check = self._settings.get(name)
        super().__setattr__(name, value if check is None else check(name, value))

    def __repr__(self) -> str:
        """Tell the settings, as ``SGD(lr=0.1, momentum=0.0, ...)``."""
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._settings)
        return f"{type(self).__name__}({settings})"

    @property
    def params(self) -> list[Value]:
        """The parameters, as a new list."""
        return self._parameters.values

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0.

        Raises
        ------
        TraceError
            In a function that is being compiled.
        """
        self._parameters.zero_grads()

    def step(self) -> None:
        """Change the parameters by their gradients.

        Raises
        ------
        NotImplementedError
            If this is the base class, which has no rule.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return the settings and all that is remembered from step to step.

        Returns
        -------
        dict
            Numbers and, for what is remembered for each parameter, arrays of float64 with a number
            for each; None where there is nothing yet. ``"steps"`` counts the steps taken.

        Examples
        --------
        >>> from microgradx import Value, optim
        >>> optim.SGD([Value(1.0)], lr=0.1).state_dict()  # doctest: +NORMALIZE_WHITESPACE
        {'lr': 0.1, 'momentum': 0.0, 'weight_decay': 0.0, 'dampening': 0.0, 'nesterov': False,
         'steps': 0, 'momentum_buffer': None}
        """
        memories = {name: getattr(self, name) for name in self._memories}
        return {
            **{name: getattr(self, name) for name in self._settings},
            "steps": self._parameters.steps,
            **{name: None if kept is None else kept.copy() for name, kept in memories.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was called.

        Parameters
        ----------
        state : mapping
            As :meth:`state_dict` returned it, for as many parameters in the same order.

        Raises
        ------
        KeyError
            If an entry is missing, or there is one that is none of this optimiser's.
        TypeError, ValueError
            If a setting is not what it may be, or an array has not a number for each parameter.
            Nothing has been changed then.

        Examples
        --------
        >>> from microgradx import Value, optim
        >>> first, second = optim.Adam([Value(1.0)], lr=0.1), optim.Adam([Value(1.0)])
        >>> first.step()
        >>> second.load_state_dict(first.state_dict())
        >>> second.lr, second.exp_avg
        (0.1, array([0.]))
        """
        names = (*self._settings, "steps", *self._memories)
        for name in names:
            if name not in state:
                raise KeyError(f"state has no entry {name!r}")
        for name in state:
            if name not in names:
                raise KeyError(f"state has an entry {name!r}, which {type(self).__name__} has not")
        settings = {name: check(name, state[name]) for name, check in self._settings.items()}
        steps = state["steps"]
        if not isinstance(steps, (int, np.integer)) or not 0 <= steps < 2**63:
            raise ValueError(f"state['steps'] must be a whole number from 0 on, not {steps!r}")
        memories = {name: self._checked(name, state[name]) for name in self._memories}
        for name, value in {**settings, **memories}.items():
            setattr(self, name, value)
        self._parameters.steps = int(steps)

    def _checked(self, name: str, kept: Any) -> npt.NDArray[np.float64] | None:
        if kept is None:
            return None
        array = real_array(f"state[{name!r}]", kept, kinds="fiu")
        if array.shape != (self._count,):
            raise ValueError(
                f"state[{name!r}] must have shape ({self._count},), a number for each parameter, "
                f"not {array.shape}"
            )
        return np.array(array, dtype=np.float64)

    def _memory(self, name: str) -> npt.NDArray[np.float64]:
        """Return what is remembered by this name, zeros at first."""
        kept: npt.NDArray[np.float64] | None = getattr(self, name)
        if kept is None:
            kept = np.zeros(self._count)
            setattr(self, name, kept)
        return kept


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and weight decay if wanted.

    A step does, for each parameter with the data `p` and the gradient `g`::

        g = g + weight_decay * p
        v = momentum * v + (1 - dampening) * g    # v = g at first
        p = p - lr * v                            # lr * (g + momentum * v) if nesterov

    as ``torch.optim.SGD`` does.

    Parameters
    ----------
    params : iterable of Value
        The parameters, each once, such as ``model.parameters()``.
    lr : float, default 0.001
        The learning rate, which may be assigned at any time, as may be the others.
    momentum : float, default 0
        How much of the last step goes into the next.
    weight_decay : float, default 0
        The factor of the penalty on the squares of the parameters.
    dampening : float, default 0
        How much less of the gradient goes into a step with momentum.
    nesterov : bool, default False
        Whether the gradient counts as if the step were taken already (Nesterov's momentum).

    Raises
    ------
    TypeError
        If `params` is not an iterable of Values, or another argument not a real number.
    ValueError
        If `params` is empty or names a parameter twice, if `lr`, `momentum` or `weight_decay` is
        negative or NaN, or if Nesterov's momentum is wanted without momentum or with dampening.

    Examples
    --------
    >>> from microgradx import Value, optim
    >>> x = Value(1.0)
    >>> optimiser = optim.SGD([x], lr=0.5, momentum=0.5)
    >>> for step in range(2):
    ...     optimiser.zero_grad()
    ...     (x * x).backward()
    ...     optimiser.step()
    >>> x.data, optimiser.momentum_buffer
    (-0.5, array([1.]))
    """

    _settings: ClassVar = {
        "lr": _number,
        "momentum": _number,
        "weight_decay": _number,
        "dampening": _number,
        "nesterov": _flag,
    }
    _memories = ("momentum_buffer",)
    momentum_buffer: npt.NDArray[np.float64] | None

    def __init__(
        self,
        params: Iterable[Value],
        lr: float = 1e-3,
        momentum: float = 0,
        weight_decay: float = 0,
        *,
        dampening: float = 0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params)
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.dampening = dampening
        self.nesterov = nesterov
        if self.nesterov and (momentum == 0 or dampening != 0):
            raise ValueError("nesterov needs a momentum, and no dampening")

    def step(self) -> None:
        """Change the parameters by their gradients.

        Raises
        ------
        TraceError
            In a function that is being compiled.
        """
        if self.momentum == 0:
            self._parameters.sgd_step(self.lr, self.weight_decay)
        else:
            velocities = self.momentum_buffer
            is_first = velocities is None
            if velocities is None:
                velocities = np.zeros(self._count)
            self._parameters.momentum_step(
                self.lr,
                self.momentum,
                self.dampening,
                self.weight_decay,
                self.nesterov,
                velocities,
                is_first,
            )
            self.momentum_buffer = velocities


class RMSprop(Optimizer):
    """Steps divided by a running average of the gradients' size.

    A step does, for each parameter with the data `p` and the gradient `g`::

        g = g + weight_decay * p
        s = alpha * s + (1 - alpha) * g**2    # s is 0 at first
        v = momentum * v + g / (sqrt(s) + eps)
        p = p - lr * v

    as ``torch.optim.RMSprop`` does. If it is centered, the square of a running average of `g` is
    subtracted from `s` under the root.

    Parameters
    ----------
    params : iterable of Value
        The parameters, each once, such as ``model.parameters()``.
    lr : float, default 0.01
        The learning rate, which may be assigned at any time, as may be the others.
    alpha : float, default 0.99
        How much of an average is kept at a step.
    eps : float, default 1e-8
        What is added to the divisor.
    weight_decay : float, default 0
        The factor of the penalty on the squares of the parameters.
    momentum : float, default 0
        How much of the last step goes into the next.
    centered : bool, default False
        Whether the gradients' variance stands for the mean of their squares.

    Raises
    ------
    TypeError
        If `params` is not an iterable of Values, or another argument not a real number.
    ValueError
        If `params` is empty or names a parameter twice, or if a number is negative or NaN.

    Examples
    --------
    >>> from microgradx import Value, optim
    >>> x = Value(1.0)
    >>> optimiser = optim.RMSprop([x], lr=0.25, alpha=0.75)
    >>> (x * x).backward()
    >>> optimiser.step()
    >>> round(x.data, 4), optimiser.square_avg
    (0.5, array([1.]))
    """

    _settings: ClassVar = {
        "lr": _number,
        "alpha": _number,
        "eps": _number,
        "weight_decay": _number,
        "momentum": _number,
        "centered": _flag,
    }
    _memories = ("square_avg", "grad_avg", "momentum_buffer")
    square_avg: npt.NDArray[np.float64] | None
    grad_avg: npt.NDArray[np.float64] | None
    momentum_buffer: npt.NDArray[np.float64] | None

    def __init__(
        self,
        params: Iterable[Value],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
    ) -> None:
        super().__init__(params)
        self.lr = lr
        self.alpha = alpha
        self.eps = eps
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.centered = centered

    def step(self) -> None:
        """Change the parameters by their gradients.

        Raises
        ------
        TraceError
            In a function that is being compiled.
        """
        self._parameters.rmsprop_step(
            self.lr,
            self.alpha,
            self.eps,
            self.weight_decay,
            self.momentum,
            self._memory("square_avg"),
            self._memory("grad_avg") if self.centered else None,
            self._memory("momentum_buffer") if self.momentum != 0 else None,
        )


class Adam(Optimizer):
    """Steps by running averages of the gradients and of their squares (Kingma and Ba, 2015).

    A step does, for each parameter with the data `p` and the gradient `g`, at step `t`, counted
    from 1::

        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g       # m and s are 0 at first
        s = beta2 * s + (1 - beta2) * g**2
        p = p - lr * (m / (1 - beta1**t)) / (sqrt(s / (1 - beta2**t)) + eps)

    as ``torch.optim.Adam`` does.

    Parameters
    ----------
    params : iterable of Value
        The parameters, each once, such as ``model.parameters()``.
    lr : float, default 0.001
        The learning rate, which may be assigned at any time, as may be the others.
    betas : pair of float, default (0.9, 0.999)
        How much of the two averages is kept at a step.
    eps : float, default 1e-8
        What is added to the divisor.
    weight_decay : float, default 0
        The factor of the penalty on the squares of the parameters.
    amsgrad : bool, default False
        Whether the largest `s` so far is divided by (Reddi, Kale and Kumar, 2018).

    Raises
    ------
    TypeError
        If `params` is not an iterable of Values, or another argument not a real number.
    ValueError
        If `params` is empty or names a parameter twice, if a number is negative or NaN, or if one
        of `betas` is not less than 1.

    Examples
    --------
    >>> from microgradx import Value, optim
    >>> x = Value(1.0)
    >>> optimiser = optim.Adam([x], lr=0.1)
    >>> for step in range(2):
    ...     optimiser.zero_grad()
    ...     (x * x).backward()
    ...     optimiser.step()
    >>> round(x.data, 3)
    0.8
    """

    _settings: ClassVar = {
        "lr": _number,
        "betas": _decays,
        "eps": _number,
        "weight_decay": _number,
        "amsgrad": _flag,
    }
    _memories = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    _decays_apart: ClassVar[bool] = False
    exp_avg: npt.NDArray[np.float64] | None
    exp_avg_sq: npt.NDArray[np.float64] | None
    max_exp_avg_sq: npt.NDArray[np.float64] | None

    def __init__(
        self,
        params: Iterable[Value],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params)
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self.amsgrad = amsgrad

    def step(self) -> None:
        """Change the parameters by their gradients.

        Raises
        ------
        TraceError
            In a function that is being compiled.
        """
        beta1, beta2 = self.betas
        self._parameters.adam_step(
            self.lr,
            beta1,
            beta2,
            self.eps,
            self.weight_decay,
            self._decays_apart,
            self._memory("exp_avg"),
            self._memory("exp_avg_sq"),
            self._memory("max_exp_avg_sq") if self.amsgrad else None,
        )


class AdamW(Adam):
    """Adam whose weights decay apart from the gradients (Loshchilov and Hutter, 2019).

    As :class:`Adam`, but a step begins with ``p = p - lr * weight_decay * p``, and `g` is the
    gradient alone, as ``torch.optim.AdamW`` does.

    Parameters
    ----------
    params : iterable of Value
        The parameters, each once, such as ``model.parameters()``.
    lr : float, default 0.001
        The learning rate, which may be assigned at any time, as may be the others.
    betas : pair of float, default (0.9, 0.999)
        How much of the two averages is kept at a step.
    eps : float, default 1e-8
        What is added to the divisor.
    weight_decay : float, default 0.01
        How much of a parameter is taken off at a step, times `lr`.
    amsgrad : bool, default False
        Whether the largest `s` so far is divided by (Reddi, Kale and Kumar, 2018).

    Raises
    ------
    TypeError
        If `params` is not an iterable of Values, or another argument not a real number.
    ValueError
        If `params` is empty or names a parameter twice, if a number is negative or NaN, or if one
        of `betas` is not less than 1.

    Examples
    --------
    >>> from microgradx import Value, optim
    >>> x = Value(1.0)
    >>> optimiser = optim.AdamW([x], lr=0.1, weight_decay=0.5)
    >>> optimiser.step()  # with no gradient, it decays
    >>> x.data
    0.95
    """

    _decays_apart = True

    def __init__(
        self,
        params: Iterable[Value],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)
