"""Pictures: graphs of Values, compiled programs, training curves and decision boundaries.

Graphs need the package ``graphviz`` and Graphviz itself, plots ``matplotlib``:
``pip install "microgradx[viz]"``.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microgradx._core import Program
from microgradx.compiler import CompiledFunction
from microgradx.engine import Value

if TYPE_CHECKING:
    from graphviz import Digraph
    from matplotlib.figure import Figure

__all__ = ["draw_dot", "draw_program", "plot_decision_boundary", "plot_training"]

COLOURS = ("#2f6db5", "#e8743b", "#3a9b5c", "#8a5fb0", "#c2a02d", "#c0453f", "#3aa6a6", "#7a7a7a")
PALE = "#f7f5f2"
DARK = "#222222"
MARGIN = 0.5


def draw_dot(
    root: Value, format: str = "svg", rankdir: str = "LR", max_nodes: int = 1000
) -> Digraph:
    """Draw the graph of a Value, as micrograd's notebook does.

    A Value is a box with its label, if it has an attribute ``label``, its data and its gradient;
    the operation that made it is an ellipse before it.

    Parameters
    ----------
    root : Value
        The result of the expression.
    format : str, default 'svg'
        The kind of picture that is rendered.
    rankdir : {'LR', 'TB'}, default 'LR'
        Whether the graph goes from left to right or from top to bottom.
    max_nodes : int, default 1000
        How many Values are drawn, those nearest to the root. Where operands are left out there are
        dots.

    Returns
    -------
    graphviz.Digraph
        It shows itself in a notebook; ``.render(path)`` writes a file, ``.source`` is the text.

    Raises
    ------
    TypeError
        If `root` is not a Value.
    ValueError
        If `rankdir` is neither, or `max_nodes` is less than 1.
    ImportError
        If the package ``graphviz`` is not installed.

    Examples
    --------
    >>> from microgradx import Value, viz
    >>> print(viz.draw_dot(Value(2.0) * 3.0).source.count("shape=record"))
    3
    """
    if not isinstance(root, Value):
        raise TypeError(f"root must be a Value, not {type(root).__name__}")
    if max_nodes < 1:
        raise ValueError(f"max_nodes must be at least 1, not {max_nodes}")
    dot = _digraph(format, rankdir)
    nodes, left_out = _nearest(root, max_nodes)
    names = {node: str(number) for number, node in enumerate(nodes)}
    for node, name in names.items():
        fields = [f"data {node.data:.4f}", f"grad {node.grad:.4f}"]
        if label := getattr(node, "label", ""):
            fields.insert(0, re.sub(r"([\\{}|<>])", r"\\\1", str(label)))
        dot.node(name, label=f"{{ {' | '.join(fields)} }}", shape="record")
        if not node._op:
            continue
        dot.node(f"{name}op", label=node._op)
        dot.edge(f"{name}op", name)
        if node in left_out:
            dot.node(f"{name}rest", label="...", shape="plaintext")
            dot.edge(f"{name}rest", f"{name}op", style="dashed")
    drawn = [
        (names[child], names[node]) for node in nodes for child in node._prev if child in names
    ]
    for child, name in sorted(drawn, key=lambda edge: (int(edge[1]), int(edge[0]))):
        dot.edge(child, f"{name}op")
    return dot


def _nearest(root: Value, count: int) -> tuple[list[Value], set[Value]]:
    """Return the nodes nearest to the root, and those of them whose operands are not all there."""
    found = {root: None}
    pending = deque([root])
    left_out: set[Value] = set()
    while pending:
        node = pending.popleft()
        for child in sorted(node._prev, key=lambda child: (child.data, child.grad)):
            if child in found:
                continue
            if len(found) == count:
                left_out.add(node)
                break
            found[child] = None
            pending.append(child)
    return list(found), left_out


def draw_program(
    program: Program | CompiledFunction,
    format: str = "svg",
    rankdir: str = "TB",
    max_instructions: int = 200,
) -> Digraph:
    """Draw what a compiled function computes: its instructions, and which uses the result of which.

    Parameters
    ----------
    program : Program or CompiledFunction
        The program, or a function that has been called, whose last program is drawn.
    format : str, default 'svg'
        The kind of picture that is rendered.
    rankdir : {'LR', 'TB'}, default 'TB'
        Whether the graph goes from left to right or from top to bottom.
    max_instructions : int, default 200
        How many instructions are drawn, the last ones. Where others are left out there are dots.

    Returns
    -------
    graphviz.Digraph
        It shows itself in a notebook; ``.render(path)`` writes a file, ``.source`` is the text.

    Raises
    ------
    TypeError
        If `program` is neither.
    AttributeError
        If the function has not been called yet.
    ValueError
        If `rankdir` is neither, or `max_instructions` is less than 1.
    ImportError
        If the package ``graphviz`` is not installed.

    Examples
    --------
    >>> import microgradx as mgx
    >>> f = mgx.compile(lambda x, y: (x * y).tanh())
    >>> f(0.5, 2.0).data == mgx.Value(1.0).tanh().data
    True
    >>> mgx.viz.draw_program(f).source.count("shape=box")  # the instructions
    2
    """
    if isinstance(program, CompiledFunction):
        program = program.program
    if not isinstance(program, Program):
        raise TypeError(f"program must be a Program, not {type(program).__name__}")
    if max_instructions < 1:
        raise ValueError(f"max_instructions must be at least 1, not {max_instructions}")
    dot = _digraph(format, rankdir)
    lines, sources = str(program).splitlines(), program.sources
    first = max(2, len(lines) - 1 - max_instructions)
    drawn = {*range(first, len(lines)), *(s for line in sources[first:] for s in line if s < 2)}
    for line in sorted(drawn):
        is_end = line < 2 or line == len(lines) - 1
        style = {"shape": "ellipse"} if is_end else {"shape": "box", "style": "rounded"}
        dot.node(str(line), label=lines[line].strip().replace("\\", "\\\\"), **style)
        for source in sources[line]:
            if source in drawn:
                dot.edge(str(source), str(line))
        if any(source not in drawn for source in sources[line]):
            dot.node(f"{line}rest", label="...", shape="plaintext")
            dot.edge(f"{line}rest", str(line), style="dashed")
    return dot


def _digraph(format: str, rankdir: str) -> Digraph:
    if rankdir not in ("LR", "TB"):
        raise ValueError(f"rankdir must be 'LR' or 'TB', not {rankdir!r}")
    try:
        from graphviz import Digraph
    except ImportError as error:
        raise ImportError(
            'drawings of graphs need a package: pip install "microgradx[viz]"'
        ) from error
    return Digraph(format=format, graph_attr={"rankdir": rankdir})


def svg_or_none(draw: Callable[..., Digraph], **options: int) -> Callable[[Any], str | None]:
    """Make a method by which notebooks show an object, if Graphviz is installed.

    Parameters
    ----------
    draw : callable
        It draws the object.
    **options : int
        What it is told besides.
    """

    def _repr_svg_(self: Any) -> str | None:
        try:
            from graphviz import ExecutableNotFound
        except ImportError:
            return None
        try:
            return str(draw(self, **options).pipe(format="svg", encoding="utf-8"))
        except ExecutableNotFound:
            return None

    return _repr_svg_


def plot_training(
    curves: Sequence[float] | Mapping[str, Sequence[float]],
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "",
    logarithmic: bool = False,
) -> Figure:
    """Plot losses, or other numbers, of the steps of a training.

    Parameters
    ----------
    curves : sequence of float, or mapping of str to such sequences
        A number for each step; several curves by name.
    path : path, optional
        Where to write the picture; its ending chooses the kind.
    title : str, default ''
        What stands above the picture.
    logarithmic : bool, default False
        Whether the numbers are plotted on a logarithmic scale.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are no curves, or the path ends in something that is no kind of picture.
    ImportError
        If the package ``matplotlib`` is not installed.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> from microgradx import viz
    >>> figure = viz.plot_training({"train": [1.0, 0.5, 0.25], "test": [1.0, 0.75, 0.7]})
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['train', 'test']
    """
    given = curves if isinstance(curves, Mapping) else {"loss": curves}
    named = {name: np.asarray(curve, dtype=np.float64) for name, curve in given.items()}
    if not sum(curve.size for curve in named.values()):
        raise ValueError("curves is empty: there is nothing to plot")
    for name, curve in named.items():
        if curve.ndim != 1:
            raise ValueError(f"curves must be sequences of numbers, but {name!r} is not")
    figure = _figure()
    axes = figure.subplots()
    for number, (name, curve) in enumerate(named.items()):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(np.arange(len(curve)), curve, color=colour, linewidth=1.8, label=name)
    axes.set_xlabel("step")
    if len(named) == 1:
        axes.set_ylabel(next(iter(named)))
    else:
        axes.legend(framealpha=0.9)
    if logarithmic:
        axes.set_yscale("log")
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title)
    if path is not None:
        figure.savefig(path)
    return figure


def plot_decision_boundary(
    model: Callable[..., Any],
    points: npt.ArrayLike,
    labels: npt.ArrayLike,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "",
    level: float = 0.0,
) -> Figure:
    """Plot points of a plane, and how a model tells them apart.

    Parameters
    ----------
    model : callable
        Of a list of two numbers, the coordinates. It returns a score, which is above `level` for
        one of two classes and below for the other, or a list of scores, the largest of which tells
        the class. A compiled function is called once for the whole picture.
    points : array of shape (N, 2)
        The coordinates of the points.
    labels : array of shape (N,)
        Their classes: two different numbers, the lower for scores below `level`; or from 0 on for a
        list of scores.
    path : path, optional
        Where to write the picture; its ending chooses the kind.
    title : str, default ''
        What stands above the picture.
    level : float, default 0
        The score between two classes: 0.5 for a model that returns probabilities.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If the model returns something else.
    ValueError
        If an argument has another shape, labels are others than these, or the path ends in
        something that is no kind of picture.
    ImportError
        If the package ``matplotlib`` is not installed.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> from microgradx import nn, viz
    >>> from microgradx.demo import two_moons
    >>> points, labels = two_moons(20)
    >>> figure = viz.plot_decision_boundary(nn.MLP(2, [4, 1]), points, labels, title="two moons")
    >>> figure.axes[0].get_title()
    'two moons'
    """
    where = np.asarray(points, dtype=np.float64)
    classes = np.asarray(labels)
    if where.ndim != 2 or where.shape[1] != 2 or not len(where):
        raise ValueError(f"points must have shape (N, 2), not {where.shape}")
    if classes.shape != (len(where),):
        raise ValueError(f"labels must have shape ({len(where)},), not {classes.shape}")
    x, y, scores = score_grid(model, where, columns=100, rows=72)
    known = np.unique(classes) if scores.ndim == 2 else np.arange(scores.shape[-1])
    if len(known) > 2 and scores.ndim == 2:
        raise ValueError(f"labels must be two numbers for a model with one score, not {known}")
    if not np.isin(classes, known).all():
        raise ValueError(f"labels must be from 0 to {len(known) - 1}, the numbers of the scores")
    figure = _figure()
    axes = figure.subplots()
    extent = (x[0], x[-1], y[0], y[-1])
    if scores.ndim == 2:
        _paint_two_classes(axes, x, y, scores - level, extent)
    else:
        _paint_classes(axes, x, y, scores, extent)
    for number, label in enumerate(known):
        across, up = where[classes == label].T
        axes.scatter(
            across,
            up,
            s=48,
            color=COLOURS[number % len(COLOURS)],
            edgecolors="white",
            label=f"label {label:+d}" if classes.dtype.kind == "i" and min(known) < 0 else label,
            zorder=3,
        )
    axes.legend(loc="upper right", framealpha=0.9)
    axes.set_title(title)
    if path is not None:
        figure.savefig(path)
    return figure


def score_grid(
    model: Callable[..., Any], points: npt.NDArray[np.float64], columns: int, rows: int
) -> tuple[npt.NDArray[np.float64], ...]:
    """Compute a model's scores on a grid around points of a plane.

    Parameters
    ----------
    model : callable
        As of :func:`plot_decision_boundary`.
    points : array of shape (N, 2)
        The coordinates of the points.
    columns, rows : int
        How many places there are.

    Returns
    -------
    x, y : arrays of shape (columns,) and (rows,)
        The coordinates of the grid.
    scores : array of shape (rows, columns), or (rows, columns, classes)
        The model's score at each place.
    """
    left, bottom = points.min(axis=0) - MARGIN
    right, top = points.max(axis=0) + MARGIN
    x = np.linspace(left, right, columns)
    y = np.linspace(bottom, top, rows)
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    if isinstance(model, CompiledFunction):
        scores = model.map(places)
    else:
        scores = np.array([_numbers(model(place)) for place in places.tolist()], dtype=np.float64)
    if scores.ndim > 2 or 0 in scores.shape:
        raise ValueError("model must return a score, or a list of scores")
    return x, y, scores.reshape(rows, columns, *scores.shape[1:])


def _numbers(scores: Any) -> Any:
    if isinstance(scores, Value):
        return scores.data
    if isinstance(scores, Iterable) and not isinstance(scores, str):
        return [_numbers(score) for score in scores]
    if not isinstance(scores, Real):
        raise TypeError(f"model must return a score, or a list of scores, not {scores!r}")
    return scores


def _figure() -> Figure:
    # A figure without pyplot needs no display and leaves a notebook's backend alone.
    try:
        from microgradx._picture import Picture
    except ImportError as error:
        raise ImportError('plots need a package: pip install "microgradx[viz]"') from error
    return Picture(figsize=(8, 5.4), dpi=150, layout="constrained")


def _paint_two_classes(axes: Any, x: Any, y: Any, scores: Any, extent: Any) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("classes", [COLOURS[0], PALE, COLOURS[1]])
    shown = {"extent": extent, "origin": "lower", "interpolation": "bilinear"}
    reach = min(4.0, np.abs(scores).max()) or 4.0  # probabilities are less apart
    axes.imshow(scores, cmap=shades, vmin=-reach, vmax=reach, alpha=0.75, **shown)
    for level, width, style in ((0, 1.8, "-"), (-1, 0.8, ":"), (1, 0.8, ":")):
        if scores.min() < level < scores.max():
            line = {"linewidths": width, "linestyles": style}
            axes.contour(x, y, scores, levels=[level], colors=DARK, **line)


def _paint_classes(axes: Any, x: Any, y: Any, scores: Any, extent: Any) -> None:
    from matplotlib.colors import ListedColormap

    count = scores.shape[-1]
    colours = ListedColormap([COLOURS[i % len(COLOURS)] for i in range(count)])
    winners = scores.argmax(axis=-1)
    shown = {"extent": extent, "origin": "lower", "interpolation": "nearest"}
    axes.imshow(winners, cmap=colours, vmin=-0.5, vmax=count - 0.5, alpha=0.35, **shown)
    for number in range(count):
        others = np.delete(scores, number, axis=-1)
        if count > 1 and 0 < (winners == number).sum() < winners.size:
            lead = scores[..., number] - others.max(axis=-1)
            axes.contour(x, y, lead, levels=[0], colors=DARK, linewidths=1.2)
