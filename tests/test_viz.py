"""Pictures show what there is, and real programs draw them."""

import json
import math
import operator
import random
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import microgradx as mgx
import numpy as np
import pytest
from microgradx import Value, viz
from microgradx.nn import MLP
from test_examples import load_both

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True, scope="module")
def _graphviz() -> None:
    pytest.importorskip("graphviz", reason="the package graphviz is not installed")


def expression() -> Value:
    a, b = Value(2.0), Value(-3.0)
    c = a * b
    d = (c + 10.0).tanh()
    a.label, c.label = "a", "<c|{d}>"
    d.backward()
    return d


def source_of(drawing: Any) -> str:
    return str(drawing.source).replace('"', "")


def edges_in(source: str) -> set[tuple[str, str]]:
    return set(re.findall(r"(\w+) -> (\w+)", source))


def test_draw_dot_shows_every_value_and_operation() -> None:
    root = expression()
    source = source_of(viz.draw_dot(root))
    boxes = re.findall(r"(\w+) \[label=\{ (.*?) \} shape=record\]", source)
    names = {text: name for name, text in boxes}
    assert len(boxes) == 6
    data = {tuple(re.findall(r"data (\S+)", text)) for _, text in boxes}
    assert data == {("2.0000",), ("-3.0000",), ("-6.0000",), ("10.0000",), ("4.0000",), ("0.9993",)}
    ellipses = dict(re.findall(r"(\w+op) \[label=([^\]]*)\]", source))
    assert sorted(ellipses.values()) == ["*", "+", "tanh"]

    def name_of(start: str) -> str:
        return str(next(name for text, name in names.items() if start in text))

    product, total = name_of("data -6.0000"), name_of("data 4.0000")
    expected = {
        (name_of("data 2.0000"), f"{product}op"),
        (name_of("data -3.0000"), f"{product}op"),
        (f"{product}op", product),
        (product, f"{total}op"),
        (name_of("data 10.0000"), f"{total}op"),
        (f"{total}op", total),
        (total, f"{name_of('data 0.9993')}op"),
        (f"{name_of('data 0.9993')}op", name_of("data 0.9993")),
    }
    assert edges_in(source) == expected


def test_draw_dot_shows_gradients_and_labels() -> None:
    source = source_of(viz.draw_dot(expression()))
    assert "a | data 2.0000 | grad -0.0040" in source
    assert r"\<c\|\{d\}\> | data -6.0000" in source


def test_draw_dot_goes_both_ways() -> None:
    assert "rankdir=LR" in source_of(viz.draw_dot(Value(1.0)))
    assert "rankdir=TB" in source_of(viz.draw_dot(Value(1.0), rankdir="TB"))
    assert viz.draw_dot(Value(1.0), format="png").format == "png"


def test_draw_dot_of_a_value_used_twice() -> None:
    a = Value(3.0)
    source = source_of(viz.draw_dot(a * a))
    assert source.count("shape=record") == 2
    assert len(edges_in(source)) == 2


@pytest.mark.parametrize("max_nodes", [1, 2, 5, 50])
def test_draw_dot_of_a_large_graph(max_nodes: int) -> None:
    root = Value(1.0)
    for _ in range(100_000):
        root = root + 1.0
    source = source_of(viz.draw_dot(root, max_nodes=max_nodes))
    assert source.count("shape=record") == max_nodes
    assert "label=..." in source
    assert edges_in(source) >= {("0op", "0")}


def test_draw_dot_says_nothing_of_what_it_shows_all_of() -> None:
    assert "..." not in source_of(viz.draw_dot(expression()))
    assert "..." not in source_of(viz.draw_dot(expression(), max_nodes=6))
    assert "..." in source_of(viz.draw_dot(expression(), max_nodes=5))


