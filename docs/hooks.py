"""What MkDocs is told beyond mkdocs.yml."""

import re
from typing import Any


def on_page_content(html: str, **_: Any) -> str:
    """Show the names that docstrings refer to as code, without Sphinx's roles before them."""
    return re.sub(r":(?:attr|class|func|meth|mod):(?=<code>)", "", html)
