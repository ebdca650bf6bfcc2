"""micrograd, with the programs its users write."""

import random
from functools import partial

from ..engines import MICROGRAD
from ..programs import SEED, Step, gpt_step, max_margin, moons_data, moons_step
from .workloads import DECAY, GPT, MOONS, MOONS_DECAY, MOONS_SIZES, RATE


def moons_decay_step() -> Step:
    """Return a step of the demo on inputs made once: forward, zero_grad, backward, update."""
    points, labels = moons_data()
    inputs = [list(map(MICROGRAD.Value, row)) for row in points.tolist()]
    targets = labels.tolist()
    random.seed(SEED)
    model = MICROGRAD.MLP(MOONS_SIZES[0], list(MOONS_SIZES[1:]))

    def step() -> float:
        loss = max_margin(list(map(model, inputs)), targets)
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= RATE * (p.grad + DECAY * p.data)
        return float(loss.data)

    return Step(step, lambda: [p.data for p in model.parameters()])


STEPS = {
    MOONS: partial(moons_step, MICROGRAD),
    GPT: partial(gpt_step, MICROGRAD),
    MOONS_DECAY: moons_decay_step,
}
