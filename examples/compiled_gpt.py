"""Train the GPT of gpt.py, compiled: recorded once for each length of a name, then replayed.

The model is gpt.py's own. Only what looks at numbers is said in another way: a character's row of
the embedding, the peak of the scores and the probability of what follows are `take` and `maximum`.

    python examples/compiled_gpt.py
"""

import argparse
import random
import time
from collections.abc import Iterator
from functools import reduce
from itertools import pairwise

import microgradx as mgx
import numpy as np
from microgradx import CompiledFunction, Value
from microgradx.optim import SGD

mgx.install_as_micrograd()  # gpt.py is a program for micrograd

import gpt  # noqa: E402
from gpt import Model, Past, Vector  # noqa: E402

RATE = 0.5


def softmax(x: Vector) -> Vector:
    """Return the probabilities proportional to the exponentials of `x`."""
    peak = reduce(mgx.maximum, x)
    powers = [(xi - peak).exp() for xi in x]
    scale = sum(powers) ** -1
    return [power * scale for power in powers]


def encode(name: str) -> np.ndarray:
    """Return the numbers of a name's characters, its end before and after it, as far as it fits."""
    text = (gpt.END + name + gpt.END)[: gpt.BLOCK + 1]
    return np.array([gpt.ALPHABET.index(character) for character in text])


def compile_loss(model: Model) -> CompiledFunction:
    """Return the mean cross-entropy as a function of the numbers of a name's characters."""

    @mgx.compile
    def loss(text: Vector) -> Value:
        past: Past = []
        losses = []
        for character, following in pairwise(text):
            embedding = mgx.take(model.characters, character)
            probabilities = gpt.transform(model, embedding, past, softmax)
            losses.append(-mgx.take(probabilities, following).log())
        return mgx.mean(losses)

    return loss


def train(model: Model, epochs: int, seed: int = 1337) -> Iterator[float]:
    """Learn all the names, one a step, at a rate that falls to zero, yielding each epoch's loss."""
    loss_of = compile_loss(model)
    generator = random.Random(seed)
    optimiser = SGD(model.parameters(), lr=RATE)
    for epoch in range(epochs):
        optimiser.lr = RATE * (1 - epoch / epochs)
        losses = []
        for name in generator.sample(gpt.NAMES, len(gpt.NAMES)):
            loss = loss_of(encode(name))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.data)
        yield sum(losses) / len(losses)


def main() -> None:
    """Train, print a line an epoch, and print a few invented names."""
    parser = argparse.ArgumentParser(description="Train a small compiled GPT on names.")
    parser.add_argument("--epochs", type=int, default=20, help="times through (default 20)")
    parser.add_argument("--samples", type=int, default=5, help="names to invent (default 5)")
    arguments = parser.parse_args()

    model = gpt.make_model()
    print(f"{len(model.parameters()):,} parameters, {len(gpt.NAMES)} names, one a step")
    start = time.perf_counter()
    for epoch, loss in enumerate(train(model, arguments.epochs)):
        print(f"epoch {epoch:2d}  loss {loss:.6f}")
    print(f"{time.perf_counter() - start:.2f} seconds")
    generator = random.Random(1337)
    for _ in range(arguments.samples):
        print(gpt.sample(model, generator))


if __name__ == "__main__":
    main()
