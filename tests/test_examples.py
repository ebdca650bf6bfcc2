"""The programs in `examples/` give the same results on micrograd and on microgradx.

Forward results are equal to the bit wherever both engines do the same arithmetic. Gradients are
not: micrograd visits a node's inputs in the order of a set, that is of memory addresses, so the
contributions to a shared node are summed in an order that changes from run to run.
"""

import gc
import importlib.util
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import micrograd.engine
import micrograd.nn
import microgradx.engine
import microgradx.nn
import pytest
from graphs import operands_first

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def collect_afterwards() -> Iterator[None]:
    """Spare micrograd the collector, which takes most of its time, until the test is over."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()


def load(name: str, engine: ModuleType) -> ModuleType:
    """Import `examples/{name}.py` with `engine` in the place of micrograd."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for part in ("micrograd", "micrograd.engine", "micrograd.nn"):
            if engine is microgradx:
                patch.setitem(sys.modules, part, sys.modules[part.replace("grad", "gradx")])
            else:
                # A fresh import: what the program adds to the class stays with the program.
                patch.delitem(sys.modules, part)
        spec.loader.exec_module(module)
    assert (module.Value is microgradx.Value) == (engine is microgradx)
    return module


def load_both(name: str) -> tuple[ModuleType, ModuleType]:
    """Import `examples/{name}.py` twice, on micrograd and on microgradx."""
    return load(name, micrograd), load(name, microgradx)


def run(name: str, *arguments: str, microgradx: bool, directory: Path) -> str:
    """Return what the program prints when started in `directory` as a user would start it."""
    launcher = ["-m", "microgradx", "run"] if microgradx else []
    command = [sys.executable, *launcher, str(EXAMPLES / f"{name}.py"), *arguments]
    return subprocess.run(
        command, cwd=directory, check=True, capture_output=True, text=True, timeout=120
    ).stdout


def with_data(node: Any) -> Hashable:
    """Describe a node by everything that must be equal in both graphs, gradients apart."""
    return node._op, node.data, getattr(node, "label", "")


def assert_isomorphic(
    expected: Any, actual: Any, describe: Callable[[Any], Hashable] = with_data
) -> None:
    """Compare two graphs node by node, whatever the order of their sets.

    A node's colour sums up its description, all that it was computed from and all that was
    computed from it. Nodes of the same colour are paired in the order of their gradients.
    """
    colourings = []
    for root in (expected, actual):
        nodes = operands_first(root)
        below: dict[Any, int] = {}
        consumers: dict[Any, list[Any]] = {node: [] for node in nodes}
        for node in nodes:
            below[node] = hash((describe(node), *sorted(below[child] for child in node._prev)))
            for child in node._prev:
                consumers[child].append(node)
        colour: dict[Any, int] = {}
        for node in reversed(nodes):
            colour[node] = hash((below[node], *sorted(colour[user] for user in consumers[node])))
        colourings.append(sorted((colour[node], float(node.grad)) for node in nodes))

    colours, grads = ([[pair[i] for pair in pairs] for pairs in colourings] for i in (0, 1))
    assert colours[0] == colours[1]
    assert grads[1] == gradients(grads[0])


def gradients(expected: list[float]) -> Any:
    """Return what gradients are compared with: room for another order of sums, cancelling too."""
    return pytest.approx(expected, rel=1e-12, abs=1e-15)


def grads_of(model: Any) -> list[float]:
    """Return the gradients of a model's parameters."""
    return [p.grad for p in model.parameters()]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("moons", ["--steps=1"]),
        ("trace_graph", []),
        ("lecture", []),
        ("gpt", ["--steps=1", "--samples=1"]),
    ],
)
def test_same_output_through_the_command(name: str, arguments: list[str], tmp_path: Path) -> None:
    expected = run(name, *arguments, microgradx=False, directory=tmp_path)
    assert expected
    assert run(name, *arguments, microgradx=True, directory=tmp_path) == expected


def test_moons_trains_equally() -> None:
    pure, fast = load_both("moons")
    histories, grads = [], []
    for program in (pure, fast):
        model, points, labels = program.make_problem()
        training = program.train(model, points, labels, steps=4)
        history = [next(training)]
        grads.append(grads_of(model))
        histories.append(history + list(training))

    expected, actual = histories
    assert len(expected) == 4
    assert actual[0] == expected[0]
    assert [loss for loss, _ in actual] == pytest.approx([loss for loss, _ in expected], rel=1e-10)
    assert [hits for _, hits in actual] == [hits for _, hits in expected]
    assert grads[1] == gradients(grads[0])


def test_moons_builds_the_same_graph() -> None:
    losses = []
    for program in load_both("moons"):
        model, points, labels = program.make_problem()
        loss, _ = program.loss_of(model, points[:3], labels[:3])
        loss.backward()
        losses.append(loss)
    assert_isomorphic(*losses)


@pytest.mark.parametrize("make", ["make_expression", "make_neuron"])
def test_traced_graphs_are_isomorphic(make: str) -> None:
    pure, fast = load_both("trace_graph")
    expected, actual = getattr(pure, make)(), getattr(fast, make)()
    assert_isomorphic(expected, actual)
    assert [len(part) for part in fast.trace(actual)] == [
        len(part) for part in pure.trace(expected)
    ]