def test_draw_dot_of_a_neuron_is_micrograds() -> None:
    """A fused neuron shows the products and sums that it stands for."""
    neuron = mgx.nn.Neuron(2)
    source = source_of(viz.draw_dot(neuron([Value(1.0), Value(2.0)])))
    found = re.findall(r"op \[label=([^\]]*)\]", source)
    assert sorted(found) == ["*", "*", "+", "+", "ReLU"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3.0,), TypeError, "root must be a Value, not float"),
        ((Value(1.0), "svg", "RL"), ValueError, "rankdir must be 'LR' or 'TB', not 'RL'"),
        ((Value(1.0), "svg", "LR", 0), ValueError, "max_nodes must be at least 1, not 0"),
    ],
)
def test_draw_dot_of_bad_arguments(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        viz.draw_dot(*arguments)


def parsed(drawing: Any) -> tuple[dict[int, str], list[tuple[int, int]]]:
    """Return the labels that Graphviz finds in a drawing, and what its arrows join."""
    graph = json.loads(drawing.pipe(format="json0", encoding="utf-8"))
    labels = {found["_gvid"]: found["label"] for found in graph["objects"]}
    return labels, [(edge["tail"], edge["head"]) for edge in graph["edges"]]


def described(drawing: Any) -> tuple[int, int, Any]:
    """Describe a drawing without the names of its nodes: from what it ends in, arrow by arrow."""
    labels, arrows = parsed(drawing)
    (end,) = set(labels) - {tail for tail, _ in arrows}

    def of(node: int) -> Any:
        return labels[node], sorted(of(tail) for tail, head in arrows if head == node)

    return len(labels), len(arrows), of(end)


@needs_dot
@pytest.mark.verifies(
    "viz.draw_dot", against="micrograd, drawn as in its notebook: what Graphviz reads in both"
)
@pytest.mark.parametrize("make", ["make_expression", "make_neuron"])
def test_draw_dot_is_that_of_micrograds_notebook(make: str) -> None:
    pure, fast = load_both("trace_graph")
    expected = pure.draw_dot(getattr(pure, make)())
    assert described(viz.draw_dot(getattr(fast, make)())) == described(expected)


# Programs -----------------------------------------------------------------------------------------


def compiled_function() -> mgx.CompiledFunction:
    weight = Value(2.0)
    compiled = mgx.compile(lambda x, y: (x * weight + y).exp() * 3.0)
    compiled(1.0, 2.0)
    return compiled


def test_draw_program() -> None:
    compiled = compiled_function()
    lines = str(compiled.program).splitlines()
    assert [line.split(" = ")[-1].split()[0] for line in lines] == [
        *["inputs", "captured", "3", "mul", "add", "exp", "mul", "return"],
    ]
    assert compiled.program.sources == [[], [], [], [0, 1], [0, 3], [4], [2, 5], [6]]
    for source in (
        source_of(viz.draw_program(compiled)),
        source_of(viz.draw_program(compiled.program)),
    ):
        for line in lines:
            assert line.strip() in source
        expected = {(0, 3), (1, 3), (0, 4), (3, 4), (4, 5), (2, 6), (5, 6), (6, 7)}
        assert edges_in(source) == {(str(a), str(b)) for a, b in expected}
        assert "..." not in source


# Of two numbers and one that is captured, with the functions of `math` or the methods of Value.
FUNCTIONS: list[Callable[..., Any]] = [
    lambda x, y, weight, of: (x * 2.5 + y) * (x - y) / (x + 4.0),
    lambda x, y, weight, of: of.tanh(x * y + of.exp(y)) - of.exp(y) ** 2 + x**y,
    lambda x, y, weight, of: of.sin(of.cos(of.sqrt(x)) + of.log(y)) * weight,
]
OPERATIONS: dict[str, Callable[..., float]] = {
    **{name: getattr(math, name) for name in ("tanh", "exp", "sin", "cos", "sqrt", "log", "pow")},
    "add": operator.add,
    "mul": operator.mul,
    "subtract": operator.sub,
}


def operands_in(text: str) -> list[str]:
    """Return what stands in an instruction: names, all those of a range, and numbers."""
    operands = []
    for word in text.split():
        first, is_range, last = word.replace("%", "").partition("..")
        names = (
            [f"%{number}" for number in range(int(first), int(last) + 1)] if is_range else [word]
        )
        operands += names
    return operands


def computed(drawing: Any, given: dict[str, list[float]]) -> float:
    """Do what a drawing of a program says, and check that its arrows come from the operands."""
    labels, arrows = parsed(drawing)
    numbers: dict[str, float] = {}
    made_in: dict[str, int] = {}
    for node, label in labels.items():
        name, is_instruction, text = label.partition(" = ")
        operation, _, rest = (text if is_instruction else label).partition(" ")
        operands = operands_in(rest.replace("none", ""))
        if operation in given:
            made = dict(zip(operands, given[operation], strict=True))
        else:
            origins = {made_in[operand] for operand in operands if operand in made_in}
            assert {tail for tail, head in arrows if head == node} == origins
            found = [numbers[o] if o in numbers else float(o) for o in operands]
            if operation == "return":
                return found[0]
            made = {name: OPERATIONS[operation](*found) if operands else float(operation)}
        numbers |= made
        made_in |= dict.fromkeys(made, node)
    pytest.fail("nothing is returned")


@needs_dot
@pytest.mark.verifies(
    "viz.draw_program", against="the function on floats: what Graphviz reads, computed by hand"
)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_drawn_programs_compute_the_function(function: Callable[..., Any]) -> None:
    weight = Value(3.25)
    compiled = mgx.compile(lambda x, y: function(x, y, weight, Value))
    compiled(1.0, 1.0)
    drawing = viz.draw_program(compiled)
    captured = [value.data for value in compiled.program.captured]
    for x, y in ((0.5, 1.5), (2.0, 0.25)):
        found = computed(drawing, {"inputs": [x, y], "captured": captured})
        assert found == pytest.approx(function(x, y, 3.25, math), rel=1e-12)


def test_draw_program_of_layers() -> None:
    network = MLP(3, [4, 2])
    compiled = mgx.compile(lambda x: network(x))
    compiled([1.0, 2.0, 3.0])
    assert compiled.program.sources == [[], [], [0, 1], [1, 2], [3]]
    source = source_of(viz.draw_program(compiled))
    assert "affine(4 x 3)" in source
    assert "affine(2 x 4)" in source


@pytest.mark.parametrize("count", [1, 3])
def test_draw_program_of_a_long_one(count: int) -> None:
    def function(x: Value) -> Value:
        for _ in range(1000):
            x = x.sin()
        return x

    compiled = mgx.compile(function)
    compiled(1.0)
    source = source_of(viz.draw_program(compiled, max_instructions=count))
    assert source.count("style=rounded") == count
    assert "label=..." in source


def test_draw_program_of_bad_arguments() -> None:
    with pytest.raises(AttributeError, match="has not been traced yet"):
        viz.draw_program(mgx.compile(lambda x: x))
    with pytest.raises(TypeError, match="program must be a Program, not int"):
        viz.draw_program(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_instructions must be at least 1"):
        viz.draw_program(compiled_function(), max_instructions=0)


# Real pictures ------------------------------------------------------------------------------------


@needs_dot
@pytest.mark.parametrize("make", [expression, lambda: compiled_function().program])
def test_notebooks_show_pictures(make: Callable[[], Any]) -> None:
    svg = make()._repr_svg_()
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"tanh", "<c|{d}>", "data 2.0000"} <= set(texts) or "%5 = add %4 %1" in set(texts)


@needs_dot
def test_notebooks_show_what_can_be_read_of_a_large_graph() -> None:
    svg = mgx.sum(Value(float(i)) * 2.0 for i in range(1000))._repr_svg_()
    assert svg is not None
    assert svg.count("<polygon") < 400
    assert ">...<" in svg


@needs_dot
def test_files(tmp_path: Path) -> None:
    drawn = viz.draw_dot(expression(), format="png").render(tmp_path / "graph")
    assert Path(drawn).read_bytes().startswith(PNG)


def test_without_graphviz(run_python: Callable[..., str]) -> None:
    printed = run_python("""
        import sys
        sys.modules["graphviz"] = None
        import microgradx
        from microgradx import Value, viz
        print(Value(1.0)._repr_svg_())
        try:
            viz.draw_dot(Value(1.0))
        except ImportError as error:
            print(error)
    """)
    assert printed.startswith("None")
    assert 'pip install "microgradx[viz]"' in printed


def test_without_dot(run_python: Callable[..., str]) -> None:
    printed = run_python("""
        import os
        os.environ["PATH"] = ""
        from microgradx import Value
        print(Value(1.0)._repr_svg_())
    """)
    assert printed.strip() == "None"


# Plots --------------------------------------------------------------------------------------------


@pytest.fixture
def _matplotlib() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.mark.usefixtures("_matplotlib")
def test_plot_training(tmp_path: Path) -> None:
    path = tmp_path / "losses.png"
    figure = viz.plot_training([3.0, 2.0, 1.5], path, title="a title")
    assert path.read_bytes().startswith(PNG)
    (axes,) = figure.axes
    (line,) = axes.lines
    assert line.get_xydata().tolist() == [[0, 3], [1, 2], [2, 1.5]]  # type: ignore[union-attr]
    assert (axes.get_title(), axes.get_ylabel(), axes.get_yscale()) == ("a title", "loss", "linear")


@pytest.mark.usefixtures("_matplotlib")
def test_plots_show_themselves_in_notebooks() -> None:
    figure: Any = viz.plot_training([3.0, 2.0, 1.5])
    picture, size = figure._repr_png_()
    assert picture.startswith(PNG)
    pixels = [int.from_bytes(picture[start : start + 4], "big") for start in (16, 20)]
    assert pixels == [2 * size["width"], 2 * size["height"]]


def test_plot_training_of_several_curves() -> None:
    figure = viz.plot_training({"train": [2.0, 1.0], "test": [3.0]}, logarithmic=True)
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["train", "test"]
    assert len(axes.lines) == 2
    assert axes.get_yscale() == "log"
    empty: Any
    for empty in ({}, [], {"train": []}):
        with pytest.raises(ValueError, match="curves is empty"):
            viz.plot_training(empty)
    with pytest.raises(ValueError, match="sequences of numbers, but 'loss' is not"):
        viz.plot_training(3.0)  # type: ignore[arg-type]


def colour_at(picture: Path, axes: Any, x: float, y: float) -> Any:
    """Return the colour, from 0 to 255, that a picture of a figure has at a place of its axes."""
    from matplotlib.image import imread

    pixels = imread(picture)[..., :3] * 255
    across, up = axes.transData.transform((x, y))
    return pixels[round(len(pixels) - up), round(across)]


def rgb(colour: str) -> Any:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


@pytest.mark.verifies("viz.plot_training", against="the picture's pixels, where the numbers are")
@pytest.mark.usefixtures("_matplotlib")
@pytest.mark.parametrize("logarithmic", [False, True])
def test_plot_training_has_its_colours_where_the_numbers_are(
    logarithmic: bool, tmp_path: Path
) -> None:
    path = tmp_path / "losses.png"
    curves = {"train": [8.0, 1.0, 2.0, 0.5], "test": [0.25, 0.25, 6.0, 7.0]}
    (axes,) = viz.plot_training(curves, path, logarithmic=logarithmic).axes
    for curve, colour in zip(curves.values(), viz.COLOURS, strict=False):
        for step, loss in enumerate(curve):
            np.testing.assert_allclose(colour_at(path, axes, step, loss), rgb(colour), atol=20)
        # Between two steps it goes straight, on a logarithmic scale through the geometric mean.
        for step, (before, after) in enumerate(pairwise(curve)):
            middle = math.sqrt(before * after) if logarithmic else (before + after) / 2
            found = colour_at(path, axes, step + 0.5, middle)
            np.testing.assert_allclose(found, rgb(colour), atol=20)
    assert (colour_at(path, axes, 2.6, 4.6) == 255).all()


def data_set(classes: int) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, 40)
    angles = 2 * np.pi * labels / classes
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 2
    return points + generator.normal(size=points.shape) * 0.3, labels


