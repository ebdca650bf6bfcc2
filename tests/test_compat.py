"""Programs that import micrograd get microgradx, and run as Python would run them."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

WITHOUT_MICROGRAD = """
    import sys

    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "micrograd":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Missing())
"""


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, since a stand-in for micrograd stays."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


def outcome(*programs: str) -> str:
    """Return what the programs print, one after the other in one process, warnings being errors."""
    result = python("-W", "error", "-c", "\n".join(map(textwrap.dedent, programs)))
    assert result.returncode == 0, result.stderr
    return result.stdout


INSTALL = "import microgradx; microgradx.install_as_micrograd()"


@pytest.mark.parametrize(
    "program",
    [
        "from micrograd.engine import Value; assert Value is microgradx.Value",
        "from micrograd import nn; assert nn.MLP is microgradx.nn.MLP",
        "from micrograd import engine; assert engine.Value is microgradx.Value",
        "from micrograd.nn import *; assert MLP is microgradx.nn.MLP",
        "import micrograd.engine; assert micrograd.engine.Value is microgradx.Value",
        "import micrograd.nn as n; assert n.Neuron is microgradx.nn.Neuron",
        "import micrograd; assert micrograd.nn.Layer is microgradx.nn.Layer",
        "assert __import__('importlib').import_module('micrograd.nn').MLP is microgradx.nn.MLP",
    ],
)
@pytest.mark.parametrize("before", ["", WITHOUT_MICROGRAD], ids=["installed", "missing"])
def test_every_import_gives_microgradx(program: str, before: str) -> None:
    outcome(before, INSTALL, program)


@pytest.mark.parametrize("name", ["micrograd", "micrograd.engine", "micrograd.nn"])
def test_import_machinery_finds_the_stand_in(name: str) -> None:
    program = f"""
        import importlib.util, sys
        spec = importlib.util.find_spec({name!r})
        assert spec is sys.modules[{name!r}.replace("micrograd", "microgradx")].__spec__
    """
    outcome(INSTALL, program)


def test_what_micrograd_lacks_is_still_missing() -> None:
    program = """
        try:
            import micrograd.optimizers
        except ModuleNotFoundError as error:
            print(error.name)
    """
    assert outcome(INSTALL, program) == "micrograd.optimizers\n"


def test_a_patch_of_the_stand_in_reaches_the_networks() -> None:
    program = """
        import micrograd.nn
        micrograd.nn.Value = lambda number: ("patched", number)
        print(micrograd.nn.Neuron(1).b)
    """
    assert outcome(INSTALL, program) == "('patched', 0)\n"


def test_installing_twice_changes_nothing() -> None:
    program = """
        from micrograd.engine import Value
        microgradx.install_as_micrograd()
        from micrograd.engine import Value as Again
        assert Again is Value
    """
    outcome(INSTALL, program)


@pytest.mark.parametrize(
    "earlier", ["import micrograd", "import micrograd.engine", "from micrograd.nn import MLP"]
)
def test_micrograd_imported_earlier_warns_and_gives_way(earlier: str) -> None:
    program = """
        import warnings, microgradx
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            microgradx.install_as_micrograd()
            microgradx.install_as_micrograd()
        (warning,) = caught
        assert warning.category is RuntimeWarning
        assert warning.filename == "<string>"
        from micrograd.engine import Value
        assert Value is microgradx.Value
        print(warning.message)
    """
    assert "install_as_micrograd() first" in outcome(earlier, program)


@pytest.mark.parametrize("reader", [INSTALL, "", WITHOUT_MICROGRAD])
def test_pickles_made_under_the_name_load_again(reader: str, tmp_path: Path) -> None:
    path = str(tmp_path / "model.pickle")
    write = f"""
        import pickle
        from micrograd.engine import Value
        from micrograd.nn import Neuron
        leaf, neuron = Value(3.5), Neuron(2)
        leaf.grad = 2.0
        with open({path!r}, "wb") as file:
            pickle.dump((leaf, neuron), file)
        print([p.data for p in neuron.parameters()])
    """
    read = f"""
        import pickle
        with open({path!r}, "rb") as file:
            leaf, neuron = pickle.load(file)
        import microgradx
        assert type(leaf) is microgradx.Value
        assert (leaf.data, leaf.grad) == (3.5, 2.0)
        print([p.data for p in neuron.parameters()])
    """
    assert outcome(INSTALL, write) == outcome(reader, read)


def test_import_of_microgradx_is_lean() -> None:
    program = """
        import sys, numpy
        before = set(sys.modules)
        import microgradx
        print(*{name.partition(".")[0] for name in set(sys.modules) - before})
    """
    heavy = {"argparse", "matplotlib", "micrograd", "runpy", "sklearn", "subprocess", "tqdm"}
    assert heavy.isdisjoint(outcome(program).split())


PROBE = """
    # -*- coding: latin-1 -*-
    import atexit, os, pickle, sys
    import beside
    from micrograd.engine import Value

    class Model:
        pass

    def at_exit():
        import __main__
        print("exit", __main__.Model is Model)

    assert isinstance(pickle.loads(pickle.dumps(Model())), Model)
    atexit.register(at_exit)
    os.chdir("/")
    print(sys.argv, sys.path[0], __file__, __name__, __package__, __spec__, __doc__)
    print(type(__loader__).__name__, beside.__file__, sys.modules["__main__"].Model is Model)
    print(Value(2.0) * 3.0, len("\xe9"))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Return a script that tells what it sees, in a directory with a module to import."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "beside.py").touch()
    path = folder / "script.py"
    path.write_text(textwrap.dedent(PROBE).lstrip(), encoding="latin-1")
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["one", "two three"],
        ["--help"],
        ["-x", "--steps=3", "--", "-y", "--"],
        ["--", "first"],
        ["run", "demo", "--version"],
    ],
)
@pytest.mark.parametrize("style", ["relative", "dotted", "absolute"])
def test_script_sees_what_python_shows_it(script: Path, arguments: list[str], style: str) -> None:
    path = {
        "relative": "folder/script.py",
        "dotted": "folder/../folder/script.py",
        "absolute": str(script),
    }[style]
    cwd = script.parent.parent
    plain = python(path, *arguments, cwd=cwd)
    ours = python("-m", "microgradx", "run", path, *arguments, cwd=cwd)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert (ours.returncode, ours.stderr, ours.stdout) == (0, "", plain.stdout)


