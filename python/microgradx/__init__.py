"""Scalar automatic differentiation: micrograd's API and graph on a C++ arena.

The engine is :class:`microgradx.engine.Value`; the neural networks built on it are in
:mod:`microgradx.nn`.
"""

from microgradx import engine, nn
from microgradx._core import __version__, build_info
from microgradx.compat import install_as_micrograd
from microgradx.engine import Value

__all__ = ["Value", "__version__", "build_info", "engine", "install_as_micrograd", "nn"]
