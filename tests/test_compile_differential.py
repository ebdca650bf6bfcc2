"""Random programs give compiled what they give eagerly, on microgradx and on micrograd.

A program is a list of Python statements over a list of Values. Where its numbers start from are its
leaves: Values that are captured, Values and numbers in arguments, and columns of batches.

Three kinds of comparison are made:

- Exact programs compute with fractions of few binary digits, so that whatever is computed is the
  same in any order. All numbers, gradients included, are then equal.
- Every operation by itself: the function returns all that it computes, and each number is compared
  to that of the eager operation on the very numbers that the compiled one had. They are equal to
  the last bit, or within 2 ulp for the functions of which there are versions for wide registers. A
  function that returns its last number alone, to which passes can do more, gives the same number.
- Gradients of any programs: a gradient may differ by a multiple of how much it changes if each
  number on the way is shaken in its last bits.
"""

import contextlib
import itertools
import math
import operator
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis
import microgradx as mgx
import numpy as np
import numpy.typing as npt
import pytest
from conftest import MICROGRAD, MICROGRADX, Engine
from graphs import (
    FRACTIONS,
    Program,
    Step,
    exact_layer,
    is_exact,
    operands_first,
    random_steps,
)
from hypothesis import strategies as st
from microgradx import _core
from microgradx._core import OPS

Matrix = npt.NDArray[np.float64]

LEAVES = 4
ROLES = ("captured", "Value", "number", "batch")

# What micrograd has, too, as far as it is exact.
ARITHMETIC = (
    *("a + b", "a * b", "a - b", "-a", "a.relu()", "a * a + b"),
    *("a + c", "a * c", "c - a", "a**2", "a**3", "a**1"),
    "sum([a, b, a])",
    "sum(x * y for x, y in zip(values[-3:], values[-4:-1]))",
    "sum((w * x for w, x in zip(n.w, [a, b])), n.b)",
    "sum((w * x for w, x in zip(n.w, [a, c])), n.b).relu()",
    "n.w[0] * a",
    "(sum_ := n([a, b])) * sum_.relu()",
    *("n([a, b])", "n([a, c])", "n([m([a, b]), b])"),
)
CHOICES = (
    *("a**0", "maximum(a, b)", "minimum(a, b)", "maximum(a, c)", "minimum(c, b)", "abs(a)"),
    *("greater(a, b)", "less(a, c)", "where(greater(a, b), a, c)", "where(a, b, c)"),
    "where(less(a, b), a * b, b - a)",
    "take([a, b, c], greater(b, c))",
    "take(table, less(a, b) + greater(b, c))",
    *("fast_sum([a, b, c, a])", "mean([a, b])", "dot([a, b], [b, values[0]], c)"),
    *("dot(n.w, [a, b], n.b)", "take([n.w, [a, b]], less(a, c))[1]"),
)
LAYERS = (
    "values.extend(layer([a, b, a]))",
    "values.extend(layer([x.relu() for x in layer([a, b, c])][:3]))",
    "values.extend(linear([a, c, b]))",
    "values.extend(x.relu() for x in linear([a, b, a]))",
    "values.extend(x.relu() + x for x in linear([a, b, a]))",
    "values.extend([x.relu() for x in linear([b, a, c])[1:]])",
)
FUNCTIONS = (
    *("a.tanh()", "a.sigmoid()", "a.sin()", "a.cos()", "a.exp()", "(abs(a) + 0.125).log()"),
    *("(a * a + 0.25).sqrt()", "a.log()", "(a + 0.3).sqrt()"),
    *(
        "(abs(a) + 0.5)**b",
        "(abs(a) + 0.5)**-1.5",
        "(a * a + 1.0)**0.5",
        "a**-1",
        "a**-2",
        "2.0**a",
    ),
)
DIVISIONS = ("a / (abs(b) + 0.5)", "c / (b * b + 1.0)", "a / b")
ACTIVATIONS = tuple(
    statement.replace("tanh", name)
    for name in ("tanh", "sigmoid", "exp")
    for statement in (
        "values.extend(x.tanh() for x in linear([a, b, a]))",
        "values.extend(x.tanh() * x for x in linear([a, b, a]))",
    )
)


def appended(expressions: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"values.append({expression})" for expression in expressions)


