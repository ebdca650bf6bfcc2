"""What is measured, and who takes part."""

from __future__ import annotations

from ..peers.contestants import CASADI, COMPILED, JAX, MICROGRAD, MICROGRADX, PYTORCH, Peer
from ..peers.workloads import (
    GPT_SGD,
    IMAGES,
    MOONS_DECAY,
    NODES,
    RANDOM,
    README_SAMPLES,
    RECURRENCE,
    SAMPLES,
    TRACE_GPT,
    TRACE_IMAGES,
    TRACE_RANDOM,
    TRACE_RECURRENCE,
)

# The first one's time is the unit of the others'.
PARTS: dict[str, tuple[Peer, ...]] = {
    MOONS_DECAY: (COMPILED, PYTORCH, JAX, MICROGRAD, MICROGRADX),
    IMAGES: (COMPILED, PYTORCH, JAX, MICROGRADX),
    RECURRENCE: (COMPILED, CASADI, MICROGRADX),
    RANDOM: (COMPILED, CASADI, MICROGRADX),
    SAMPLES: (COMPILED, CASADI, PYTORCH, JAX, MICROGRADX),
    GPT_SGD: (COMPILED, MICROGRADX),
    **dict.fromkeys(
        (TRACE_GPT, TRACE_RECURRENCE, TRACE_RANDOM, TRACE_IMAGES), (MICROGRADX, COMPILED)
    ),
}

# What a time is divided by, and what that is.
SHARES = {
    RECURRENCE: (NODES, "node"),
    RANDOM: (NODES, "node"),
    SAMPLES: (README_SAMPLES, "sample"),
}

# Those who compile at the first step.
FIRST_STEPS = {
    COMPILED: (MOONS_DECAY, IMAGES, RECURRENCE, RANDOM, SAMPLES, GPT_SGD),
    JAX: (MOONS_DECAY, IMAGES, SAMPLES),
}
