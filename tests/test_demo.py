"""The demo trains as micrograd's does, draws what it has learnt, and survives what may go wrong."""

import gc
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import micrograd.engine
import micrograd.nn
import numpy as np
import pytest
from matplotlib.image import imread
from microgradx import demo
from microgradx.__main__ import main
from microgradx.nn import MLP
from sklearn.datasets import make_moons

STEPS = 5


@pytest.fixture(scope="module")
def expected() -> list[tuple[float, float]]:
    """Train as micrograd's demo notebook does, on micrograd and scikit-learn."""
    random.seed(1337)
    points, labels = make_moons(n_samples=100, noise=0.1, random_state=1337)
    labels = labels * 2 - 1
    model = micrograd.nn.MLP(2, [16, 16, 1])
    results = []
    gc.disable()
    for k in range(STEPS):
        scores = [model(list(map(micrograd.engine.Value, row))) for row in points]
        losses = [(1 + -yi * si).relu() for yi, si in zip(labels, scores, strict=True)]
        penalty = 1e-4 * sum(p * p for p in model.parameters())
        loss = sum(losses) * (1.0 / len(losses)) + penalty
        right = [(yi > 0) == (si.data > 0) for yi, si in zip(labels, scores, strict=True)]
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= (1.0 - 0.9 * k / STEPS) * p.grad
        results.append((loss.data, np.mean(right)))
    gc.enable()
    return results


def half_plane(across: float = 1.0, up: float = 0.0, bias: float = 0.0) -> MLP:
    """Return a network whose score is linear, by default the first coordinate."""
    model = MLP(2, [1])
    for p, value in zip(model.parameters(), (across, up, bias), strict=True):
        p.data = value
    return model


def small_moons() -> tuple[Any, Any]:
    points, labels = demo.two_moons(samples=20, random_state=0)
    return points, labels * 2 - 1


@pytest.mark.parametrize("samples", [1, 2, 7, 100, 1001])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_points_are_those_of_scikit_learn(samples: int, noise: float) -> None:
    points, labels = demo.two_moons(samples, noise, random_state=samples)
    expected_points, expected_labels = make_moons(samples, noise=noise, random_state=samples)
    np.testing.assert_array_equal(points, expected_points, strict=True)
    np.testing.assert_array_equal(labels, expected_labels, strict=True)


def test_points_draw_on_a_given_generator() -> None:
    ours, theirs = np.random.RandomState(5), np.random.RandomState(5)
    for _ in range(2):
        expected, _ = make_moons(10, noise=0.1, random_state=theirs)
        np.testing.assert_array_equal(demo.two_moons(10, random_state=ours)[0], expected)


def test_points_without_a_seed_differ() -> None:
    assert (demo.two_moons()[0] != demo.two_moons()[0]).any()


@pytest.mark.parametrize("argument", ["samples", "noise"])
def test_points_refuse_negative_arguments(argument: str) -> None:
    arguments: dict[str, Any] = {argument: -1}
    with pytest.raises(ValueError, match=argument):
        demo.two_moons(**arguments)


def test_training_is_that_of_micrograd(expected: list[tuple[float, float]]) -> None:
    random.seed(1337)
    points, labels = demo.two_moons(random_state=1337)
    model = MLP(2, [16, 16, 1])
    results = list(demo.training(model, points, labels * 2 - 1, STEPS))
    np.testing.assert_allclose(results, expected, rtol=1e-10, atol=0)