EXACT_ON_MICROGRAD = (*appended(ARITHMETIC), *LAYERS)
EXACT = (*EXACT_ON_MICROGRAD, *appended(CHOICES))
ALL = (*EXACT, *appended((*FUNCTIONS, *DIVISIONS)), *ACTIVATIONS)
SMOOTH = (
    *appended(("a + b", "a * b", "a - b", "a.tanh()", "a.sigmoid()", "a.sin()", "a.cos()")),
    *appended(("c / (b * b + 1.0)", "(a.tanh() * c).exp()", "(a * a + 1.0).log()")),
    *appended(("(b * b + 1.0)**(a.sin())", "(a * a + 1.0)**0.5", "sum([a, b, a * b])")),
    *appended(("fast_sum([a * c, b * a])", "m([a, b])")),
)


class Shaken(Program):
    """A program whose statements get other numbers than those before have computed."""

    def __init__(self, values: list[Any], shake: Callable[[Any], Any], recipe: "Recipe") -> None:
        super().__init__(values, recipe.parameters, recipe.neurons, **recipe.names)
        self.shake = shake

    def value_at(self, position: int) -> Any:
        return self.shake(super().value_at(position))


class Recipe:
    """A random function of Values, for one of the engines."""

    def __init__(self, engine: Engine, steps: list[Step]) -> None:
        self.engine = engine
        self.steps = steps
        neurons = [exact_layer(engine, 2, 1, nonlin=bool(i), seed=i).neurons[0] for i in range(3)]
        layer, linear = (exact_layer(engine, 3, 4, nonlin=it, seed=9) for it in (True, False))
        self.neurons = neurons
        self.parameters = [p for part in (*neurons, layer, linear) for p in part.parameters()]
        names = ("maximum", "minimum", "greater", "less", "where", "take", "mean", "dot")
        self.names = {name: getattr(mgx, name) for name in names}
        self.names |= {
            "layer": layer,
            "linear": linear,
            "fast_sum": mgx.sum,
            "table": self.parameters,
        }

    def __call__(
        self, leaves: Sequence[Any], shake: Callable[[Any], Any] | None = None
    ) -> list[Any]:
        """Compute; return the leaves and all that is computed of them, in order."""
        values = list(leaves)
        for step in self.steps:
            known = len(values)
            if shake is None:
                self.run(step, values)
            else:
                Shaken(values, shake, self).run(step)
                values[known:] = map(shake, values[known:])
        return values

    def run(self, step: Step, values: list[Any]) -> None:
        """Run one step, which appends to the values."""
        Program(values, self.parameters, self.neurons, **self.names).run(step)


@dataclass
class Results:
    """What a program gives: a row for each sample."""

    outputs: Matrix
    by_leaves: Matrix
    by_parameters: Matrix

    def parts(self) -> tuple[Matrix, Matrix, Matrix]:
        return self.outputs, self.by_leaves, self.by_parameters

    def of_samples(self, samples: npt.NDArray[np.intp]) -> "Results":
        return Results(*(part[samples] for part in self.parts()))


def eager_results(
    recipe: Recipe, numbers: Matrix, shake: Callable[[Any], Any] | None = None
) -> Results:
    """Compute one sample after the other; if told, change each number on the way."""
    outputs, by_leaves, by_parameters = [], [], []
    for row in numbers:
        for parameter in recipe.parameters:
            parameter.grad = 0
        leaves = [recipe.engine.Value(float(number)) for number in row]
        output = recipe(leaves, shake)[-1]
        output.backward()
        outputs.append(output.data)
        by_leaves.append([leaf.grad for leaf in leaves])
        by_parameters.append([parameter.grad for parameter in recipe.parameters])
    return Results(
        np.array(outputs, float),
        np.array(by_leaves, float).reshape(-1, LEAVES),
        np.array(by_parameters, float).reshape(-1, len(recipe.parameters)),
    )


