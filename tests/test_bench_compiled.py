"""Contestants of compiled functions find the same, and what is measured of them is told."""

import gc
import importlib
import json
import operator
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import micrograd.engine
import microgradx
import numpy as np
import pytest
from graphs import operands_first
from microgradx.__main__ import main
from numpy.testing import assert_allclose
from test_peers import objection_to, two_steps

arrays: Any = importlib.import_module("microgradx.benchmarks.peers.arrays")
command: Any = importlib.import_module("microgradx.benchmarks.compiled.command")
contest: Any = importlib.import_module("microgradx.benchmarks.compiled.contest")
contestants: Any = importlib.import_module("microgradx.benchmarks.peers.contestants")
core: Any = importlib.import_module("microgradx._core")
engines: Any = importlib.import_module("microgradx.benchmarks.engines")
programs: Any = importlib.import_module("microgradx.benchmarks.programs")
report: Any = importlib.import_module("microgradx.benchmarks.compiled.report")
scalars: Any = importlib.import_module("microgradx.benchmarks.scalars")
workloads: Any = importlib.import_module("microgradx.benchmarks.peers.workloads")

Value = micrograd.engine.Value
ARRAYS = arrays.Arrays(np, lambda x: np.maximum(x, 0), lambda x: x - np.log(np.sum(np.exp(x))))
TRACED = {
    workloads.TRACE_GPT: workloads.GPT_SGD,
    workloads.TRACE_RECURRENCE: workloads.RECURRENCE,
    workloads.TRACE_RANDOM: workloads.RANDOM,
    workloads.TRACE_IMAGES: workloads.IMAGES,
}
NODES = {
    workloads.TRACE_RECURRENCE: workloads.NODES,
    workloads.TRACE_RANDOM: workloads.NODES,
}
PARTS = [
    pytest.param(peer, workload, id=f"{workload}-{peer.name}")
    for workload, peers in contest.PARTS.items()
    for peer in peers
    if workload not in TRACED and (peer, workload) != (contestants.MICROGRAD, workloads.MOONS_DECAY)
]


def moons_on_micrograd() -> tuple[Any, ...]:
    return two_steps(contestants.MICROGRAD, workloads.MOONS_DECAY)


def images_in_formulas() -> tuple[Any, ...]:
    """Descend the gradient as textbooks write it."""
    images, labels = workloads.images_batch()
    targets = workloads.one_hot(labels, 10)
    layers = workloads.first_layers(workloads.IMAGES_SIZES)
    (weights, biases), (last_weights, last_biases) = layers

    def step() -> float:
        sums = images @ weights.T + biases
        hidden = np.maximum(sums, 0)
        powers = np.exp(hidden @ last_weights.T + last_biases)
        chances = powers / powers.sum(axis=1, keepdims=True)
        errors = (chances - targets) / len(images)
        hidden_errors = (errors @ last_weights) * (sums > 0)
        for p, gradient in (
            (weights, hidden_errors.T @ images),
            (biases, hidden_errors.sum(axis=0)),
            (last_weights, errors.T @ hidden),
            (last_biases, errors.sum(axis=0)),
        ):
            p -= workloads.RATE * gradient
        return float(-np.log(chances[range(len(labels)), labels]).mean())

    first = step()
    return first, workloads.neurons(layers), step()


def gpt_on_micrograd() -> tuple[Any, ...]:
    program = engines.MICROGRAD.load("gpt.py")
    model = program.make_model()

    def step() -> float:
        loss = program.loss_of(model, programs.GPT_NAME)
        loss.backward()
        for p in model.parameters():
            p.data -= workloads.RATE * p.grad
            p.grad = 0
        return float(loss.data)

    first = step()
    return first, np.array([p.data for p in model.parameters()]), step()


def on_micrograd(value_of: Callable[[Any], Any], numbers: Any) -> tuple[Any, ...]:
    inputs = [Value(number) for number in numbers.tolist()]
    value = value_of(inputs)
    programs.with_deep_stack(value.backward)
    return value.data, np.array([leaf.grad for leaf in inputs]), value.data


