"""What is public, for the tests of its documentation."""

import importlib
import inspect
import pkgutil
import re
from typing import Any, NamedTuple

import microgradx as mgx
import pytest

MODULES = [
    "microgradx",
    *(
        name
        for _, name, _ in pkgutil.iter_modules(mgx.__path__, "microgradx.")
        if name not in ("microgradx.__main__", "microgradx.benchmarks", "microgradx.examples")
    ),
]


class Public(NamedTuple):
    """Something that a user may ask for help on."""

    name: str
    thing: Any
    owner: Any = None  # the class that it is a member of

    @property
    def doc(self) -> str:
        """Return the docstring, without indentation."""
        return inspect.getdoc(self.thing) or ""


def is_ours(thing: Any) -> bool:
    return str(thing.__module__).startswith("microgradx")


def find_modules() -> list[Public]:
    """Return what the modules offer, by the shortest name."""
    found: dict[int, Public] = {}
    for module in map(importlib.import_module, MODULES):
        if module.__name__.startswith("microgradx._"):
            continue
        # Names of Python's own, too, and so not for star imports.
        names = ["compile", "sum"] if module is mgx else []
        for name in [*module.__all__, *names]:
            thing = getattr(module, name)
            if not inspect.ismodule(thing) and not isinstance(thing, str):
                found.setdefault(id(thing), Public(f"{module.__name__}.{name}", thing))
    return list(found.values())


def find_members(classes: list[Public]) -> list[Public]:
    """Return the methods and properties of classes, those of base classes once."""
    names = {public.thing: public.name for public in classes}
    found: dict[int, Public] = {}
    for public in classes:
        for definer in filter(is_ours, public.thing.__mro__):
            for name, member in vars(definer).items():
                is_call = name == "__call__" and inspect.isfunction(member)
                is_datum = isinstance(member, str) or name in getattr(definer, "_fields", ())
                if (is_call or not name.startswith("_")) and not is_datum:
                    full_name = f"{names.get(definer, public.name)}.{name}"
                    of_class = Public(full_name, getattr(definer, name), public.thing)
                    found.setdefault(id(member), of_class)
    return list(found.values())


OFFERED = find_modules()
PUBLIC = [*OFFERED, *find_members([public for public in OFFERED if inspect.isclass(public.thing)])]
every_public_name = pytest.mark.parametrize("public", PUBLIC, ids=lambda public: public.name)


def entries(doc: str, *sections: str) -> dict[str, str]:
    """Return what NumPy-style sections say, by the names that they say it of."""
    parts = re.split(r"^(\w+)\n-+$", doc, flags=re.MULTILINE)[1:]
    found: dict[str, str] = {}
    for section, body in zip(parts[::2], parts[1::2], strict=True):
        if section in sections:
            for entry in re.split(r"^(?=\S)", body, flags=re.MULTILINE)[1:]:
                head, _, text = entry.partition("\n")
                names = head.partition(" : ")[0].split(", ")
                found |= {name.lstrip("*"): text.strip() for name in names}
    return found
