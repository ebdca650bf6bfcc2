"""JAX: the whole step, its update included, is one compiled function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from ..programs import Step, evaluation, moons_data
from ..scalars import readme_value
from .arrays import Arrays
from .workloads import (
    DECAY,
    DIGITS,
    DIGITS_SIZES,
    GPT,
    IMAGES,
    IMAGES_SIZES,
    MOONS,
    MOONS_DECAY,
    MOONS_SGD,
    MOONS_SIZES,
    RATE,
    SAMPLES,
    digits_batches,
    first_layers,
    gpt_heads,
    gpt_state,
    gpt_tokens,
    images_batch,
    neurons,
    one_hot,
    readme_operands,
)

jax.config.update("jax_enable_x64", True)

ARRAYS = Arrays(jnp, jax.nn.relu, jax.nn.log_softmax)


def moons_step() -> Step:
    """Return a step of micrograd's demo: forward, accuracy, backward, update."""
    differentiate = jax.value_and_grad(ARRAYS.max_margin, has_aux=True)

    def update(layers: Any, points: Any, labels: Any) -> Any:
        (loss, scores), gradients = differentiate(layers, points, labels)
        return _descended(layers, gradients), loss, ARRAYS.accuracy(scores, labels)

    training = _Training(update, first_layers(MOONS_SIZES), [moons_data()])
    return Step(training.step, lambda: neurons(training.state))


def moons_sgd_step() -> Step:
    """Return a step of the demo: forward, backward, update."""
    return _descent(ARRAYS.max_margin_loss, first_layers(MOONS_SIZES), [moons_data()])


def digits_epoch() -> Step:
    """Return an epoch on the digits: for each batch forward, backward, update."""
    batches = [(images, one_hot(labels, 10)) for images, labels in digits_batches()]
    return _descent(ARRAYS.cross_entropy, first_layers(DIGITS_SIZES), batches)


def moons_decay_step() -> Step:
    """Return a step of the demo: forward, backward, update with weight decay."""
    return _descent(ARRAYS.data_loss, first_layers(MOONS_SIZES), [moons_data()], DECAY)


def images_step() -> Step:
    """Return a step on a batch of large images: forward, backward, update."""
    images, labels = images_batch()
    batch = images, one_hot(labels, IMAGES_SIZES[-1])
    return _descent(ARRAYS.cross_entropy, first_layers(IMAGES_SIZES), [batch])


def samples() -> Step:
    """Return the README's expression over many samples, each with its gradient."""
    differentiate = jax.value_and_grad(partial(readme_value, relu=jax.nn.relu), (0, 1))
    evaluate = jax.jit(jax.vmap(differentiate))
    operands = jax.device_put(readme_operands())
    return evaluation(lambda: jax.block_until_ready(evaluate(*operands)))


def gpt_step() -> Step:
    """Return a step of ``examples/gpt.py`` on arrays: forward, backward, Adam."""
    differentiate = jax.value_and_grad(partial(ARRAYS.gpt_loss, heads=gpt_heads()))

    def update(state: Any, tokens: Any, targets: Any) -> Any:
        step, moments = state
        weights = {name: p for name, (p, _, _) in moments.items()}
        loss, gradients = differentiate(weights, tokens, targets)
        moments = {
            name: ARRAYS.adam(moments[name], gradient, step) for name, gradient in gradients.items()
        }
        return (step + 1, moments), loss

    moments = gpt_state()
    tokens, following = gpt_tokens()
    batch = tokens, one_hot(following, len(moments["scores"][0]))
    training = _Training(update, (1, moments), [batch])
    # JAX has its dictionaries sorted.
    return Step(
        training.step,
        lambda: np.concatenate([training.state[1][name][0].ravel() for name in moments]),
    )


class _Training:
    """What a compiled update carries from batch to batch."""

    def __init__(
        self, update: Callable[..., Any], state: Any, batches: Sequence[tuple[Any, ...]]
    ) -> None:
        self.update = jax.jit(update)
        self.state = jax.device_put(state)
        self.batches = jax.device_put(batches)

    def step(self) -> float:
        for batch in self.batches:
            self.state, loss, *_ = self.update(self.state, *batch)
        return float(loss)


def _descent(
    loss_of: Callable[..., Any], layers: Any, batches: Sequence[Any], weight_decay: float = 0
) -> Step:
    differentiate = jax.value_and_grad(loss_of)

    def update(layers: Any, *batch: Any) -> Any:
        loss, gradients = differentiate(layers, *batch)
        if weight_decay:
            gradients = jax.tree.map(lambda p, g: g + weight_decay * p, layers, gradients)
        return _descended(layers, gradients), loss

    training = _Training(update, layers, batches)
    return Step(training.step, lambda: neurons(training.state))


def _descended(parameters: Any, gradients: Any) -> Any:
    return jax.tree.map(lambda p, gradient: p - RATE * gradient, parameters, gradients)


STEPS = {
    MOONS: moons_step,
    MOONS_SGD: moons_sgd_step,
    GPT: gpt_step,
    DIGITS: digits_epoch,
    MOONS_DECAY: moons_decay_step,
    IMAGES: images_step,
    SAMPLES: samples,
}
