"""The benchmark measures all it promises, on the right engines, and calculates correctly."""

import gc
import importlib
import json
import math
import re
import subprocess
import sys
import threading
import time
from operator import truediv
from typing import Any

import micrograd.engine
import micrograd.nn
import microgradx
import pytest
from graphs import operands_first

engines: Any = importlib.import_module("microgradx.benchmarks.engines")
memory: Any = importlib.import_module("microgradx.benchmarks.memory")
operations: Any = importlib.import_module("microgradx.benchmarks.operations")
programs: Any = importlib.import_module("microgradx.benchmarks.programs")
report: Any = importlib.import_module("microgradx.benchmarks.report")
timing: Any = importlib.import_module("microgradx.benchmarks.timing")
worker: Any = importlib.import_module("microgradx.benchmarks.worker")

OPERATIONS = {"a * b", "a + b", "a - b", "a / b", "a ** 3", "-a", "a.relu()"}
TIMED = OPERATIONS | {
    *("README expression", "moons step", "GPT step", "chain of 1,000 nodes"),
    *("backward of 1,023 nodes", "backward of 65,535 nodes"),
}
OTHERS = {"memory of a node, allocated", "import"}


def row(benchmark: str, collect: bool, micrograd: float, microgradx: float, **others: float) -> Any:
    contestants = {"micrograd": micrograd, "microgradx": microgradx, **others}
    samples = {name: [value, 1000 * value, value] for name, value in contestants.items()}
    return report.Row(benchmark, "s", collect, samples)


@pytest.fixture(scope="module")
def measured() -> Any:
    """Return what the quick benchmark prints as JSON."""
    arguments = [sys.executable, "-m", "microgradx", "bench", "--quick", "--json"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "measuring moons step" in result.stderr
    return json.loads(result.stdout)


def test_every_benchmark_is_measured(measured: Any) -> None:
    found = {(row["benchmark"], row["collector"]) for row in measured["rows"]}
    expected = {(name, setting) for name in TIMED for setting in ("as it comes", "off")}
    assert expected | {(name, "as it comes") for name in OTHERS} <= found


def test_every_ratio_is_that_of_a_round(measured: Any) -> None:
    for row in measured["rows"]:
        micrograd, microgradx = (row["contestants"][name] for name in ("micrograd", "microgradx"))
        assert micrograd["median"] >= micrograd["minimum"] > 0
        (ratio,) = map(truediv, micrograd["samples"], microgradx["samples"])
        assert row["ratio"] == pytest.approx(ratio)
        assert 0 < row["ratio"] < math.inf


def test_operations_are_compared_with_floats(measured: Any) -> None:
    multiples = {row["benchmark"]: row["float_multiple"] for row in measured["rows"]}
    assert all(multiples[name] > 0 for name in OPERATIONS)
    assert multiples["moons step"] is None


def test_environment_is_told(measured: Any) -> None:
    assert measured["environment"]["microgradx"] == microgradx.__version__
    assert measured["environment"]["micrograd"] == "0.1.0"
    assert measured["environment"]["Python"] == sys.version.split()[0]


ROWS = [
    row("a * b", True, 8e-7, 2e-8, **{"float * float": 1e-8}),
    row("a * b", False, 6e-7, 2e-8, **{"float * float": 1e-8}),
    row("import", True, 1.0, 4.0),
]


def test_ratio_and_multiple() -> None:
    assert [row.ratio for row in ROWS] == pytest.approx([40, 30, 0.25])
    assert ROWS[0].float_multiple == pytest.approx(2)
    assert ROWS[2].float_multiple is None


def test_ratio_and_multiple_are_those_of_the_best_rounds() -> None:
    samples = {
        "micrograd": [20.0, 8.0, 90.0],
        "microgradx": [4.0, 10.0, 9.0],
        "float * float": [3.0, 2.0, 1.0],
    }
    row = report.Row("a * b", "s", True, samples)
    assert (row.ratio, row.float_multiple) == (2, 4)
    assert row.cells() == ["8.00 s", "4.00 s", "2.00 ×"]


def test_text_has_a_line_for_each_benchmark_and_says_how() -> None:
    text = report.as_text(ROWS)
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert re.findall(r"[\d.]+ ×", lines["a * b"]) == ["40.0 ×", "30.0 ×"]
    assert re.findall(r"[\d.]+ [nµm]?s", lines["a * b"]) == [
        "800 ns",
        "20.0 ns",
        "600 ns",
        "20.0 ns",
    ]
    assert lines["a * b"].endswith(" 2.00")
    assert re.findall(r"[\d.]+ [s×]", lines["import"]) == ["1.00 s", "4.00 s", "0.250 ×"]
    assert "slow: 3)" in text
    assert "float64" in text
    assert "thread" in text
    assert max(map(len, text.splitlines())) <= 110


def test_markdown_is_a_table() -> None:
    table, environment = report.as_markdown(ROWS).split("\n\n")
    heading, rule, *body = table.splitlines()
    assert {line.count("|") for line in (heading, rule, *body)} == {9}
    assert body[0].startswith("| `a * b` | 800 ns | 20.0 ns | 40.0 × | 600 ns | 20.0 ns | 30.0 × |")
    assert body[1].startswith("| import | 1.00 s | 4.00 s | 0.250 × |  |")
    assert microgradx.__version__ in environment


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.234e-9, "1.23 ns"),
        (9.996e-9, "10.0 ns"),
        (9.9996e-7, "1,000 ns"),
        (1e-6, "1.00 µs"),
        (0.2784, "278 ms"),
        (12.34, "12.3 s"),
    ],
)
def test_times_have_three_digits(seconds: float, text: str) -> None:
    assert (
        report.Row("", "s", True, {"micrograd": [seconds], "microgradx": [1.0]}).cells()[0] == text
    )


