"""Draw the graphs behind an expression and a neuron, as micrograd's tracing notebook does.

A program for micrograd: it says nothing of microgradx. Needs the `graphviz` package; the
pictures also need Graphviz itself, without which only its source files (`.gv`) are written.

    python examples/trace_graph.py                      on micrograd
    python -m microgradx run examples/trace_graph.py    on microgradx
"""

import argparse
import random
from pathlib import Path

from graphviz import Digraph, ExecutableNotFound
from micrograd.engine import Value
from micrograd.nn import Neuron


def trace(root: Value) -> tuple[set[Value], set[tuple[Value, Value]]]:
    """Return the nodes `root` was computed from, itself included, and the (input, node) edges."""
    nodes: set[Value] = set()
    edges: set[tuple[Value, Value]] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if node not in nodes:
            nodes.add(node)
            edges.update((child, node) for child in node._prev)
            pending.extend(node._prev)
    return nodes, edges


def draw_dot(root: Value) -> Digraph:
    """Return a drawing of the graph of `root`, from left to right.

    A value is a box with its label, if it has one, its data and its gradient; the operation
    that made it is an ellipse before it.
    """
    dot = Digraph(format="svg", graph_attr={"rankdir": "LR"})
    nodes, edges = trace(root)
    for node in nodes:
        fields = [f"data {node.data:.4f}", f"grad {node.grad:.4f}"]
        if label := getattr(node, "label", ""):
            fields.insert(0, label)
        dot.node(str(id(node)), label=f"{{ {' | '.join(fields)} }}", shape="record")
        if node._op:
            dot.node(str(id(node)) + node._op, label=node._op)
            dot.edge(str(id(node)) + node._op, str(id(node)))
    for child, node in edges:
        dot.edge(str(id(child)), str(id(node)) + node._op)
    return dot


def make_expression() -> Value:
    """Return a small labelled expression after its backward pass."""
    a, b = Value(2.0), Value(-1.0)
    c = a * b + a**2
    d = (c - b / a).relu() + c
    a.label, b.label, c.label, d.label = "a", "b", "c", "d"
    d.backward()
    return d


def make_neuron() -> Value:
    """Return the output of a neuron of two inputs after its backward pass."""
    random.seed(1337)
    neuron = Neuron(2)
    y = neuron([Value(1.0), Value(-2.0)])
    y.backward()
    return y


def main() -> None:
    """Write both drawings and say where they are."""
    parser = argparse.ArgumentParser(description="Draw two small graphs.")
    parser.add_argument(
        "--directory", type=Path, default=Path(), help="where to write (default: here)"
    )
    directory = parser.parse_args().directory

    for name, root in (("expression", make_expression()), ("neuron", make_neuron())):
        nodes, edges = trace(root)
        dot = draw_dot(root)
        try:
            source = dot.save(directory / f"{name}.gv")
        except OSError as error:
            parser.error(f"cannot write to --directory {directory}: {error.strerror}")
        print(f"{name}: {len(nodes)} nodes, {len(edges)} edges, source in {source}")
        try:
            print(f"{name}: picture in {dot.render(outfile=directory / f'{name}.svg')}")
        except ExecutableNotFound:
            print(f"{name}: no picture, for the program 'dot' is not installed (graphviz.org)")


if __name__ == "__main__":
    main()
