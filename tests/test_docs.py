"""What the documentation tells of the code is true."""

import importlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
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