def test_command_reports_the_last_step_and_draws(
    expected: list[tuple[float, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "moons.png"
    assert main(["demo", "--steps", str(STEPS), "--output", str(picture)]) == 0
    output, progress = capsys.readouterr()
    loss, accuracy = expected[-1]
    assert f"final loss {loss:.4f}, accuracy {accuracy:.0%}" in output
    assert re.search(r"\d+ steps per second", output)
    assert str(picture.resolve()) in output
    assert f"{STEPS}/{STEPS}" in progress

    pixels = imread(picture)
    assert pixels.shape[0] > 400
    assert pixels.shape[1] > 600
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 100


def test_output_is_beside_the_user_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--steps", "1"]) == 0
    assert imread("moons.png").size
    assert str(tmp_path / "moons.png") in capsys.readouterr().out


def test_seed_changes_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    losses = set()
    for seed in ("1", "2", "2"):
        command = ["demo", "--steps", "1", "--seed", seed, "--output", str(tmp_path / "moons.png")]
        assert main(command) == 0
        losses.update(re.findall(r"loss (\S+),", capsys.readouterr().out))
    assert len(losses) == 2


@pytest.mark.parametrize(
    ("name", "start"), [("moons.svg", b"<?xml"), ("moons.PDF", b"%PDF"), ("moons", b"\x89PNG")]
)
def test_suffix_says_the_format(tmp_path: Path, name: str, start: bytes) -> None:
    points, labels = small_moons()
    output = tmp_path / name
    demo.draw_picture(str(output), half_plane(), points, labels, "")
    assert output.read_bytes().startswith(start)


def test_picture_shows_which_side_is_which(tmp_path: Path) -> None:
    points, labels = small_moons()
    output = tmp_path / "moons.png"
    for across, up in ((1.0, 0.0), (0.0, 1.0)):
        demo.draw_picture(str(output), half_plane(across, up), points, labels, "")
        pixels = imread(output)
        height, width = pixels.shape[:2]
        left_bottom = pixels[height * 9 // 10, width // 8]
        other = (
            pixels[height * 9 // 10, width * 7 // 8] if across else pixels[height // 8, width // 8]
        )
        assert left_bottom[2] > left_bottom[0]
        assert other[0] > other[2]


def test_picture_without_a_boundary_in_view(tmp_path: Path) -> None:
    points, labels = small_moons()
    output = tmp_path / "moons.png"
    demo.draw_picture(str(output), half_plane(bias=100.0), points, labels, "")
    assert imread(output).size


def test_text_shows_the_sides_and_the_points() -> None:
    points = np.array([[-1.0, 1.0], [1.0, -1.0]])
    lines = demo.draw_text(half_plane(), points, np.array([-1, 1]), columns=41).splitlines()
    assert {len(line) for line in lines} == {41}
    left = "".join(line[:20] for line in lines)
    right = "".join(line[21:] for line in lines)
    assert set(left) == {" ", "o"}
    assert set(right) == {":", "#"}
    (upper,) = [number for number, line in enumerate(lines) if "o" in line]
    (lower,) = [number for number, line in enumerate(lines) if "#" in line]
    assert upper < lower


def test_without_matplotlib_the_boundary_is_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--steps", "40"]) == 0
    output = capsys.readouterr().out
    drawing = [line for line in output.splitlines() if len(line) == 60]
    assert len(drawing) > 15
    assert set("".join(drawing)) == {" ", "o", "#", ":"}
    assert "pip install" in output
    assert "moons.png" not in output
    assert not list(tmp_path.iterdir())


def test_without_tqdm_the_progress_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert main(["demo", "--steps", "2", "--output", str(tmp_path / "moons.png")]) == 0
    output, progress = capsys.readouterr()
    start, first, second = progress.split("\r")
    assert (start, first[:9], second[:9], second[-1]) == ("", "step 1/2:", "step 2/2:", "\n")
    assert len(first) == len(second) - 1
    assert "\r" not in output


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("missing/moons.png", "No such file"),
        (".", "cannot be written"),
        ("moons.xyz", "png"),
    ],
)
def test_bad_output_is_refused_before_training(
    output: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "training", lambda *_: pytest.fail("trained"))
    assert main(["demo", "--output", output]) == 2
    message = capsys.readouterr().err
    assert "--output" in message
    assert output in message
    assert reason in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("before", [b"from before", None])
def test_failure_leaves_the_file_as_it_was(
    before: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def training(*_: object) -> Iterator[demo.Result]:
        raise RuntimeError("no training today")
        yield

    picture = tmp_path / "moons.png"
    if before is not None:
        picture.write_bytes(before)
    monkeypatch.setattr(demo, "training", training)
    with pytest.raises(RuntimeError):
        main(["demo", "--output", str(picture)])
    assert (picture.read_bytes() if picture.exists() else None) == before


@pytest.mark.parametrize("done", [0, 2])
def test_interrupt_keeps_what_has_been_reached(
    done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training = demo.training

    def interrupted(*arguments: Any) -> Iterator[demo.Result]:
        results = training(*arguments)
        for _ in range(done):
            yield next(results)
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "training", interrupted)
    picture = tmp_path / "moons.png"
    assert main(["demo", "--steps", "9", "--output", str(picture)]) == 130
    output = capsys.readouterr().out
    assert f"after {done} of 9 steps" in output
    assert ("loss" in output) == (done > 0)
    assert imread(picture).size


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_control_c_stops_and_draws(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "microgradx", "demo", "--steps", "1000000"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        progress = b""
        while b"loss" not in progress:
            progress += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(rb"interrupted after \d+ of 1000000 steps", output)
    assert imread(tmp_path / "moons.png").size