class Compiled:
    """A compiled recipe, with leaves in the given roles."""

    def __init__(self, recipe: Recipe, roles: Sequence[str]) -> None:
        self.recipe = recipe
        self.roles = roles
        self.captured = [mgx.Value(0.0) for _ in roles]

        def function(*arguments: Any) -> Any:
            return recipe(self.leaves(arguments))[-1]

        def everything(*arguments: Any) -> Any:
            return tuple(recipe(self.leaves(arguments)))

        self.function = mgx.compile(function)
        self.everything = mgx.compile(everything)

    def leaves(self, arguments: Sequence[Any]) -> list[Any]:
        """Put captured Values between the arguments."""
        rest: Iterator[Any] = iter(arguments)
        return [
            value if role == "captured" else next(rest)
            for role, value in zip(self.roles, self.captured, strict=True)
        ]

    def arguments(self, numbers: Matrix) -> tuple[list[Any], dict[int, Any]]:
        """Make arguments for a batch, and list the Values that gradients go to."""
        made: list[Any] = []
        values: dict[int, Any] = {}
        for place, role in enumerate(self.roles):
            column = numbers[:, place]
            shared = float(column[0]) if len(column) else 1.0
            if role == "captured":
                values[place] = self.captured[place]
                self.captured[place].data = shared
                self.captured[place].grad = 0
            elif role == "Value":
                values[place] = mgx.Value(shared)
                made.append(values[place])
            else:
                made.append(column if role == "batch" else shared)
        for parameter in self.recipe.parameters:
            parameter.grad = 0
        return made, values

    def compute_something_else(self, numbers: Matrix) -> None:
        """Leave other numbers in all memory that is kept between calls."""
        before = [parameter.data for parameter in self.recipe.parameters]
        for parameter in self.recipe.parameters:
            parameter.data = parameter.data * 2 + 1
        other = np.concatenate([numbers * 2 + 1, numbers, numbers - 1])
        arguments, _ = self.arguments(other)
        for compute in (
            lambda: self.function.map(*arguments),
            lambda: self.function.sum(*arguments).backward(),
            lambda: self.function.map_value_and_grad(*arguments),
            lambda: self.function(*self.arguments_of(other[0])),
            lambda: self.function.value_and_grad(*self.arguments_of(other[0])),
        ):
            with contextlib.suppress(ArithmeticError, IndexError, ValueError):
                compute()
        for parameter, data in zip(self.recipe.parameters, before, strict=True):
            parameter.data = data

    def by_parameters(self) -> Matrix:
        return np.array([parameter.grad for parameter in self.recipe.parameters], float)

    def arguments_of(self, row: Matrix) -> list[Any]:
        return [float(x) for x, role in zip(row, self.roles, strict=True) if role != "captured"]


def sum_by_leaf(place: int) -> Callable[[Results], Any]:
    return lambda results: results.by_leaves[:, place].sum()


def check(
    roles: Sequence[str], recipe: Recipe, numbers: Matrix, expected: Results, allowed: Results
) -> None:
    """Compare all methods of a compiled function to what the eager one gives."""
    compiled = Compiled(recipe, roles)
    by_arguments = [place for place, role in enumerate(roles) if role != "captured"]

    def assert_close(actual: Any, part: Callable[[Results], Any], share: float = 1.0) -> None:
        # A mean is the sum times the inverse of a number, which is rounded.
        rounding = 0.0 if share == 1.0 else 1e-9
        difference = np.abs(np.array(actual, float) - share * np.array(part(expected), float))
        assert difference.shape == np.shape(part(expected))
        assert np.all(difference <= share * np.array(part(allowed)) + rounding), (
            actual,
            part(expected),
        )

    compiled.compute_something_else(numbers)
    arguments, _ = compiled.arguments(numbers)
    assert_close(compiled.function.map(*arguments), lambda it: it.outputs)

    for method in ("sum", "mean"):
        if method == "mean" and len(numbers) == 0:
            continue
        share = 1.0 if method == "sum" else 1.0 / len(numbers)
        arguments, values = compiled.arguments(numbers)
        result = getattr(compiled.function, method)(*arguments)
        result.backward()
        assert_close(result.data, lambda it: it.outputs.sum(), share)
        for place, value in values.items():
            assert_close(value.grad, sum_by_leaf(place), share)
        assert_close(compiled.by_parameters(), lambda it: it.by_parameters.sum(axis=0), share)

    outputs, gradients = compiled.function.map_value_and_grad(*arguments)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    assert_close(outputs, lambda it: it.outputs)
    assert_close(np.array(gradients).T, lambda it: it.by_leaves[:, by_arguments])

    if len(numbers):
        row = compiled.arguments_of(numbers[0])
        output, gradients = compiled.function.value_and_grad(*row)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        assert_close(output, lambda it: it.outputs[0])
        assert_close(gradients, lambda it: it.by_leaves[0, by_arguments])

        compiled.arguments(numbers)  # sets what is captured
        leaves = [mgx.Value(number) for number in row]
        result = compiled.function(*leaves)
        result.backward()
        assert_close(result.data, lambda it: it.outputs[0])
        by_leaves = [leaf.grad for leaf in compiled.leaves(leaves)]
        assert_close(by_leaves, lambda it: it.by_leaves[0])
        assert_close(compiled.by_parameters(), lambda it: it.by_parameters[0])


