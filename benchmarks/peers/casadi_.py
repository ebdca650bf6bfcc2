"""CasADi: symbolic expressions, differentiated once, then evaluated by its virtual machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import casadi
import numpy as np
from microgradx.demo import Floats

from ..programs import Step, evaluation
from ..scalars import oscillate, random_value, readme_value
from .workloads import (
    NODES,
    RANDOM,
    RECURRENCE,
    SAMPLES,
    START,
    random_program,
    readme_operands,
)


def recurrence() -> Step:
    """Return the oscillator, with its gradient by the start."""
    return _of_vector(partial(oscillate, nodes=NODES), START)


def random_expression() -> Step:
    """Return the random expression with its gradient."""
    numbers, operations = random_program()
    return _of_vector(partial(random_value, operations=operations), numbers)


def samples() -> Step:
    """Return the README's expression over many samples, each with its gradient."""
    a, b = casadi.SX.sym("a"), casadi.SX.sym("b")
    value = readme_value(a, b, partial(casadi.fmax, 0))
    derivatives = [casadi.gradient(value, symbol) for symbol in (a, b)]
    function = casadi.Function("f", [a, b], [value, *derivatives])
    operands = readme_operands()
    return _evaluation(function.map(len(operands[0])), operands)


def _of_vector(value_of: Callable[[Any], Any], numbers: Floats) -> Step:
    vector = casadi.SX.sym("x", len(numbers))
    value = value_of(casadi.vertsplit(vector))
    function = casadi.Function("f", [vector], [value, casadi.gradient(value, vector)])
    return _evaluation(function, [numbers])


def _evaluation(function: Any, arguments: Iterable[Floats]) -> Step:
    # Arrays go in and come out without copies, so that CasADi is at its fastest. It does not keep
    # what it is given: that lives as long as the function below, which refers to it.
    buffers, call = function.buffer()
    results = [np.empty(function.nnz_out(place)) for place in range(function.n_out())]
    for place, argument in enumerate(arguments):
        buffers.set_arg(place, argument.data)
    for place, result in enumerate(results):
        buffers.set_res(place, result.data)

    def evaluate() -> tuple[Any, Any]:
        assert buffers is not None
        assert arguments is not None
        call()
        value, *gradients = results
        return value, gradients

    return evaluation(evaluate)


STEPS = {RECURRENCE: recurrence, RANDOM: random_expression, SAMPLES: samples}