@pytest.mark.usefixtures("_matplotlib")
@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_plot_decision_boundary(tmp_path: Path, classes: int, is_compiled: bool) -> None:
    random.seed(0)
    network = MLP(2, [3, 1 if classes == 2 else classes])
    model: Any = mgx.compile(lambda x: network(x)) if is_compiled else network
    points, labels = data_set(classes)
    path = tmp_path / "boundary.png"
    figure = viz.plot_decision_boundary(model, points, labels, path, title="a title")
    assert path.read_bytes().startswith(PNG)
    (axes,) = figure.axes
    assert len(axes.images) == 1
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == list(map(str, range(classes)))
    shown = [np.asarray(scatter.get_offsets()) for scatter in axes.collections[-classes:]]
    assert sorted(np.concatenate(shown).tolist()) == sorted(points.tolist())


def blended(colour: str, alpha: float) -> Any:
    """Return what a colour looks like on white."""
    return 255 + alpha * (rgb(colour) - 255)


@pytest.mark.verifies("viz.plot_decision_boundary", against="the picture's pixels, class by class")
@pytest.mark.usefixtures("_matplotlib")
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_plot_decision_boundary_has_the_classes_colours(classes: int, tmp_path: Path) -> None:
    angles = 2 * np.pi * np.arange(classes) / classes + 0.4
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    path = tmp_path / "boundary.png"

    def model(point: list[float]) -> Any:
        scores = [20 * (way[0] * point[0] + way[1] * point[1]) for way in ways.tolist()]
        return scores if classes > 2 else scores[1]  # positive where the second class is nearer

    (axes,) = viz.plot_decision_boundary(model, 2 * ways, np.arange(classes), path).axes
    for number, colour in enumerate(viz.COLOURS[:classes]):
        np.testing.assert_allclose(colour_at(path, axes, *2 * ways[number]), rgb(colour), atol=8)
        for turn in (-0.8, 0.0, 0.8):  # nearer to the middle of the sector than to its ends
            angle = angles[number] + turn * np.pi / classes
            found = colour_at(path, axes, np.cos(angle), np.sin(angle))
            expected = blended(colour, 0.75 if classes == 2 else 0.35)
            np.testing.assert_allclose(found, expected, atol=8)


