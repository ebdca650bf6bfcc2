"""What is trained, with the same numbers for every library: data, first weights, settings."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import microgradx
import numpy as np
import numpy.typing as npt
from microgradx.demo import Floats

from ..engines import MICROGRADX
from ..programs import GPT_NAME, SEED
from ..scalars import Operation, random_operations

Integers = npt.NDArray[np.intp]
Layer = tuple[Any, Any]
Moments = tuple[Any, Any, Any]

MOONS = "moons step"
MOONS_SGD = "moons step, optimiser"
GPT = "GPT step"
DIGITS = "digits epoch"
WORKLOADS = (MOONS, MOONS_SGD, GPT, DIGITS)

MOONS_DECAY = "moons step, weight decay"
IMAGES = "784-128-10 step"
RECURRENCE = "recurrence"
RANDOM = "random expression"
SAMPLES = "README expression, batch"
GPT_SGD = "GPT step, SGD"
TRACE_RECURRENCE = "recurrence, traced"
TRACE_RANDOM = "random expression, traced"
TRACE_IMAGES = "784-128-10, traced"
TRACE_GPT = "GPT, traced"

MOONS_SIZES = (2, 16, 16, 1)
DIGITS_SIZES = (64, 32, 10)
IMAGES_SIZES = (784, 128, 10)
BATCH = 32
IMAGES_BATCH = 128
RATE = 0.1
PENALTY = 1e-4
# Half of it is the factor of a penalty with the same gradient.
DECAY = 2 * PENALTY

NODES = 50_000
START = np.array([0.5, 1.0])
README_SAMPLES = 100_000

GPT_RATE = 0.01
GPT_BETAS = (0.9, 0.99)


def first_layers(sizes: Sequence[int]) -> list[Layer]:
    """Return the weights, a row for each output, and the biases of each layer of a new ``MLP``.

    They are those of micrograd's after ``random.seed(SEED)``.
    """
    uniform = random.Random(SEED).uniform
    return [
        (
            np.array([[uniform(-1, 1) for _ in range(inputs)] for _ in range(outputs)]),
            np.zeros(outputs),
        )
        for inputs, outputs in pairwise(sizes)
    ]


def neurons(layers: Iterable[Layer]) -> Floats:
    """Return all parameters in micrograd's order: each neuron's weights, then its bias."""
    return np.concatenate([np.column_stack(layer).ravel() for layer in layers])


def digits_batches() -> list[tuple[Floats, Integers]]:
    """Return scikit-learn's 1,797 digits, 64 numbers from 0 to 1 each, and what they show."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return [
        (images[start : start + BATCH] / 16, labels[start : start + BATCH])
        for start in range(0, len(images), BATCH)
    ]


def images_batch() -> tuple[Floats, Integers]:
    """Return images of noise, 784 numbers each, and labels from 0 to 9."""
    generator = np.random.default_rng(SEED)
    # Divided so that scores start from moderate numbers: a sum over 784 weights lies behind each.
    images = generator.random((IMAGES_BATCH, IMAGES_SIZES[0])) / 28
    return images, generator.integers(IMAGES_SIZES[-1], size=IMAGES_BATCH)


def readme_operands() -> tuple[Floats, Floats]:
    """Return operands of the README's expression, around those that it has there."""
    generator = np.random.default_rng(SEED)
    a, b = (generator.uniform(-0.05, 0.05, README_SAMPLES) for _ in range(2))
    return a - 4, b + 2


def random_program() -> tuple[Floats, list[Operation]]:
    """Return numbers, and operations that make an expression of them."""
    numbers = np.random.default_rng(SEED).uniform(-1, 1, 1_000)
    return numbers, random_operations(numbers.tolist(), NODES, SEED)


def one_hot(labels: Integers, classes: int) -> Floats:
    """Return a row for each label, with a one at its place."""
    return np.eye(classes)[labels]


def gpt_weights() -> dict[str, Floats]:
    """Return the first weights of ``examples/gpt.py``, matrix by matrix."""
    model: Any = MICROGRADX.load("gpt.py").make_model()
    return {name: microgradx.data(matrix) for name, matrix in model._asdict().items()}


def gpt_state() -> dict[str, Moments]:
    """Return each of these matrices with Adam's two averages, which start from 0."""
    return {name: (p, np.zeros_like(p), np.zeros_like(p)) for name, p in gpt_weights().items()}


def gpt_tokens() -> tuple[Integers, Integers]:
    """Return the characters of the name, and those which follow, as numbers."""
    program: Any = MICROGRADX.load("gpt.py")
    text = program.END + GPT_NAME + program.END
    tokens = np.array([program.ALPHABET.index(character) for character in text])
    return tokens[:-1], tokens[1:]


def gpt_heads() -> int:
    """Return how many heads attend."""
    heads: int = MICROGRADX.load("gpt.py").HEADS
    return heads
