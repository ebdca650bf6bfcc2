"""Compiling: record a function of scalars once, replay it over whole data sets."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import math
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar, overload

import numpy as np

from microgradx import _core
from microgradx._core import Arguments, Program, TraceError
from microgradx.engine import Value

__all__ = ["CompiledFunction", "TraceError", "compile", "take"]

# There is one recorder at a time. A function may call another compiled one while it is traced.
_tracing = threading.Lock()


class CompiledFunction:
    """A function of scalars that is recorded when it is first called and replayed from then on.

    Made by :func:`compile`, which see.

    Parameters
    ----------
    function : callable
        Takes Values, and lists and tuples of them, and returns a Value, or a list or tuple of
        Values.
    static_argnames : str or iterable of str, optional
        Arguments that the function gets as they are.
    cache_size : int, default 64
        How many records are kept.

    Raises
    ------
    TypeError
        If `function` is not callable.
    ValueError
        If `static_argnames` has a name that is no argument's, or `cache_size` is less than 1.

    Examples
    --------
    >>> import numpy as np, microgradx as mgx
    >>> w = mgx.Value(3.0)
    >>> f = mgx.compile(lambda x, y: (w * x - y) ** 2)
    >>> f(1.0, 2.0)
    Value(data=1.0, grad=0)
    >>> samples = np.array([1.0, 2.0]), np.array([2.0, 4.0])
    >>> f.sum(*samples)
    Value(data=5.0, grad=0)
    >>> f.map(*samples)
    array([1., 4.])
    >>> f.value_and_grad(1.0, 2.0)
    (1.0, (6.0, -2.0))
    """

    def __init__(
        self,
        function: Callable[..., Any],
        static_argnames: str | Iterable[str] = (),
        cache_size: int = 64,
    ) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, not {type(function).__name__}")
        if cache_size < 1:
            raise ValueError(f"cache_size must be at least 1, not {cache_size}")
        functools.update_wrapper(self, function, updated=())
        self.__name__: str = getattr(function, "__name__", type(function).__name__)
        self._function: Callable[..., Any] | None = function
        names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
        self._signature = inspect.signature(function) if names else None
        if self._signature is not None:
            for name in names:
                if name not in self._signature.parameters:
                    raise ValueError(f"static_argnames has {name!r}, which is no argument")
        self._static_argnames = names
        self._cache_size = cache_size
        self._programs: OrderedDict[Hashable, tuple[Program, Any]] = OrderedDict()
        # The program that was used last, if it is told by the arguments alone and gives one Value.
        self._latest: Program | None = None
        self._retraces = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the function for one sample.

        Parameters
        ----------
        *args, **kwargs : numbers, Values, arrays, and lists and tuples of them
            Arrays stand for nested lists.

        Returns
        -------
        Value, or list or tuple of Value
            As the function returns them. They can be differentiated by the Values among the
            arguments and by those that the function uses besides.

        Raises
        ------
        TypeError
            If something among the arguments is none of these, or the function returns something
            else than Values.
        ValueError
            As the function does, such as for the logarithm of 0.
        TraceError
            If the function does what cannot be recorded.

        Examples
        --------
        >>> import microgradx as mgx
        >>> distance = mgx.compile(lambda p, q: ((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2).sqrt())
        >>> distance([0.0, 0.0], [3.0, 4.0])
        Value(data=5.0, grad=0)
        """
        if _core.is_tracing() and self._function is not None:
            return self._function(*args, **kwargs)
        values, kind = self._run(Program.call, args, kwargs, False)
        return _restored(values, kind)

    def sum(self, *batches: Any, **kwargs: Any) -> Value:
        """Add up the function over samples.

        Parameters
        ----------
        *batches, **kwargs : arrays, numbers, Values, and lists and tuples of them
            Arrays have a leading axis of the same length, along which the samples lie; lists of
            numbers are taken for arrays. All else is the same for all samples.

        Returns
        -------
        Value
            To be differentiated as what a call returns. Its derivatives are computed here, not by
            ``backward()``.

        Raises
        ------
        ValueError
            If leading axes differ, or if there is none, or as the function does; the message
            names the sample.
        TypeError
            If something among the arguments is none of these, or if the function returns more
            than one Value.
        TraceError
            If the function does what cannot be recorded.

        Examples
        --------
        >>> import microgradx as mgx
        >>> w = mgx.Value(3.0)
        >>> total = mgx.compile(lambda x: w * x).sum([1.0, 2.0])
        >>> total.backward()
        >>> total.data, w.grad
        (9.0, 3.0)
        """
        total: Value = self._run(Program.sum, batches, kwargs, True)[0]
        return total

    def mean(self, *batches: Any, **kwargs: Any) -> Value:
        """Compute the mean of the function over samples, which must not be none.

        Parameters
        ----------
        *batches, **kwargs : arrays, numbers, Values, and lists and tuples of them
            Arrays have a leading axis of the same length, along which the samples lie; lists of
            numbers are taken for arrays. All else is the same for all samples.

        Returns
        -------
        Value
            To be differentiated as what a call returns. Its derivatives are computed here, not by
            ``backward()``.

        Raises
        ------
        ValueError
            If leading axes differ, or if there is none, if there are no
            samples, or as the function does; the message names the sample.
        TypeError
            If something among the arguments is none of these, or if the function returns more
            than one Value.
        TraceError
            If the function does what cannot be recorded.

        Examples
        --------
        >>> import microgradx as mgx
        >>> mgx.compile(lambda x: x * x).mean([1.0, 3.0])
        Value(data=5.0, grad=0)
        """
        mean: Value = self._run(Program.mean, batches, kwargs, True)[0]
        return mean

    def map(self, *batches: Any, **kwargs: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Compute the function for each sample, without derivatives.

        Parameters
        ----------
        *batches, **kwargs : arrays, numbers, Values, and lists and tuples of them
            Arrays have a leading axis of the same length, along which the samples lie; lists of
            numbers are taken for arrays. All else is the same for all samples.

        Returns
        -------
        numpy.ndarray of float64
            Of shape (N,), or (N, k) if the function returns a list or tuple of k Values.

        Raises
        ------
        ValueError
            If leading axes differ, or if there is none, or as the function does; the message
            names the sample.
        TypeError
            If something among the arguments is none of these.
        TraceError
            If the function does what cannot be recorded.

        Examples
        --------
        >>> import microgradx as mgx
        >>> mgx.compile(lambda x: [x, x * x]).map([1.0, 2.0, 3.0])
        array([[1., 1.],
               [2., 4.],
               [3., 9.]])
        """
        outputs, kind = self._run(Program.map, batches, kwargs, True)
        return outputs[0] if kind is None else np.ascontiguousarray(outputs.T)

    def value_and_grad(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Compute the function for one sample and its gradients by the arguments.

        Parameters
        ----------
        *args, **kwargs : numbers, Values, arrays, and lists and tuples of them
            Arrays stand for nested lists.

        Returns
        -------
        value : float
            An array of shape (k,) if the function returns a list or tuple of k Values.
        gradients : float or numpy.ndarray, or lists and tuples of them
            Nested as the arguments are, an array for an array; a tuple of these if there are
            several arguments. If the function returns k Values they are arrays with an axis of
            length k before the argument's own: the Jacobian matrix of a one-dimensional array.

        Raises
        ------
        TypeError
            If something among the arguments is none of these, or the function returns something
            else than Values.
        ValueError
            As the function does, such as for the logarithm of 0.
        TraceError
            If the function does what cannot be recorded.

        Examples
        --------
        >>> import numpy as np, microgradx as mgx
        >>> f = mgx.compile(lambda p, y: p[0] * p[1] - y)
        >>> f.value_and_grad(np.array([2.0, 3.0]), 1.0)
        (5.0, (array([3., 2.]), -1.0))
        """
        (values, gradients), kind = self._run(Program.value_and_grad, args, kwargs, False)
        if kind is not None:
            return values, gradients
        return float(values[0]), _without_axis(gradients)

    def map_value_and_grad(self, *batches: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Compute the function for each sample and its gradients by the arguments.

        Parameters
        ----------
        *batches, **kwargs : arrays, numbers, Values, and lists and tuples of them
            Arrays have a leading axis of the same length, along which the samples lie; lists of
            numbers are taken for arrays. All else is the same for all samples.

        Returns
        -------
        values : numpy.ndarray of float64
            Of shape (N,).
        gradients : numpy.ndarray, or lists and tuples of them
            Nested as :meth:`value_and_grad` does it, all with a leading axis of length N.

        Raises
        ------
        ValueError
            If leading axes differ, or if there is none, or as the function does; the message
            names the sample.
        TypeError
            If something among the arguments is none of these, or if the function returns more
            than one Value.
        TraceError
            If the function does what cannot be recorded.

        Examples
        --------
        >>> import microgradx as mgx
        >>> mgx.compile(lambda x: x * x).map_value_and_grad([1.0, 3.0])
        (array([1., 9.]), array([2., 6.]))
        """
        (values, gradients), _ = self._run(Program.map_value_and_grad, batches, kwargs, True)
        return values, gradients

    def retrace(self) -> None:
        """Forget what has been recorded, as when a Value that the function uses was replaced.

        Examples
        --------
        >>> import microgradx as mgx
        >>> w = mgx.Value(3.0)
        >>> f = mgx.compile(lambda x: w * x)
        >>> f(2.0)
        Value(data=6.0, grad=0)
        >>> w = mgx.Value(5.0)
        >>> f.retrace()
        >>> f(2.0)
        Value(data=10.0, grad=0)
        """
        self._retraces += 1
        self._programs.clear()
        self._latest = None

    @property
    def programs(self) -> Mapping[Hashable, Program]:
        """What has been recorded, by the structure of the arguments, the last used one last."""
        return MappingProxyType({key: program for key, (program, _) in self._programs.items()})

    @property
    def program(self) -> Program:
        """The program that was used last.

        Raises
        ------
        AttributeError
            If nothing has been recorded yet.
        """
        if not self._programs:
            raise AttributeError(f"{self} has not been traced yet: call it first")
        return next(reversed(self._programs.values()))[0]

    def __repr__(self) -> str:
        """Tell the function's name."""
        return f"<compiled function {self.__name__}>"

    def __getstate__(self) -> dict[str, Any]:
        """Collect what was recorded; the function itself stays where it is."""
        signature = self._signature
        if signature is None and self._function is not None:
            with contextlib.suppress(TypeError, ValueError):  # not every function has one
                signature = inspect.signature(self._function)
        if signature is not None:
            signature = _names_alone(signature)
        state = self.__dict__ | {"_function": None, "_signature": signature}
        state.pop("__wrapped__", None)
        return state

    def _run(
        self,
        method: Callable[[Program, Any], Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        batched: bool,
    ) -> tuple[Any, type | None]:
        """Run a method of the program for the arguments; also the type that is to hold its outputs.

        The latest program is tried first: it does nothing if the arguments are not for it.
        """
        if self._latest is not None and not kwargs:
            result = method(self._latest, args)
            if result is not None:
                return result, None
        arguments, program, kind = self._prepare(args, kwargs, batched)
        if kind is not None and method in _OF_ONE_OUTPUT:
            raise TypeError(
                f"{method.__name__} is of functions that return one Value, not a {kind.__name__}"
            )
        return method(program, arguments), kind

    def _prepare(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], batched: bool
    ) -> tuple[Arguments, Program, type | None]:
        """Find the program for the arguments, tracing the function if there is none yet."""
        if kwargs or self._static_argnames:
            args, call, key = self._bind(args, kwargs)
            arguments = Arguments(args, batched)
            structure: Hashable = (arguments.structure, key)
        else:
            call = self._function
            arguments = Arguments(args, batched)
            structure = arguments.structure
        programs = self._programs
        known = programs.get(structure)
        if known is None:
            retraces = self._retraces
            known = self._trace(arguments, call)
            if retraces != self._retraces:  # meanwhile: what was recorded is out of date
                return arguments, *known
            self._remember(structure, known)
        else:
            with contextlib.suppress(KeyError):  # another thread may have removed it
                programs.move_to_end(structure)
        program, kind = known
        is_told_by_arguments = structure == program.structure
        self._latest = program if is_told_by_arguments and kind is None else None
        return arguments, program, kind

    def _bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], Callable[..., Any] | None, Hashable]:
        """Split arguments into those that are traced and a function of them."""
        function = self._function
        if self._signature is None:
            if function is None:
                raise TraceError(
                    f"{self} has been unpickled, and its function did not name its arguments, "
                    "so it is called without keywords"
                )
            self._signature = inspect.signature(function)
        bound = self._signature.bind(*args, **kwargs)
        given = bound.arguments
        statics = {name: given[name] for name in self._static_argnames if name in given}
        traced: list[Any] = []
        layout: list[tuple[str, Any]] = []
        for name, value in given.items():
            kind = self._signature.parameters[name].kind
            if name in statics:
                continue
            if kind is inspect.Parameter.VAR_POSITIONAL:
                layout.append((name, len(value)))
                traced += value
            elif kind is inspect.Parameter.VAR_KEYWORD:
                layout.append((name, tuple(value)))
                traced += value.values()
            else:
                layout.append((name, None))
                traced.append(value)

        def call(*values: Any) -> Any:
            assert function is not None
            rest = iter(values)
            for name, part in layout:
                if part is None:
                    given[name] = next(rest)
                elif isinstance(part, int):
                    given[name] = tuple(itertools.islice(rest, part))
                else:
                    given[name] = {key: next(rest) for key in part}
            return function(*bound.args, **bound.kwargs)

        key = (tuple(layout), tuple((name, _exact(value)) for name, value in statics.items()))
        try:
            hash(key)
        except TypeError as error:
            raise TypeError(f"static arguments must be hashable: {error}") from None
        return tuple(traced), None if function is None else call, key

    def _trace(
        self, arguments: Arguments, call: Callable[..., Any] | None
    ) -> tuple[Program, type | None]:
        if call is None:
            raise TraceError(
                f"{self} has been unpickled, so it is called with arguments that are structured as "
                "they were before"
            )
        if _core.is_tracing():
            raise TraceError(
                f"{self} is called for many samples by a function that is being compiled: call it "
                "for one sample"
            )
        with _tracing:
            trace = _core.Trace(arguments.inputs)
            try:
                result = call(*arguments.nest(trace.inputs))
                kind = type(result) if isinstance(result, (list, tuple)) else None
                outputs = [
                    _as_value(output, call) for output in ([result] if kind is None else result)
                ]
                del result
                program = trace.record(outputs, arguments.structure)
                del outputs
            finally:
                trace.close()
        return program, kind

    def _remember(self, structure: Hashable, known: tuple[Program, type | None]) -> None:
        if len(self._programs) >= self._cache_size:
            self._programs.popitem(last=False)
            warnings.warn(
                f"{self} has been traced for more than {self._cache_size} structures of arguments, "
                "and each time takes longer than a call: pass numbers that change as arguments, "
                "not in static_argnames, and arrays of few different shapes",
                RuntimeWarning,
                stacklevel=5,
            )
        self._programs[structure] = known


