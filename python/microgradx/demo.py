"""Two moons, told apart by a small network: micrograd's demo."""

from __future__ import annotations

import random
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microgradx.engine import Value
from microgradx.nn import MLP
from microgradx.viz import plot_decision_boundary, score_grid

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]

USAGE_ERROR = 2
INTERRUPTED = 130


class Result(NamedTuple):
    """What one step of training found before it changed the parameters."""

    loss: float
    accuracy: float

    def __str__(self) -> str:
        return f"loss {self.loss:.4f}, accuracy {self.accuracy:.0%}"


def two_moons(
    samples: int = 100,
    noise: float = 0.1,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Floats, Labels]:
    """Draw points from two interleaving half circles.

    The same seed gives the points and labels of scikit-learn's ``make_moons``.

    Parameters
    ----------
    samples
        How many points; the lower moon gets the odd one.
    noise
        Standard deviation of the normal noise added to both coordinates.
    random_state
        A seed, a generator, or None for different points every time.

    Returns
    -------
    points
        Array of shape (samples, 2).
    labels
        0 for the upper moon, 1 for the lower one.
    """
    if samples < 0:
        raise ValueError(f"samples must not be negative, got {samples}")
    if noise < 0:
        raise ValueError(f"noise is a standard deviation and must not be negative, got {noise}")
    generator = (
        random_state
        if isinstance(random_state, np.random.RandomState)
        else np.random.RandomState(random_state)
    )

    upper = np.linspace(0, np.pi, samples // 2)
    lower = np.linspace(0, np.pi, samples - len(upper))
    points = np.vstack(
        [
            np.column_stack([np.cos(upper), np.sin(upper)]),
            np.column_stack([1 - np.cos(lower), 1 - np.sin(lower) - 0.5]),
        ]
    )
    labels = np.repeat(np.arange(2, dtype=np.intp), [len(upper), len(lower)])
    order = np.arange(samples)
    generator.shuffle(order)
    return points[order] + generator.normal(scale=noise, size=points.shape), labels[order]


def max_margin_loss(model: MLP, points: Floats, labels: Labels) -> tuple[Value, float]:
    """Return the support vector machine's loss with L2 regularisation, and the accuracy.

    ``labels`` are -1 and 1.
    """
    inputs = [list(map(Value, point)) for point in points]
    scores: list[Any] = list(map(model, inputs))
    losses = [(1 + -label * score).relu() for label, score in zip(labels, scores, strict=True)]
    data_loss = sum(losses, Value(0)) * (1.0 / len(losses))
    squares = [parameter * parameter for parameter in model.parameters()]
    regularisation = 1e-4 * sum(squares, Value(0))
    right = [(label > 0) == (score.data > 0) for label, score in zip(labels, scores, strict=True)]
    return data_loss + regularisation, sum(right) / len(right)


def training(model: MLP, points: Floats, labels: Labels, steps: int) -> Iterator[Result]:
    """Train by gradient descent with a decaying rate, yielding each step's result."""
    for step in range(steps):
        loss, accuracy = max_margin_loss(model, points, labels)
        model.zero_grad()
        loss.backward()
        rate = 1.0 - 0.9 * step / steps
        for parameter in model.parameters():
            parameter.data -= rate * parameter.grad
        yield Result(float(loss.data), float(accuracy))


def draw_picture(output: str, model: MLP, points: Floats, labels: Labels, title: str) -> None:
    """Write a picture of the points and of the model's scores around them."""
    figure = plot_decision_boundary(model, points, labels, title=title)
    figure.savefig(output, format=picture_format(output))


def draw_text(model: MLP, points: Floats, labels: Labels, columns: int) -> str:
    """Return the points and the model's decision boundary as lines of text."""
    rows = columns * 3 // 8
    x, y, scores = score_grid(model, points, columns, rows)
    canvas = np.where(scores > 0, ":", " ")
    column = np.abs(points[:, :1] - x).argmin(axis=1)
    row = np.abs(points[:, 1:] - y).argmin(axis=1)
    canvas[row, column] = np.where(labels > 0, "#", "o")
    return "\n".join("".join(line) for line in canvas[::-1])


def run_demo(steps: int = 100, output: str = "moons.png", seed: int = 1337) -> int:
    """Train, report, draw, and return the exit code.

    Parameters
    ----------
    steps
        How many steps of gradient descent.
    output
        Where the picture goes. Without matplotlib the boundary is drawn as text instead.
    seed
        Of the points and of the first weights.
    """
    draws = has_matplotlib()
    if draws and (objection := objection_to(output)):
        print(f"demo: --output {output!r}: {objection}", file=sys.stderr)
        return USAGE_ERROR

    random.seed(seed)
    points, labels = two_moons(samples=100, noise=0.1, random_state=seed)
    labels = labels * 2 - 1
    model = MLP(2, [16, 16, 1])

    exit_code = 0
    results: list[Result] = []
    start = time.perf_counter()
    try:
        for result in _with_progress(training(model, points, labels, steps), steps):
            results.append(result)
    except KeyboardInterrupt:
        exit_code = INTERRUPTED
        print(f"interrupted after {len(results)} of {steps} steps")
    rate = len(results) / (time.perf_counter() - start)
    title = f"two moons after {len(results)} steps"
    if results:
        title += f": {results[-1]}"
        print(f"final {results[-1]}, {rate:.0f} steps per second")

    if not draws:
        columns = min(shutil.get_terminal_size().columns, 100)
        print(draw_text(model, points, labels, columns))
        print("o label -1    # label +1    : where the network says +1")
        print('for a picture: pip install "microgradx[demo]"')
        return exit_code
    draw_picture(output, model, points, labels, title)
    print(f"decision boundary: {Path(output).absolute()}")
    return exit_code


def _with_progress(results: Iterable[Result], steps: int) -> Iterator[Result]:
    """Pass the results on, showing on standard error how far they are."""
    try:
        from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        try:
            for done, result in enumerate(results, start=1):
                line = f"step {done}/{steps}: {result}"
                print(f"\r{line:60}", end="", file=sys.stderr, flush=True)
                yield result
        finally:
            print(file=sys.stderr)
        return
    with tqdm(results, total=steps, unit="step") as bar:
        for result in bar:
            bar.set_postfix_str(str(result), refresh=False)
            yield result


def has_matplotlib() -> bool:
    """Tell whether matplotlib can be imported."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def objection_to(output: str) -> str | None:
    """Return why no picture can be written there, without harm to a file that is there."""
    from matplotlib.backend_bases import FigureCanvasBase

    formats = FigureCanvasBase.get_supported_filetypes()
    if picture_format(output) not in formats:
        return f"not a kind of picture; known are {', '.join(sorted(formats))}"
    return objection_to_file(output)


def objection_to_file(output: str) -> str | None:
    """Return why no file can be written there, without harm to one that is there."""
    path = Path(output)
    is_new = not path.exists()
    try:
        path.open("ab").close()
        if is_new:
            path.unlink()
    except OSError as error:
        return f"cannot be written: {error.strerror}"
    return None


def picture_format(output: str) -> str:
    """Return the format that a picture's path asks for."""
    return Path(output).suffix.lstrip(".").lower() or "png"
