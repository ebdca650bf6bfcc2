"""Train a network with gradients from workers, each of which has a part of the samples.

What the examples for Dask, Ray and MPI share: the model and its loss, a worker, and the loop that
trains. Started alone, it has the workers take turns in one process, and prints what the others are
to print. Needs scikit-learn for the pictures of digits.

    python examples/data_parallel.py --workers 2
"""

from __future__ import annotations

import argparse
import contextlib
import pickle
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import microgradx as mgx
import numpy as np
from microgradx import Value, losses
from microgradx.nn import MLP
from microgradx.optim import SGD

if TYPE_CHECKING:
    from compiled_digits import Digits

RATE = 0.3


class Totals(NamedTuple):
    """The loss, added up over samples, and its gradient by the parameters."""

    loss: float
    gradient: np.ndarray


# What a worker is made of: the model and its loss, pickled, and the worker's pictures and labels.
Part: TypeAlias = tuple[bytes, np.ndarray, np.ndarray]

# What the workers do together: the totals over all samples, for given parameters.
Compute: TypeAlias = Callable[[np.ndarray], Totals]


class Worker:
    """A copy of the model, and the samples over which it adds up the loss."""

    def __init__(self, recorded: bytes, pictures: np.ndarray, labels: np.ndarray) -> None:
        self.model, self.loss = pickle.loads(recorded)
        self.parameters = self.model.parameters()
        self.pictures = pictures
        self.labels = labels

    def totals(self, parameters: np.ndarray) -> Totals:
        """Return the loss and its gradient where the model has these parameters."""
        mgx.assign(self.parameters, parameters)
        self.model.zero_grad()
        total = self.loss.sum(self.pictures, self.labels)
        total.backward()
        return Totals(total.data, mgx.grads(self.parameters))


class Problem(NamedTuple):
    """A network, the pictures it learns from and others that it is tested with."""

    model: MLP
    examples: Digits
    tests: Digits


def make_problem(copies: int = 1) -> Problem:
    """Return the network and the digits, the same every time.

    Parameters
    ----------
    copies
        How many times each picture is there to learn from; all but the first are noisy.
    """
    from compiled_digits import Digits, load  # here, as it is not needed where workers are

    random.seed(1337)
    examples, tests = load()
    generator = np.random.default_rng(0)
    pictures = [examples.pictures]
    for _ in range(copies - 1):
        pictures.append(examples.pictures + generator.normal(0, 0.1, examples.pictures.shape))
    labels = np.tile(examples.labels, len(pictures))
    return Problem(MLP(64, [32, 10]), Digits(np.concatenate(pictures), labels), tests)


def split(problem: Problem, workers: int) -> list[Part]:
    """Return what each worker is made of, with about as many samples for each."""
    model, (pictures, labels), _ = problem

    @mgx.compile
    def loss(picture: list[Value], label: Value) -> Value:
        cross_entropy: Value = losses.cross_entropy(model(picture), label)
        return cross_entropy

    loss.sum(pictures[:1], labels[:1])  # only what has been recorded can be pickled
    recorded = pickle.dumps((model, loss))  # as one, so that they have their parameters in common
    parts = zip(np.array_split(pictures, workers), np.array_split(labels, workers), strict=True)
    return [(recorded, *part) for part in parts]


def add(totals: Iterable[Totals]) -> Totals:
    """Add up what workers return, in their order: in another one the sum is rounded elsewhere."""
    return reduce(lambda a, b: Totals(a.loss + b.loss, a.gradient + b.gradient), totals)


def take_turns(parts: list[Part]) -> Compute:
    """Have all the workers here, one after another."""
    workers = [Worker(*part) for part in parts]
    return lambda parameters: add(worker.totals(parameters) for worker in workers)


def train(problem: Problem, compute: Compute, steps: int) -> Iterator[float]:
    """Descend the gradient of the mean loss over all samples, yielding the loss at each step."""
    samples = len(problem.examples.labels)
    parameters = problem.model.parameters()
    optimiser = SGD(parameters, lr=RATE, momentum=0.9)
    for _ in range(steps):
        loss, gradient = compute(mgx.data(parameters))
        for p, slope in zip(parameters, (gradient / samples).tolist(), strict=True):
            p.grad = slope
        optimiser.step()
        yield loss / samples


def report(problem: Problem, compute: Compute, steps: int) -> None:
    """Train, print a line a step, and say how well and how fast it was learned.

    Losses have all their digits, so that one sees whether they are the same to the last bit.
    """
    start = time.perf_counter()
    for step, loss in enumerate(train(problem, compute, steps)):
        print(f"step {step:3d}  loss {loss!r}")
    seconds = time.perf_counter() - start
    answers = mgx.compile(problem.model).map(problem.tests.pictures).argmax(axis=1)
    print(f"test accuracy {np.mean(answers == problem.tests.labels):.1%}")
    print(f"{seconds:.2f} seconds")


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of the options that all the examples have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=100, help="gradient steps (default 100)")
    parser.add_argument(
        "--copies", type=int, default=1, help="times that each picture is there (default 1)"
    )
    return parser


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add the option for how many workers there are to be."""
    parser.add_argument("--workers", type=int, default=2, help="how many (default 2)")


@contextlib.contextmanager
def extra(name: str) -> Generator[None, None, None]:
    """End the program with a hint if what this extra installs cannot be imported."""
    try:
        yield
    except (ImportError, RuntimeError) as error:  # mpi4py's, where there is no MPI library
        raise SystemExit(f'{error}\npip install "microgradx[{name}]"') from error


def main() -> None:
    """Train with workers that take turns."""
    parser = make_parser("Learn to read digits with workers that take turns in one process.")
    add_workers(parser)
    arguments = parser.parse_args()
    problem = make_problem(arguments.copies)
    report(problem, take_turns(split(problem, arguments.workers)), arguments.steps)


if __name__ == "__main__":
    main()
