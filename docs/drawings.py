"""The drawings of how-it-works.md, made of what the programs on that page have computed.

The page says where each belongs, ``<!-- drawing NAME: what it shows -->``, after the program whose
variables it is made of. docs/hooks.py puts them there when the documentation is built.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import microgradx
from graphviz import Digraph
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from microgradx import CompiledFunction, Value, viz

PLACE = re.compile(r"<!-- drawing (\w+): (.*?) -->", re.DOTALL)
PROGRAM = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)

INK, FAINT, BLUE, ORANGE, PALE = "#222222", "#8a8a8a", "#2f6db5", "#e8743b", "#f7f5f2"

Variables = dict[str, Any]


def draw_all(page: str) -> dict[str, bytes]:
    """Run the programs of a page and return the drawings it asks for, as SVG by their names.

    Raises
    ------
    graphviz.ExecutableNotFound
        If Graphviz is not installed.
    """
    drawn = {}
    variables: Variables = {}
    for found in re.finditer(f"{PROGRAM.pattern}|{PLACE.pattern}", page, PROGRAM.flags):
        program, name, _ = found.groups()
        if name:
            drawn[name] = DRAWINGS[name](variables)
            continue
        variables = {}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(program, variables)
    return drawn


def expression(variables: Variables) -> bytes:
    """Draw the graph of the last Value, with the names of the variables."""
    named = _values(variables)
    for name, value in named.items():
        value.label = name
    *_, root = named.values()
    return _svg(_flat(viz.draw_dot(root, rankdir="TB")))


def log(variables: Variables) -> bytes:
    """Draw the nodes in the order of their creation, and in which order the sweep visits them."""
    named = _values(variables)
    leaves = [value for value in named.values() if not value._prev]
    nodes = [value for value in named.values() if value._prev]
    visited = _visited_by_backward(named)
    places = {
        **{leaf: (place + 0.5, 1.2) for place, leaf in enumerate(leaves)},
        **{node: (place, 0.0) for place, node in enumerate(nodes)},
    }
    figure = Figure(figsize=(8, 4), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(-0.6, len(nodes) - 0.3)
    axes.set_ylim(-0.75, 1.5)
    axes.text(len(leaves), 1.2, "leaves, in pages of their own", color=FAINT, va="center")
    for name, value in named.items():
        _box(
            axes,
            *places[value],
            name,
            value,
            is_passed_over=value in nodes and value not in visited,
        )
        for operand in value._prev:
            _arrow(axes, places[value], places[operand], INK if value in visited else FAINT)
    for place, node in enumerate(nodes):
        turn = visited.index(node) + 1 if node in visited else None
        text = f"visit {turn}" if turn else "not marked"
        colour = ORANGE if turn else FAINT
        axes.text(place, -0.42, text, color=colour, ha="center", va="center", weight="bold")
    way = {"arrowstyle": "->", "color": ORANGE, "linewidth": 1.5}
    axes.annotate("", (-0.4, -0.55), (len(nodes) - 0.6, -0.55), arrowprops=way)
    axes.text((len(nodes) - 1) / 2, -0.68, "backward()", color=ORANGE, ha="center", va="center")
    return _figure_svg(figure)


def _box(axes: Axes, x: float, y: float, name: str, value: Value, is_passed_over: bool) -> None:
    texts = [name, value._op, f"data {value.data:g}", f"grad {value.grad:g}"]
    colour = FAINT if is_passed_over else INK
    frame = {"boxstyle": "round,pad=0.4", "edgecolor": colour, "facecolor": PALE}
    if not value._prev:
        frame["facecolor"] = "white"
    axes.text(
        x, y, "\n".join(filter(None, texts)), color=colour, ha="center", va="center", bbox=frame
    )


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """Draw an arrow from one box to another, above those between them."""
    is_level = start[1] == end[1]
    lift = 0.2 if is_level else 0.0
    axes.annotate(
        "",
        (end[0] + lift, end[1] + (0.28 if is_level else -0.24)),
        (start[0] - lift, start[1] + 0.28),
        arrowprops={
            "arrowstyle": "->",
            "color": colour,
            "connectionstyle": f"arc3,rad={0.3 if is_level else 0}",
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def fused(variables: Variables) -> bytes:
    """Draw a neuron's output as it is in the arena."""
    output, operands, count = _looked_at(variables, lambda _: None)
    drawing = Digraph(graph_attr={"ordering": "in"}, node_attr={"shape": "record"})
    for value in (*operands, output):
        fields = (value.label, f"data {value.data:.4f}", f"grad {value.grad:.4f}")
        drawing.node(value.label, label=f"{{ {' | '.join(fields)} }}")
    for value in operands:
        drawing.edge(value.label, output.label)
    return _svg(_flat(drawing, label=f"{count} node beside the leaves"))


