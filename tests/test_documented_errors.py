"""Every exception that a docstring names is raised by some call, and raised as it is named."""

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import microgradx as mgx
import pytest
from microgradx import Value, demo, losses, nn, optim, viz
from microgradx.compat import run_script
from microgradx.demo import two_moons
from public import PUBLIC, Public, entries, every_public_name


def documented_errors(public: Public) -> set[str]:
    """Return the names of exceptions in a section of their own, or in a sentence."""
    sentences = re.findall(r"\braises? ((?:\w+Error(?:, | or )?)+)", public.doc)
    return {*entries(public.doc, "Raises"), *re.findall(r"\w+Error", " ".join(sentences))}


Calls = dict[type[Exception], Callable[[], object]]


def while_compiled(call: Callable[[], object]) -> Callable[[], object]:
    """Return a call of a function that is compiled and does this."""
    return lambda: mgx.compile(lambda x: call())(1.0)


def without(package: str, call: Callable[[], object]) -> Callable[[], object]:
    """Return the call as it is where a package is not installed."""

    def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            call()

    return run


class OwnError(Exception):
    pass


def fail() -> None:
    raise OwnError


class Hidden(nn.Module):
    """A module whose parameters have no names."""

    def parameters(self) -> list[Value]:
        return [Value(1.0)]


ANY: Any = mgx  # for calls that types forbid
NOWHERE = str(Path("no", "such", "folder", "file"))
KNOWN = Value(0.0)
MODEL = nn.MLP(2, [1])
POINTS, LABELS = two_moons(4)
LOGARITHM = mgx.compile(lambda x: x.log())
LOGARITHM(1.0)
ONE_SAMPLE = LOGARITHM.program
LOGARITHM.sum([1.0])
MANY_SAMPLES = LOGARITHM.program
OPTIMISERS = {kind: kind([Value(1.0)]) for kind in (optim.SGD, optim.RMSprop, optim.Adam)}


def untraceable(x: Value) -> float:
    return x.data


def of_one_sample(call: Callable[[Any], Callable[..., object]]) -> Calls:
    return {
        TypeError: lambda: call(LOGARITHM)("one"),
        ValueError: lambda: call(LOGARITHM)(0.0),
        mgx.TraceError: lambda: call(mgx.compile(untraceable))(1.0),
    }


def of_samples(call: Callable[[Any], Callable[..., object]]) -> Calls:
    return {
        TypeError: lambda: call(LOGARITHM)(["one"]),
        ValueError: lambda: call(LOGARITHM)([1.0, 0.0]),
        mgx.TraceError: lambda: call(mgx.compile(untraceable))([1.0]),
    }


def of_program_for_one_sample(call: Callable[..., object]) -> Calls:
    return {TypeError: lambda: call(("one",)), ValueError: lambda: call((0.0,))}


def of_program_for_samples(call: Callable[..., object]) -> Calls:
    return {TypeError: lambda: call((["one"],)), ValueError: lambda: call(([1.0, 0.0],))}


def backward_of_power(exponent: float, data: float) -> Callable[[], object]:
    """Return the backward pass of x**exponent where x has changed since."""
    x = Value(1.0)
    power = x**exponent
    x.data = data
    return power.backward


def backward_of_own_operation() -> None:
    own = Value(1.0, (Value(2.0),))
    own._backward = fail
    own.backward()


def of_nests(call: Callable[[Any], object]) -> Calls:
    return {
        TypeError: lambda: call([1.0]),
        ValueError: lambda: call([Value(1.0), [Value(2.0)]]),
        mgx.TraceError: while_compiled(lambda: call([KNOWN])),
    }


def of_losses(call: Callable[..., object]) -> Calls:
    return {
        TypeError: lambda: call([Value(1.0)], ["one"]),
        ValueError: lambda: call([Value(1.0)], [1.0, 2.0]),
    }


def of_optimisers(kind: Any) -> Calls:
    return {TypeError: lambda: kind([1.0]), ValueError: lambda: kind([])}


def of_attribute(name: str) -> Calls:
    return {
        TypeError: lambda: setattr(Value(1.0), name, "one"),
        mgx.TraceError: while_compiled(lambda: getattr(KNOWN, name)),
    }


def of_neurons(make: Callable[..., Any]) -> Calls:
    return {
        TypeError: lambda: make(activation=1),
        ValueError: lambda: make()([1.0, 2.0, 3.0]),
    }