def assert_equal(actual: Any, expected: Any) -> None:
    np.testing.assert_array_equal(np.array(actual, float), np.array(expected, float))


@dataclass(frozen=True)
class Samples:
    """The roles of the leaves, their numbers in a few samples, and a batch of these."""

    roles: tuple[str, ...]
    numbers: Matrix
    batch: npt.NDArray[np.intp]


def draw_samples(exact: bool, sizes: st.SearchStrategy[int]) -> st.SearchStrategy[Samples]:
    def make(roles: tuple[str, ...], size: int, seed: int) -> Samples:
        generator = np.random.default_rng(seed)
        shape = min(size, 5), LEAVES
        numbers = (
            generator.choice((*FRACTIONS, 0.0), shape)
            if exact
            else generator.uniform(-2.5, 2.5, shape).round(3)
        )
        for place, role in enumerate(roles):
            if role != "batch":
                numbers[:, place] = numbers[:1, place]
        batch = generator.integers(0, max(len(numbers), 1), size)
        batch[:1] = 0
        return Samples(roles, numbers, batch)

    roles = st.tuples(*[st.sampled_from(ROLES)] * (LEAVES - 1), st.just("batch"))
    return st.builds(make, roles, sizes, st.integers(0, 2**32 - 1))


batch_sizes = st.integers(0, 70) | st.sampled_from((127, 128, 129, 200, 1100, 3000))


@pytest.mark.parametrize(
    ("engine", "statements"),
    [(MICROGRAD, EXACT_ON_MICROGRAD), (MICROGRADX, EXACT)],
    ids=["micrograd", "microgradx"],
)
def test_exact_programs(engine: Engine, statements: Sequence[str]) -> None:
    @hypothesis.given(random_steps(statements), draw_samples(True, batch_sizes))
    def run(steps: list[Step], samples: Samples) -> None:
        recipe = Recipe(engine, steps)
        for row in samples.numbers:
            values = recipe([engine.Value(float(number)) for number in row])
            values[-1].backward()
            for node in operands_first(values[-1]):
                hypothesis.assume(is_exact(node.data) and is_exact(node.grad))
        expected = eager_results(recipe, samples.numbers).of_samples(samples.batch)
        nothing = Results(*(np.zeros_like(part) for part in expected.parts()))
        recipe = Recipe(MICROGRADX, steps)
        check(samples.roles, recipe, samples.numbers[samples.batch], expected, nothing)

    run()


def ulps(statement: str) -> int:
    """Tell how much the result of a statement may differ."""
    if statement in appended(DIVISIONS) or " * x for" in statement:
        return 5  # a product with something that differs
    if statement in (*appended(FUNCTIONS), *ACTIVATIONS):
        return 2
    return 2 if "**" in statement else 0


def assert_within(actual: float, expected: float, ulps: int, what: str) -> None:
    if math.isnan(expected):
        assert math.isnan(actual), what
    elif math.isinf(expected) or math.isinf(actual):
        assert actual == expected, what
    else:
        limit = ulps * math.ulp(max(abs(actual), abs(expected)))
        assert abs(actual - expected) <= limit, what


SPECIAL = (
    *(0.0, -0.0, 5e-324, -1e-310, 1e-160, 1e-8, 0.5, -0.5, 0.8, 1.0, -1.0, 2.0, -3.0, 20.0, -36.7),
    *(709.78, 709.8, -745.2, 1e15, -1e160, 1.7976931348623157e308, math.inf, -math.inf, math.nan),
)


# Ways to compute an operation, which may differ from the eager one by so many ulp.
WAYS: dict[str, tuple[int, Callable[[Any, tuple[float, ...]], Any]]] = {
    "call": (2, lambda compiled, point: compiled(*point).data),
    "map": (2, lambda compiled, point: compiled.map(*[[x] * 3 for x in point])[2]),
    "value_and_grad": (8, lambda compiled, point: compiled.value_and_grad(*point)[1]),
    "map_value_and_grad": (
        8,
        lambda compiled, point: np.reshape(
            compiled.map_value_and_grad(*[[x] * 3 for x in point])[1], (-1, 3)
        )[:, 2],
    ),
}


