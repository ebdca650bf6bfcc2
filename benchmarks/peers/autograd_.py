"""autograd (HIPS): NumPy programs, differentiated as they run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import autograd
from autograd import numpy as np

from ..programs import Step, moons_data
from .arrays import Arrays
from .workloads import (
    DIGITS,
    DIGITS_SIZES,
    GPT,
    MOONS,
    MOONS_SGD,
    MOONS_SIZES,
    RATE,
    Layer,
    digits_batches,
    first_layers,
    gpt_heads,
    gpt_state,
    gpt_tokens,
    neurons,
    one_hot,
)


def _relu(x: Any) -> Any:
    return np.maximum(x, 0)


def _log_softmax(x: Any) -> Any:
    shifted = x - np.max(x, axis=-1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


ARRAYS = Arrays(np, _relu, _log_softmax)


def moons_step() -> Step:
    """Return a step of micrograd's demo: forward, accuracy, backward, update."""

    def loss_of(layers: Sequence[Layer], points: Any, labels: Any) -> Any:
        loss, scores = ARRAYS.max_margin(layers, points, labels)
        ARRAYS.accuracy(scores, labels)
        return loss

    return _descent(loss_of, first_layers(MOONS_SIZES), [moons_data()])


def moons_sgd_step() -> Step:
    """Return a step of the demo: forward, backward, update."""
    return _descent(ARRAYS.max_margin_loss, first_layers(MOONS_SIZES), [moons_data()])


def digits_epoch() -> Step:
    """Return an epoch on the digits: for each batch forward, backward, update."""
    batches = [(images, one_hot(labels, 10)) for images, labels in digits_batches()]
    return _descent(ARRAYS.cross_entropy, first_layers(DIGITS_SIZES), batches)


def gpt_step() -> Step:
    """Return a step of ``examples/gpt.py`` on arrays: forward, backward, Adam."""
    differentiate = autograd.value_and_grad(partial(ARRAYS.gpt_loss, heads=gpt_heads()))
    moments = gpt_state()
    tokens, following = gpt_tokens()
    targets = one_hot(following, len(moments["scores"][0]))
    steps = itertools.count(1)

    def step() -> float:
        weights = {name: p for name, (p, _, _) in moments.items()}
        loss, gradients = differentiate(weights, tokens, targets)
        number = next(steps)
        for name, gradient in gradients.items():
            moments[name] = ARRAYS.adam(moments[name], gradient, number)
        return float(loss)

    return Step(step, lambda: np.concatenate([p.ravel() for p, _, _ in moments.values()]))


def _descent(
    loss_of: Callable[..., Any], layers: Sequence[Layer], batches: Sequence[tuple[Any, ...]]
) -> Step:
    differentiate = autograd.value_and_grad(loss_of)

    def step() -> float:
        for batch in batches:
            loss, gradients = differentiate(layers, *batch)
            for layer, layer_gradients in zip(layers, gradients, strict=True):
                for p, gradient in zip(layer, layer_gradients, strict=True):
                    p -= RATE * gradient
        return float(loss)

    return Step(step, lambda: neurons(layers))


STEPS = {MOONS: moons_step, MOONS_SGD: moons_sgd_step, GPT: gpt_step, DIGITS: digits_epoch}
