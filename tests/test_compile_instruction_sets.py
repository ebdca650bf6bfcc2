"""Compiled programs give the same numbers, to the last bit, whatever runs them.

Neither the width of registers nor the number of threads may be seen in a result, nor that other
threads call the same function at the same time.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import microgradx as mgx
import numpy as np
import pytest
from microgradx.nn import MLP

INSTRUCTION_SETS = ("baseline", "avx2", "avx512")  # what a machine lacks, it replaces by the best

# Run in a process of its own for each instruction set, which is chosen when the first program runs.
# Between them, the functions need all kernels: of operations, of powers, of tables, and of affine
# maps of shapes that are multiples of no register's width, with inputs that occur twice, and with
# adjoints that are mostly zeros, among numbers that are infinite and not.
PROGRAM = """
import os
os.environ["MICROGRADX_ISA"] = INSTRUCTION_SET

import math
import random
import numpy as np
import microgradx as mgx
from microgradx import Value, _core, nn

random.seed(0)
generator = np.random.default_rng(0)
SPECIAL = np.array([0.0, -0.0, 5e-324, -5e-324, 1e-310, -1e-310, 1e-160, 1.0, -1.0, 1e160, -1e160,
                    1.7e308, math.inf, -math.inf, math.nan, 709.5, -745.5, 36.7, 0.5, -0.8])
SIZES = (1, 3, 8, 13, 64, 65, 100, 129, 257, 1000, 2100)
def added(values):
    return mgx.sum(values) if isinstance(values, list) else values * 1.0

functions = {}  # the function, how many numbers it takes, and whether they may be special

for row in _core.OPS:
    if row.name in ("log", "sqrt", "sin", "cos"):
        functions[row.name] = (lambda x, row=row: getattr(abs(x[0]), row.name)() * x[1], 2, False)
    elif row.arity == 1:
        functions[row.name] = (lambda x, row=row: getattr(x[0], row.name)() * x[1], 2, True)
    elif hasattr(_core, row.name):
        functions[row.name] = (
            lambda x, row=row: getattr(_core, row.name)(x[0], x[1]) * x[2], 3, True
        )
for exponent in (2, 3, -1, 0.5, 1.7, -2, 0):
    functions[f"power {exponent}"] = (
        lambda x, exponent=exponent: (abs(x[0]) + 0.2) ** exponent + x[1], 2, False
    )
functions["power of Values"] = (lambda x: (abs(x[0]) + 0.1) ** x[1], 2, False)
functions["arithmetic"] = (lambda x: (x[0] * x[1] - x[2]) * x[0] + x[1], 3, True)
functions["dot"] = (lambda x: mgx.dot(x[:4], x[4:], x[0]), 8, True)
functions["sum"] = (lambda x: mgx.sum(x) * x[0], 9, True)

table = [Value(number) for number in generator.normal(size=11)]
functions["table"] = (
    lambda x: mgx.take(table, mgx.greater(x[0], x[1]) + mgx.less(x[0], 0.5) * 5.0) * x[1], 2, True
)
functions["computed table"] = (
    lambda x: mgx.take([x[1], x[2] * x[0], table[0]], mgx.less(x[0], x[1]) * 2.0) * x[2], 3, True
)
functions["shared"] = (lambda x: (table[3] * table[4]).exp() * x[0] + table[5].tanh(), 1, True)

layers = []
for nin, nout in ((1, 1), (2, 3), (4, 9), (5, 8), (17, 6), (31, 4), (70, 13), (130, 5)):
    for activation in ("linear", "relu", "tanh", "sigmoid", Value.exp):
        layer = nn.Layer(nin, nout, activation=activation)
        layers.append(layer)
        name = getattr(activation, "__name__", activation)
        functions[f"{nin} {nout} {name}"] = (
            lambda x, layer=layer: added(layer([number * 0.1 for number in x])), nin,
            nin in (5, 130),
        )
twice = nn.Layer(6, 7, activation="tanh")
functions["inputs twice"] = (
    lambda x: mgx.sum(twice([x[0], x[1], x[0], x[0], x[2], x[1]])), 3, True
)
deep = nn.MLP(3, [70, 40, 9, 1])
functions["perceptron"] = (lambda x: (1 - x[0] * deep(x)).relu(), 3, False)

parameters = [*table, *deep.parameters(), *twice.parameters()]
for layer in layers:
    parameters += layer.parameters()
optimizer = mgx.optim.SGD(parameters, lr=0.1)