def attempt(compute: Callable[..., Any], *arguments: Any) -> list[float] | type[Exception]:
    """Compute numbers, or tell what is raised."""
    try:
        return [float(number) for number in np.ravel(compute(*arguments))]
    except (ArithmeticError, ValueError) as error:
        return type(error)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("row", OPS, ids=lambda row: row.name)
def test_every_operation_at_special_numbers(row: Any, way: str) -> None:
    function: Callable[..., Any] = (
        operator.methodcaller(row.name)
        if row.arity == 1
        else getattr(operator, row.name, None) or getattr(_core, row.name)
    )
    ulps, compute = WAYS[way]

    def eager(point: tuple[float, ...]) -> Any:
        operands = [mgx.Value(number) for number in point]
        result = function(*operands)
        if "grad" not in way:
            return result.data
        result.backward()
        return [operand.grad for operand in operands]

    compiled = mgx.compile(function)
    for point in itertools.product(SPECIAL, repeat=row.arity):
        expected, actual = attempt(eager, point), attempt(compute, compiled, point)
        if isinstance(expected, list) and isinstance(actual, list):
            for number, other in zip(actual, expected, strict=True):
                assert_within(number, other, ulps, f"{row.name} of {point}")
        else:
            assert actual == expected, point


MAY_FAIL = ("/", "**", "log", "sqrt")


@hypothesis.given(random_steps(ALL), draw_samples(False, batch_sizes))
def test_every_operation_by_itself(steps: list[Step], samples: Samples) -> None:
    hypothesis.assume(len(samples.batch) > 0)
    recipe = Recipe(MICROGRADX, steps)
    compiled = Compiled(recipe, samples.roles)
    arguments, _ = compiled.arguments(samples.numbers[samples.batch])

    errors: dict[int, Any] = {}
    for number, row in enumerate(samples.numbers):
        try:
            recipe([mgx.Value(float(number)) for number in row])
        except (ArithmeticError, ValueError) as error:
            errors[number] = type(error)
    failing = [errors[number] for number in samples.batch if number in errors]
    if failing:
        with pytest.raises((ArithmeticError, ValueError)) as caught:
            compiled.everything.map(*arguments)
        # Of several errors, a compiled function may come upon another one first.
        if sum(any(sign in step.statement for sign in MAY_FAIL) for step in steps) == 1:
            assert caught.type in failing
        return

    everything = compiled.everything.map(*arguments)
    assert_equal(compiled.function.map(*arguments), everything[:, -1])
    numbers = compiled.arguments_of(samples.numbers[0])
    alone = [value.data for value in compiled.everything(*numbers)]
    for row in (*everything[: len(samples.numbers)], alone):
        known = LEAVES
        for step in steps:
            values = [mgx.Value(float(number)) for number in row[:known]]
            recipe.run(step, values)
            for value in values[known:]:
                assert_within(row[known], float(value.data), ulps(step.statement), step.statement)
                known += 1
        assert known == len(row)


def test_gradients_of_any_programs() -> None:
    @hypothesis.given(
        random_steps(ALL), draw_samples(False, st.integers(1, 20)), st.integers(0, 2**32 - 1)
    )
    def run(steps: list[Step], samples: Samples, seed: int) -> None:
        recipe = Recipe(MICROGRADX, steps)
        generator = random.Random(seed)

        def shaken_bits() -> float:
            return 1.0 + generator.choice((-4, -3, -2, 2, 3, 4)) * 2.0**-52

        def shake(value: Any) -> Any:
            if value._op:
                # The sweep reads it again: the derivative of tanh is taken from the result.
                value.data = value.data * shaken_bits()
            return value * shaken_bits()

        try:
            expected = eager_results(recipe, samples.numbers)
            shaken = [eager_results(recipe, samples.numbers, shake) for _ in range(4)]
        except (ArithmeticError, ValueError):
            hypothesis.reject()
        parts = [part for results in (expected, *shaken) for part in results.parts()]
        hypothesis.assume(all(np.abs(part).max() < 1e100 for part in parts))

        allowed = []
        for place, part in enumerate(expected.parts()):
            # What cancels by chance in one sample, however it is shaken, does not in another.
            differences = [np.abs(them.parts()[place] - part).max(axis=0) for them in shaken]
            limit = 100 * np.max(differences, axis=0) + 1e-13 * np.abs(part).max()
            allowed.append(np.broadcast_to(limit, part.shape))
        check(
            samples.roles,
            recipe,
            samples.numbers[samples.batch],
            expected.of_samples(samples.batch),
            Results(*allowed).of_samples(samples.batch),
        )

    run()


