"""The codebase keeps its own rules."""

import importlib.metadata
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import microgradx
import pytest
from microgradx._core import OPS

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^MGX_(?:UNARY|BINARY)\(\w+, (\w+), ", re.MULTILINE)


CPP = [
    path
    for suffix in ("cpp", "hpp", "def", "inl")
    for path in sorted((ROOT / "cpp").rglob(f"*.{suffix}"))
]
PYTHON = sorted((ROOT / "python").rglob("*.py"))


def rows_of_the_table() -> list[str]:
    return ROW.findall((ROOT / "cpp" / "core" / "ops.def").read_text())


def test_every_row_of_the_table_is_in_python() -> None:
    assert rows_of_the_table() == [row.name for row in OPS]


@pytest.mark.parametrize("row", OPS, ids=lambda row: row.name)
def test_every_operation_is_in_the_stub(row: microgradx._core.Operation) -> None:
    stub = resources.files(microgradx).joinpath("_core.pyi").read_text()
    if hasattr(microgradx._core, row.name):
        assert re.search(rf"^def {row.name}\(", stub, re.MULTILINE)
    else:
        method = row.name if row.arity == 1 else f"__{row.name}__"
        assert re.search(rf"^    def {method}\(self", stub, re.MULTILINE)


@pytest.mark.parametrize("row", OPS, ids=lambda row: row.name)
def test_every_operation_has_a_test_interval_documentation_and_an_example(
    row: microgradx._core.Operation,
) -> None:
    low, high = row.interval
    assert low < high
    assert re.fullmatch(r"[A-Z1`].*\.", row.doc)
    assert re.fullmatch(r">>> .*\bmgx\..+\n.+", row.example)


def test_types_are_announced() -> None:
    assert resources.files(microgradx).joinpath("py.typed").is_file()


def test_the_version_is_in_one_place() -> None:
    version = importlib.metadata.version("microgradx")
    assert microgradx.__version__ == microgradx._core.__version__ == version
    assert microgradx.build_info()["version"] == version
    places = [
        path
        for path in (ROOT / "pyproject.toml", ROOT / "CMakeLists.txt", *CPP, *PYTHON)
        if re.search(
            rf"['\"]{re.escape(version)}['\"]|VERSION {re.escape(version)}", path.read_text()
        )
    ]
    assert places == [ROOT / "pyproject.toml"]


def test_build_information() -> None:
    information = microgradx.build_info()
    known = {"version", "compiler", "build_type", "instruction_sets", "kernels", "lane_kernels"}
    assert known <= information.keys()
    assert all(information.values())


@pytest.mark.parametrize("path", CPP, ids=lambda path: path.name)
def test_every_cpp_file_says_what_it_is_for(path: Path) -> None:
    text = path.read_text().removeprefix("#pragma once\n").lstrip("\n")
    assert re.match(r"// \S+ \S+", text)


@pytest.mark.parametrize(
    ("folder", "unknown"), [("core", r"bindings/|program/"), ("program", r"bindings/")]
)
def test_the_core_and_programs_know_no_python(folder: str, unknown: str) -> None:
    for path in sorted((ROOT / "cpp" / folder).iterdir()):
        included = re.findall(r"#include [<\"](.+)[>\"]", path.read_text())
        assert not [name for name in included if re.match(rf"Python\.h|pybind11|{unknown}", name)]


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.name)
def test_every_module_has_a_docstring(path: Path) -> None:
    assert path.read_text().startswith('"""')


def test_importing_is_light(run_python: Callable[..., str]) -> None:
    """Only NumPy may come along, not what is for the demo, the tests or drawing."""
    printed = run_python(
        "import sys, microgradx; print(*{n.partition('.')[0] for n in sys.modules})"
    )
    heavy = {
        "torch",
        "matplotlib",
        "sklearn",
        "scipy",
        "graphviz",
        "tqdm",
        "pandas",
        "rich",
        "micrograd",
    }
    assert "microgradx" in printed.split()
    assert not heavy & set(printed.split())


def test_what_is_public() -> None:
    assert all(hasattr(microgradx, name) for name in microgradx.__all__)
    public = {"Value", "nn", "engine", "install_as_micrograd", "build_info", "__version__"}
    assert public <= set(microgradx.__all__)
    for name in microgradx.__all__:
        if not name.startswith("__"):
            assert getattr(microgradx, name).__doc__
