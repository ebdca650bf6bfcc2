"""Separate two moons with a small network, as micrograd's demo notebook does.

A program for micrograd: it says nothing of microgradx. Needs scikit-learn for the data.

    python examples/moons.py                      on micrograd
    python -m microgradx run examples/moons.py    on microgradx
"""

import argparse
import random
from collections.abc import Iterator

import numpy as np
from micrograd.engine import Value
from micrograd.nn import MLP
from sklearn.datasets import make_moons

STEPS = 100


def make_problem() -> tuple[MLP, np.ndarray, np.ndarray]:
    """Return the network, 100 points and their labels of -1 or 1, the same ones every time."""
    random.seed(1337)
    points, labels = make_moons(n_samples=100, noise=0.1, random_state=1337)
    return MLP(2, [16, 16, 1]), points, labels * 2 - 1


def loss_of(model: MLP, points: np.ndarray, labels: np.ndarray) -> tuple[Value, float]:
    """Return the max-margin loss with L2 regularisation, and the accuracy.

    Parameters
    ----------
    model
        A network with one output.
    points
        One row of coordinates a sample.
    labels
        -1 or 1 for each row.
    """
    inputs = [list(map(Value, row)) for row in points]
    scores = list(map(model, inputs))

    losses = [(1 + -yi * scorei).relu() for yi, scorei in zip(labels, scores, strict=True)]
    data_loss = sum(losses) * (1.0 / len(losses))
    penalty = 1e-4 * sum(p * p for p in model.parameters())

    hits = [(yi > 0) == (scorei.data > 0) for yi, scorei in zip(labels, scores, strict=True)]
    return data_loss + penalty, sum(hits) / len(hits)


def train(
    model: MLP, points: np.ndarray, labels: np.ndarray, steps: int
) -> Iterator[tuple[float, float]]:
    """Descend the gradient over all the points at once, yielding loss and accuracy a step.

    The rate falls from 1.0 to 0.1 over the first 100 steps and stays there.
    """
    for step in range(steps):
        loss, accuracy = loss_of(model, points, labels)
        model.zero_grad()
        loss.backward()
        rate = 1.0 - 0.9 * min(step, STEPS) / STEPS
        for p in model.parameters():
            p.data -= rate * p.grad
        yield loss.data, accuracy


def main() -> None:
    """Train and print a line a step."""
    parser = argparse.ArgumentParser(description="Train a network on two moons.")
    parser.add_argument("--steps", type=int, default=STEPS, help="gradient steps (default 100)")
    arguments = parser.parse_args()

    for step, (loss, accuracy) in enumerate(train(*make_problem(), arguments.steps)):
        print(f"step {step:3d}  loss {loss:.6f}  accuracy {accuracy:.0%}")


if __name__ == "__main__":
    main()
