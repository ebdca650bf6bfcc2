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

__all__ = [
    "Result",
    "draw_picture",
    "draw_text",
    "max_margin_loss",
    "run_demo",
    "training",
    "two_moons",
]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]

USAGE_ERROR = 2
INTERRUPTED = 130


class Result(NamedTuple):
    """What one step of training found before it changed the parameters.

    Attributes
    ----------
    loss : float
        The max-margin loss and the penalty.
    accuracy : float
        The share of points that are on their side, from 0 to 1.

    Examples
    --------
    >>> from microgradx.demo import Result
    >>> print(Result(loss=0.25, accuracy=0.9))
    loss 0.2500, accuracy 90%
    """

    loss: float
    accuracy: float

    def __str__(self) -> str:
        """Tell both."""
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
    samples : int, default 100
        How many points; the lower moon gets the odd one.
    noise : float, default 0.1
        Standard deviation of the normal noise added to both coordinates.
    random_state : int or numpy.random.RandomState, optional
        A seed, or a generator; without it, the points are different every time.

    Returns
    -------
    points : numpy.ndarray of float64
        Of shape (samples, 2).
    labels : numpy.ndarray of int
        Of shape (samples,): 0 for the upper moon, 1 for the lower one.

    Raises
    ------
    ValueError
        If `samples` or `noise` is negative.

    Examples
    --------
    >>> from microgradx.demo import two_moons
    >>> points, labels = two_moons(200, noise=0.2, random_state=0)
    >>> points.shape, int(labels.sum())
    ((200, 2), 100)
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

    Parameters
    ----------
    model : MLP
        A network with two inputs and one output.
    points : array of shape (N, 2)
        The coordinates of at least one point.
    labels : array of shape (N,)
        Their classes, -1 and 1.

    Returns
    -------
    loss : Value
        The mean of ``max(0, 1 - label * score)``, and 1e-4 times the squares of the parameters.
    accuracy : float
        The share of points whose score has the sign of their label.

    Examples
    --------
    >>> import numpy as np
    >>> from microgradx.demo import max_margin_loss
    >>> from microgradx.nn import MLP
    >>> loss, accuracy = max_margin_loss(MLP(2, [1]), np.zeros((1, 2)), np.array([1]))
    >>> round(loss.data), float(accuracy)  # as the score is 0
    (1, 0.0)
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
    """Train by gradient descent with a decaying rate, yielding each step's result.

    Parameters
    ----------
    model : MLP
        A network with two inputs and one output.
    points : array of shape (N, 2)
        The coordinates of the points.
    labels : array of shape (N,)
        Their classes, -1 and 1.
    steps : int
        How many steps; the rate falls from 1 to about 0.1.

    Yields
    ------
    Result

    Examples
    --------
    >>> from microgradx.demo import training, two_moons
    >>> from microgradx.nn import MLP
    >>> points, labels = two_moons(20)
    >>> len(list(training(MLP(2, [4, 1]), points, 2 * labels - 1, steps=3)))
    3
    """
    for step in range(steps):
        loss, accuracy = max_margin_loss(model, points, labels)
        model.zero_grad()
        loss.backward()
        rate = 1.0 - 0.9 * step / steps
        for parameter in model.parameters():
            parameter.data -= rate * parameter.grad
        yield Result(float(loss.data), float(accuracy))


def draw_picture(output: str, model: MLP, points: Floats, labels: Labels, title: str) -> None:
    """Write a picture of the points and of the model's scores around them.

    Parameters
    ----------
    output : str
        Where to; the suffix says the kind of picture, which is PNG without one.
    model : MLP
        A network with two inputs and one output.
    points : array of shape (N, 2)
        The coordinates of the points.
    labels : array of shape (N,)
        Their classes, -1 and 1.
    title : str
        What stands above the picture.

    Raises
    ------
    ValueError
        If the suffix is that of no kind of picture.
    ImportError
        If the package ``matplotlib`` is not installed.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from microgradx.demo import draw_picture, two_moons
    >>> from microgradx.nn import MLP
    >>> points, labels = two_moons(20)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "moons.png")
    ...     draw_picture(str(path), MLP(2, [4, 1]), points, 2 * labels - 1, "two moons")
    ...     path.read_bytes()[1:4]
    b'PNG'
    """
    figure = plot_decision_boundary(model, points, labels, title=title)
    figure.savefig(output, format=picture_format(output))


def draw_text(model: MLP, points: Floats, labels: Labels, columns: int) -> str:
    """Return the points and the model's decision boundary as lines of text.

    Parameters
    ----------
    model : MLP
        A network with two inputs and one output.
    points : array of shape (N, 2)
        The coordinates of the points.
    labels : array of shape (N,)
        Their classes, -1 and 1.
    columns : int
        How wide the text is; it is 3/8 as high.

    Returns
    -------
    str
        ``o`` and ``#`` are points with the labels -1 and 1, ``:`` is where the score is positive.

    Examples
    --------
    >>> from microgradx.demo import draw_text, two_moons
    >>> from microgradx.nn import MLP
    >>> points, labels = two_moons(20)
    >>> text = draw_text(MLP(2, [4, 1]), points, 2 * labels - 1, columns=40)
    >>> {len(line) for line in text.splitlines()}, len(text.splitlines())
    ({40}, 15)
    """
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
    steps : int, default 100
        How many steps of gradient descent.
    output : str, default 'moons.png'
        Where the picture goes. Without matplotlib the boundary is drawn as text instead.
    seed : int, default 1337
        Of the points and of the first weights.

    Returns
    -------
    int
        0; 2 if no picture can be written there; 130 if the training was interrupted.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from microgradx.demo import run_demo
    >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +ELLIPSIS
    ...     run_demo(steps=2, output=str(Path(folder, "moons.png")))
    final loss ..., accuracy ...%, ... steps per second
    decision boundary: ...moons.png
    0
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
