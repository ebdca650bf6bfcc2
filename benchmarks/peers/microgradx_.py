"""microgradx: micrograd's programs as they are, and such as use what it has besides."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial, reduce
from typing import Any

import microgradx
import numpy as np
from microgradx import Value
from microgradx.demo import Floats
from microgradx.nn import MLP
from microgradx.optim import SGD

from ..engines import MICROGRADX
from ..programs import (
    GPT_NAME,
    SEED,
    Step,
    evaluation,
    gpt_step,
    max_margin,
    moons_data,
    moons_step,
)
from ..scalars import oscillate, random_value, readme_value
from .workloads import (
    DECAY,
    DIGITS,
    DIGITS_SIZES,
    GPT,
    GPT_SGD,
    IMAGES,
    IMAGES_SIZES,
    MOONS,
    MOONS_DECAY,
    MOONS_SGD,
    MOONS_SIZES,
    NODES,
    PENALTY,
    RANDOM,
    RATE,
    RECURRENCE,
    SAMPLES,
    START,
    TRACE_GPT,
    TRACE_IMAGES,
    TRACE_RANDOM,
    TRACE_RECURRENCE,
    digits_batches,
    images_batch,
    random_program,
    readme_operands,
)


def moons_sgd_step(penalty: float = PENALTY, weight_decay: float = 0) -> Step:
    """Return a step of the demo on inputs made once: forward, zero_grad, backward, SGD."""
    points, labels = moons_data()
    inputs = microgradx.values(points)
    targets = labels.tolist()
    model = mlp(MOONS_SIZES)

    def loss() -> Value:
        loss: Value = max_margin(list(map(model, inputs)), targets)
        if penalty:
            loss += penalty * sum(p * p for p in model.parameters())
        return loss

    return training(loss, model.parameters(), weight_decay)


def digits_epoch() -> Step:
    """Return an epoch on the digits: for each batch forward, zero_grad, backward, SGD."""
    batches = [(microgradx.values(images), labels) for images, labels in digits_batches()]
    model = mlp(DIGITS_SIZES)
    optimiser = SGD(model.parameters(), lr=RATE)

    def digit_loss(image: list[Any], label: int) -> Any:
        logits: Any = model(image)
        peak = max(logits).data
        total = microgradx.sum((logit - peak).exp() for logit in logits)
        return total.log() + (peak - logits[label])

    def epoch() -> float:
        for images, labels in batches:
            loss = microgradx.mean(map(digit_loss, images, labels))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return loss.data

    return Step(epoch, lambda: [p.data for p in model.parameters()])


def images_step() -> Step:
    """Return a step on a batch of large images: forward, zero_grad, backward, SGD."""
    images, labels = images_batch()
    inputs, targets = microgradx.values(images), labels.tolist()
    model = mlp(IMAGES_SIZES)

    def loss() -> Value:
        return microgradx.mean(map(cross_entropy, map(model, inputs), targets))

    return training(loss, model.parameters())


def gpt_sgd_step() -> Step:
    """Return a step of ``examples/gpt.py``: forward, zero_grad, backward, SGD."""
    loss, parameters = _gpt()
    return training(loss, parameters)


def recurrence() -> Step:
    """Return the oscillator, with its gradient by the start."""
    return _of_vector(partial(oscillate, nodes=NODES), START)


def random_expression() -> Step:
    """Return the random expression with its gradient."""
    numbers, operations = random_program()
    return _of_vector(partial(random_value, operations=operations), numbers)


def samples() -> Step:
    """Return the README's expression over many samples, each with its gradient."""
    operands = np.column_stack(readme_operands()).tolist()

    def evaluate() -> tuple[Any, Any]:
        values, gradients = [], []
        for numbers in operands:
            a, b = map(Value, numbers)
            value = readme_value(a, b, Value.relu)
            value.backward()
            values.append(value.data)
            gradients.append((a.grad, b.grad))
        return values, np.transpose(gradients)

    return evaluation(evaluate)


def recurrence_forward() -> Step:
    """Return the oscillator, forward alone."""
    return _forward(partial(oscillate, microgradx.values(START), NODES))


def random_expression_forward() -> Step:
    """Return the random expression, forward alone."""
    numbers, operations = random_program()
    return _forward(partial(random_value, microgradx.values(numbers), operations))


def images_forward() -> Step:
    """Return the loss of a large image, forward alone."""
    (image, *_), (label, *_) = images_batch()
    inputs, model = microgradx.values(image), mlp(IMAGES_SIZES)
    return _forward(lambda: cross_entropy(model(inputs), int(label)))


def gpt_forward() -> Step:
    """Return the loss of ``examples/gpt.py``, forward alone."""
    loss, _ = _gpt()
    return _forward(loss)


def mlp(sizes: Sequence[int]) -> MLP:
    """Return a new model, with the parameters of ``first_layers``."""
    random.seed(SEED)
    return MLP(sizes[0], sizes[1:])


def cross_entropy(logits: Any, label: Any) -> Value:
    """Return minus the logarithm of the probability of the label; all may be compiled."""
    peak: Value = reduce(microgradx.maximum, logits)
    total = microgradx.sum((logit - peak).exp() for logit in logits)
    score: Value = microgradx.take(logits, label)
    return total.log() + (peak - score)


def training(
    loss_of: Callable[[], Value], parameters: Iterable[Value], weight_decay: float = 0
) -> Step:
    """Return a step that makes the loss smaller: forward, zero_grad, backward, SGD."""
    optimiser = SGD(parameters, lr=RATE, weight_decay=weight_decay)

    def step() -> float:
        loss = loss_of()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.data

    return Step(step, lambda: microgradx.data(optimiser.params))


def _gpt() -> tuple[Callable[[], Value], list[Value]]:
    program: Any = MICROGRADX.load("gpt.py")
    model = program.make_model()
    return partial(program.loss_of, model, GPT_NAME), model.parameters()


def _of_vector(value_of: Callable[[Any], Any], numbers: Floats) -> Step:
    def evaluate() -> tuple[Any, Any]:
        inputs = microgradx.values(numbers)
        value = value_of(inputs)
        value.backward()
        return value.data, microgradx.grads(inputs)

    return evaluation(evaluate)


def _forward(function: Callable[[], Value]) -> Step:
    return Step(lambda: function().data, list)


STEPS = {
    MOONS: partial(moons_step, MICROGRADX),
    MOONS_SGD: moons_sgd_step,
    GPT: partial(gpt_step, MICROGRADX),
    DIGITS: digits_epoch,
    MOONS_DECAY: partial(moons_sgd_step, penalty=0, weight_decay=DECAY),
    IMAGES: images_step,
    RECURRENCE: recurrence,
    RANDOM: random_expression,
    SAMPLES: samples,
    GPT_SGD: gpt_sgd_step,
    TRACE_RECURRENCE: recurrence_forward,
    TRACE_RANDOM: random_expression_forward,
    TRACE_IMAGES: images_forward,
    TRACE_GPT: gpt_forward,
}
