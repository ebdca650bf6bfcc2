"""Scalar automatic differentiation: micrograd's API and graph on a C++ arena.

The engine is :class:`microgradx.engine.Value`; the neural networks built on it are in
:mod:`microgradx.nn`, and what trains them in :mod:`microgradx.losses` and :mod:`microgradx.optim`.
:func:`compile` records functions of Values and replays them over whole data sets.
"""

from microgradx import engine, losses, nn, optim, viz
from microgradx._core import (
    Program,
    TraceError,
    __version__,
    assign,
    build_info,
    data,
    dot,
    get_num_threads,
    grads,
    greater,
    less,
    maximum,
    mean,
    minimum,
    set_num_threads,
    values,
    where,
)
from microgradx._core import sum as sum  # not in __all__, as a star import would hide Python's
from microgradx.checks import grad_check
from microgradx.compat import install_as_micrograd
from microgradx.compiler import CompiledFunction, take
from microgradx.compiler import compile as compile  # not in __all__, as Python has one, too
from microgradx.engine import Value
from microgradx.files import load, save

__all__ = [
    "CompiledFunction",
    "Program",
    "TraceError",
    "Value",
    "__version__",
    "assign",
    "build_info",
    "data",
    "dot",
    "engine",
    "get_num_threads",
    "grad_check",
    "grads",
    "greater",
    "install_as_micrograd",
    "less",
    "load",
    "losses",
    "maximum",
    "mean",
    "minimum",
    "nn",
    "optim",
    "save",
    "set_num_threads",
    "take",
    "values",
    "viz",
    "where",
]

# Notebooks show a Value and a program as pictures, of a size that can be read.
Value._repr_svg_ = viz.svg_or_none(viz.draw_dot, max_nodes=100)  # type: ignore[assignment, method-assign]
Program._repr_svg_ = viz.svg_or_none(viz.draw_program)  # type: ignore[assignment, method-assign]
