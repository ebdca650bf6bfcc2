"""Functions of scalars, for all that has operators: Values, floats, arrays, symbols."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Operation = tuple[Callable[[Any, Any], Any], int, int]


def readme_value(a: Any, b: Any, relu: Callable[[Any], Any]) -> Any:
    """Return the example of micrograd's README."""
    c, d = a + b, a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + relu(b + a)
    d += 3 * d + relu(b - a)
    f = (c - d) ** 2
    return f / 2.0 + 10.0 / f


def oscillate(state: Sequence[Any], nodes: int) -> Any:
    """Return where a van der Pol oscillator gets to in steps of 10 nodes each."""
    x, v = state
    for _ in range(nodes // 10):
        v = v + 0.01 * ((1 - x * x) * v - x)
        x = x + 0.01 * v
    return x


def random_operations(numbers: Sequence[float], nodes: int, seed: int) -> list[Operation]:
    """Return sums and products, each with the places of its operands among all that is before it.

    These are the numbers, then the results. All of them are used, and those that are used again are
    anywhere.

    Parameters
    ----------
    numbers
        What the first operations compute with.
    nodes
        How many operations to return, not fewer than numbers.
    seed
        Of the choices.
    """
    generator = random.Random(seed)
    results = list(numbers)
    unused, used = list(range(len(results))), list[int]()
    operations: list[Operation] = []

    def use() -> int:
        place = generator.randrange(len(unused))
        unused[place], unused[-1] = unused[-1], unused[place]
        used.append(unused.pop())
        return used[-1]

    while len(operations) < nodes:
        is_end = len(unused) == nodes - len(operations) + 1
        right = use() if is_end or not used else generator.choice(used)
        left = use()
        x, y = results[left], results[right]
        # Numbers stay near 1 and gradients finite.
        operate = min((operator.add, operator.mul), key=lambda operate: abs(abs(operate(x, y)) - 1))
        operations.append((operate, left, right))
        unused.append(len(results))
        results.append(operate(x, y))
    return operations


def random_value(numbers: Iterable[Any], operations: Iterable[Operation]) -> Any:
    """Return the last result of such operations."""
    results = list(numbers)
    for operate, left, right in operations:
        results.append(operate(results[left], results[right]))
    return results[-1]
