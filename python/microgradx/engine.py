"""The engine: numbers that remember how they were computed.

Import :class:`Value` from here where a program for micrograd says ``from micrograd.engine import
Value``. It is written in C++; see ``cpp/bindings`` and ``cpp/core``.
"""

from microgradx._core import Value

__all__ = ["Value"]
