"""What the documentation tells of the code is true."""

import importlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
from microgradx import losses, optim, viz

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "how-it-works.md").read_text("utf-8")

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


@pytest.fixture(scope="module")
def tested() -> str:
    """Return the tables of what is tested against what, as the tests' marks say it now."""
    command = [sys.executable, "-X", "utf8", str(DOCS / "tested.py")]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_what_is_tested_is_told_as_it_is(tested: str) -> None:
    page = (DOCS / "tested.md").read_text("utf-8")
    assert page.endswith(tested), "run: python docs/tested.py --write"


def test_everything_is_tested_against_something(tested: str) -> None:
    found = set(re.findall(r"^\| `(\S+)` \| \S", tested, re.MULTILINE))
    public = {
        "losses": losses.__all__,
        "optim": [name for name in optim.__all__ if name != "Optimizer"],
        "viz": viz.__all__,
    }
    names = {f"{module}.{name}" for module, names in public.items() for name in names}
    assert names - found == set(), "no test has the mark verifies for these"


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    """Return the drawings of the page that tells how it works."""
    pytest.importorskip("graphviz", reason="the package graphviz is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        drawings: Any = importlib.import_module("drawings")
    return {name: svg.decode("utf-8") for name, svg in drawings.draw_all(PAGE).items()}


@needs_dot
def test_every_drawing_is_made(drawn: dict[str, str]) -> None:
    assert list(drawn) == re.findall(r"<!-- drawing (\w+):", PAGE)
    assert all(ElementTree.fromstring(svg).tag.endswith("}svg") for svg in drawn.values())


@needs_dot
def test_a_drawn_neuron_is_one_node_and_shows_five(drawn: dict[str, str]) -> None:
    assert ">1 node beside the leaves<" in drawn["fused"]
    assert ">5 nodes beside the leaves<" in drawn["shown"]
    operations = re.findall(r">([*+]|ReLU)</text>", drawn["shown"])
    assert sorted(operations) == ["*", "*", "+", "+", "ReLU"]


@needs_dot
def test_the_drawn_sweep_goes_back(drawn: dict[str, str]) -> None:
    found = re.findall(r"<!-- visit (\d) -->\s*<g[^>]*translate\(([\d.]+)", drawn["log"])
    assert [int(turn) for turn, _ in sorted(found, key=lambda each: float(each[1]))] == [4, 3, 2, 1]
    assert drawn["log"].count("<!-- not marked -->") == 1


ADDED = r"""
#include <cstdio>

#include "core/forward.hpp"

namespace mgx {

void throw_outside_domain(std::string_view, double) {}

namespace {

double derivative_of_softplus(double x, [[maybe_unused]] double y) {
#define MGX_UNARY(Name, method, label, value, derivative, ...) \
    if constexpr (Op::Name == Op::Softplus) {                  \
        return derivative;                                     \
    }
#define MGX_BINARY(...)
#include "core/ops.def"
}

}  // namespace

}  // namespace mgx

int main() {
    for (const double x : {-800.0, -1.5, 0.0, 0.5, 3.0, 800.0}) {
        const double y = mgx::evaluate<mgx::Op::Softplus>(mgx::Scalar::real(x)).value;
        std::printf("%.17g %.17g %.17g\n", x, y, mgx::derivative_of_softplus(x, y));
    }
}
"""


def test_rows_of_operations(tmp_path: Path) -> None:
    """The row of the sine is the table's, and the one to add computes what it says."""
    page = (DOCS / "add-an-operation.md").read_text("utf-8")
    there, added = re.findall(r"^ *```cpp\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE)
    core = DOCS.parent / "cpp"
    table = (core / "core" / "ops.def").read_text("utf-8")
    assert there in table
    compiler = shutil.which("c++")
    if compiler is None or sys.platform == "win32":
        pytest.skip("there is no C++ compiler of the name c++")
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "ops.def").write_text(table + added, "utf-8")
    (tmp_path / "added.cpp").write_text(ADDED, "utf-8")
    program = tmp_path / "added"
    # The folder with the row comes before the one without.
    command = [
        compiler,
        "-std=c++20",
        f"-I{tmp_path}",
        f"-I{core}",
        "added.cpp",
        "-o",
        str(program),
    ]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    for line in printed.splitlines():
        x, value, derivative = map(float, line.split())
        assert value == pytest.approx(np.logaddexp(0, x), rel=1e-15, abs=1e-300)
        assert derivative == pytest.approx(scipy.special.expit(x), rel=1e-15, abs=1e-300)
    assert len(printed.splitlines()) == 6