results = {}
for name, (function, numbers, may_be_special) in functions.items():
    compiled = mgx.compile(function)
    for size in SIZES if numbers < 20 else SIZES[3:8]:
        X = generator.normal(size=(size, numbers))
        if may_be_special:
            chosen = generator.random(X.shape) < 0.1
            X[chosen] = generator.choice(SPECIAL, chosen.sum())
        for threads in THREADS:
            mgx.set_num_threads(threads)
            optimizer.zero_grad()
            total = compiled.sum(X)
            total.backward()
            of_samples = compiled.map_value_and_grad(X)
            results[f"{name}, {size} samples, {threads} threads"] = np.concatenate([
                [total.data], mgx.grads(parameters), compiled.map(X), *map(np.ravel, of_samples)
            ])
np.savez(PATH, **results)
"""


def bits(numbers: Any) -> Any:
    """Make the bits of numbers comparable: one NaN is like the other."""
    return np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)


@pytest.fixture(scope="module")
def results(
    tmp_path_factory: pytest.TempPathFactory, run_python: Callable[..., str]
) -> dict[str, dict[str, Any]]:
    """Run the program for each instruction set."""
    found = {}
    for name in INSTRUCTION_SETS:
        path = tmp_path_factory.mktemp("results") / f"{name}.npz"
        threads = (1, 2, 3) if name == INSTRUCTION_SETS[-1] else (1,)
        run_python(f"INSTRUCTION_SET, THREADS, PATH = {name!r}, {threads}, {str(path)!r}" + PROGRAM)
        with np.load(path) as loaded:
            found[name] = {key: bits(loaded[key]) for key in loaded.files}
    return found


@pytest.mark.parametrize("name", INSTRUCTION_SETS[1:])
def test_instruction_sets_give_the_same_numbers(
    name: str, results: dict[str, dict[str, Any]]
) -> None:
    baseline = results["baseline"]
    assert len(baseline) > 500
    for key, expected in baseline.items():
        np.testing.assert_array_equal(
            results[name][key].view(np.float64), expected.view(np.float64), key
        )
        np.testing.assert_array_equal(results[name][key], expected, key)


@pytest.mark.parametrize("threads", [2, 3])
def test_numbers_of_threads_give_the_same_numbers(
    threads: int, results: dict[str, dict[str, Any]]
) -> None:
    found = results[INSTRUCTION_SETS[-1]]
    for key in results["baseline"]:
        other = key.replace(", 1 threads", f", {threads} threads")
        np.testing.assert_array_equal(
            found[other].view(np.float64), found[key].view(np.float64), other
        )
        np.testing.assert_array_equal(found[other], found[key], other)


@pytest.fixture
def _one_thread_afterwards() -> Iterator[None]:
    yield
    mgx.set_num_threads(1)


@pytest.mark.usefixtures("_one_thread_afterwards")
def test_threads_that_call_at_the_same_time() -> None:
    generator = np.random.default_rng(0)
    model = MLP(3, [6, 1], activation="tanh")
    w = mgx.Value(0.5)
    functions = [
        mgx.compile(lambda x: (1 - x[0] * model(x)).relu()),
        mgx.compile(lambda x: mgx.take(model.parameters(), mgx.greater(x[0], x[1])) * x[2]),
        mgx.compile(lambda x: (x[0] * w).sin() + mgx.maximum(x[1], x[2]).exp()),
    ]
    # Short calls keep Python's lock, and long ones let others run.
    batches = [generator.normal(size=(size, 3)) for size in (1, 5, 64, 300, 3000, 20_000)]

    def compute(function: Any, batch: Any) -> list[Any]:
        total = function.sum(batch)
        values, by_batch = function.map_value_and_grad(batch)
        alone = function(batch[0])
        return [total.data, function.map(batch), values, by_batch, alone.data]

    expected = [[compute(function, batch) for batch in batches] for function in functions]
    wrong: list[Any] = []
    is_over = threading.Event()

    def work(seed: int) -> None:
        own = random.Random(seed)
        try:
            while not is_over.is_set():
                f, b = own.randrange(len(functions)), own.randrange(len(batches))
                if own.random() < 0.1:
                    mgx.set_num_threads(own.randint(1, 3))
                if own.random() < 0.05:
                    functions[f].retrace()
                actual = compute(functions[f], batches[b])
                for one, other in zip(actual, expected[f][b], strict=True):
                    if not np.array_equal(one, other):
                        wrong.append((f, b, one, other))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(2.0)
    is_over.set()
    for thread in threads:
        thread.join()
    assert wrong == []
