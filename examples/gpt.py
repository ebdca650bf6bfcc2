"""Train a character-level GPT, scalar by scalar, and let it invent names.

A program for micrograd: it says nothing of microgradx. One name makes a graph of about 55,000
nodes: an attention block of 4 heads over 8 positions, 16 numbers a character.

    python examples/gpt.py                      on micrograd
    python -m microgradx run examples/gpt.py    on microgradx
"""

import argparse
import math
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from micrograd.engine import Value

DATASET = """
    amelia anton ada bella bruno basil carla casper cora dagmar delphi doris edith elodie
    esther felicia flora greta gideon hanna harold ingrid irena isolde jasper julia kilian
    karla leander lucia magda marina melvin miriam nadine nestor nora odette oliver otto
    pascal petra quentin ramona roland rosa sabina selma stefan tobias tamara ursula viola
    viktor wilma willem yvonne yara zelda zoltan
"""
NAMES = DATASET.split()

END = "."  # comes before the first character of a name and after the last
ALPHABET = END + "abcdefghijklmnopqrstuvwxyz"
WIDTH = 16
HEADS = 4
BLOCK = 8

Vector = list[Value]
Matrix = list[Vector]
Past = list[tuple[Vector, Vector]]
Softmax = Callable[[Vector], Vector]


def exp(self: Value) -> Value:
    """Return e to the power of the value."""
    out = Value(math.exp(self.data), (self,), "exp")

    def _backward() -> None:
        self.grad += out.data * out.grad

    out._backward = _backward
    return out


def log(self: Value) -> Value:
    """Return the natural logarithm."""
    out = Value(math.log(self.data), (self,), "log")

    def _backward() -> None:
        self.grad += out.grad / self.data

    out._backward = _backward
    return out


for operation in (exp, log):
    if not hasattr(Value, operation.__name__):
        setattr(Value, operation.__name__, operation)


class Model(NamedTuple):
    """The weights, a row for each output (for the embeddings: for each character or position)."""

    characters: Matrix
    positions: Matrix
    queries: Matrix
    keys: Matrix
    values: Matrix
    mix: Matrix
    expand: Matrix
    contract: Matrix
    scores: Matrix

    def parameters(self) -> Vector:
        """Return all the weights in one list."""
        return [p for matrix in self for row in matrix for p in row]


def make_model(seed: int = 1337) -> Model:
    """Return a model of normally distributed weights, with Adam's averages at zero."""
    generator = random.Random(seed)

    def matrix(rows: int, columns: int) -> Matrix:
        return [[Value(generator.gauss(0, 0.1)) for _ in range(columns)] for _ in range(rows)]

    model = Model(
        characters=matrix(len(ALPHABET), WIDTH),
        positions=matrix(BLOCK, WIDTH),
        queries=matrix(WIDTH, WIDTH),
        keys=matrix(WIDTH, WIDTH),
        values=matrix(WIDTH, WIDTH),
        mix=matrix(WIDTH, WIDTH),
        expand=matrix(4 * WIDTH, WIDTH),
        contract=matrix(WIDTH, 4 * WIDTH),
        scores=matrix(len(ALPHABET), WIDTH),
    )
    for p in model.parameters():
        p.m = p.v = 0.0
    return model


def add(x: Vector, y: Vector) -> Vector:
    """Return the sum of two vectors."""
    return [xi + yi for xi, yi in zip(x, y, strict=True)]


def dot(x: Vector, y: Vector) -> Value:
    """Return the inner product of two vectors."""
    return sum(xi * yi for xi, yi in zip(x, y, strict=True))


def linear(weights: Matrix, x: Vector) -> Vector:
    """Return the product of a matrix and a vector."""
    return [dot(row, x) for row in weights]


def normalise(x: Vector) -> Vector:
    """Return the vector scaled to a root mean square of one (RMSNorm)."""
    scale = (dot(x, x) * (1 / len(x)) + 1e-5) ** -0.5
    return [xi * scale for xi in x]


def softmax(x: Vector) -> Vector:
    """Return the probabilities proportional to the exponentials of `x`."""
    peak = max(xi.data for xi in x)
    powers = [(xi - peak).exp() for xi in x]
    scale = sum(powers) ** -1
    return [power * scale for power in powers]


