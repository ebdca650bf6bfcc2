"""Whole programs: one call is one unit of work."""

from __future__ import annotations

import itertools
import random
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from microgradx.demo import Floats, Labels, two_moons

from .engines import Engine
from .scalars import readme_value

Result = TypeVar("Result")

SEED = 1337
GPT_NAME = "amelia"
DEPTH = 32


@dataclass(frozen=True)
class Step:
    """A step of training, done when called.

    Attributes
    ----------
    run
        Does the step and returns the loss that it found, or what else it computed.
    results
        Returns the numbers that are trained, or if none are, the gradients.
    """

    run: Callable[[], Any]
    results: Callable[[], Iterable[float]]

    def __call__(self) -> Any:
        """Do the step and return its loss."""
        return self.run()


def evaluation(evaluate: Callable[[], tuple[Any, Any]]) -> Step:
    """Return a step that trains nothing: it finds a number, or many, and the gradients."""
    gradients: Any = None

    def run() -> Any:
        nonlocal gradients
        values, gradients = evaluate()
        return values

    return Step(run, lambda: np.ravel(gradients))


def readme_expression(engine: Engine) -> Callable[[], object]:
    """Return the example of micrograd's README: leaves, forward, backward, release."""
    Value = engine.Value

    def expression() -> None:
        readme_value(Value(-4.0), Value(2.0), Value.relu).backward()

    return expression


def moons_data() -> tuple[Floats, Labels]:
    """Return the 100 points of micrograd's demo and their labels, -1 and 1."""
    points, labels = two_moons(samples=100, noise=0.1, random_state=SEED)
    return points, labels * 2 - 1


def max_margin(scores: Sequence[Any], labels: Iterable[float]) -> Any:
    """Return the mean of the losses of micrograd's demo."""
    losses = [(1 + -yi * score).relu() for yi, score in zip(labels, scores, strict=True)]
    return sum(losses) * (1.0 / len(losses))


def moons_step(engine: Engine) -> Step:
    """Return a step of micrograd's demo: forward, accuracy, zero_grad, backward, update."""
    Value = engine.Value
    points, labels = moons_data()
    random.seed(SEED)
    model = engine.MLP(2, [16, 16, 1])

    def step() -> float:
        inputs = [list(map(Value, row)) for row in points]
        scores = list(map(model, inputs))
        loss = max_margin(scores, labels) + 1e-4 * sum(p * p for p in model.parameters())
        sum((yi > 0) == (score.data > 0) for yi, score in zip(labels, scores, strict=True))
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= 0.1 * p.grad
        return float(loss.data)

    return Step(step, lambda: [p.data for p in model.parameters()])


def gpt_step(engine: Engine) -> Step:
    """Return a step of the scalar GPT: forward, backward, Adam; the same name every time."""
    program: Any = engine.load("gpt.py")
    model = program.make_model()
    parameters = model.parameters()
    steps = itertools.count()

    def step() -> float:
        loss = program.loss_of(model, GPT_NAME)
        loss.backward()
        program.adam(parameters, next(steps), rate=0.01)
        return float(loss.data)

    return Step(step, lambda: [p.data for p in model.parameters()])


def backward_alone(engine: Engine, width: int) -> Callable[[], object]:
    """Return the backward pass of a graph of sums and products, `DEPTH` * `width` - 1 nodes."""
    weights = [engine.Value(0.5) for _ in range(width)]
    values = [engine.Value(1.0) for _ in range(width)]
    for layer in range(DEPTH - 1):
        if layer % 2:
            values = [value * weight for value, weight in zip(values, weights, strict=True)]
        else:
            values = [x + y for x, y in zip(values, values[1:] + values[:1], strict=True)]
    while len(values) > 1:
        values = [x + y for x, y in zip(values[::2], values[1::2], strict=True)]
    backward: Callable[[], object] = values[0].backward
    return backward


def deep_chain(engine: Engine, depth: int) -> Callable[[], object]:
    """Return a chain of additions: forward, backward, release of the last reference."""
    Value = engine.Value

    def chain() -> None:
        start = Value(1.0)
        end = start
        for _ in range(depth):
            end = end + start
        end.backward()

    return chain


CHAINS = {f"chain of {depth:,} nodes": depth for depth in (1_000, 10_000)}
PROGRAMS: dict[str, Callable[[Engine], Callable[[], object]]] = {
    "README expression": readme_expression,
    "moons step": moons_step,
    "GPT step": gpt_step,
    **{
        f"backward of {DEPTH * width - 1:,} nodes": partial(backward_alone, width=width)
        for width in (32, 2048)
    },
    **{name: partial(deep_chain, depth=depth) for name, depth in CHAINS.items()},
}


def with_deep_stack(function: Callable[[], Result]) -> Result:
    """Call a function where micrograd's recursive ``backward()`` survives a deep chain."""
    stack_size = threading.stack_size(512 * 1024 * 1024)
    recursion_limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        with ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(function).result()
    finally:
        sys.setrecursionlimit(recursion_limit)
        threading.stack_size(stack_size)