def shown(variables: Variables) -> bytes:
    """Draw a neuron's output as it shows itself."""
    drawings = []

    def draw(output: Value) -> None:
        drawings.append(viz.draw_dot(output, rankdir="TB"))

    _, _, count = _looked_at(variables, draw)
    return _svg(_flat(drawings[0], label=f"{count} nodes beside the leaves"))


def _looked_at(variables: Variables, look: Callable[[Value], None]) -> tuple[Any, list[Any], int]:
    """Call the page's neuron, and look at its output.

    Returns
    -------
    output, operands, count
        The output and the leaves that it is made of, with their names as labels; and how many nodes
        there are more than before, leaves aside.
    """
    neuron, inputs = variables["neuron"], variables["inputs"]
    parts = {f"w{place}": value for place, value in enumerate(neuron.w)}
    parts |= {f"x{place}": value for place, value in enumerate(inputs)} | {"b": neuron.b}
    for name, value in parts.items():
        value.label, value.grad = name, 0
    before = microgradx._core.arena_counters()["interior_nodes"]
    output = neuron(inputs)
    output.label = "output"
    output.backward()
    look(output)
    count = microgradx._core.arena_counters()["interior_nodes"] - before
    return output, list(parts.values()), count


def program(variables: Variables) -> bytes:
    """Draw the program of the page's compiled function."""
    return _svg(viz.draw_program(_compiled(variables)))


def passes(variables: Variables) -> bytes:
    """Draw how many instructions there are after each pass."""
    stats = _compiled(variables).program.stats
    figure = Figure(figsize=(7, 3), dpi=100, layout="constrained")
    axes = figure.subplots()
    names = [entry["pass"] if place else "as recorded" for place, entry in enumerate(stats)]
    counts = [entry["instructions"] for entry in stats]
    bars = axes.barh(range(len(stats)), counts, color=[ORANGE, *[BLUE] * (len(stats) - 1)])
    axes.bar_label(bars, padding=4, color=INK)
    axes.set_yticks(range(len(stats)), names)
    axes.invert_yaxis()
    axes.set_xlabel("instructions")
    axes.spines[["top", "right"]].set_visible(False)
    return _figure_svg(figure)


DRAWINGS: dict[str, Callable[[Variables], bytes]] = {
    drawing.__name__: drawing for drawing in (expression, log, fused, shown, program, passes)
}


def _values(variables: Variables) -> dict[str, Value]:
    """Return the Values in the order in which the program has made them."""
    return {name: value for name, value in variables.items() if isinstance(value, Value)}


def _compiled(variables: Variables) -> CompiledFunction:
    (function,) = (each for each in variables.values() if isinstance(each, CompiledFunction))
    return function


def _visited_by_backward(named: dict[str, Value]) -> list[Value]:
    """Differentiate the last Value anew, and return the nodes in the order of the sweep."""
    visited: list[Value] = []
    for value in named.values():
        value.grad = 0
        if value._prev:
            value._backward = partial(_note, visited, value, value._backward)
    *_, root = named.values()
    root.backward()
    return visited


def _note(visited: list[Value], node: Value, backward: Callable[[], object]) -> None:
    visited.append(node)
    backward()


def _flat(drawing: Digraph, **attributes: str) -> Digraph:
    """Leave less room between the levels of a drawing."""
    drawing.graph_attr.update({"ranksep": "0.25", **attributes})
    return drawing


def _svg(drawing: Digraph) -> bytes:
    svg: bytes = drawing.pipe(format="svg")
    return svg


def _figure_svg(figure: Figure) -> bytes:
    content = io.BytesIO()
    # Neither the date nor random identifiers: the same drawing is the same file.
    with rc_context({"svg.hashsalt": "microgradx"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