@hypothesis.given(
    random_steps(SMOOTH).map(lambda steps: steps[:8]), draw_samples(False, st.just(1))
)
@hypothesis.settings(max_examples=50)
def test_gradients_against_finite_differences(steps: list[Step], samples: Samples) -> None:
    (point,) = samples.numbers
    recipe = Recipe(MICROGRADX, steps)
    compiled = mgx.compile(lambda x: recipe(x)[-1])
    value, gradient = compiled.value_and_grad(point)
    hypothesis.assume(abs(value) < 1e6)
    for place in range(LEAVES):

        def difference(step: float, place: int = place) -> float:
            shifted = np.stack([point, point])
            shifted[:, place] += (step, -step)
            above, below = compiled.map(shifted)
            return float(above - below) / (2 * step)

        fine, coarse = difference(1e-5), difference(2e-5)
        allowed = abs(fine - coarse) + 1e-6 * (1.0 + abs(value) + abs(gradient[place]))
        assert abs(gradient[place] - fine) <= allowed


BATCH = ((0.5, -1.0), (1.5, 2.0), (-0.5, 0.0))
COMPOSED = (
    *EXACT_ON_MICROGRAD,
    *appended(("f(a, b)", "f(b, c)", "f(a, a)", "f(f(a, b), n.w[0])", "of_batch(a)")),
    *("values.extend(pair([a, b]))", "values.extend(pair([hidden, c]))", "a, b"),
)


def composed(engine: Engine, steps: list[Step], row: Sequence[float]) -> list[Any]:
    """Run a program that calls functions, which are compiled if that is possible."""
    recipe = Recipe(engine, steps)
    w, v = engine.Value(0.5), engine.Value(-2.0)
    hidden = w * v
    neuron = recipe.neurons[0]

    def f(x: Any, y: Any) -> Any:
        return w * x * y + hidden * x + (y - v).relu()

    def pair(xs: Any) -> Any:
        return [neuron(xs) * w, sum(x * x for x in xs) * 0.5 + v]

    def one(x: Any, y: Any, a: Any) -> Any:
        return (x * a + w * y).relu() * a + x

    def of_batch(a: Any) -> Any:
        return sum(one(x, y, a) for x, y in BATCH)

    if engine is MICROGRADX:
        f, pair, compiled = mgx.compile(f), mgx.compile(pair), mgx.compile(one)

        def of_batch(a: Any) -> Any:
            return compiled.sum(*np.transpose(BATCH), a)

    recipe.names |= {"f": f, "pair": pair, "of_batch": of_batch, "hidden": hidden}
    values = recipe([engine.Value(float(number)) for number in row])
    sum(values[-3:]).backward()
    return [w, v, hidden, *recipe.parameters, *values]


@hypothesis.given(random_steps(COMPOSED), draw_samples(True, st.just(1)))
def test_compiled_functions_among_eager_code(steps: list[Step], samples: Samples) -> None:
    (row,) = samples.numbers
    expected = composed(MICROGRAD, steps, row)
    for node in operands_first(*expected):
        hypothesis.assume(is_exact(node.data) and is_exact(node.grad))
    actual = composed(MICROGRADX, steps, row)
    assert_equal([value.data for value in actual], [value.data for value in expected])
    assert_equal([value.grad for value in actual], [value.grad for value in expected])


@hypothesis.given(
    st.integers(1, 80),
    st.integers(1, 24),
    st.integers(0, 200) | st.just(4500),
    st.booleans(),
    st.floats(0.05, 1.0),
    st.integers(0, 2**32 - 1),
)
def test_layers_of_any_shape(
    nin: int, nout: int, samples: int, nonlin: bool, density: float, seed: int
) -> None:
    """Of small integers, some inputs at several places and many of them 0; NumPy is exact, too."""
    generator = np.random.default_rng(seed)
    layer = mgx.nn.Layer(nin, nout, nonlin=nonlin)
    weights, biases = generator.integers(-2, 3, (nout, nin)), generator.integers(-2, 3, nout)
    mgx.assign([neuron.w for neuron in layer.neurons], weights)
    mgx.assign([neuron.b for neuron in layer.neurons], biases)
    inputs = generator.integers(0, nin, nin) if seed % 2 else np.arange(nin)
    factors = generator.integers(-2, 3, nout)
    X = generator.integers(-2, 3, (samples, nin)) * (generator.random((samples, nin)) < density)

    def function(x: Any) -> Any:
        outputs = layer([x[i] for i in inputs])
        outputs = outputs if isinstance(outputs, list) else [outputs]
        return mgx.sum([int(c) * output for c, output in zip(factors, outputs, strict=True)])

    results = X[:, inputs] @ weights.T + biases
    by_results = np.broadcast_to(factors, results.shape) * (~np.array(nonlin) | (results > 0))
    by_X = np.zeros_like(X)
    np.add.at(by_X.T, inputs, weights.T @ by_results.T)

    compiled = mgx.compile(function)
    outputs, gradients = compiled.map_value_and_grad(X)
    total = compiled.sum(X)
    total.backward()
    assert_equal(outputs, (np.maximum(results, 0) if nonlin else results) @ factors)
    assert_equal(gradients, by_X)
    assert_equal(total.data, outputs.sum())
    by_weights = mgx.grads([neuron.w for neuron in layer.neurons])
    assert_equal(by_weights, by_results.T @ X[:, inputs])
    assert_equal(mgx.grads([neuron.b for neuron in layer.neurons]), by_results.sum(axis=0))