def _names_alone(signature: inspect.Signature) -> inspect.Signature:
    """Leave out annotations, and of defaults what they are: not all can be pickled."""
    return inspect.Signature(
        [
            parameter.replace(
                annotation=parameter.empty,
                default=parameter.empty if parameter.default is parameter.empty else None,
            )
            for parameter in signature.parameters.values()
        ]
    )


def _exact(value: Hashable) -> Hashable:
    """Tell apart what is equal but not the same, such as 1, 1.0 and True, or 0.0 and -0.0."""
    if isinstance(value, (tuple, frozenset)):
        parts = map(_exact, value)
        return type(value), tuple(parts) if isinstance(value, tuple) else frozenset(parts)
    if isinstance(value, float):
        return type(value), value, math.copysign(1.0, value)
    return type(value), value


def _as_value(output: Any, function: Callable[..., Any]) -> Value:
    if isinstance(output, Value):
        return output
    try:
        return Value(output)
    except TypeError:
        raise TypeError(
            "a compiled function must return a Value or a list or tuple of Values, but "
            f"{getattr(function, '__name__', 'this one')} returned a {type(output).__name__}"
        ) from None


def _restored(values: list[Value], kind: type | None) -> Any:
    if kind is None:
        return values[0]
    make: Callable[..., Any] = kind
    is_named = issubclass(kind, tuple) and hasattr(kind, "_fields")
    return make(*values) if is_named else make(values)


