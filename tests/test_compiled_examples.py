"""The programs in `examples/` that compile: what they compute and what they print is right.

The oracles are micrograd, SciPy, scikit-learn and formulas from textbooks.
"""

import gc
import itertools
import math
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import micrograd
import microgradx
import numpy as np
import pytest
from numpy.testing import assert_allclose
from test_examples import EXAMPLES
from test_examples import load as load_on


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Spare micrograd the collector, which takes most of its time."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()


def load(name: str) -> Any:
    """Import `examples/{name}.py`, and what it imports from there, anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        patch.setitem(sys.modules, "gpt", None)  # so that it is forgotten afterwards
        del sys.modules["gpt"]
        return load_on(name, microgradx)


def run(name: str, *arguments: str, directory: Path) -> str:
    """Return what the program prints when started in `directory` as a user would start it."""
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments],
        cwd=directory,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout


def table(text: str) -> dict[str, list[float]]:
    """Return the numbers of each line that starts with a word and goes on with numbers."""
    rows = re.findall(r"^(\w+)((?: +-?\d+\.?\d*)+)$", text, re.MULTILINE)
    return {name: list(map(float, numbers.split())) for name, numbers in rows}


def trained(text: str) -> list[float]:
    """Return the losses that a program prints."""
    return [float(loss) for loss in re.findall(r"loss (\S+)", text)]


@pytest.mark.usefixtures("without_collector")
def test_moons_trains_as_micrograd_does() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    histories, weights = [], []
    for program in (load_on("moons", micrograd), load("compiled_moons")):
        model, points, labels = program.make_problem()
        histories.append(list(program.train(model, points, labels, steps=4)))
        weights.append([p.data for p in model.parameters()])
    assert len(histories[1]) == 4
    assert_allclose(histories[1], histories[0], rtol=1e-9)
    assert_allclose(weights[1], weights[0], rtol=1e-9, atol=1e-12)


def test_moons_are_told_apart_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    image = pytest.importorskip("matplotlib.image", reason="needs matplotlib")
    printed = run("compiled_moons", "--plot=moons.png", directory=tmp_path)
    assert len(trained(printed)) == 100
    assert trained(printed)[-1] < 0.02
    assert printed.splitlines()[-2].endswith("accuracy 100%")
    assert re.fullmatch(r"\d+\.\d+ seconds", printed.splitlines()[-1])
    assert image.imread(tmp_path / "moons.png").std() > 0.1


def test_the_picture_of_moons_is_not_turned(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    image = pytest.importorskip("matplotlib.image", reason="needs matplotlib")
    program = load("compiled_moons")
    score = microgradx.compile(lambda point: 5 * point[1])
    program.draw(score, np.zeros((1, 2)), np.ones(1), tmp_path / "picture.png")
    picture = image.imread(tmp_path / "picture.png")
    middle = picture.shape[1] // 3
    high, low = (picture[int(part * len(picture)), middle, :3] for part in (0.1, 0.8))
    assert high[0] > high[2] + 0.2  # positive scores are red, and lie where y is large
    assert low[2] > low[0] + 0.2


@pytest.mark.parametrize("name", ["nowhere/moons.png", "moons.txt"])
def test_unwritable_picture_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    path = tmp_path / name
    monkeypatch.setattr(sys, "argv", ["compiled_moons.py", "--steps=1", f"--plot={path}"])
    with pytest.raises(SystemExit) as failure:
        load("compiled_moons").main()
    assert failure.value.code == 2
    assert f"cannot draw --plot {path}" in capsys.readouterr().err


def test_digits_are_learned(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    printed = run("compiled_digits", directory=tmp_path)
    assert trained(printed)[-1] < 0.1 * trained(printed)[0]
    accuracies = [float(percent) for percent in re.findall(r"test accuracy (\S+)%", printed)]
    assert len(accuracies) == 20
    assert accuracies[-1] >= 95
    assert float(printed.split()[-2]) < 20


def test_digits_are_tested_with_others_than_learned() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="needs scikit-learn")
    pictures, _ = datasets.load_digits(return_X_y=True)
    learned, tested = load("compiled_digits").load()
    both = np.concatenate([learned.pictures, tested.pictures]) * 16
    assert len(learned.labels) == 1347
    assert len(tested.labels) == 450
    assert_allclose(np.sort(both, axis=None), np.sort(pictures, axis=None))
    assert sorted(map(tuple, both)) == sorted(map(tuple, pictures))


def test_digits_accuracy_is_that_of_the_network() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    program = load("compiled_digits")
    model = program.MLP(64, [8, 10])
    learned, tested = program.load()
    (epoch,) = program.train(model, learned, tested, epochs=1, batch=50)
    outputs = tested.pictures
    for layer in model.layers:
        weights = np.array([[w.data for w in neuron.w] for neuron in layer.neurons])
        outputs = outputs @ weights.T + [neuron.b.data for neuron in layer.neurons]
        if layer is not model.layers[-1]:
            outputs = np.maximum(outputs, 0)
    assert epoch.accuracy == np.mean(outputs.argmax(axis=1) == tested.labels)


def test_cross_entropy_and_its_gradient() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
    cross_entropy = microgradx.compile(load("compiled_digits").cross_entropy)
    generator = np.random.default_rng(0)
    scores, labels = generator.normal(scale=3, size=(20, 10)), generator.integers(10, size=20)
    powers = np.exp(scores)
    chances = powers / powers.sum(axis=1, keepdims=True)
    expected = metrics.log_loss(labels, chances, labels=range(10))
    assert cross_entropy.mean(scores, labels).data == pytest.approx(expected, rel=1e-12)

    _, (gradients, _) = cross_entropy.map_value_and_grad(scores, labels)
    assert_allclose(gradients, chances - np.eye(10)[labels], rtol=1e-12, atol=1e-14)
    # Without the peak the exponentials would be infinite.
    assert cross_entropy.mean(scores + 1000, labels).data == pytest.approx(expected, rel=1e-9)


def test_least_squares_agrees_with_curve_fit() -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="needs SciPy")
    program = load("least_squares")

    def curve(time: Any, a: float, d: float, f: float, p: float, o: float) -> Any:
        return a * np.exp(-d * time) * np.cos(f * time + p) + o

    times, measured = program.measure(samples=60, noise=0.05, seed=3)
    expected, covariance = optimize.curve_fit(curve, times, measured, p0=program.GUESS)
    residuals = program.compile_residuals(times, measured)
    by_residuals, by_cost = program.fit_residuals(residuals), program.fit_cost(residuals)
    assert_allclose(by_residuals.parameters, expected, rtol=1e-4)
    assert_allclose(by_cost.parameters, expected, rtol=1e-4)
    # With a wrong Jacobian matrix the way is longer.
    numeric = optimize.least_squares(lambda p: curve(times, *p) - measured, program.GUESS)
    assert by_residuals.evaluations <= numeric.nfev
    errors = program.standard_errors(residuals, by_residuals.parameters)
    assert_allclose(errors, covariance.diagonal() ** 0.5, rtol=1e-3)

    values, jacobian = residuals.value_and_grad(program.GUESS)
    assert_allclose(values, curve(times, *program.GUESS) - measured, rtol=1e-13, atol=1e-15)
    moved = program.GUESS + 1e-6 * np.concatenate([np.eye(5), -np.eye(5)])
    ends = np.array([curve(times, *parameters) for parameters in moved])
    assert_allclose(jacobian, (ends[:5] - ends[5:]).T / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("arguments", [(), ("--samples=50", "--noise=0.02")])
def test_least_squares_recovers_the_parameters(arguments: tuple[str], tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="needs SciPy")
    rows = table(run("least_squares", *arguments, directory=tmp_path))
    assert rows.pop("evaluated")
    assert {name: row[0] for name, row in rows.items()} == {
        "amplitude": 2.0,
        "damping": 0.3,
        "frequency": 2.5,
        "phase": 0.5,
        "offset": 1.0,
    }
    for truth, by_residuals, error, by_cost in rows.values():
        assert 0 < error < 0.1
        assert abs(by_residuals - truth) < 4 * error
        assert by_cost == pytest.approx(by_residuals, abs=2e-4)


def test_closed_forms_are_those_of_the_textbook() -> None:
    """Hull, Options, Futures, and Other Derivatives: the example for the formulas of 1973."""
    program = load("black_scholes")
    market = program.Market(spot=42, strike=40, volatility=0.2, rate=0.1, maturity=0.5)
    assert program.closed_form("call", market).price == pytest.approx(4.76, abs=0.005)
    assert program.closed_form("put", market).price == pytest.approx(0.81, abs=0.005)


@pytest.mark.parametrize("kind", ["call", "put"])
def test_closed_greeks_are_derivatives_of_the_price(kind: str) -> None:
    program = load("black_scholes")
    market = program.Market(maturity=0.7)
    greeks = program.closed_form(kind, market)
    names = {"delta": "spot", "vega": "volatility", "rho": "rate", "theta": "maturity"}
    for greek, name in names.items():
        number = getattr(market, name)
        step = 1e-5 * number
        higher, lower = (
            program.closed_form(kind, market._replace(**{name: number + move})).price
            for move in (step, -step)
        )
        slope = (higher - lower) / (2 * step) * (-1 if greek == "theta" else 1)
        assert getattr(greeks, greek) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("kind", ["call", "put"])
def test_simulations_scatter_by_their_standard_errors(kind: str) -> None:
    program = load("black_scholes")
    market = program.Market()
    truth = np.array(program.closed_form(kind, market))
    simulations = [np.array(program.simulate(kind, market, 2000, seed)) for seed in range(100)]
    scores = np.array([(estimates - truth) / errors for estimates, errors in simulations])
    assert np.all(abs(scores.mean(axis=0)) < 0.4)
    assert np.all(abs(scores.std(axis=0) - 1) < 0.3)


@pytest.mark.parametrize("arguments", [(), ("--paths=5000", "--seed=7")])
def test_estimates_are_within_standard_errors(arguments: tuple[str], tmp_path: Path) -> None:
    printed = run("black_scholes", *arguments, directory=tmp_path)
    scale = math.sqrt(100_000 / (5000 if arguments else 100_000))
    for kind in ("call", "put"):
        rows = table(printed.partition(f"\n{kind}, ")[2].partition("\n\n")[0])
        assert list(rows) == ["price", "delta", "vega", "rho", "theta"]
        for estimate, error, closed_form in rows.values():
            assert 0 < error < 0.025 * scale * abs(closed_form)
            assert abs(estimate - closed_form) < 4 * error + 1e-4


@pytest.mark.usefixtures("without_collector")
def test_gpt_has_the_loss_and_gradients_of_micrograd() -> None:
    program = load("compiled_gpt")
    pure = load_on("gpt", micrograd)
    expected_model, model = pure.make_model(), program.gpt.make_model()
    loss_of = program.compile_loss(model)
    for name in ("al", "ida", "ava"):
        expected = pure.loss_of(expected_model, name)
        actual = loss_of(program.encode(name))
        assert actual.data == pytest.approx(expected.data, rel=1e-12)
        expected.backward()
        actual.backward()
        grads = np.array([p.grad for p in expected_model.parameters()])
        assert np.count_nonzero(grads) > 2000
        assert_allclose(microgradx.grads(model.parameters()), grads, rtol=1e-9, atol=1e-14)
        # The next name finds other weights.
        for p in (*expected_model.parameters(), *model.parameters()):
            p.data -= 0.5 * p.grad
            p.grad = 0
    assert len(loss_of.programs) == 2


def test_gpt_has_the_loss_of_the_eager_one_at_every_length() -> None:
    program = load("compiled_gpt")
    model = program.gpt.make_model()
    loss_of = program.compile_loss(model)
    for name in ("", "a", "bo", "nora", "ursula", "harold", "cornelia", "maximilian"):
        expected = program.gpt.loss_of(model, name).data
        assert loss_of(program.encode(name)).data == pytest.approx(expected, rel=1e-12)


def test_gpt_has_a_softmax_of_large_numbers() -> None:
    softmax = load("compiled_gpt").softmax
    for function in (softmax, microgradx.compile(softmax)):
        chances = function([microgradx.Value(x) for x in (-1000.0, 1000.0, 1000.0)])
        assert [chance.data for chance in chances] == [0, 0.5, 0.5]


def test_gpt_epoch_goes_through_all_names_once() -> None:
    program = load("compiled_gpt")
    program.RATE = 0
    program.gpt.NAMES[:] = ["ada", "bo", "eve", "ida", "al"]
    model = program.gpt.make_model()
    losses = [program.gpt.loss_of(model, name).data for name in program.gpt.NAMES]
    assert list(program.train(model, epochs=2)) == pytest.approx([np.mean(losses)] * 2, rel=1e-12)


@pytest.mark.parametrize("launcher", [[], ["-m", "microgradx", "run"]])
def test_gpt_learns_names(launcher: list[str], tmp_path: Path) -> None:
    command = [sys.executable, *launcher, str(EXAMPLES / "compiled_gpt.py")]
    printed = subprocess.run(
        [*command, "--epochs=4", "--samples=3"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    losses = trained(printed)
    assert len(losses) == 4
    assert losses[0] < math.log(27)
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))
    assert len(printed.splitlines()) == 1 + 4 + 1 + 3


def test_gpt_invents_with_what_was_learned() -> None:
    program = load("compiled_gpt")
    program.gpt.NAMES[:] = ["ada"]
    model = program.gpt.make_model()
    losses = list(program.train(model, epochs=60))
    assert losses[-1] < 0.1
    generator = random.Random(0)
    names = [program.gpt.sample(model, generator) for _ in range(5)]
    assert names.count("ada") >= 4
