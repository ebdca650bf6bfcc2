"""Backpropagate by hand, then train a tiny network: the program of the micrograd lecture.

A program for micrograd: it says nothing of microgradx.

    python examples/lecture.py                      on micrograd
    python -m microgradx run examples/lecture.py    on microgradx
"""

import argparse
import math
import random
from collections.abc import Iterator

from micrograd.engine import Value
from micrograd.nn import MLP

SAMPLES = [[1.5, -2.0, 0.5], [-1.0, 0.5, 2.5], [0.5, 2.0, -1.5], [2.0, -0.5, 1.0]]
TARGETS = [1.0, -1.0, -1.0, 1.0]


def tanh(self: Value) -> Value:
    """Return the hyperbolic tangent."""
    out = Value(math.tanh(self.data), (self,), "tanh")

    def _backward() -> None:
        self.grad += (1 - out.data**2) * out.grad

    out._backward = _backward
    return out


def exp(self: Value) -> Value:
    """Return e to the power of the value."""
    out = Value(math.exp(self.data), (self,), "exp")

    def _backward() -> None:
        self.grad += out.data * out.grad

    out._backward = _backward
    return out


for operation in (tanh, exp):
    if not hasattr(Value, operation.__name__):
        setattr(Value, operation.__name__, operation)


def make_neuron(spelled_out: bool = False) -> dict[str, Value]:
    """Return every node of a neuron of two inputs by its label, in the order of creation.

    Parameters
    ----------
    spelled_out
        Write the activation as (e**2n - 1) / (e**2n + 1) instead of tanh(n).
    """
    x1, x2 = Value(2.0), Value(0.0)
    w1, w2 = Value(-3.0), Value(1.0)
    # With this bias the slope of tanh at n is one half, so every gradient comes out round.
    b = Value(6 + math.atanh(math.sqrt(0.5)))
    x1w1 = x1 * w1
    x2w2 = x2 * w2
    products = x1w1 + x2w2
    n = products + b
    nodes = {"x1": x1, "x2": x2, "w1": w1, "w2": w2, "b": b}
    nodes |= {"x1*w1": x1w1, "x2*w2": x2w2, "x1*w1 + x2*w2": products, "n": n}
    if spelled_out:
        e = nodes["e"] = (2 * n).exp()
        nodes["o"] = (e - 1) / (e + 1)
    else:
        nodes["o"] = n.tanh()
    for label, node in nodes.items():
        node.label = label
    return nodes


def backpropagate_by_hand(nodes: dict[str, Value]) -> None:
    """Call each node's own rule once, from the output back to the inputs."""
    nodes["o"].grad = 1.0
    nodes["o"]._backward()
    nodes["n"]._backward()
    nodes["b"]._backward()
    nodes["x1*w1 + x2*w2"]._backward()
    nodes["x2*w2"]._backward()
    nodes["x1*w1"]._backward()


def train(steps: int) -> Iterator[float]:
    """Fit a small network to the four samples, yielding the squared error of each step."""
    random.seed(7)
    model = MLP(3, [4, 4, 1])
    for _ in range(steps):
        outputs = [model(sample) for sample in SAMPLES]
        loss: Value = sum((out - target) ** 2 for target, out in zip(TARGETS, outputs, strict=True))
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data += -0.05 * p.grad
        yield loss.data


def main() -> None:
    """Print the gradients of the neuron found in three ways, then the losses."""
    parser = argparse.ArgumentParser(description="Backpropagate by hand, then train.")
    parser.add_argument("--steps", type=int, default=20, help="gradient steps (default 20)")
    arguments = parser.parse_args()

    by_hand, automatic, spelled_out = make_neuron(), make_neuron(), make_neuron(spelled_out=True)
    backpropagate_by_hand(by_hand)
    automatic["o"].backward()
    spelled_out["o"].backward()

    print(f"{'node':>13}  {'data':>7}  {'by hand':>8}  backward()  exp spelled out")
    for label, node in by_hand.items():
        found = f"{automatic[label].grad:10.4f}  {spelled_out[label].grad:15.4f}"
        print(f"{label:>13}  {node.data:7.4f}  {node.grad:8.4f}  {found}")
    for step, loss in enumerate(train(arguments.steps)):
        print(f"step {step:2d}  loss {loss:.6f}")


if __name__ == "__main__":
    main()
