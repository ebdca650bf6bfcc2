"""Single operations on two Values, and Python's own ``float * float`` in the same loop."""

from __future__ import annotations

from .engines import ENGINES
from .timing import Task

FLOAT = "float * float"
STATEMENTS = ("a * b", "a + b", "a - b", "a / b", "a ** 3", "-a", "a.relu()", "2.0 * a")


def operation(statement: str) -> dict[str, Task]:
    """Return the statement for both engines, and the floats' product beside it."""
    setup = "a, b = operands"
    tasks = {
        engine.name: Task(statement, setup, {"operands": (engine.Value(1.5), engine.Value(2.5))})
        for engine in ENGINES
    }
    tasks[FLOAT] = Task("a * b", setup, {"operands": (1.5, 2.5)})
    return tasks