# A call for each exception that a docstring names.
RAISES: dict[str, Calls] = {
    "microgradx.CompiledFunction": {
        TypeError: lambda: mgx.CompiledFunction(ANY),
        ValueError: lambda: mgx.CompiledFunction(untraceable, cache_size=0),
    },
    "microgradx.CompiledFunction.__call__": of_one_sample(lambda f: f),
    "microgradx.CompiledFunction.map": of_samples(lambda f: f.map),
    "microgradx.CompiledFunction.map_value_and_grad": of_samples(lambda f: f.map_value_and_grad),
    "microgradx.CompiledFunction.mean": of_samples(lambda f: f.mean),
    "microgradx.CompiledFunction.program": {
        AttributeError: lambda: mgx.compile(untraceable).program,
    },
    "microgradx.CompiledFunction.sum": of_samples(lambda f: f.sum),
    "microgradx.CompiledFunction.value_and_grad": of_one_sample(lambda f: f.value_and_grad),
    "microgradx.Program.call": of_program_for_one_sample(ONE_SAMPLE.call),
    "microgradx.Program.map": of_program_for_samples(MANY_SAMPLES.map),
    "microgradx.Program.map_value_and_grad": of_program_for_samples(
        MANY_SAMPLES.map_value_and_grad
    ),
    "microgradx.Program.mean": of_program_for_samples(MANY_SAMPLES.mean),
    "microgradx.Program.sum": of_program_for_samples(MANY_SAMPLES.sum),
    "microgradx.Program.value_and_grad": of_program_for_one_sample(ONE_SAMPLE.value_and_grad),
    "microgradx.Value": {
        TypeError: lambda: Value(ANY),
        ZeroDivisionError: lambda: 1 / Value(0.0),
        OverflowError: lambda: Value(10.0) ** 400,
        ValueError: lambda: Value(-1.0) ** 0.5,
    },
    "microgradx.Value.backward": {
        ZeroDivisionError: backward_of_power(0.5, 0.0),
        OverflowError: backward_of_power(-3, 1e-100),
        ValueError: backward_of_power(1.5, -1.0),
        mgx.TraceError: while_compiled(KNOWN.backward),
        Exception: backward_of_own_operation,
    },
    "microgradx.Value.cos": {ValueError: lambda: Value(math.inf).cos()},
    "microgradx.Value.data": of_attribute("data"),
    "microgradx.Value.grad": of_attribute("grad"),
    "microgradx.Value.log": {ValueError: lambda: Value(0.0).log()},
    "microgradx.Value.sin": {ValueError: lambda: Value(math.inf).sin()},
    "microgradx.Value.sqrt": {ValueError: lambda: Value(-1.0).sqrt()},
    "microgradx.assign": of_nests(lambda nest: mgx.assign(nest, [1.0])),
    "microgradx.compat.run_script": {OSError: lambda: run_script(NOWHERE)},
    "microgradx.compile": {
        TypeError: lambda: mgx.compile(ANY),
        ValueError: lambda: mgx.compile(static_argnames="y")(untraceable),
    },
    "microgradx.data": of_nests(mgx.data),
    "microgradx.demo.draw_picture": {
        ValueError: lambda: demo.draw_picture("a.text", MODEL, POINTS, LABELS, ""),
        ImportError: without(
            "matplotlib.figure", lambda: demo.draw_picture("a.png", MODEL, POINTS, LABELS, "")
        ),
        OSError: lambda: demo.draw_picture(NOWHERE, MODEL, POINTS, LABELS, ""),
    },
    "microgradx.demo.two_moons": {ValueError: lambda: two_moons(-1)},
    "microgradx.dot": {
        TypeError: lambda: mgx.dot([ANY], [1.0]),
        ValueError: lambda: mgx.dot([1.0], []),
    },
    "microgradx.grad_check": {
        TypeError: lambda: mgx.grad_check(untraceable, 1.0),
        ValueError: lambda: mgx.grad_check(untraceable, 1.0, step=0.0),
    },
    "microgradx.grads": of_nests(mgx.grads),
    "microgradx.greater": {TypeError: lambda: mgx.greater(ANY, 1.0)},
    "microgradx.less": {TypeError: lambda: mgx.less(ANY, 1.0)},
    "microgradx.load": {
        ValueError: lambda: mgx.load(__file__),
        ImportError: without("safetensors", lambda: mgx.load("a.safetensors")),
        OSError: lambda: mgx.load(f"{NOWHERE}.npz"),
    },
    "microgradx.losses.binary_cross_entropy_with_logits": of_losses(
        losses.binary_cross_entropy_with_logits
    ),
    "microgradx.losses.cross_entropy": {
        **of_losses(losses.cross_entropy),
        IndexError: lambda: losses.cross_entropy([Value(1.0)], 1),
    },
    "microgradx.losses.hinge": of_losses(losses.hinge),
    "microgradx.losses.l2": {TypeError: lambda: losses.l2(["one"])},
    "microgradx.losses.log_softmax": {
        TypeError: lambda: losses.log_softmax(["one"]),
        ValueError: lambda: losses.log_softmax([]),
    },
    "microgradx.losses.mse": of_losses(losses.mse),
    "microgradx.losses.softmax": {
        TypeError: lambda: losses.softmax(["one"]),
        ValueError: lambda: losses.softmax([]),
    },
    "microgradx.maximum": {TypeError: lambda: mgx.maximum(ANY, 1.0)},
    "microgradx.mean": {TypeError: lambda: mgx.mean([ANY]), ValueError: lambda: mgx.mean([])},
    "microgradx.minimum": {TypeError: lambda: mgx.minimum(ANY, 1.0)},
    "microgradx.nn.Layer": of_neurons(lambda **kwargs: nn.Layer(2, 1, **kwargs)),
    "microgradx.nn.MLP": of_neurons(lambda **kwargs: nn.MLP(2, [1], **kwargs)),
    "microgradx.nn.Module.load_state_dict": {
        KeyError: lambda: MODEL.load_state_dict({}),
        TypeError: lambda: MODEL.load_state_dict(ANY),
        ValueError: lambda: MODEL.load_state_dict({"layers.0.weight": 0.0}, strict=False),
    },
    "microgradx.nn.Module.state_dict": {ValueError: lambda: Hidden().state_dict()},
    "microgradx.nn.Neuron": of_neurons(lambda **kwargs: nn.Neuron(2, **kwargs)),
    "microgradx.optim.Adam": of_optimisers(optim.Adam),
    "microgradx.optim.AdamW": of_optimisers(optim.AdamW),
    "microgradx.optim.Optimizer": of_optimisers(optim.Optimizer),
    "microgradx.optim.Optimizer.load_state_dict": {
        KeyError: lambda: optim.SGD([KNOWN]).load_state_dict({}),
        TypeError: lambda: optim.SGD([KNOWN]).load_state_dict(
            {**optim.SGD([KNOWN]).state_dict(), "lr": "fast"}
        ),
        ValueError: lambda: optim.SGD([KNOWN]).load_state_dict(
            {**optim.SGD([KNOWN]).state_dict(), "steps": -1}
        ),
    },
    "microgradx.optim.Optimizer.step": {NotImplementedError: optim.Optimizer([KNOWN]).step},
    "microgradx.optim.Optimizer.zero_grad": {
        mgx.TraceError: while_compiled(optim.SGD([KNOWN]).zero_grad)
    },
    "microgradx.optim.RMSprop": of_optimisers(optim.RMSprop),
    "microgradx.optim.SGD": of_optimisers(optim.SGD),
    **{
        f"microgradx.optim.{kind.__name__}.step": {mgx.TraceError: while_compiled(optimiser.step)}
        for kind, optimiser in OPTIMISERS.items()
    },
    "microgradx.save": {
        ValueError: lambda: mgx.save({}, "a.text"),
        TypeError: lambda: mgx.save({"a": ["one"]}, "a.npz"),
        ImportError: without("safetensors", lambda: mgx.save({}, "a.safetensors")),
        OSError: lambda: mgx.save({}, f"{NOWHERE}.npz"),
    },
    "microgradx.set_num_threads": {
        TypeError: lambda: mgx.set_num_threads(-1),
        ValueError: lambda: mgx.set_num_threads(0),
    },
    "microgradx.sum": {TypeError: lambda: mgx.sum([ANY])},
    "microgradx.take": {
        IndexError: lambda: mgx.take([1.0], 1),
        ValueError: lambda: mgx.take([[1.0], [1.0, 2.0]], 0),
    },
    "microgradx.values": {
        TypeError: lambda: mgx.values(["one"]),
        ValueError: lambda: mgx.values([[1.0], [1.0, 2.0]]),
    },
    "microgradx.viz.draw_dot": {
        TypeError: lambda: viz.draw_dot(ANY),
        ValueError: lambda: viz.draw_dot(KNOWN, rankdir="RL"),
        ImportError: without("graphviz", lambda: viz.draw_dot(KNOWN)),
    },
    "microgradx.viz.draw_program": {
        TypeError: lambda: viz.draw_program(ANY),
        AttributeError: lambda: viz.draw_program(mgx.compile(untraceable)),
        ValueError: lambda: viz.draw_program(LOGARITHM, max_instructions=0),
        ImportError: without("graphviz", lambda: viz.draw_program(LOGARITHM)),
    },
    "microgradx.viz.plot_decision_boundary": {
        TypeError: lambda: viz.plot_decision_boundary(repr, POINTS, LABELS),
        ValueError: lambda: viz.plot_decision_boundary(MODEL, POINTS, LABELS[1:]),
        ImportError: without(
            "matplotlib.figure", lambda: viz.plot_decision_boundary(MODEL, POINTS, LABELS)
        ),
        OSError: lambda: viz.plot_decision_boundary(MODEL, POINTS, LABELS, NOWHERE),
    },
    "microgradx.viz.plot_training": {
        ValueError: lambda: viz.plot_training([]),
        ImportError: without("matplotlib.figure", lambda: viz.plot_training([1.0])),
        OSError: lambda: viz.plot_training([1.0], NOWHERE),
    },
    "microgradx.where": {TypeError: lambda: mgx.where(True, ANY, 1.0)},
}


@every_public_name
def test_errors_are_documented_as_they_are_raised(public: Public) -> None:
    documented = documented_errors(public)
    calls = RAISES.get(public.name, {})
    assert documented == {error.__name__ for error in calls}
    for error, call in calls.items():
        with pytest.raises(error) as caught:
            call()
        # The docstring tells of no exception that is closer to what was raised.
        names = [base.__name__ for base in caught.type.__mro__]
        assert next(name for name in names if name in documented) == error.__name__


def test_errors_are_those_of_public_names() -> None:
    assert RAISES.keys() <= {public.name for public in PUBLIC}