@pytest.mark.parametrize("collect", [True, False])
def test_contestants_take_turns(collect: bool) -> None:
    turns: list[tuple[str, bool, int]] = []

    def contestant(name: str, seconds: float) -> Any:
        def measured(collect: bool, loops: int) -> float:
            turns.append((name, collect, loops))
            return seconds

        return measured

    contestants = {"slow": contestant("slow", 0.25), "fast": contestant("fast", 0.1)}
    samples = timing.measure(contestants, collect=collect, rounds=3, span=0.25)
    assert turns[-6:] == [("slow", collect, 1), ("fast", collect, 3)] * 3
    assert samples == {"slow": [0.25] * 3, "fast": [0.1] * 3}


@pytest.mark.parametrize("collect", [True, False])
def test_collector_is_as_promised(collect: bool) -> None:
    seen = set()
    was_enabled = gc.isenabled()
    timing.Task(lambda: seen.add(gc.isenabled())).seconds(collect, 2)
    assert seen == {collect}
    assert gc.isenabled() == was_enabled


def test_seconds_are_those_of_a_loop() -> None:
    assert 0.001 <= timing.Task(lambda: time.sleep(0.001)).seconds(False, 20) < 0.02


def test_worker_times_every_benchmark_of_its_engine() -> None:
    names = [*operations.STATEMENTS, operations.FLOAT, *programs.PROGRAMS]
    with worker.Worker("microgradx") as process:
        assert all(0 < process.seconds(name, False, 1) < 10 for name in names)


def test_worker_reports_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with worker.Worker("microgradx") as process:
        for _ in range(2):
            with pytest.raises(ChildProcessError, match="microgradx failed in 'a @ b'"):
                process.seconds("a @ b", False, 1)
    assert "KeyError: 'a @ b'" in capfd.readouterr().err


KILLED = """
import time
from microgradx.benchmarks import engines, worker
process = worker.Worker("microgradx")
process.seconds("a * b", False, 1)
print("ready", flush=True)
time.sleep(60)
"""