@pytest.mark.verifies(
    "viz.plot_decision_boundary", against="a line known beforehand: where matplotlib has it"
)
@pytest.mark.usefixtures("_matplotlib")
def test_the_boundary_is_where_the_score_is_0() -> None:
    points, labels = data_set(2)
    x, y, scores = viz.score_grid(lambda p: p[0] * 2.0 - p[1], points, columns=30, rows=20)
    assert scores.shape == (20, 30)
    np.testing.assert_allclose(scores, x * 2 - y[:, None])
    for shift, level in ((0.25, 0.0), (-0.25, 0.5)):
        figure = viz.plot_decision_boundary(
            lambda p, shift=shift: p[0] - shift, points, labels * 2 - 1, level=level
        )
        middle = figure.axes[0].collections[0]
        (path,) = middle.get_paths()
        np.testing.assert_allclose(np.asarray(path.vertices, float)[:, 0], 0.25, atol=1e-9)


@pytest.mark.usefixtures("_matplotlib")
def test_probabilities_have_full_colours() -> None:
    points, labels = data_set(2)
    figure = viz.plot_decision_boundary(
        lambda p: (Value(p[0]) * 100.0).sigmoid(), points, labels, level=0.5
    )
    (image,) = figure.axes[0].images
    shades = image.to_rgba(np.asarray(image.get_array()))[..., :3]
    np.testing.assert_allclose(shades[:, 0], [image.cmap(0.0)[:3]] * len(shades), atol=0.01)
    np.testing.assert_allclose(shades[:, -1], [image.cmap(1.0)[:3]] * len(shades), atol=0.01)


