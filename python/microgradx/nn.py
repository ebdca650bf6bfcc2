"""Neural networks of Values: neurons, layers and multi-layer perceptrons."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from microgradx._arrays import real_array
from microgradx._core import LayerBase, MLPBase, NeuronBase, assign, data, identities, zero_grads
from microgradx.engine import Value

__all__ = ["MLP", "Layer", "Module", "Neuron"]

Activation: TypeAlias = str | Callable[[Value], Value]

_NAMES = {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid", "linear": "Linear"}


class Module:
    """Anything with parameters.

    Derive from it for a model of your own. Modules and Values among the attributes, also those in
    lists, tuples and dicts, have names; :meth:`parameters` is to list the parameters.

    Examples
    --------
    >>> from microgradx import Value
    >>> from microgradx.nn import MLP, Module
    >>> class Scaled(Module):
    ...     def __init__(self):
    ...         self.network = MLP(2, [3, 1])
    ...         self.scale = Value(1.0)
    ...     def parameters(self):
    ...         return [*self.network.parameters(), self.scale]
    ...     def __call__(self, x):
    ...         return self.scale * self.network(x)
    >>> model = Scaled()
    >>> model([1.0, -2.0]).backward()
    >>> len(model.parameters()), len(list(model.modules()))
    (14, 8)
    >>> [name for name, _ in model.named_parameters()][-2:]
    ['network.layers.1.bias', 'scale']
    >>> model.zero_grad()
    """

    _is_frozen = False

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0."""
        zero_grads(self.parameters())

    def parameters(self) -> list[Value]:
        """List the parameters, always in the same order.

        Returns
        -------
        list of Value
        """
        return []

    def children(self) -> Iterator[tuple[str, Any]]:
        """Go through what the module consists of: its attributes, with their names.

        A module that keeps its parameters elsewhere says here what they are called.

        Yields
        ------
        name : str
            What it is called.
        child : object
            A Value, a module, a list, tuple or dict of them, or anything else, which is ignored.
        """
        yield from vars(self).items()

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Go through all Values among the attributes, here and in modules, by name.

        Those that :meth:`parameters` does not list, such as results, are no parameters; a
        :meth:`state_dict` leaves them out.

        Parameters
        ----------
        prefix : str, default ''
            What all names begin with.

        Yields
        ------
        name : str
            How to get to the parameters from the module, as in ``layers.0.weight``.
        values : Value, or nested sequences of Values
            The parameters, nested as an array is.

        Examples
        --------
        >>> from microgradx.nn import MLP
        >>> [name for name, _ in MLP(2, [3, 1]).named_parameters("mlp.")]
        ['mlp.layers.0.weight', 'mlp.layers.0.bias', 'mlp.layers.1.weight', 'mlp.layers.1.bias']
        """
        for name, child in self.children():
            yield from _named(f"{prefix}{name}", child)

    def modules(self) -> Iterator[Module]:
        """Go through the module and all that it consists of.

        Yields
        ------
        module : Module
            Whatever contains a module comes before it.
        """
        yield self
        for _, child in self.children():
            yield from _modules_in(child)

    def freeze(self) -> None:
        """Leave the parameters out of :meth:`trainable_parameters` from now on.

        Those of all that the module consists of, too, which :meth:`unfreeze` can take back for a
        part of it.

        Examples
        --------
        >>> from microgradx.nn import MLP
        >>> model = MLP(2, [3, 1])
        >>> model.freeze()
        >>> model.layers[1].unfreeze()
        >>> model.trainable_parameters() == model.layers[1].parameters()
        True
        """
        for module in self.modules():
            module._is_frozen = True

    def unfreeze(self) -> None:
        """Undo :meth:`freeze`, here and in all that the module consists of."""
        for module in self.modules():
            module._is_frozen = False

    def trainable_parameters(self) -> list[Value]:
        """List the parameters, without those of modules that are frozen.

        Give them to an optimiser, and it leaves the others as they are.

        Returns
        -------
        list of Value

        Examples
        --------
        >>> from microgradx.nn import MLP
        >>> model = MLP(2, [3, 1])
        >>> model.layers[0].freeze()
        >>> len(model.parameters()), len(model.trainable_parameters())
        (13, 4)
        """
        is_frozen: dict[int, bool] = {}
        for module in self.modules():  # what a module consists of comes after it, and counts
            for p in module.parameters():
                is_frozen[id(p)] = module._is_frozen
        return [p for p in self.parameters() if not is_frozen.get(id(p), False)]

    def state_dict(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return copies of the parameters' numbers by name.

        Returns
        -------
        dict of str to numpy.ndarray of float64
            Named and shaped as by ``torch.nn.Linear``: the weights of a layer are an array with a
            row for each neuron, ``layers.0.weight``, and its biases are ``layers.0.bias``.

        Raises
        ------
        ValueError
            If there are parameters that :meth:`named_parameters` does not go through, or if this
            class has parameters but does not override :meth:`parameters`.

        Examples
        --------
        >>> from microgradx.nn import MLP
        >>> {name: a.shape for name, a in MLP(2, [3, 1]).state_dict().items()}
        ... # doctest: +NORMALIZE_WHITESPACE
        {'layers.0.weight': (3, 2), 'layers.0.bias': (3,),
         'layers.1.weight': (1, 3), 'layers.1.bias': (1,)}
        """
        return {name: data(values) for name, values in self._all_named().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Give the parameters the numbers of a state.

        Parameters
        ----------
        state : mapping of str to array
            As :meth:`state_dict` returns it, or PyTorch's.
        strict : bool, default True
            Whether no entry may be missing, nor one be left over.

        Raises
        ------
        KeyError
            If an entry is missing, or there is one that is no parameter's.
        ValueError
            If an array has another shape than the parameters. Nothing has been changed then.
        TypeError
            If `state` is not a mapping, or an entry is not an array of real numbers.

        Examples
        --------
        >>> from microgradx.nn import MLP
        >>> model, twin = MLP(2, [3, 1]), MLP(2, [3, 1])
        >>> twin.load_state_dict(model.state_dict())
        >>> twin([1.0, -2.0]).data == model([1.0, -2.0]).data
        True
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a mapping, not {type(state).__name__}")
        named = self._all_named()
        missing = [name for name in named if name not in state]
        extra = [name for name in state if name not in named]
        if strict and missing:
            raise KeyError(f"state has no entry {missing[0]!r}{_others(missing)}")
        if strict and extra:
            raise KeyError(
                f"state has an entry {extra[0]!r}{_others(extra)}, of which "
                f"{type(self).__name__} has no parameters"
            )
        arrays = {}
        for name, values in named.items():
            if name not in state:
                continue
            arrays[name] = real_array(f"state[{name!r}]", state[name])
            shape = identities(values).shape
            if arrays[name].shape != shape:
                raise ValueError(
                    f"state[{name!r}] must have shape {shape}, not {arrays[name].shape}"
                )
        floats = {name: array.astype(np.float64) for name, array in arrays.items()}
        for name, array in floats.items():
            assign(named[name], array)

    def _all_named(self) -> dict[str, Any]:
        """Collect what is named and consists of parameters; check that these are all."""
        every = dict(self.named_parameters())
        if every and type(self).parameters is Module.parameters:
            raise ValueError(
                f"{type(self).__name__} has no parameters() of its own: "
                "define one that returns the list of its parameters"
            )
        found = np.sort(identities(self.parameters()), axis=None)
        parameters = found[np.diff(found, prepend=0) > 0]
        is_named = np.zeros(parameters.size, bool)
        named = {}
        for name, values in every.items():
            ids = identities(values)
            places = np.searchsorted(parameters, ids)
            if np.array_equal(np.append(parameters, 0)[places], ids):
                named[name] = values
                is_named[places] = True
        unnamed = parameters.size - np.count_nonzero(is_named)
        if unnamed:
            raise ValueError(
                f"{unnamed} of the parameters are in no attribute of {type(self).__name__}: "
                "override children() to name them"
            )
        return named


def _others(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _shape(values: Any) -> tuple[int, ...] | None:
    """Return the shape of nested sequences of nothing but Values, or None if they have none."""
    if isinstance(values, Value):
        return ()
    if not isinstance(values, (list, tuple)) or not values:
        return None
    if set(map(type, values)) == {Value}:  # without a call for each
        return (len(values),)
    shapes = {_shape(item) for item in values}
    inner = shapes.pop()
    return None if shapes or inner is None else (len(values), *inner)


def _named(name: str, child: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(child, Module):
        yield from child.named_parameters(f"{name}.")
    elif _shape(child) is not None:
        yield name, child
    elif isinstance(child, (list, tuple)):
        for i, item in enumerate(child):
            yield from _named(f"{name}.{i}", item)
    elif isinstance(child, Mapping):
        for key, item in child.items():
            yield from _named(f"{name}.{key}", item)


def _modules_in(child: Any) -> Iterator[Module]:
    if isinstance(child, Module):
        yield from child.modules()
    elif isinstance(child, (list, tuple)):
        for item in child:
            yield from _modules_in(item)
    elif isinstance(child, Mapping):
        yield from _modules_in(list(child.values()))


def _parameters_of(modules: Iterable[Module]) -> list[Value]:
    parameters: list[Value] = []
    for module in modules:
        parameters += module.parameters()  # one by one would take a step's time
    return parameters


def _count(name: str, number: Any) -> int:
    try:
        count = operator.index(number)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {type(number).__name__}") from None
    if count < 0:
        raise ValueError(f"{name} must be 0 or more, not {count}")
    return count


class Neuron(Module, NeuronBase):
    """A weighted sum of its inputs plus a bias, and an activation function of that.

    ``neuron(x)`` computes its output, a Value, for an iterable of `nin` Values and numbers. It
    raises ValueError for a wrong number of inputs.

    Parameters
    ----------
    nin : int
        The number of inputs.
    nonlin : bool, default True
        Whether the activation function is applied at all.
    activation : str or callable, default 'relu'
        The activation function: 'relu', 'tanh', 'sigmoid' or 'linear'; a callable takes the sum, a
        Value, and returns a Value.

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
        If `nin` is negative, or `activation` is a string that names none.
    TypeError
        If `nin` is not a whole number, or `activation` is neither a string nor callable.

    Examples
    --------
    >>> from microgradx.nn import Neuron
    >>> neuron = Neuron(2, activation="tanh")
    >>> neuron
    TanhNeuron(2)
    >>> neuron.w[0].data, neuron.w[1].data, neuron.b.data = 0.5, -1.0, 2.0
    >>> neuron([4.0, 4.0])
    Value(data=0.0, grad=0)
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
        self.w: list[Value] = [Value(random.uniform(-1, 1)) for _ in range(_count("nin", nin))]
        self.b: Value = Value(0)
        self.nonlin = nonlin
        self.activation = activation

    def parameters(self) -> list[Value]:
        """List the weights, then the bias.

        Returns
        -------
        list of Value
        """
        return [*self.w, self.b]

    def children(self) -> Iterator[tuple[str, Any]]:
        """Go through the weights and the bias, and attributes that a user has added.

        Yields
        ------
        name : str
            ``weight``, ``bias``, or the name of the attribute.
        child : object
            As of :meth:`Module.children`.
        """
        yield "weight", self.w
        yield "bias", self.b
        yield from super().children()

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

    ``layer(x)`` computes their outputs for an iterable of `nin` Values and numbers, or for a Value
    alone, the one input of a layer with one. It returns a list with an output for each neuron, or
    the output itself if there is but one neuron, and raises ValueError for a wrong number of
    inputs.

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

    Raises
    ------
    ValueError, TypeError
        As :class:`Neuron` does, and if `nout` is no number of neurons.

    Examples
    --------
    >>> from microgradx.nn import Layer
    >>> layer = Layer(3, 2, activation="sigmoid")
    >>> layer
    Layer of [SigmoidNeuron(3), SigmoidNeuron(3)]
    >>> len(layer([1.0, -2.0, 0.5]))
    2
    """

    def __init__(self, nin: int, nout: int, **kwargs: bool | Activation) -> None:
        count = _count("nout", nout)
        self.neurons: list[Neuron] = [Neuron(nin, **kwargs) for _ in range(count)]  # type: ignore[arg-type]

    def parameters(self) -> list[Value]:
        """List the parameters of each neuron in turn.

        Returns
        -------
        list of Value
        """
        return _parameters_of(self.neurons)

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Go through the weights of all neurons, then their biases.

        Neurons that differ in their number of inputs, or that are of a class of one's own, go one
        by one.

        Parameters
        ----------
        prefix : str, default ''
            What all names begin with.

        Yields
        ------
        name : str
            ``weight`` or ``bias``, after the prefix.
        values : nested lists of Value
            A list of weights for each neuron; a list with the bias of each.

        Examples
        --------
        >>> from microgradx.nn import Layer
        >>> [(name, len(values)) for name, values in Layer(3, 2).named_parameters()]
        [('weight', 2), ('bias', 2)]
        """
        are_alike = all(type(n) is Neuron for n in self.neurons)
        weights = [n.w for n in self.neurons]
        if not are_alike or _shape(weights) is None:
            yield from super().named_parameters(prefix)
            return
        yield f"{prefix}weight", weights
        yield f"{prefix}bias", [n.b for n in self.neurons]
        for name, child in self.children():
            if name != "neurons":
                yield from _named(f"{prefix}{name}", child)

    def __repr__(self) -> str:
        """List the neurons."""
        return f"Layer of [{', '.join(str(n) for n in self.neurons)}]"


class MLP(Module, MLPBase):
    """A multi-layer perceptron: layers one after another, the last one without activation function.

    ``mlp(x)`` passes `x`, an iterable of `nin` Values and numbers, through all layers and returns
    what the last one does: a list with an output for each of its neurons, or the output itself if
    there is but one. It raises ValueError for a wrong number of inputs.

    Parameters
    ----------
    nin : int
        The number of inputs.
    nouts : sequence of int
        The number of neurons of each layer.
    activation : str or callable, default 'relu'
        The activation function of all layers but the last, as of :class:`Neuron`.

    Attributes
    ----------
    layers : list of Layer

    Raises
    ------
    ValueError, TypeError
        As :class:`Layer` does, and if `nouts` is not a sequence.

    Examples
    --------
    >>> from microgradx.nn import MLP
    >>> model = MLP(2, [3, 1])
    >>> model
    MLP of [Layer of [ReLUNeuron(2), ReLUNeuron(2), ReLUNeuron(2)], Layer of [LinearNeuron(3)]]
    >>> y = model([1.0, -2.0])
    >>> y.backward()
    >>> model.layers[1].neurons[0].b.grad
    1
    """

    def __init__(self, nin: int, nouts: Iterable[int], activation: Activation = "relu") -> None:
        if not isinstance(nouts, Iterable):
            raise TypeError(f"nouts must be a sequence of ints, not {type(nouts).__name__}")
        sizes = [nin, *nouts]
        last = len(sizes) - 2
        self.layers: list[Layer] = [
            Layer(sizes[i], sizes[i + 1], nonlin=i != last, activation=activation)
            for i in range(last + 1)
        ]

    def parameters(self) -> list[Value]:
        """List the parameters of each layer in turn.

        Returns
        -------
        list of Value
        """
        return _parameters_of(self.layers)

    def __repr__(self) -> str:
        """List the layers."""
        return f"MLP of [{', '.join(str(layer) for layer in self.layers)}]"