def _without_axis(gradients: Any) -> Any:
    """Take the only output's part of each gradient."""
    if isinstance(gradients, np.ndarray):
        return gradients[0] if gradients.ndim > 1 else float(gradients[0])
    return type(gradients)(map(_without_axis, gradients))


_OF_ONE_OUTPUT = (Program.sum, Program.mean, Program.map_value_and_grad)

_Function = TypeVar("_Function", bound=Callable[..., Any])


@overload
def compile(function: Callable[..., Any], /) -> CompiledFunction: ...


@overload
def compile(
    *, static_argnames: str | Iterable[str] = (), cache_size: int = 64
) -> Callable[[Callable[..., Any]], CompiledFunction]: ...


def compile(
    function: Callable[..., Any] | None = None,
    /,
    *,
    static_argnames: str | Iterable[str] = (),
    cache_size: int = 64,
) -> CompiledFunction | Callable[[Callable[..., Any]], CompiledFunction]:
    """Compile a function of scalars, so that it runs over whole data sets at native speed.

    The function is written for **one sample**. When it is first called with arguments of some
    structure, it runs once with Values that stand for any number, and what it computes is recorded.
    From then on the record is replayed. Use it as a decorator.

    Values that were there before, such as the parameters of a model, are used by reference: each
    call reads their current ``data``, and ``backward()`` of the result reaches them. If one is
    *replaced* by another object, call :meth:`CompiledFunction.retrace`.

    As the function runs with numbers it does not know, it must not look at them: reading ``data``,
    ``float()``, comparing, and using a Value as an index raise :class:`TraceError`. Use
    :func:`microgradx.where`, ``maximum``, ``minimum``, ``greater``, ``less`` and ``take``.

    Parameters
    ----------
    function : callable
        Takes Values, and lists and tuples of them, and returns a Value, or a list or tuple of
        Values.
    static_argnames : str or iterable of str, optional
        Arguments that the function gets as they are. It is traced anew for each value of them.
    cache_size : int, default 64
        How many records are kept, one for each structure of arguments. RuntimeWarning is issued
        when there are more.

    Returns
    -------
    CompiledFunction
        Or, if no function is given, a decorator that makes one.

    Raises
    ------
    TypeError
        If `function` is not callable.
    ValueError
        If `static_argnames` has a name that is no argument's, or `cache_size` is less than 1.

    Examples
    --------
    >>> import numpy as np, microgradx
    >>> w = microgradx.Value(3.0)
    >>> @microgradx.compile
    ... def loss(x, y):
    ...     return (w * x - y) ** 2
    >>> total = loss.mean(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    >>> total.backward()
    >>> total.data, w.grad
    (2.5, 5.0)
    """
    if function is None:
        return lambda function: CompiledFunction(function, static_argnames, cache_size)
    return CompiledFunction(function, static_argnames, cache_size)