@pytest.mark.usefixtures("_matplotlib")
@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        (np.zeros((3, 3)), np.zeros(3), r"points must have shape \(N, 2\), not \(3, 3\)"),
        (np.zeros((0, 2)), np.zeros(0), "points must have shape"),
        (np.zeros(2), np.zeros(2), "points must have shape"),
        (np.zeros((3, 2)), np.zeros(2), r"labels must have shape \(3,\), not \(2,\)"),
    ],
)
def test_bad_points(points: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viz.plot_decision_boundary(lambda p: p[0], points, labels)


BAD_MODELS: list[tuple[Callable[[Any], Any], list[int], type[Exception], str]] = [
    (lambda p: None, [0, 1, 1], TypeError, "model must return a score"),
    (lambda p: [], [0, 1, 1], ValueError, "model must return a score"),
    (lambda p: [[1.0]], [0, 1, 1], ValueError, "model must return a score"),
    (lambda p: p[0], [0, 1, 2], ValueError, "labels must be two numbers"),
    (lambda p: [p[0], p[1]], [-1, 1, 1], ValueError, "labels must be from 0 to 1"),
]


@pytest.mark.usefixtures("_matplotlib")
@pytest.mark.parametrize(("model", "labels", "error", "message"), BAD_MODELS)
def test_models_and_labels_that_do_not_fit(
    model: Callable[[Any], Any], labels: list[int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        viz.plot_decision_boundary(model, np.eye(3)[:, :2], labels)


@pytest.mark.usefixtures("_matplotlib")
def test_unwritable_paths(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        viz.plot_training([1.0], tmp_path / "missing" / "x.png")
    with pytest.raises(ValueError, match="not supported"):
        viz.plot_training([1.0], tmp_path / "x.unknown")
