"""help() of every public name: signature, meaning, parameters, and an example that runs."""

import doctest
import importlib
import inspect
import re
from collections.abc import Callable

import microgradx as mgx
import pytest
from microgradx import _core, losses
from public import MODULES, PUBLIC, Public, entries, every_public_name

# Its examples run programs for micrograd, which other tests compare with.
NEEDS_A_PROCESS = "microgradx.compat"
# Nobody makes these by calling them.
NOT_CALLED = (mgx.TraceError, mgx.Program)
CALLED = [public for public in PUBLIC if callable(public.thing) and public.thing not in NOT_CALLED]


def test_sections_are_read() -> None:
    parameters = "Parameters\n----------\n*a, b : int\n    Two.\nc : str"
    doc = f"Do.\n\n{parameters}\n\nRaises\n------\nE\n    If."
    assert entries(doc, "Parameters") == {"a": "Two.", "b": "Two.", "c": ""}
    assert entries(doc, "Raises") == {"E": "If."}
    assert entries(doc, "Attributes") == {}


def test_public_names_are_found() -> None:
    names = {public.name for public in PUBLIC}
    assert {"microgradx.Value.tanh", "microgradx.sum", "microgradx.nn.Module.freeze"} <= names
    assert {"microgradx.CompiledFunction.__call__", "microgradx.optim.SGD.step"} <= names
    assert {"microgradx.nn.Neuron.w", "microgradx.demo.two_moons"} <= names


@every_public_name
def test_there_is_a_docstring_that_begins_with_a_sentence(public: Public) -> None:
    assert re.match(r"[A-Z1`].*?[.:](\n\n|$)", public.doc, re.DOTALL)


@every_public_name
def test_there_is_an_example(public: Public) -> None:
    assert ">>> " in public.doc or ">>> " in (inspect.getdoc(public.owner) or "")


@pytest.mark.parametrize("public", CALLED, ids=lambda public: public.name)
def test_parameters_are_described(public: Public) -> None:
    described = entries(public.doc, "Parameters", "Attributes")
    names = [name for name in inspect.signature(public.thing).parameters if name != "self"]
    assert [name for name in names if not described.get(name)] == []


@pytest.mark.parametrize("public", CALLED, ids=lambda public: public.name)
def test_described_parameters_are_there(public: Public) -> None:
    names = inspect.signature(public.thing).parameters
    assert [name for name in entries(public.doc, "Parameters") if name not in names] == []


@pytest.mark.parametrize("name", sorted({*MODULES} - {NEEDS_A_PROCESS, "microgradx._core"}))
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_examples_of_programs_for_micrograd(run_python: Callable[..., str]) -> None:
    program = f"import doctest, {NEEDS_A_PROCESS} as module; print(doctest.testmod(module))"
    assert re.search(r"failed=0, attempted=[1-9]", run_python(program))


def compiled_docstrings() -> dict[str, str]:
    """Return those of the compiled module, which doctest does not find, and of its operations."""
    found = {}
    for name, thing in vars(_core).items():
        found[name] = thing.__doc__
        if inspect.isclass(thing):
            found |= {f"{name}.{n}": getattr(thing, n).__doc__ for n in vars(thing)}
    found |= {
        f"OPS {row.name}": f">>> import microgradx as mgx\n{row.example}" for row in _core.OPS
    }
    return {name: doc for name, doc in found.items() if doc and ">>> " in doc}


@pytest.mark.parametrize(("name", "doc"), compiled_docstrings().items())
def test_examples_of_the_compiled_module(name: str, doc: str) -> None:
    test = doctest.DocTestParser().get_doctest(doc, {}, name, name, 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_there_are_examples() -> None:
    found = doctest.DocTestFinder().find(losses)
    assert sum(bool(test.examples) for test in found) >= 7
    compiled = compiled_docstrings().keys()
    assert {"Value", "Value.backward", "Value.sqrt", "Program", "dot", "OPS add"} <= compiled
