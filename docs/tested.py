"""Make the table of what is tested against what, of the tests' own words.

    python docs/tested.py            prints the table
    python docs/tested.py --write    puts it into docs/tested.md

A test that compares something with what is computed elsewhere has the mark ``verifies`` with the
names of what it tests and with what that is compared to; the names may also stand on the parameters
of the test. The page is kept in the repository and not made when the documentation is built, as
that would need all that the tests need; a test tells when it has fallen behind.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import microgradx
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tested.md"
MODULES = {"losses": "Losses", "optim": "Optimisers", "viz": "Pictures"}


class Row(NamedTuple):
    """What a test compares with what."""

    name: str
    against: str
    test: str


class Marks:
    """A plugin of pytest that reads the marks of the tests it collects.

    Attributes
    ----------
    cases
        How many cases of a test there are of each row.
    """

    def __init__(self) -> None:
        self.cases: Counter[Row] = Counter()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Read the marks of all tests."""
        for item in session.items:
            marks = list(item.iter_markers("verifies"))
            names = [name for mark in marks for name in mark.args]
            oracles = [mark.kwargs["against"] for mark in marks if "against" in mark.kwargs]
            if oracles and not names:
                raise pytest.UsageError(f"{item.nodeid} does not say what it verifies")
            file = item.path.relative_to(ROOT).as_posix()
            function = getattr(item, "originalname", item.name)
            self.cases.update(
                Row(name, oracle, f"`{file}`, `{function}`") for name in names for oracle in oracles
            )


def collect() -> Counter[Row]:
    """Have pytest collect the tests, and return the rows with their numbers of cases."""
    marks = Marks()
    os.environ.pop("PYTEST_ADDOPTS", None)  # what is wanted of pytest elsewhere
    with contextlib.redirect_stdout(io.StringIO()) as output:
        options = ["--collect-only", "--quiet", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
        exit_code = pytest.main([*options, str(ROOT / "tests")], plugins=[marks])
    if exit_code != pytest.ExitCode.OK:
        sys.exit(f"{output.getvalue()}\nthe tests cannot be collected")
    return marks.cases


def tables(cases: Counter[Row]) -> str:
    """Return a table in Markdown for each module, in the order of what it has to offer."""
    rows_of: dict[str, list[Row]] = {}
    for row in cases:
        rows_of.setdefault(row.name, []).append(row)
    parts = []
    for module, title in MODULES.items():
        parts += [f"## {title}", ""]
        parts += ["| | tested against | test | cases |", "| --- | --- | --- | ---: |"]
        for name in getattr(microgradx, module).__all__:
            rows = rows_of.pop(f"{module}.{name}", [])
            for place, row in enumerate(rows):
                first = "" if place else f"`{row.name}`"
                parts.append(f"| {first} | {row.against} | {row.test} | {cases[row]} |")
        parts.append("")
    if rows_of:
        sys.exit(f"tests verify what is not public: {', '.join(rows_of)}")
    return "\n".join(parts)


def main() -> None:
    """Print the tables, or put them into the page."""
    parser = argparse.ArgumentParser(description="Tell what is tested against what.")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    is_written = parser.parse_args().write
    made = tables(collect())
    if not is_written:
        print(made, end="")
        return
    introduction, _, _ = PAGE.read_text("utf-8").partition("## ")
    PAGE.write_text(introduction + made, "utf-8", newline="\n")


if __name__ == "__main__":
    main()
