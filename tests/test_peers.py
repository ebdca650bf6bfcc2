"""The peers compute the same thing, and what is measured of them is told and drawn."""

import importlib
import json
import random
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import microgradx
import numpy as np
import pytest
from microgradx.__main__ import main

command: Any = importlib.import_module("microgradx.benchmarks.peers.command")
contestants: Any = importlib.import_module("microgradx.benchmarks.peers.contestants")
plot: Any = importlib.import_module("microgradx.benchmarks.peers.plot")
report: Any = importlib.import_module("microgradx.benchmarks.peers.report")
workloads: Any = importlib.import_module("microgradx.benchmarks.peers.workloads")

PEERS = {peer.name: peer for peer in contestants.PEERS}
# micrograd's own update is that of any optimiser without momentum.
ORACLES = {
    workloads.MOONS: ("micrograd", workloads.MOONS),
    workloads.MOONS_SGD: ("micrograd", workloads.MOONS),
    workloads.GPT: ("micrograd", workloads.GPT),
    workloads.DIGITS: ("microgradx", workloads.DIGITS),
}
PARTS = [
    pytest.param(peer, workload, id=f"{workload}-{peer.name}")
    for workload in workloads.WORKLOADS
    for peer in PEERS.values()
    if workload not in peer.lacks and ORACLES[workload] != (peer.name, workload)
]

objection_to = cache(contestants.Peer.objection)


def two_steps(peer: Any, workload: str) -> tuple[Any, ...]:
    step = peer.steps[workload]()
    first = step()
    parameters = np.array(step.results())  # a copy: NumPy shares PyTorch's memory
    return first, parameters, step()


@cache
def reference(workload: str) -> tuple[Any, ...]:
    name, its_workload = ORACLES[workload]
    return two_steps(PEERS[name], its_workload)


@pytest.mark.filterwarnings("ignore")  # the peers' own are not ours to mend
@pytest.mark.usefixtures("micrograd_left_alone")
@pytest.mark.parametrize(("peer", "workload"), PARTS)
def test_peers_compute_the_same(peer: Any, workload: str) -> None:
    if objection := objection_to(peer):
        pytest.skip(f"{peer.name}: {objection}")
    loss, parameters, next_loss = two_steps(peer, workload)
    expected_loss, expected_parameters, expected_next_loss = reference(workload)
    assert 0 < next_loss < loss
    assert (loss, next_loss) == pytest.approx((expected_loss, expected_next_loss), rel=1e-9)
    np.testing.assert_allclose(parameters, expected_parameters, rtol=1e-9, atol=1e-9)


def test_first_layers_are_those_of_a_new_model() -> None:
    random.seed(1337)
    model = microgradx.nn.MLP(3, [4, 2])
    layers = workloads.first_layers((3, 4, 2))
    assert workloads.neurons(layers).tolist() == [p.data for p in model.parameters()]


def test_digits_are_all_there() -> None:
    batches = workloads.digits_batches()
    images, labels = (np.concatenate(column) for column in zip(*batches, strict=True))
    assert (len(batches), images.shape, labels.shape) == (57, (1797, 64), (1797,))
    assert (images.min(), images.max()) == (0, 1)


def test_peer_that_is_not_installed_is_left_out() -> None:
    assert contestants.Peer("missing", "no_such_package", "pytorch").objection() == "not installed"


