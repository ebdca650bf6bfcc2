"""All three commands of the benchmark refuse early, and tell what they measured, come what may."""

import importlib
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from microgradx.__main__ import main
from test_bench import ROWS
from test_bench_compiled import RESULT
from test_peers import without_pytorch

terminal: Any = importlib.import_module("microgradx.benchmarks.terminal")

# By the option: the module that measures, its function, what that finds, and a line of the table.
COMMANDS: dict[str, tuple[str, str, Any, str]] = {
    "": ("command", "measure_all", ROWS, r"a \* b +800 ns +20\.0 ns +40\.0 ×"),
    "--peers": (
        "peers.command",
        "measure_peers",
        without_pytorch(),
        r"micrograd +400 ms +400 × +600 ms +60\.0 ×",
    ),
    "--compiled": (
        "compiled.command",
        "measure_compiled",
        RESULT,
        r"recurrence +microgradx\.compile +100 µs +1\.00 ×",
    ),
}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> list[str]:
    """Return the words of each command."""
    return ["bench", request.param] if request.param else ["bench"]


@pytest.fixture
def measuring(command: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a function that has something found at once; before it is called nothing must be."""
    module, function, found, _ = COMMANDS["".join(command[1:])]
    measures = importlib.import_module(f"microgradx.benchmarks.{module}")

    def find(and_then: Callable[[], object] = lambda: None) -> None:
        def measure(quick: bool) -> Iterator[Any]:
            yield found
            and_then()

        monkeypatch.setattr(measures, function, measure)

    monkeypatch.setattr(measures, function, lambda quick: pytest.fail("measured"))
    return find


@pytest.fixture
def line(command: list[str]) -> str:
    """Return a line of the command's table, as a pattern."""
    return COMMANDS["".join(command[1:])][-1]


def interrupt() -> None:
    raise KeyboardInterrupt


def fail() -> None:
    raise ChildProcessError("micrograd failed in 'moons step', as told above")


class Terminal(io.StringIO):
    """What takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


def without_escapes(text: str) -> str:
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text)


@pytest.mark.parametrize(
    ("options", "start"), [([], "  "), (["--markdown"], "|"), (["--json"], "{")]
)
def test_options_choose_the_style(
    options: list[str],
    start: str,
    command: list[str],
    measuring: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    measuring()
    assert main([*command, *options]) == 0
    assert capsys.readouterr().out.startswith(start)


@pytest.mark.parametrize("options", [[], ["--markdown"], ["--json"]])
def test_output_is_all_of_it_beside_what_is_printed(
    options: list[str],
    command: list[str],
    measuring: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measuring()
    assert main([*command, "--json"]) == 0
    everything = capsys.readouterr().out
    assert main([*command, *options]) == 0
    printed = capsys.readouterr().out
    path = tmp_path / "bench.json"
    assert main([*command, *options, "--output", str(path)]) == 0
    assert capsys.readouterr().out == printed
    assert path.read_text("utf-8") == everything
    document = json.loads(everything)
    assert document["complete"] is True
    assert document["rows"]


@pytest.mark.usefixtures("measuring")
@pytest.mark.parametrize("path", ["missing/bench.json", ".", ""])
def test_output_that_cannot_be_written_is_refused_before_measuring(
    path: str,
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--output", path]) == 2
    output, message = capsys.readouterr()
    assert output == ""
    assert f"--output {path!r}: cannot be written" in message
    assert not list(tmp_path.iterdir())


def test_output_that_can_no_longer_be_written_takes_nothing_away(
    command: list[str],
    measuring: Callable[..., None],
    line: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    measuring(folder.rmdir)
    assert main([*command, "--output", str(folder / "bench.json")]) == 1
    output, message = capsys.readouterr()
    assert re.search(line, output)
    assert "--output" in message
    assert "No such file" in message


@pytest.mark.parametrize(
    ("mishap", "exit_code", "message"),
    [(interrupt, 130, "interrupted"), (fail, 1, "bench: micrograd failed in 'moons step'")],
)
def test_what_was_measured_before_a_mishap_is_told(
    mishap: Callable[[], None],
    exit_code: int,
    message: str,
    command: list[str],
    measuring: Callable[..., None],
    line: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measuring(mishap)
    path = tmp_path / "bench.json"
    assert main([*command, "--output", str(path)]) == exit_code
    told, errors = capsys.readouterr()
    assert re.search(line, told)
    assert errors.startswith(message)
    document = json.loads(path.read_text("utf-8"))
    assert document["complete"] is False
    assert document["rows"]


def test_no_picture_is_drawn_of_a_part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(quick: bool) -> Iterator[Any]:
        yield without_pytorch()
        raise KeyboardInterrupt

    peers = importlib.import_module("microgradx.benchmarks.peers.command")
    monkeypatch.setattr(peers, "measure_peers", measure)
    assert main(["bench", "--peers", "--plot", str(tmp_path / "peers.svg")]) == 130
    assert "micrograd" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="cannot interrupt another process")
def test_control_c_keeps_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    command = [sys.executable, "-m", "microgradx", "bench", "--quick", "--output", str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"measuring a * b\n"
        assert process.stderr.readline() == b"measuring a + b\n"
        os.killpg(process.pid, signal.SIGINT)
        output, message = process.communicate(timeout=30)
    assert process.returncode == 130
    assert message.splitlines()[-1] == b"interrupted"
    assert "a * b" in output.decode()
    document = json.loads(path.read_text("utf-8"))
    assert document["complete"] is False
    assert document["rows"][0]["benchmark"] == "a * b"


@pytest.mark.skipif(sys.platform == "win32", reason="cannot interrupt another process")
def test_control_c_before_anything_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    command = [sys.executable, "-m", "microgradx", "bench", "--output", str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"measuring a * b\n"
        os.killpg(process.pid, signal.SIGINT)
        output, message = process.communicate(timeout=30)
    assert (process.returncode, output, message) == (130, b"", b"interrupted\n")
    assert not path.exists()


@pytest.mark.usefixtures("measuring")
@pytest.mark.parametrize(
    ("command", "module", "package", "extra"),
    [
        ("", "micrograd", "micrograd", "bench"),
        ("", "rich", "rich", "bench"),
        ("--peers", "sklearn", "scikit-learn", "peers"),
        ("--peers", "rich", "rich", "peers"),
        ("--compiled", "rich", "rich", "peers"),
    ],
    indirect=["command"],
)
def test_it_says_what_to_install(
    module: str,
    package: str,
    extra: str,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == module else find(name)
    )
    assert main(command) == 2
    output, message = capsys.readouterr()
    assert output == ""
    assert f'{package} is not installed: pip install "microgradx[{extra}]"' in message


TABLE = [["", "one\ntwo", "three"], ["a name [red]of words[/red]", "1.00 s", ""], ["b", "2", "3"]]


def test_table_in_a_file_is_plain_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    lines = terminal.text_table(TABLE).splitlines()
    assert [re.split(r"\s{2,}", line) for line in lines if "─" not in line] == [
        ["", "one"],
        ["", "two", "three"],
        ["a name [red]of words[/red]", "1.00 s"],
        ["b", "2", "3"],
    ]
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("width", [20, 30, 200])
def test_table_on_a_terminal_fits_and_loses_nothing(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "stdout", Terminal())
    table = without_escapes(terminal.text_table(TABLE))
    assert max(map(len, table.splitlines())) <= width
    cells = "".join(cell for line in TABLE for cell in line)
    assert sorted(re.sub(r"[─\s]", "", table)) == sorted(re.sub(r"\s", "", cells))


def test_groups_stand_apart() -> None:
    lines = [["", "", "time"], ["x", "one", "1"], ["", "two", "2"], ["y", "one", "3"]]
    assert [line.split() for line in terminal.text_table(lines, names=2).splitlines()[2:]] == [
        ["x", "one", "1"],
        ["two", "2"],
        [],
        ["y", "one", "3"],
    ]


def announce_two() -> int:
    """Announce two of four benchmarks, and return how many threads there are meanwhile."""
    with terminal.announcing(4) as announce:
        announce("a * b")
        announce("import [of NumPy]")
        return threading.active_count()


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    threads = threading.active_count()
    assert announce_two() == threads  # nothing is drawn beside what is measured
    shown = re.findall(r"(\d/\d) \S+ measuring (.*?)\s*[\r\n]", without_escapes(screen.getvalue()))
    assert list(dict.fromkeys(shown))[1:] == [("0/4", "a * b"), ("1/4", "import [of NumPy]")]


def test_progress_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    announce_two()
    assert capsys.readouterr() == ("", "measuring a * b\nmeasuring import [of NumPy]\n")
