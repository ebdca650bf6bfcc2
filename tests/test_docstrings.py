"""The examples in the docstrings run and give what they say."""

import doctest
import importlib
import pkgutil

import microgradx
import pytest

MODULES = [
    name
    for _, name, _ in pkgutil.iter_modules(microgradx.__path__, "microgradx.")
    if name not in ("microgradx.__main__", "microgradx.benchmarks", "microgradx.examples")
]


@pytest.mark.parametrize("name", ["microgradx", *MODULES])
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples() -> None:
    found = doctest.DocTestFinder().find(importlib.import_module("microgradx.losses"))
    assert sum(bool(test.examples) for test in found) >= 7
