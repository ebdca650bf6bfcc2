"""The command line explains itself and refuses what it cannot do."""

import argparse
import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import version

import pytest
from microgradx import __main__, info
from microgradx.__main__ import main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.split() == ["microgradx", version("microgradx")]


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    output = capsys.readouterr().out
    assert output.startswith("usage: python -m microgradx ")
    assert {"demo", "run", "bench", "info"} <= set(output.split())


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("demo", ["--steps", "--output", "--seed", "moons.png", "1337"]),
        ("run", ["script"]),
        ("bench", ["--quick", "--markdown", "--json", "--output", "--plot", "microgradx[bench]"]),
        ("info", ["--json"]),
    ],
)
def test_help_of_a_command_names_its_options(
    command: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    output = capsys.readouterr().out
    assert [option for option in options if option not in output] == []


@pytest.mark.parametrize(
    ("arguments", "exit_codes"),
    [
        ([], ["0", "1", "2", "130"]),
        (["demo"], ["0", "2", "130"]),
        (["run"], ["2", "any"]),
        (["bench"], ["0", "1", "2", "130"]),
        (["info"], ["0", "2"]),
    ],
)
def test_help_tells_the_exit_codes(
    arguments: list[str], exit_codes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--help"])
    _, told = capsys.readouterr().out.split("exit codes:\n")
    assert re.findall(r"^  (\S+)  +\S", told, re.MULTILINE) == exit_codes


@pytest.mark.parametrize("command", ["demo", "run", "bench", "info"])
def test_examples_of_the_help_are_understood(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    examples = re.findall(r"^  python -m microgradx (.*)", capsys.readouterr().out, re.MULTILINE)
    done: list[str] = []

    def execute(options: argparse.Namespace) -> int:
        done.append(options.command)
        return 0

    monkeypatch.setattr(__main__, f"_{command}", execute)
    assert [main(shlex.split(example)) for example in examples] == [0] * len(done)
    assert set(done) == {command}
    assert len(done) >= 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "command"),
        (["train"], "train"),
        (["demo", "--steps", "0"], "--steps"),
        (["demo", "--steps", "-5"], "--steps"),
        (["demo", "--steps", "many"], "--steps"),
        (["demo", "--seed", "-1"], "--seed"),
        (["demo", "--seed", "4294967296"], "--seed"),
        (["demo", "--seed", "1.5"], "--seed"),
        (["demo", "moons.png"], "moons.png"),
        (["run"], "script"),
        (["run", "--steps"], "script"),
        (["bench", "--json", "--markdown"], "--markdown"),
        (["bench", "--slow"], "--slow"),
        (["bench", "--output"], "--output"),
        (["info", "all"], "all"),
    ],
)
def test_wrong_usage_is_explained(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    output, message = capsys.readouterr()
    assert output == ""
    assert complaint in message
    assert "_integer" not in message


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "microgradx", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"microgradx {version('microgradx')}\n"


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines() if line]
    told = {line[0]: [part.strip() for part in line[1:] if part] for line in lines}
    assert told["microgradx"] == [version("microgradx")]
    assert told["numpy"][0] == version("numpy")
    assert told["micrograd"][0] == version("micrograd")
    assert "kernels of compiled functions" in told


def test_info_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(info.OPTIONAL, "no-such-package", "nothing")
    assert main(["info", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["python"] == ".".join(map(str, sys.version_info[:3]))
    assert told["optional"]["micrograd"] == version("micrograd")
    assert told["optional"]["no-such-package"] is None
    assert told["kernels of compiled functions"] in ("baseline", "avx2", "avx512")
