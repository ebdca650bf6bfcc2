"""Neural networks of Values: neurons, layers and multi-layer perceptrons."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from microgradx._core import LayerBase, MLPBase, NeuronBase
from microgradx.engine import Value

__all__ = ["MLP", "Layer", "Module", "Neuron"]

Activation: TypeAlias = str | Callable[[Value], Value]

_NAMES = {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid", "linear": "Linear"}


class Module:
    """Anything with parameters."""

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0."""
        for p in self.parameters():
            p.grad = 0

    def parameters(self) -> list[Value]:
        """List the parameters, always in the same order."""
        return []


def _parameters_of(modules: Iterable[Module]) -> list[Value]:
    parameters: list[Value] = []
    for module in modules:
        parameters += module.parameters()  # one by one would take a step's time
    return parameters


class Neuron(Module, NeuronBase):
    """A weighted sum of its inputs plus a bias, and an activation function of that.

    Parameters
    ----------
    nin : int
        The number of inputs.
    nonlin : bool, default True
        Whether the activation function is applied at all.
    activation : {'relu', 'tanh', 'sigmoid', 'linear'} or callable, default 'relu'
        The activation function; a callable takes the sum, a Value, and returns a Value.

    Attributes
    ----------
    w : list of Value
        The weights, drawn uniformly from [-1, 1) with Python's ``random``.
    b : Value
        The bias, 0 at first.
    nonlin : bool
        As given.
    activation : str or callable
        As given.

    Raises
    ------
    ValueError
        If `activation` is a string that names none.
    TypeError
        If `activation` is neither a string nor callable.
    """

    def __init__(self, nin: int, nonlin: bool = True, activation: Activation = "relu") -> None:
        if isinstance(activation, str):
            if activation not in _NAMES:
                known = ", ".join(map(repr, _NAMES))
                raise ValueError(
                    f"activation must be one of {known} or a callable, not {activation!r}"
                )
        elif not callable(activation):
            raise TypeError(
                f"activation must be a string or a callable, not {type(activation).__name__}"
            )
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b = Value(0)
        self.nonlin = nonlin
        self.activation = activation

    def parameters(self) -> list[Value]:
        """List the weights, then the bias."""
        return [*self.w, self.b]

    def __repr__(self) -> str:
        """Tell the activation function and the number of inputs, as ``ReLUNeuron(2)``."""
        name = self.activation if self.nonlin else "linear"
        if not isinstance(name, str):
            name = getattr(name, "__name__", type(name).__name__)
        return f"{_NAMES.get(name, name)}Neuron({len(self.w)})"

    def __getstate__(self) -> dict[str, Any]:
        """Collect the attributes, for copying and pickling."""
        own = {name: getattr(self, name) for name in ("w", "b", "nonlin", "activation")}
        return own | self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes."""
        for name, value in state.items():
            setattr(self, name, value)


class Layer(Module, LayerBase):
    """Neurons side by side, all with the same inputs.

    ``layer(x)`` computes their outputs for an iterable of Values and numbers, or for a Value alone,
    the one input of a layer with one. It returns a list with an output for each neuron, or the
    output itself if there is but one neuron, and raises ValueError for a wrong number of inputs.

    Parameters
    ----------
    nin : int
        The number of inputs.
    nout : int
        The number of neurons.
    **kwargs
        For each :class:`Neuron`.

    Attributes
    ----------
    neurons : list of Neuron
    """

    def __init__(self, nin: int, nout: int, **kwargs: bool | Activation) -> None:
        self.neurons = [Neuron(nin, **kwargs) for _ in range(nout)]  # type: ignore[arg-type]

    def parameters(self) -> list[Value]:
        """List the parameters of each neuron in turn."""
        return _parameters_of(self.neurons)

    def __repr__(self) -> str:
        """List the neurons."""
        return f"Layer of [{', '.join(str(n) for n in self.neurons)}]"


class MLP(Module, MLPBase):
    """A multi-layer perceptron: layers one after another, the last one without activation function.

    ``mlp(x)`` passes `x` through all layers and returns what the last one does.

    Parameters
    ----------
    nin : int
        The number of inputs.
    nouts : sequence of int
        The number of neurons of each layer.
    activation : {'relu', 'tanh', 'sigmoid', 'linear'} or callable, default 'relu'
        The activation function of all layers but the last.

    Attributes
    ----------
    layers : list of Layer
    """

    def __init__(self, nin: int, nouts: Iterable[int], activation: Activation = "relu") -> None:
        sizes = [nin, *nouts]
        last = len(sizes) - 2
        self.layers = [
            Layer(sizes[i], sizes[i + 1], nonlin=i != last, activation=activation)
            for i in range(last + 1)
        ]

    def parameters(self) -> list[Value]:
        """List the parameters of each layer in turn."""
        return _parameters_of(self.layers)

    def __repr__(self) -> str:
        """List the layers."""
        return f"MLP of [{', '.join(str(layer) for layer in self.layers)}]"