def test_worker_ends_with_the_process_that_began_it() -> None:
    command = [sys.executable, "-c", KILLED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
        process.kill()
        # The worker has inherited standard error, which is at its end once nobody can write it.
        assert process.communicate(timeout=30)[1] == b""


def test_engines_are_the_two_packages() -> None:
    assert engines.MICROGRAD.Value is micrograd.engine.Value
    assert engines.MICROGRAD.MLP is micrograd.nn.MLP
    assert engines.MICROGRADX.Value is microgradx.Value
    assert engines.MICROGRADX.MLP is microgradx.nn.MLP


def test_programs_are_loaded_for_their_engine() -> None:
    before = {name: sys.modules[name] for name in ("micrograd", "micrograd.engine")}
    for engine in engines.ENGINES:
        assert engine.load("lecture.py").Value is engine.Value
    assert {name: sys.modules[name] for name in before} == before


@pytest.mark.usefixtures("micrograd_left_alone")
@pytest.mark.parametrize("engine", engines.ENGINES, ids=lambda engine: engine.name)
@pytest.mark.parametrize("program", ["readme_expression", "moons_step", "gpt_step"])
def test_programs_run_on_their_engine(
    program: str, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = []
    original = engine.Value.backward

    def backward(self: Any) -> None:
        roots.append(self)
        original(self)

    monkeypatch.setattr(engine.Value, "backward", backward)
    getattr(programs, program)(engine)()
    (root,) = roots
    assert type(root) is engine.Value
    assert root.grad == 1


@pytest.mark.usefixtures("micrograd_left_alone")
def test_method_tells_the_size_of_the_gpt_step() -> None:
    program = engines.MICROGRAD.load("gpt.py")
    nodes = program.count_nodes(program.loss_of(program.make_model(), programs.GPT_NAME))
    assert f"{len(programs.GPT_NAME)} letters: {nodes:,} nodes" in report.METHOD


@pytest.mark.parametrize("width", [1, 2, 64])
def test_backward_alone_has_its_nodes(width: int) -> None:
    for engine in engines.ENGINES:
        root = programs.backward_alone(engine, width).__self__
        root.backward()
        nodes = operands_first(root)
        assert sum(bool(node._prev) for node in nodes) == programs.DEPTH * width - 1
        assert math.isfinite(root.data)
        assert all(math.isfinite(node.grad) for node in nodes)


def test_chain_has_its_depth_and_is_released() -> None:
    depth = 50_000
    nodes = microgradx._core.arena_counters()["nodes"]
    programs.deep_chain(engines.MICROGRADX, depth)()
    assert microgradx._core.arena_counters()["nodes"] == nodes
    programs.with_deep_stack(programs.deep_chain(engines.MICROGRAD, 5_000))


def test_deep_stack_hands_back_results_and_errors() -> None:
    limit, size = sys.getrecursionlimit(), threading.stack_size()
    assert programs.with_deep_stack(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        programs.with_deep_stack(lambda: 1 / 0)
    assert (sys.getrecursionlimit(), threading.stack_size()) == (limit, size)


def test_memory_of_a_node_does_not_depend_on_their_number() -> None:
    for engine in engines.ENGINES:
        few, many = (memory.bytes_allocated(engine, levels) for levels in (13, 15))
        assert many == pytest.approx(few, rel=0.1)
    assert many < 100


@pytest.mark.skipif(not memory.peak_is_known(), reason="the system does not tell")
def test_peak_memory_holds_the_nodes() -> None:
    for engine in engines.ENGINES:
        assert memory.bytes_at_peak(engine, 15) > 0.5 * memory.bytes_allocated(engine, 15)


@pytest.mark.skipif(not memory.peak_is_known(), reason="the system does not tell")
def test_peak_memory_of_a_step_holds_its_nodes() -> None:
    samples, neurons, products = 100, 16 + 16 + 1, 2 * 16 + 16 * 16 + 16
    assert memory.bytes_of_step(engines.MICROGRAD) > samples * 2 * products * 300
    assert memory.bytes_of_step(engines.MICROGRADX) > samples * neurons * 41


def test_an_operation_meets_the_product_of_floats() -> None:
    for engine in engines.ENGINES:
        task = operations.operation("a - b", engine)
        assert task.statement == "a - b"
        assert {type(operand) for operand in task.names["operands"]} == {engine.Value}
    task = operations.float_product()
    assert task.statement == "a * b"
    assert {type(operand) for operand in task.names["operands"]} == {float}
