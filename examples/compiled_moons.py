"""Separate two moons with a compiled network: written for one point, run over all of them at once.

The network learns as in moons.py, step for step. Needs scikit-learn for the data and matplotlib for
the picture.

    python examples/compiled_moons.py --plot moons.png
"""

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path

import microgradx as mgx
import numpy as np
from microgradx import CompiledFunction, Value
from microgradx.nn import MLP
from microgradx.optim import SGD
from sklearn.datasets import make_moons

STEPS = 100


def make_problem() -> tuple[MLP, np.ndarray, np.ndarray]:
    """Return the network, 100 points and their labels of -1 or 1, the same ones every time."""
    random.seed(1337)
    points, labels = make_moons(n_samples=100, noise=0.1, random_state=1337)
    return MLP(2, [16, 16, 1]), points, labels * 2 - 1


def train(
    model: MLP, points: np.ndarray, labels: np.ndarray, steps: int
) -> Iterator[tuple[float, float]]:
    """Descend the gradient over all the points at once, yielding loss and accuracy a step.

    The rate falls from 1.0 to 0.1 over the first 100 steps and stays there.

    Parameters
    ----------
    model
        A network with one output.
    points
        One row of coordinates a sample.
    labels
        -1 or 1 for each row.
    steps
        How often to change the parameters.
    """
    score = mgx.compile(model)

    @mgx.compile
    def hinge(point: list[Value], label: Value) -> Value:
        margin: Value = label * score(point)
        return (1 - margin).relu()

    parameters = model.parameters()
    optimiser = SGD(parameters, lr=1.0)
    for step in range(steps):
        penalty = 1e-4 * mgx.sum(p * p for p in parameters)
        loss = hinge.mean(points, labels) + penalty
        accuracy = float(np.mean((score.map(points) > 0) == (labels > 0)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.lr = 1.0 - 0.9 * min(step, STEPS) / STEPS
        optimiser.step()
        yield loss.data, accuracy


def draw(score: CompiledFunction, points: np.ndarray, labels: np.ndarray, path: Path) -> None:
    """Write a picture of the points and of the score around them, whose zero is the boundary."""
    from matplotlib.figure import Figure

    across, up = np.meshgrid(np.linspace(-1.75, 2.75, 300), np.linspace(-1.25, 1.75, 200))
    scores = score.map(np.column_stack([across.ravel(), up.ravel()])).reshape(across.shape)

    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    axes.pcolormesh(across, up, scores, cmap="RdBu_r", vmin=-8, vmax=8)
    axes.contour(across, up, scores, levels=[0], colors="black")
    axes.scatter(points[:, 0], points[:, 1], c=labels, cmap="RdBu_r", edgecolors="white")
    axes.set_aspect("equal")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train, print a line a step, and draw if asked to."""
    parser = argparse.ArgumentParser(description="Train a compiled network on two moons.")
    parser.add_argument("--steps", type=int, default=STEPS, help="gradient steps (default 100)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the decision boundary")
    arguments = parser.parse_args()

    model, points, labels = make_problem()
    start = time.perf_counter()
    for step, (loss, accuracy) in enumerate(train(model, points, labels, arguments.steps)):
        print(f"step {step:3d}  loss {loss:.6f}  accuracy {accuracy:.0%}")
    print(f"{time.perf_counter() - start:.3f} seconds")

    if arguments.plot:
        try:
            draw(mgx.compile(model), points, labels, arguments.plot)
        except (OSError, ValueError) as error:
            parser.error(f"cannot draw --plot {arguments.plot}: {error}")


if __name__ == "__main__":
    main()
