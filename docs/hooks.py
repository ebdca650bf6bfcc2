"""What MkDocs and mkdocstrings are told beyond mkdocs.yml."""

import inspect
import re
from operator import attrgetter
from pathlib import Path
from typing import Any

import drawings
import griffe
from graphviz import ExecutableNotFound
from microgradx import Value, _core
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the drawings of the page that tells how it works."""
    page = Path(config.docs_dir, "how-it-works.md").read_text("utf-8")
    try:
        drawn = drawings.draw_all(page)
    except ExecutableNotFound as error:
        raise PluginError(
            "the drawings need Graphviz, whose program 'dot' is not there: see graphviz.org"
        ) from error
    for name, svg in drawn.items():
        files.append(File.generated(config, f"drawings/{name}.svg", content=svg))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in the drawings, and the methods of Value as a table."""
    markdown = drawings.PLACE.sub(r"![\2](drawings/\1.svg)", markdown)
    return markdown.replace("<!-- the methods of Value -->", _methods())


def on_page_content(html: str, **_: Any) -> str:
    """Show the names that docstrings refer to as code, without Sphinx's roles before them."""
    return re.sub(r":(?:attr|class|func|meth|mod):(?=<code>)", "", html)


class CompiledDocstrings(griffe.Extension):
    """Give what the stub of the compiled module declares the docstrings of the module itself."""

    def on_instance(
        self, *, obj: griffe.Object, agent: griffe.Visitor | griffe.Inspector, **_: Any
    ) -> None:
        """Look the object up in the module, unless it is there for the stub alone."""
        name = obj.path.partition("microgradx._core.")[2]
        if name and not obj.name.startswith("_"):
            documentation = inspect.getdoc(attrgetter(name)(_core)) or ""
            obj.docstring = griffe.Docstring(
                documentation,
                parent=obj,
                parser=agent.docstring_parser,
                parser_options=agent.docstring_options,
            )


def _methods() -> str:
    rows = ["| attribute or method | what it is |", "| --- | --- |"]
    for name, member in vars(Value).items():
        documentation = inspect.getdoc(member)
        if name.startswith("_") or isinstance(member, str) or not documentation:
            continue
        first = " ".join(documentation.split("\n\n")[0].split()).replace("``", "`")
        rows.append(f"| `{name}{'()' if callable(member) else ''}` | {first} |")
    return "\n".join(rows)
