"""What a terminal shows, by the package rich: tables, and how far the measurements are.

It is imported where it is used, so that the commands can tell when it is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

# In a file or a pipe a table is as wide as it is.
UNBOUNDED = 10_000


def text_table(lines: Sequence[Sequence[str]], names: int = 1) -> str:
    """Return a table as standard output can show it: plain text where that is no terminal.

    Parameters
    ----------
    lines
        The cells, those of the heading first. A heading may have several lines.
    names
        How many columns are to the left and name what the others tell. Where the first is not
        empty, a group of lines begins.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    headings, *body = lines
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column, heading in enumerate(headings):
        table.add_column(
            heading,
            justify="left" if column < names else "right",
            vertical="bottom",
            overflow="fold",
        )
    for line in body:
        if names > 1 and line[0]:
            table.add_section()
        table.add_row(*line)
    width = None if sys.stdout.isatty() else UNBOUNDED
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    with console.capture() as shown:
        console.print(table)
    return "\n".join(line.rstrip() for line in shown.get().splitlines())


@contextmanager
def announcing(count: int) -> Iterator[Callable[[str], None]]:
    """Give a function that says on standard error which of so many benchmarks is measured now.

    A terminal shows how many are done, and that goes away in the end; elsewhere there is a line for
    each.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_interactive:
        yield lambda benchmark: print(f"measuring {benchmark}", file=sys.stderr, flush=True)
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("measuring {task.description}", markup=False),
    )
    # A thread that drew it again and again would take its time from what is measured.
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=count)
        announced = 0

        def announce(benchmark: str) -> None:
            nonlocal announced
            progress.update(task, description=benchmark, completed=announced, refresh=True)
            announced += 1

        yield announce
