"""microgradx with its compiler: functions of one sample, run over all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import microgradx
import numpy as np
from microgradx import CompiledFunction, Value
from microgradx.nn import MLP

from ..engines import MICROGRADX
from ..programs import GPT_NAME, Step, evaluation, moons_data
from ..scalars import oscillate, random_value, readme_value
from .microgradx_ import cross_entropy, mlp, training
from .workloads import (
    DECAY,
    GPT_SGD,
    IMAGES,
    IMAGES_SIZES,
    MOONS_DECAY,
    MOONS_SIZES,
    NODES,
    RANDOM,
    RECURRENCE,
    SAMPLES,
    START,
    TRACE_GPT,
    TRACE_IMAGES,
    TRACE_RANDOM,
    TRACE_RECURRENCE,
    Integers,
    images_batch,
    random_program,
    readme_operands,
)


def moons_decay_step() -> Step:
    """Return a step of the demo: zero_grad, forward, backward, SGD with weight decay."""
    model = mlp(MOONS_SIZES)

    def loss(point: list[Value], label: Value) -> Value:
        score = model(point)
        assert isinstance(score, Value)
        return (1 - label * score).relu()

    return _descent(loss, model, moons_data(), DECAY)


def images_step() -> Step:
    """Return a step on a batch of large images: zero_grad, forward, backward, SGD."""
    model = mlp(IMAGES_SIZES)
    return _descent(partial(_image_loss, model), model, images_batch())


def recurrence() -> Step:
    """Return the oscillator, with its gradient by the start."""
    compiled = microgradx.compile(partial(oscillate, nodes=NODES))
    return evaluation(lambda: compiled.value_and_grad(START))


def random_expression() -> Step:
    """Return the random expression with its gradient."""
    numbers, operations = random_program()
    compiled = microgradx.compile(partial(random_value, operations=operations))
    return evaluation(lambda: compiled.value_and_grad(numbers))


def samples() -> Step:
    """Return the README's expression over many samples, each with its gradient."""
    compiled = microgradx.compile(partial(readme_value, relu=Value.relu))
    operands = readme_operands()
    return evaluation(lambda: compiled.map_value_and_grad(*operands))


def gpt_sgd_step() -> Step:
    """Return a step of ``examples/compiled_gpt.py``: zero_grad, forward, backward, SGD."""
    model, loss, text = _gpt()
    return training(partial(loss, text), model.parameters())


def recurrence_traced() -> Step:
    """Return the tracing of the oscillator."""
    return _tracing(partial(oscillate, nodes=NODES), (len(START),))


def random_expression_traced() -> Step:
    """Return the tracing of the random expression."""
    numbers, operations = random_program()
    return _tracing(partial(random_value, operations=operations), (len(numbers),))


def images_traced() -> Step:
    """Return the tracing of a network for large images, its loss included."""
    return _tracing(partial(_image_loss, mlp(IMAGES_SIZES)), IMAGES_SIZES[:1], ())


def gpt_traced() -> Step:
    """Return the tracing of ``examples/compiled_gpt.py``."""
    _, loss, text = _gpt()
    return _tracing(loss, (len(text),))


def _image_loss(model: MLP, image: list[Value], label: Value) -> Value:
    return cross_entropy(model(image), label)


def _descent(
    loss_of: Callable[..., Value], model: MLP, batch: tuple[Any, Any], weight_decay: float = 0
) -> Step:
    loss = microgradx.compile(loss_of)
    inputs, labels = (np.asarray(array, float) for array in batch)
    return training(partial(loss.mean, inputs, labels), model.parameters(), weight_decay)


def _gpt() -> tuple[Any, CompiledFunction, Integers]:
    """Return the model, its loss, and the name as numbers."""
    program: Any = MICROGRADX.load("compiled_gpt.py")
    model = program.gpt.make_model()
    return model, program.compile_loss(model), program.encode(GPT_NAME)


def _tracing(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Step:
    """Return the tracing of a function of arrays with such shapes."""
    compiled = microgradx.compile(function)
    # No sample but its shape: so nothing is computed.
    nothing = [np.empty((0, *shape)) for shape in shapes]

    def trace() -> float:
        compiled.retrace()
        return float(len(compiled.map(*nothing)))

    return Step(trace, lambda: [compiled.program.stats[0]["nodes"]])


STEPS = {
    MOONS_DECAY: moons_decay_step,
    IMAGES: images_step,
    RECURRENCE: recurrence,
    RANDOM: random_expression,
    SAMPLES: samples,
    GPT_SGD: gpt_sgd_step,
    TRACE_RECURRENCE: recurrence_traced,
    TRACE_RANDOM: random_expression_traced,
    TRACE_IMAGES: images_traced,
    TRACE_GPT: gpt_traced,
}
