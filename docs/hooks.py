"""What MkDocs is told beyond mkdocs.yml."""

import inspect
import re
from typing import Any

from microgradx import Value


def on_page_markdown(markdown: str, **_: Any) -> str:
    """List the methods of Value, which only the compiled module knows with their docstrings."""
    return markdown.replace("<!-- the methods of Value -->", _methods())


def on_page_content(html: str, **_: Any) -> str:
    """Show the names that docstrings refer to as code, without Sphinx's roles before them."""
    return re.sub(r":(?:attr|class|func|meth|mod):(?=<code>)", "", html)


def _methods() -> str:
    rows = ["| attribute or method | what it is |", "| --- | --- |"]
    for name, member in vars(Value).items():
        documentation = inspect.getdoc(member)
        if name.startswith("_") or isinstance(member, str) or not documentation:
            continue
        first = " ".join(documentation.split("\n\n")[0].split()).replace("``", "`")
        rows.append(f"| `{name}{'()' if callable(member) else ''}` | {first} |")
    return "\n".join(rows)