EXACT_MODEL = exact_layer(MICROGRADX, 3, 4, nonlin=True, seed=1)
EXACT_ROW = [mgx.Value(number) for number in FRACTIONS]
OF_ALL_SIZES: dict[str, Callable[[Any], Any]] = {
    "layer": lambda x: sum(EXACT_MODEL(x)),
    "products": lambda x: x[0] * x[1] * 0.5 + x[2] * EXACT_ROW[0],
    "take": lambda x: mgx.take(EXACT_ROW, mgx.greater(x[0], x[1]) + mgx.less(x[1], x[2])) * x[2],
    "take of computed": lambda x: mgx.take([x[0] * 2.0, x[1], EXACT_ROW[1]], mgx.less(x[0], x[2])),
    "choices": lambda x: mgx.maximum(x[0], x[1]) - mgx.minimum(x[1], EXACT_ROW[2]) * x[2].relu(),
    "where": lambda x: mgx.where(mgx.less(x[0], x[1]), x[2] * EXACT_ROW[3], abs(x[0])),
    "powers": lambda x: x[0] ** 2 * EXACT_ROW[1] - x[1] ** 3,
}


@pytest.mark.parametrize("name", OF_ALL_SIZES)
def test_all_batch_sizes(name: str) -> None:
    function = OF_ALL_SIZES[name]
    parameters = [*EXACT_MODEL.parameters(), *EXACT_ROW]
    numbers = np.random.default_rng(3).choice((*FRACTIONS, 0.0), (70, 3))

    def gradients() -> list[float]:
        return [float(parameter.grad) for parameter in parameters]

    def forget() -> None:
        for parameter in parameters:
            parameter.grad = 0

    compiled = mgx.compile(function)
    outputs, by_leaves, by_parameters = [], [], [[0.0] * len(parameters)]
    forget()
    for row in numbers:
        leaves = [mgx.Value(number) for number in row]
        output = function(leaves)
        output.backward()
        outputs.append(float(output.data))
        by_leaves.append([float(leaf.grad) for leaf in leaves])
        by_parameters.append(gradients())
    for size in range(71):
        X = numbers[:size]
        forget()
        result = compiled.sum(X)
        result.backward()
        assert result.data == sum(outputs[:size])
        assert gradients() == by_parameters[size]
        assert compiled.map(X).tolist() == outputs[:size]
        values, by_x = compiled.map_value_and_grad(X)
        assert values.tolist() == outputs[:size]
        assert by_x.tolist() == by_leaves[:size]


ZEROS = (0.0, -0.0, 1.0, -1.0)
MINUS = [mgx.Value(-1.0), mgx.Value(-0.0)]
PLUS = [mgx.Value(1.0), mgx.Value(2.0), mgx.Value(3.0)]
SIGNED: dict[str, Callable[..., Any]] = {
    "sum of products": lambda x, y, z: x * y + z * x,
    "three products": lambda x, y, z: x * y + z * x + x * 3.0,
    "loop": lambda x, y, z: x * y + z * x + x * x * x + y * x,
    "weights": lambda x, y, z: PLUS[0] * x + PLUS[1] * y + PLUS[2] * z,
    "start and products": lambda x, y, z: z + x * y + y * x,
    "sum": lambda x, y, z: mgx.sum([x, y, z]),
    "sum of one": lambda x, y, z: mgx.sum([x]),
    "where": lambda x, y, z: mgx.where(x, y, z),
    "relu": lambda x, y, z: x.relu() * y,
    "abs": lambda x, y, z: abs(x) * y + z,
    "maximum": lambda x, y, z: mgx.maximum(x, y) * z,
    "minimum": lambda x, y, z: mgx.minimum(x, y) * z,
    "take": lambda x, y, z: mgx.take([y, z], mgx.greater(x, 0.0)),
    "functions": lambda x, y, z: x.tanh() * y.sin() * abs(z).sqrt(),
    "cube": lambda x, y, z: (x * y) ** 3 * z,
    "row of a layer": lambda x, y, z: mgx.dot(MINUS, [x, y], MINUS[1]) * z,
}