def attend(model: Model, x: Vector, past: Past, softmax: Softmax = softmax) -> Vector:
    """Let a position look at itself and at those before it, and remember it in `past`."""
    query = linear(model.queries, x)
    past.append((linear(model.keys, x), linear(model.values, x)))
    size = WIDTH // HEADS
    heads: Vector = []
    for start in range(0, WIDTH, size):
        head = slice(start, start + size)
        weights = softmax([dot(query[head], key[head]) * size**-0.5 for key, _ in past])
        columns = zip(*(value[head] for _, value in past), strict=True)
        heads += [dot(weights, list(column)) for column in columns]
    return linear(model.mix, heads)


def transform(model: Model, character: Vector, past: Past, softmax: Softmax = softmax) -> Vector:
    """Return the probabilities of the character that follows.

    Parameters
    ----------
    model
        The weights.
    character
        The embedding of the character at this position.
    past
        The keys and values of the positions before this one; this one's are appended.
    softmax
        Makes probabilities of numbers.
    """
    x = add(character, model.positions[len(past)])
    x = add(x, attend(model, normalise(x), past, softmax))
    hidden = [h.relu() for h in linear(model.expand, normalise(x))]
    x = add(x, linear(model.contract, hidden))
    return softmax(linear(model.scores, normalise(x)))


def predict(model: Model, character: str, past: Past) -> Vector:
    """Return the probabilities of the character that follows the one given; see `transform`."""
    return transform(model, model.characters[ALPHABET.index(character)], past)


def loss_of(model: Model, name: str) -> Value:
    """Return the mean cross-entropy of the characters of a name, its end included."""
    text = (END + name + END)[: BLOCK + 1]
    past: Past = []
    losses = [
        -predict(model, character, past)[ALPHABET.index(following)].log()
        for character, following in pairwise(text)
    ]
    return sum(losses) * (1 / len(losses))


def adam(parameters: Vector, step: int, rate: float) -> None:
    """Move the parameters against their gradients, then clear these; `step` counts from 0."""
    for p in parameters:
        p.m = 0.9 * p.m + 0.1 * p.grad
        p.v = 0.99 * p.v + 0.01 * p.grad**2
        mean = p.m / (1 - 0.9 ** (step + 1))
        variance = p.v / (1 - 0.99 ** (step + 1))
        p.data -= rate * mean / (variance**0.5 + 1e-8)
        p.grad = 0


def train(model: Model, steps: int, seed: int = 1337) -> Iterator[float]:
    """Learn one name a step at a rate that falls to zero, yielding the loss before each step."""
    names = random.Random(seed).sample(NAMES, len(NAMES))
    parameters = model.parameters()
    for step in range(steps):
        loss = loss_of(model, names[step % len(names)])
        loss.backward()
        adam(parameters, step, rate=0.01 * (1 - step / steps))
        yield loss.data


def sample(model: Model, generator: random.Random) -> str:
    """Return an invented name."""
    name = ""
    past: Past = []
    while len(past) < BLOCK:
        chances = [p.data for p in predict(model, (END + name)[-1], past)]
        (character,) = generator.choices(ALPHABET, chances)
        if character == END:
            break
        name += character
    return name


def count_nodes(root: Value) -> int:
    """Return the size of the graph of `root`."""
    seen = {root}
    pending = [root]
    while pending:
        fresh = pending.pop()._prev - seen
        seen |= fresh
        pending.extend(fresh)
    return len(seen)


def main() -> None:
    """Train, print a line a step, and print a few invented names."""
    parser = argparse.ArgumentParser(description="Train a small GPT on names.")
    parser.add_argument("--steps", type=int, default=100, help="names to learn (default 100)")
    parser.add_argument("--samples", type=int, default=5, help="names to invent (default 5)")
    arguments = parser.parse_args()

    model = make_model()
    print(f"{len(model.parameters()):,} parameters")
    print(f"{count_nodes(loss_of(model, NAMES[0])):,} nodes in the graph of {NAMES[0]!r}")
    for step, loss in enumerate(train(model, arguments.steps)):
        print(f"step {step:3d}  loss {loss:.6f}")
    generator = random.Random(1337)
    for _ in range(arguments.samples):
        print(sample(model, generator))


if __name__ == "__main__":
    main()
