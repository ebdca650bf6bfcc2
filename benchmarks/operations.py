"""Single operations on two Values, and Python's own ``float * float`` in the same loop."""

from __future__ import annotations

from .engines import Engine
from .timing import Task

FLOAT = "float * float"
STATEMENTS = ("a * b", "a + b", "a - b", "a / b", "a ** 3", "-a", "a.relu()", "2.0 * a")


def operation(statement: str, engine: Engine) -> Task:
    """Return the statement on two of the engine's Values."""
    return _on_operands(statement, engine.Value(1.5), engine.Value(2.5))


def float_product() -> Task:
    """Return the product of two floats."""
    return _on_operands("a * b", 1.5, 2.5)


def _on_operands(statement: str, *operands: object) -> Task:
    return Task(statement, "a, b = operands", {"operands": operands})