def recurrence_on_micrograd() -> tuple[Any, ...]:
    return on_micrograd(partial(scalars.oscillate, nodes=workloads.NODES), workloads.START)


def random_expression_on_micrograd() -> tuple[Any, ...]:
    numbers, operations = workloads.random_program()
    return on_micrograd(partial(scalars.random_value, operations=operations), numbers)


def samples_on_micrograd() -> tuple[Any, ...]:
    found = [
        on_micrograd(lambda pair: scalars.readme_value(*pair, Value.relu), numbers)
        for numbers in np.column_stack(workloads.readme_operands())
    ]
    values, gradients, _ = zip(*found, strict=True)
    return values, np.transpose(gradients).ravel(), values


ORACLES = {
    workloads.MOONS_DECAY: moons_on_micrograd,
    workloads.IMAGES: images_in_formulas,
    workloads.RECURRENCE: recurrence_on_micrograd,
    workloads.RANDOM: random_expression_on_micrograd,
    workloads.SAMPLES: samples_on_micrograd,
    workloads.GPT_SGD: gpt_on_micrograd,
}
_found: dict[str, tuple[Any, ...]] = {}


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare micrograd the many."""
    monkeypatch.setattr(workloads, "README_SAMPLES", 150)


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    """Spare micrograd the collector, which takes most of its time."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.filterwarnings("ignore")  # the peers' own are not ours to mend
@pytest.mark.usefixtures("micrograd_left_alone")
@pytest.mark.parametrize(("peer", "workload"), PARTS)
def test_contestants_find_the_same(peer: Any, workload: str) -> None:
    if objection := objection_to(peer):
        pytest.skip(f"{peer.name}: {objection}")
    if workload not in _found:
        _found[workload] = ORACLES[workload]()
    expected_first, expected_results, expected_second = _found[workload]
    first, results, second = two_steps(peer, workload)
    assert_allclose(np.ravel(first), expected_first, rtol=1e-9)
    assert_allclose(np.ravel(second), expected_second, rtol=1e-9)
    assert_allclose(results, expected_results, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("traced", TRACED)
def test_forward_pass_is_that_of_what_is_traced(traced: str) -> None:
    forward = contestants.MICROGRADX.steps[traced]()
    if traced == workloads.TRACE_IMAGES:  # the first one's loss there
        images, labels = workloads.images_batch()
        scores = ARRAYS.mlp(workloads.first_layers(workloads.IMAGES_SIZES), images[0])
        expected = -ARRAYS.log_softmax(scores)[labels[0]]
    else:
        expected = contestants.MICROGRADX.steps[TRACED[traced]]()()
    assert forward() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("traced", TRACED)
def test_tracing_is_done_anew_each_time(traced: str, monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []
    original = core.Trace

    def trace(inputs: int) -> Any:
        traces.append(inputs)
        return original(inputs)

    monkeypatch.setattr(core, "Trace", trace)
    tracing = contestants.COMPILED.steps[traced]()
    tracing()
    tracing()
    assert len(traces) == 2
    (nodes,) = tracing.results()
    assert nodes == NODES.get(traced, nodes)


def test_recurrence_has_its_nodes() -> None:
    start = [Value(0.5), Value(1.0)]
    nodes = operands_first(scalars.oscillate(start, nodes=50))
    assert sum(bool(node._prev) for node in nodes) == 50


def test_random_expression_uses_all_there_is() -> None:
    numbers = np.random.default_rng(1).uniform(-1, 1, 20).tolist()
    operations = scalars.random_operations(numbers, nodes=300, seed=1)
    leaves = [Value(number) for number in numbers]
    nodes = operands_first(scalars.random_value(leaves, operations))
    assert len(nodes) == 300 + 20
    assert set(leaves) <= set(nodes)
    assert {operate for operate, _, _ in operations} == {operator.add, operator.mul}
    assert operations == scalars.random_operations(numbers, nodes=300, seed=1)
    assert operations != scalars.random_operations(numbers, nodes=300, seed=2)


def test_readme_operands_stay_where_the_value_is_finite() -> None:
    values = scalars.readme_value(*workloads.readme_operands(), lambda x: np.maximum(x, 0))
    assert np.all(values < 1e3)
    assert len(values) == 150


def test_those_that_are_there_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = contestants.Peer("missing", "no_such_package", "pytorch")
    parts = {
        workloads.MOONS_DECAY: (contestants.COMPILED, missing, contestants.MICROGRADX),
        workloads.RECURRENCE: (contestants.COMPILED,),
        workloads.TRACE_GPT: (contestants.MICROGRADX, contestants.COMPILED),
    }
    monkeypatch.setattr(command, "PARTS", parts)
    assert main(["bench", "--compiled", "--quick", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [f"measuring {workload}" for workload in parts]
    document = json.loads(captured.out)
    assert document["remarks"] == ["missing is left out: not installed."]
    rows = {(row["workload"], row["peer"]): row for row in document["rows"]}
    assert set(rows) == {
        (workload, peer.name)
        for workload, peers in parts.items()
        for peer in peers
        if peer is not missing
    }
    assert all(row["minimum"] > 0 for row in rows.values())
    assert {part for part, row in rows.items() if row["first_step"]} == {
        (workloads.MOONS_DECAY, "microgradx.compile"),
        (workloads.RECURRENCE, "microgradx.compile"),
    }


TIMES = {
    workloads.MOONS_DECAY: {
        "microgradx.compile": [2e-5, 3e-5],
        "micrograd": [0.3, 0.2],
        "microgradx": [4e-4],
    },
    workloads.RECURRENCE: {"microgradx.compile": [1e-4], "microgradx": [2e-3]},
    workloads.SAMPLES: {"microgradx.compile": [2e-3], "microgradx": [0.3]},
    workloads.TRACE_GPT: {"microgradx": [4e-3], "microgradx.compile": [1e-2]},
}
FIRST_STEPS: dict[str, dict[str, float]] = {workload: {} for workload in TIMES}
FIRST_STEPS[workloads.MOONS_DECAY] = {"microgradx.compile": 5e-4}
RESULT = report.CompiledResult(TIMES, {"CasADi": "not installed"}, FIRST_STEPS)


def test_ratio_is_to_the_first_of_the_group() -> None:
    assert RESULT.ratio(workloads.MOONS_DECAY, "micrograd") == pytest.approx(10_000)
    assert RESULT.ratio(workloads.TRACE_GPT, "microgradx.compile") == pytest.approx(2.5)


def test_text_has_a_line_for_each_contestant_and_says_how() -> None:
    text = report.as_text(RESULT)
    lines = [re.split(r"\s{2,}", line) for line in text.splitlines()]
    assert [
        "moons step, weight decay",
        "microgradx.compile",
        "20.0 µs",
        "1.00 ×",
        "500 µs",
    ] in lines
    assert ["", "micrograd", "200 ms", "10,000 ×"] in lines
    assert ["recurrence", "microgradx.compile", "100 µs", "1.00 ×", "2.00 ns a node"] in lines
    assert ["", "microgradx", "300 ms", "150 ×", "3.00 µs a sample"] in lines
    assert ["", "microgradx.compile", "10.0 ms", "2.50 ×"] in lines
    assert "CasADi is left out: not installed." in text
    assert "(here 2)" in text
    assert max(map(len, text.splitlines())) <= 100


def test_markdown_is_a_table() -> None:
    table, remarks, environment = report.as_markdown(RESULT).split("\n\n")
    heading, rule, first, second, *_ = table.splitlines()
    assert heading == "|  |  | time | ratio | share | first step |"
    assert rule == "| --- | --- | ---: | ---: | ---: | ---: |"
    assert (
        first == "| moons step, weight decay | microgradx.compile | 20.0 µs | 1.00 × |  | 500 µs |"
    )
    assert second == "|  | micrograd | 200 ms | 10,000 × |  |  |"
    assert remarks == "CasADi is left out: not installed."
    assert microgradx.__version__ in environment


def test_compiled_functions_are_measured_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--compiled", "--peers"])
    assert ended.value.code == 2
    assert main(["bench", "--compiled", "--plot", "compiled.svg"]) == 2
    assert "--plot draws what --peers measures" in capsys.readouterr().err
