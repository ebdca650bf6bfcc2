"""What the three commands have in common: what they need, and how they tell what was measured."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, Generic, TypeVar

from microgradx.demo import objection_to_file

FAILURE = 1
USAGE_ERROR = 2
INTERRUPTED = 130

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Report(Generic[Measured]):
    """The forms in which what was measured can be told.

    Attributes
    ----------
    text
        For the terminal.
    markdown
        For the README.
    document
        Everything, for JSON.
    """

    text: Callable[[Measured], str]
    markdown: Callable[[Measured], str]
    document: Callable[[Measured], dict[str, Any]]


def objection(extra: str, output: str | None, **packages: str) -> str | None:
    """Return why nothing can be measured, or not be written where it should go.

    Parameters
    ----------
    extra
        The extra of the package microgradx that has all which is needed.
    output
        The file that is to be written, if any.
    packages
        What is needed besides rich: by the names that are imported, those that are installed.
    """
    for module, package in {"rich": "rich", **packages}.items():
        if importlib.util.find_spec(module) is None:
            return f'{package} is not installed: pip install "microgradx[{extra}]"'
    if output is not None and (reason := objection_to_file(output)):
        return f"--output {output!r}: {reason}"
    return None


def refuse(reason: str) -> int:
    """Tell why nothing is measured, and return the exit code."""
    print(f"bench: {reason}", file=sys.stderr)
    return USAGE_ERROR


def tell(
    measurements: Iterable[Measured],
    report: Report[Measured],
    style: str,
    output: str | None,
    draw: Callable[[Measured], None] | None = None,
) -> int:
    """Measure, tell what was measured, and return the exit code.

    Where measuring is interrupted or fails, what was measured before is told all the same.

    Parameters
    ----------
    measurements
        They measure as they are iterated over, and give all that was measured so far.
    report
        How it is told.
    style
        What is printed: "text", "markdown" or "json".
    output
        The file that JSON is written to, if any.
    draw
        What draws a picture of it all, if wanted.
    """
    exit_code = 0
    measured = None
    try:
        for measured in measurements:  # noqa: B007
            pass
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        exit_code = INTERRUPTED
    except (ChildProcessError, CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        exit_code = FAILURE
    if measured is None:
        return exit_code
    complete = exit_code == 0
    document = json.dumps({"complete": complete} | report.document(measured), indent=2)
    if output is not None:
        try:
            Path(output).write_text(f"{document}\n", encoding="utf-8")
        except OSError as error:  # what could be written before may not be so any longer
            print(f"bench: --output {output!r}: {error.strerror}", file=sys.stderr)
            exit_code = exit_code or FAILURE
    if style == "json":
        print(document)
    else:
        print((report.markdown if style == "markdown" else report.text)(measured))
    if draw is not None and complete:
        draw(measured)
    return exit_code