def take(table: Sequence[Any], index: Any) -> Any:
    """Look up ``table[index]``, where the index may be a Value.

    Parameters
    ----------
    table : sequence
        Of Values or numbers, or of rows of them, all nested alike.
    index : Value or int
        A whole number from 0 to ``len(table) - 1``. No gradient passes to it.

    Returns
    -------
    Value, or list of them
        The entry. In a function that is being compiled, rows are lists.

    Raises
    ------
    IndexError
        If there is no such entry.
    ValueError
        If the rows differ in length.

    Examples
    --------
    >>> import microgradx as mgx
    >>> mgx.take([10.0, 20.0, 30.0], 1)
    20.0
    >>> table = mgx.values([[1.0, 2.0], [3.0, 4.0]])
    >>> row = mgx.compile(lambda index: mgx.take(table, index))
    >>> row(1)
    [Value(data=3.0, grad=0), Value(data=4.0, grad=0)]
    """
    if any(isinstance(row, (list, tuple)) for row in table):
        lengths = {len(row) for row in table}
        if len(lengths) > 1:
            raise ValueError(f"the rows of table differ in length: {sorted(lengths)}")
    if _core.is_tracing() and isinstance(index, Value):
        return _take(list(table), index)
    number = index.data if isinstance(index, Value) else index
    if not 0 <= number < len(table) or number != int(number):
        raise IndexError(
            f"take() needs an index that is a whole number from 0 to {len(table) - 1}, not {number}"
        )
    return table[int(number)]


def _take(entries: list[Any], index: Value) -> Any:
    if not entries:
        raise IndexError("table is empty")
    if any(isinstance(entry, (list, tuple, np.ndarray)) for entry in entries):
        return [_take(list(column), index) for column in zip(*entries, strict=True)]
    return _core.take([e if isinstance(e, Value) else Value(e) for e in entries], index)
