"""Learn to read handwritten digits with a compiled network and a loss written in scalars.

The loss of one picture is spelled out, the logarithm of a sum of exponentials included; it is
recorded once and replayed over mini-batches. Needs scikit-learn for the pictures of 8 by 8 pixels.

    python examples/compiled_digits.py
"""

import argparse
import random
import time
from collections.abc import Iterator
from functools import reduce
from typing import NamedTuple

import microgradx as mgx
import numpy as np
from microgradx import Value
from microgradx.nn import MLP
from microgradx.optim import SGD
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

RATE = 0.1


class Digits(NamedTuple):
    """Pictures, a row of 64 brightnesses from 0 to 1 each, and the digits that they show."""

    pictures: np.ndarray
    labels: np.ndarray


class Epoch(NamedTuple):
    """The mean loss while the pictures were gone through, and the test accuracy afterwards."""

    loss: float
    accuracy: float


def load(seed: int = 0) -> tuple[Digits, Digits]:
    """Return three quarters of the digits to learn from and one quarter to be tested with."""
    pictures, labels = load_digits(return_X_y=True)
    parts = train_test_split(pictures / 16, labels, stratify=labels, random_state=seed)
    return Digits(parts[0], parts[2]), Digits(parts[1], parts[3])


def cross_entropy(scores: list[Value], label: Value) -> Value:
    """Return minus the logarithm of the probability that softmax gives to the label."""
    peak = reduce(mgx.maximum, scores)
    powers = [(score - peak).exp() for score in scores]
    score_of_label: Value = mgx.take(scores, label)
    return peak + mgx.sum(powers).log() - score_of_label


def train(
    model: MLP, examples: Digits, tests: Digits, epochs: int, batch: int, seed: int = 0
) -> Iterator[Epoch]:
    """Go through the examples in mini-batches, `epochs` times, yielding how it goes."""
    scores = mgx.compile(model)

    @mgx.compile
    def loss(picture: list[Value], label: Value) -> Value:
        return cross_entropy(scores(picture), label)

    generator = np.random.default_rng(seed)
    optimiser = SGD(model.parameters(), lr=RATE, momentum=0.9)
    for epoch in range(epochs):
        optimiser.lr = RATE * (1 - epoch / epochs)
        losses = []
        order = generator.permutation(len(examples.labels))
        for chosen in np.split(order, range(batch, len(order), batch)):
            mean = loss.mean(examples.pictures[chosen], examples.labels[chosen])
            optimiser.zero_grad()
            mean.backward()
            optimiser.step()
            losses.append(mean.data)
        answers = scores.map(tests.pictures).argmax(axis=1)
        yield Epoch(float(np.mean(losses)), float(np.mean(answers == tests.labels)))


def main() -> None:
    """Train, print a line an epoch, and say how well and how fast it was learned."""
    parser = argparse.ArgumentParser(description="Learn to read handwritten digits.")
    parser.add_argument("--epochs", type=int, default=20, help="times through (default 20)")
    parser.add_argument("--batch", type=int, default=32, help="pictures a step (default 32)")
    arguments = parser.parse_args()

    random.seed(1337)
    model = MLP(64, [32, 10])
    examples, tests = load()
    print(f"{len(model.parameters()):,} parameters")
    print(
        f"{len(examples.labels):,} pictures to learn from, {len(tests.labels)} others for the test"
    )
    start = time.perf_counter()
    for epoch, state in enumerate(train(model, examples, tests, arguments.epochs, arguments.batch)):
        print(f"epoch {epoch:2d}  loss {state.loss:.4f}  test accuracy {state.accuracy:.1%}")
    print(f"{time.perf_counter() - start:.2f} seconds")


if __name__ == "__main__":
    main()