@pytest.mark.parametrize("make", ["make_expression", "make_neuron"])
def test_drawings_show_the_same(make: str) -> None:
    shown = []
    for program in load_both("trace_graph"):
        drawing = program.draw_dot(getattr(program, make)())
        declared, edges = {}, []
        for line in drawing.body:
            if edge := re.fullmatch(r'\s*"?([^"]+?)"? -> "?([^"]+?)"?\n', line):
                edges.append(edge.groups())
            elif box := re.match(r'\s*"?([^"]+?)"? \[label="?(.+?)"?(?: shape=record)?\]', line):
                declared[box[1]] = box[2]
        assert len(declared) + len(edges) == len(drawing.body)
        # An identifier that changed between two visits would leave an edge without its end.
        shown.append(
            (Counter(declared.values()), Counter((declared[a], declared[b]) for a, b in edges))
        )
    assert shown[0] == shown[1]


def test_drawings_are_written_where_asked(tmp_path: Path) -> None:
    wanted = tmp_path / "new" / "drawings"
    run("trace_graph", f"--directory={wanted}", microgradx=True, directory=tmp_path)
    sources = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.gv")}
    assert sources == {Path("new/drawings/expression.gv"), Path("new/drawings/neuron.gv")}
    # Without Graphviz's own program there are no pictures; with it they lie beside the sources.
    assert {path.parent for path in tmp_path.rglob("*.svg")} <= {wanted}


def test_unwritable_directory_is_named(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    with pytest.raises(subprocess.CalledProcessError) as failure:
        run("trace_graph", f"--directory={occupied}", microgradx=True, directory=tmp_path)
    assert failure.value.returncode == 2
    assert f"cannot write to --directory {occupied}" in failure.value.stderr


def test_lecture_by_hand_equals_backward() -> None:
    # By the chain rule, with the slope of tanh one half: x * slope for w, w * slope for x.
    known = {"x1": -1.5, "x2": 0.5, "w1": 1.0, "w2": 0.0, "b": 0.5, "n": 0.5, "o": 1.0}
    for program in load_both("lecture"):
        by_hand, automatic = program.make_neuron(), program.make_neuron()
        program.backpropagate_by_hand(by_hand)
        automatic["o"].backward()
        assert [node.label for node in by_hand.values()] == list(by_hand)
        for label, grad in known.items():
            assert by_hand[label].grad == pytest.approx(grad, rel=1e-12, abs=1e-15)
        for label, node in by_hand.items():
            assert automatic[label].grad == node.grad


@pytest.mark.parametrize("spelled_out", [False, True])
def test_lecture_builds_the_same_graph(spelled_out: bool) -> None:
    outputs = []
    for program in load_both("lecture"):
        output = program.make_neuron(spelled_out)["o"]
        output.backward()
        outputs.append(output)
    expected, actual = outputs
    # tanh and exp may come from another mathematical library than Python's.
    assert actual.data == pytest.approx(expected.data, rel=1e-14)
    assert_isomorphic(expected, actual, lambda node: (node._op, getattr(node, "label", "")))


def test_lecture_trains_equally() -> None:
    expected, actual = (list(program.train(20)) for program in load_both("lecture"))
    assert len(expected) == 20
    assert actual[0] == expected[0]
    assert actual == pytest.approx(expected, rel=1e-10)


def test_gpt_trains_equally() -> None:
    """Compare with tolerances: native exp and log may differ from `math`'s in the last bit."""
    losses, grads = [], []
    for program in load_both("gpt"):
        model = program.make_model()
        loss = program.loss_of(model, program.NAMES[0])
        loss.backward()
        grads.append(grads_of(model))
        losses.append([loss.data, *program.train(program.make_model(), steps=3)])

    expected, actual = losses
    assert len(expected) == 4
    assert actual[0] == pytest.approx(expected[0], rel=1e-12)
    assert grads[1] == gradients(grads[0])
    assert actual == pytest.approx(expected, rel=1e-10)


def test_gpt_on_closures_is_equal_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """With exp and log as the program's own closures the arithmetic is the same throughout."""
    pure, fast = load_both("gpt")
    monkeypatch.setattr(fast.Value, "exp", fast.exp)
    monkeypatch.setattr(fast.Value, "log", fast.log)
    losses = []
    for program in (pure, fast):
        loss = program.loss_of(program.make_model(), "a")
        loss.backward()
        losses.append(loss)
    assert losses[1].data == losses[0].data
    assert_isomorphic(*losses)


def test_gpt_builds_the_same_graph() -> None:
    losses = []
    for program in load_both("gpt"):
        loss = program.loss_of(program.make_model(), "a")
        loss.backward()
        losses.append(loss)
    assert_isomorphic(losses[0], losses[1], lambda node: node._op)


def test_gpt_step_has_about_55000_nodes() -> None:
    pure, fast = load_both("gpt")
    lengths = Counter(map(len, pure.NAMES))
    total = 0
    for length, names in lengths.items():
        name = next(name for name in pure.NAMES if len(name) == length)
        counts = [
            program.count_nodes(program.loss_of(program.make_model(), name))
            for program in (pure, fast)
        ]
        assert counts[0] == counts[1]
        total += names * counts[0]
    assert total / len(pure.NAMES) == pytest.approx(55_000, rel=0.05)


def test_gpt_invents_the_same_names() -> None:
    invented = []
    for program in load_both("gpt"):
        generator = random.Random(1)
        invented.append([program.sample(program.make_model(), generator) for _ in range(2)])
    assert invented[0] == invented[1]


def test_programs_keep_operations_the_engine_has() -> None:
    for name, operations in (("gpt", ["exp", "log"]), ("lecture", ["exp", "tanh"])):
        pure, fast = load_both(name)
        for operation in operations:
            assert getattr(pure.Value, operation) is getattr(pure, operation)
            assert getattr(fast.Value, operation) is not getattr(fast, operation)
