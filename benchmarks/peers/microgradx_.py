"""microgradx: micrograd's programs as they are, and such as use what it has besides."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import microgradx
from microgradx.nn import MLP
from microgradx.optim import SGD

from ..engines import MICROGRADX
from ..programs import SEED, Step, gpt_step, moons_data, moons_step
from .workloads import (
    DIGITS,
    DIGITS_SIZES,
    GPT,
    MOONS,
    MOONS_SGD,
    MOONS_SIZES,
    PENALTY,
    RATE,
    digits_batches,
)


def moons_sgd_step() -> Step:
    """Return a step of the demo on inputs made once: forward, zero_grad, backward, SGD."""
    points, labels = moons_data()
    inputs = microgradx.values(points)
    targets = labels.tolist()
    random.seed(SEED)
    model = MLP(MOONS_SIZES[0], MOONS_SIZES[1:])
    optimiser = SGD(model.parameters(), lr=RATE)

    def step() -> float:
        scores: list[Any] = list(map(model, inputs))
        losses: list[Any] = [
            (1 + -yi * score).relu() for yi, score in zip(targets, scores, strict=True)
        ]
        data_loss = sum(losses) * (1.0 / len(losses))
        loss = data_loss + PENALTY * sum(p * p for p in model.parameters())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return float(loss.data)

    return Step(step, lambda: [p.data for p in model.parameters()])


def digits_epoch() -> Step:
    """Return an epoch on the digits: for each batch forward, zero_grad, backward, SGD."""
    batches = [(microgradx.values(images), labels) for images, labels in digits_batches()]
    random.seed(SEED)
    model = MLP(DIGITS_SIZES[0], DIGITS_SIZES[1:])
    optimiser = SGD(model.parameters(), lr=RATE)

    def cross_entropy(image: list[Any], label: int) -> Any:
        logits: Any = model(image)
        peak = max(logits).data
        total = microgradx.sum((logit - peak).exp() for logit in logits)
        return total.log() + (peak - logits[label])

    def epoch() -> float:
        for images, labels in batches:
            loss = microgradx.mean(map(cross_entropy, images, labels))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return loss.data

    return Step(epoch, lambda: [p.data for p in model.parameters()])


STEPS = {
    MOONS: partial(moons_step, MICROGRADX),
    MOONS_SGD: moons_sgd_step,
    GPT: partial(gpt_step, MICROGRADX),
    DIGITS: digits_epoch,
}