def test_peer_that_does_not_work_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "autograd.py").write_text("raise ImportError('no longer works')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    assert PEERS["autograd"].objection() == "ImportError: no longer works"


def test_those_that_are_there_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = contestants.Peer("missing", "no_such_package", "pytorch")
    peers = (PEERS["micrograd"], PEERS["microgradx"], missing)
    monkeypatch.setattr(command, "PEERS", peers)
    assert main(["bench", "--peers", "--quick", "--json"]) == 0
    captured = capsys.readouterr()
    assert "measuring digits epoch" in captured.err
    document = json.loads(captured.out)
    assert "missing is left out: not installed." in document["remarks"]
    assert {(row["workload"], row["peer"]) for row in document["rows"]} == {
        (workload, peer.name)
        for workload in workloads.WORKLOADS
        for peer in peers[:2]
        if workload not in peer.lacks
    }
    assert all(row["minimum"] > 0 for row in document["rows"])
    assert document["environment"]["micrograd"] == "0.1.0"


TIMES = {
    "moons step": {
        "micrograd": [0.5, 0.4],
        "microgradx": [0.001, 0.003],
        "PyTorch": [0.003, 0.002],
    },
    "moons step, optimiser": {"microgradx": [0.0003], "PyTorch": [0.0004]},
    "GPT step": {"micrograd": [0.6], "microgradx": [0.01], "PyTorch": [0.001]},
    "digits epoch": {"microgradx": [0.02], "PyTorch": [0.016]},
}
REASONS = {"torch.compile": "no compiler", "JAX": "not installed", "autograd": "not installed"}


@pytest.fixture
def result(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a result that a machine without PyTorch can tell, too."""
    monkeypatch.setattr(report.Result, "packages", [])
    return report.Result(TIMES, REASONS)


def without_pytorch() -> Any:
    samples = {
        workload: {peer: rounds for peer, rounds in times.items() if peer != "PyTorch"}
        for workload, times in TIMES.items()
    }
    return report.Result(samples, REASONS | {"PyTorch": "not installed"})


def test_ratio_is_that_of_the_best_rounds(result: Any) -> None:
    assert result.ratio("moons step", "micrograd") == pytest.approx(200)
    assert result.ratio("moons step", "microgradx") == pytest.approx(0.5)
    assert result.ratio("digits epoch", "micrograd") is None


def test_packages_are_those_that_were_measured() -> None:
    assert report.Result(TIMES, REASONS).packages == ["micrograd", "torch"]
    assert without_pytorch().packages == ["micrograd"]


def test_text_tells_times_and_ratios_and_who_is_left_out(result: Any) -> None:
    text = report.as_text(result)
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert re.findall(r"[\d.]+ \S+", lines["micrograd"]) == ["400 ms", "200 ×", "600 ms", "600 ×"]
    assert re.findall(r"[\d.]+ ×", lines["microgradx"]) == [
        "0.500 ×",
        "0.750 ×",
        "10.0 ×",
        "1.25 ×",
    ]
    assert "JAX" not in lines
    assert "JAX is left out: not installed." in text
    assert "micrograd is left out of the digits epoch: it has neither exp nor log." in text
    assert "(here\n2)" in text
    assert max(map(len, text.splitlines())) <= 100


def test_markdown_is_a_table(result: Any) -> None:
    table, remarks, environment = report.as_markdown(result).split("\n\n")
    heading, rule, *body = table.splitlines()
    assert {line.count("|") for line in (heading, rule, *body)} == {6}
    assert body[0] == "| micrograd | 400 ms (200 ×) |  | 600 ms (600 ×) |  |"
    assert "torch.compile is left out: no compiler." in remarks
    assert microgradx.__version__ in environment


def test_without_pytorch_ratios_are_to_microgradx() -> None:
    lines = report.as_text(without_pytorch()).splitlines()
    [row] = [line for line in lines if line.startswith("micrograd  ")]
    assert re.findall(r"[\d.]+ ×", row) == ["400 ×", "60.0 ×"]
    assert any(
        line.startswith("Each cell is a time and its ratio to microgradx's.") for line in lines
    )


@pytest.fixture
def measured(result: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the result at hand instead of measuring."""
    monkeypatch.setattr(command, "measure_peers", lambda quick: [result])


@pytest.mark.usefixtures("measured")
def test_plot_shows_every_time(tmp_path: Path) -> None:
    for name in ("first.svg", "second.svg"):
        assert main(["bench", "--peers", "--plot", str(tmp_path / name)]) == 0
    picture = (tmp_path / "first.svg").read_text()
    texts = re.findall("<!-- (.*) -->", picture)
    assert {"Moons step", "Digits epoch", "400 ms", "200 ×", "300 µs"} <= set(texts)
    assert texts.count("microgradx") == 2  # the panels of a row share their names
    assert texts.count("JAX") == 0
    assert "it has no optimiser" in texts
    assert picture == (tmp_path / "second.svg").read_text()


def test_plot_without_pytorch(tmp_path: Path) -> None:
    plot.draw(without_pytorch(), str(tmp_path / "peers.svg"))
    texts = re.findall("<!-- (.*) -->", (tmp_path / "peers.svg").read_text())
    assert {"400 ×", "time, and its ratio to microgradx's; shorter is faster"} <= set(texts)


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    ("path", "objection"),
    [("peers.txt", "not a kind of picture"), ("missing/peers.svg", "cannot be written")],
)
def test_plot_that_cannot_be_written(
    path: str, objection: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--peers", "--plot", str(tmp_path / path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert objection in captured.err


@pytest.mark.usefixtures("measured")
def test_plot_without_matplotlib_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["bench", "--peers", "--plot", "peers.svg"]) == 2
    assert 'pip install "microgradx[demo]"' in capsys.readouterr().err


def test_plot_needs_peers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--plot", "peers.svg"]) == 2
    assert "--peers" in capsys.readouterr().err