def test_script_behind_a_symbolic_link_imports_from_its_own_directory(script: Path) -> None:
    link = script.parent.parent / "link.py"
    try:
        link.symlink_to(script)
    except OSError:
        pytest.skip("no symbolic links here")
    plain = python(str(link))
    assert plain.returncode == 0
    assert python("-m", "microgradx", "run", str(link)).stdout == plain.stdout


@pytest.mark.skipif(sys.version_info < (3, 11), reason="-P is new in Python 3.11")
def test_safe_path_is_respected(script: Path) -> None:
    result = python("-P", "-m", "microgradx", "run", str(script))
    assert result.returncode == 1
    assert "No module named 'beside'" in result.stderr


def test_script_gets_microgradx(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from micrograd.engine import Value; print(Value.__module__)")
    result = python("-m", "microgradx", "run", str(script))
    assert result.stdout == "microgradx.engine\n"


@pytest.mark.parametrize(
    ("program", "returncode", "message"),
    [
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('sorry')", 1, "sorry"),
        ("raise SystemExit(2)", 2, ""),
        ("first = 1\n1 / 0", 1, "line 2, in <module>"),
        ("raise FileNotFoundError('from the script')", 1, "FileNotFoundError: from the script"),
        ("def broken(:", 1, "SyntaxError"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt"),
    ],
)
def test_end_of_the_script_reaches_the_shell(
    program: str, returncode: int, message: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(program)
    plain = python(str(script))
    ours = python("-m", "microgradx", "run", str(script))
    assert ours.returncode == plain.returncode
    assert message in ours.stderr
    if sys.platform != "win32":
        assert ours.returncode == returncode


@pytest.mark.parametrize("name", ["missing.py", "."])
def test_unreadable_script_is_named(name: str, tmp_path: Path) -> None:
    result = python("-m", "microgradx", "run", name, "--flag", cwd=tmp_path)
    assert result.returncode == 2
    assert repr(name) in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_run_needs_a_script() -> None:
    result = python("-m", "microgradx", "run")
    assert result.returncode == 2
    assert "script" in result.stderr
