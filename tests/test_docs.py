"""What the documentation tells of the code is true."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from microgradx import losses, optim, viz

DOCS = Path(__file__).parent.parent / "docs"


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
