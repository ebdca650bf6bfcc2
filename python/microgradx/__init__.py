"""Scalar automatic differentiation: micrograd's API and graph on a C++ arena.

The engine is :class:`microgradx.engine.Value`; the neural networks built on it are in
:mod:`microgradx.nn`, and what trains them in :mod:`microgradx.optim`.
"""

from microgradx import engine, nn, optim
from microgradx._core import __version__, assign, build_info, data, dot, grads, mean, values
from microgradx._core import sum as sum  # not in __all__, as a star import would hide Python's
from microgradx.compat import install_as_micrograd
from microgradx.engine import Value

__all__ = [
    "Value",
    "__version__",
    "assign",
    "build_info",
    "data",
    "dot",
    "engine",
    "grads",
    "install_as_micrograd",
    "mean",
    "nn",
    "optim",
    "values",
]