@pytest.mark.parametrize("name", SIGNED)
def test_signs_of_zeros(name: str) -> None:
    function = SIGNED[name]
    compiled = mgx.compile(function)
    rows = np.array([[x, y, z] for x in ZEROS for y in ZEROS for z in ZEROS])
    expected = [float(function(*map(mgx.Value, row)).data) for row in rows]
    assert [float(compiled(*row).data) for row in rows] == expected
    for actual in (compiled.map(*rows.T), np.array([compiled(*row).data for row in rows])):
        assert np.signbit(actual).tolist() == np.signbit(expected).tolist()
        assert actual.tolist() == expected


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_a_multilayer_perceptron_against_torch(activation: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    generator = np.random.default_rng(0)
    model: Any = mgx.nn.MLP(3, [8, 5, 1], activation=activation)
    X, y = generator.normal(size=(50, 3)), generator.choice([-1.0, 1.0], 50)
    loss = mgx.compile(lambda x, y: (1 - y * model(x)).relu() + 0.01 * model(x) ** 2)
    result = loss.mean(X, y)
    result.backward()

    tensors: list[Any] = []
    out = torch.tensor(X)
    for place, layer in enumerate(model.layers):
        weights, biases = (
            torch.tensor(mgx.data(it), requires_grad=True)
            for it in ([neuron.w for neuron in layer.neurons], [n.b for n in layer.neurons])
        )
        tensors.append((layer, weights, biases))
        out = out @ weights.T + biases
        out = getattr(torch, activation)(out) if place < 2 else out
    expected = (torch.relu(1 - torch.tensor(y) * out[:, 0]) + 0.01 * out[:, 0] ** 2).mean()
    expected.backward()

    assert result.data == pytest.approx(expected.item(), rel=1e-13)
    for layer, weights, biases in tensors:
        by_weights = mgx.grads([neuron.w for neuron in layer.neurons])
        by_biases = mgx.grads([neuron.b for neuron in layer.neurons])
        np.testing.assert_allclose(by_weights, weights.grad.numpy(), rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(by_biases, biases.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_choices_and_functions_against_torch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    generator = np.random.default_rng(1)
    X, indices = generator.normal(size=(60, 4)), generator.integers(0, 5, 60)
    table = [mgx.Value(float(number)) for number in generator.normal(size=5)]
    w = mgx.Value(0.7)

    def function(x: Any, i: Any) -> Any:
        chosen = mgx.where(mgx.greater(x[0], x[1]), x[0] * x[1], (x[2] * w).sin())
        clipped = mgx.minimum(mgx.maximum(x[3], -0.5), w)
        return chosen * mgx.take(table, i) + clipped.exp() * (x[2] ** 2 + 1.0).log() + x[1].cos()

    compiled = mgx.compile(function)
    compiled.sum(X, indices).backward()
    values, (by_x, _) = compiled.map_value_and_grad(X, indices)

    x, t, v = (
        torch.tensor(it, requires_grad=True) for it in (X, mgx.data(table), np.array(w.data))
    )
    chosen = torch.where(x[:, 0] > x[:, 1], x[:, 0] * x[:, 1], (x[:, 2] * v).sin())
    clipped = torch.minimum(torch.maximum(x[:, 3], torch.tensor(-0.5, dtype=torch.float64)), v)
    expected = (
        chosen * t[torch.tensor(indices)]
        + clipped.exp() * (x[:, 2] ** 2 + 1.0).log()
        + x[:, 1].cos()
    )
    expected.sum().backward()
    np.testing.assert_allclose(values, expected.detach().numpy(), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(by_x, x.grad.numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(mgx.grads(table), t.grad.numpy(), rtol=1e-12, atol=1e-14)
    assert w.grad == pytest.approx(v.grad.item(), rel=1e-12)
