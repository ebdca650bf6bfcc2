"""Operations that users define: a node with children, and a closure assigned to `_backward`."""

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Engine, count_living_nodes
from microgradx import Value


def sine(x: Any) -> Any:
    """Define the sine the micrograd way, on either engine."""
    out = type(x)(math.sin(x.data), (x,), "sine")

    def backward() -> None:
        x.grad += math.cos(x.data) * out.grad

    out._backward = backward
    return out


def mean(values: list[Any]) -> Any:
    """Define an operation of any number of operands."""
    out = type(values[0])(sum(v.data for v in values) / len(values), values, "mean")

    def backward() -> None:
        for v in values:
            v.grad += out.grad / len(values)

    out._backward = backward
    return out


def test_gradient_passes_through(engine: Engine) -> None:
    x = engine.Value(0.5)
    out = sine(x * 2.0) * 3.0
    out.backward()
    assert out.data == 3.0 * math.sin(1.0)
    assert x.grad == pytest.approx(3.0 * math.cos(1.0) * 2.0, rel=1e-15)


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_any_number_of_operands(engine: Engine, count: int) -> None:
    leaves = [engine.Value(float(i)) for i in range(count)]
    out = mean([leaf * leaf for leaf in leaves])
    out.backward()
    assert [leaf.grad for leaf in leaves] == pytest.approx([2 * i / count for i in range(count)])


def test_one_operand_twice(engine: Engine) -> None:
    x = engine.Value(3.0)
    out = mean([x, x])
    out.backward()
    assert (x.grad, out._prev) == (1.0, {x})


def test_alternating_with_native_operations(engine: Engine) -> None:
    x = engine.Value(0.1)
    out = x
    for _ in range(50):
        out = sine(out * 1.01) + x
    out.backward()
    step = 1e-7
    assert x.grad == pytest.approx((chain(0.1 + step) - chain(0.1 - step)) / (2 * step), rel=1e-6)


def chain(x: float) -> float:
    out = x
    for _ in range(50):
        out = math.sin(out * 1.01) + x
    return out


def test_a_closure_runs_once_and_after_all_consumers(engine: Engine) -> None:
    order = []

    def recorded(name: str, *operands: Any) -> Any:
        out = engine.Value(1.0, operands, name)
        out._backward = lambda: order.append(name)
        return out

    a = recorded("a", engine.Value(1.0))
    b = recorded("b", a)
    c = recorded("c", a, b)
    d = recorded("d", a, b, c)
    d.backward()
    assert order == ["d", "c", "b", "a"]


def test_a_node_without_a_closure_passes_nothing_on(engine: Engine) -> None:
    x = engine.Value(2.0)
    (engine.Value(2.0, (x,), "detached") * 3.0).backward()
    assert x.grad == 0


def test_a_closure_replaces_the_rule_of_a_native_operation(engine: Engine) -> None:
    x = engine.Value(2.0)
    product = x * 3.0
    product._backward = lambda: setattr(x, "grad", x.grad + 100.0 * product.grad)
    (product + 1.0).backward()
    assert x.grad == 100.0


def test_a_closure_may_wrap_the_rule_it_replaces(engine: Engine) -> None:
    seen = []
    x = engine.Value(2.0)
    product = x * 3.0
    original = product._backward

    def hook() -> None:
        seen.append(product.grad)
        original()

    product._backward = hook
    (product * 5.0).backward()
    assert (seen, x.grad) == ([5.0], 15.0)


def test_a_closure_on_a_leaf_runs_when_its_gradient_is_complete(engine: Engine) -> None:
    x = engine.Value(2.0)
    seen = []
    x._backward = lambda: seen.append(x.grad)
    (x * 3.0 + x * x + x).backward()
    assert seen == [3.0 + 4.0 + 1.0]


def test_a_closure_on_a_leaf_that_is_the_root(engine: Engine) -> None:
    x = engine.Value(2.0)
    seen = []
    x._backward = lambda: seen.append(x.grad)
    x.backward()
    assert seen == [1]


def test_a_closure_may_be_called_by_hand(engine: Engine) -> None:
    x = engine.Value(0.0)
    out = sine(x)
    out.grad = 4.0
    out._backward()
    out._backward()
    assert x.grad == 8.0


def test_deleting_a_closure_returns_to_the_nodes_own_rule() -> None:
    x = Value(2.0)
    product = x * 3.0
    product._backward = lambda: pytest.fail("was deleted")
    del product._backward
    product.backward()
    assert x.grad == 3.0
    del product._backward


@pytest.mark.parametrize("callback", [3, "text", None, Value(1.0)])
def test_what_cannot_be_called_is_refused(callback: object) -> None:
    node = Value(1.0) * 2
    with pytest.raises(TypeError, match="_backward must be callable"):
        node._backward = callback  # type: ignore[assignment]
    node.backward()


class DeliberateError(Exception):
    pass


@pytest.mark.parametrize("exception", [DeliberateError, KeyboardInterrupt, ZeroDivisionError])
def test_an_exception_reaches_the_caller_and_harms_nothing(
    exception: type[BaseException],
) -> None:
    def fail() -> None:
        raise exception("in the closure")

    x = Value(2.0)
    inner = x * 3.0
    failing = Value(1.0, (inner,), "failing")
    failing._backward = fail
    left, right = failing + inner, inner + 1.0
    root = left * right
    with pytest.raises(exception, match="in the closure"):
        root.backward()
    x.grad = inner.grad = 0
    (inner * inner).backward()
    assert x.grad == 2 * 6.0 * 3.0
    for node in (x, inner, failing, left, right):
        node.grad = 0
    failing._backward = lambda: None
    root.backward()
    # root = (1 + 3x) * (3x + 1), where the first 1 is a constant for all the closure says
    assert x.grad == 2 * 3.0 * 7.0


def test_an_exception_in_a_leafs_closure(engine: Engine) -> None:
    x, y = engine.Value(2.0), engine.Value(3.0)
    x._backward = y._backward = lambda: 1 / 0
    product = x * y
    with pytest.raises(ZeroDivisionError):
        product.backward()
    x._backward = y._backward = lambda: None
    x.grad = y.grad = 0
    product.backward()
    assert (x.grad, y.grad) == (3.0, 2.0)


def test_backward_within_a_closure(engine: Engine) -> None:
    """Differentiate one graph in the midst of differentiating another, with parts in common."""
    x = engine.Value(2.0)
    square = x * x
    probe = square * 10.0
    out = engine.Value(square.data, (square,), "probing")

    def backward() -> None:
        before = square.grad
        probe.backward()
        square.grad = before + out.grad

    out._backward = backward
    (out * 3.0 + square).backward()
    # Of the probe, when `square` has 1 already: (1 + 10) * 2x. Of the rest: (1 + 3) * 2x.
    assert x.grad == 44.0 + 16.0


def test_backward_of_the_same_graph_within_a_closure(engine: Engine) -> None:
    x = engine.Value(3.0)
    y = x * 2.0
    depth = 0
    out = engine.Value(y.data, (y,), "nested")

    def backward() -> None:
        nonlocal depth
        depth += 1
        if depth < 3:
            root.backward()
        y.grad += out.grad

    out._backward = backward
    root = out * 1.0
    root.backward()
    # Each of three passes adds to `out`, then `y`, then `x` what is there by then.
    assert (out.grad, y.grad, x.grad) == (3.0, 9.0, 2.0 * (3.0 + 6.0 + 9.0))


def test_a_closure_may_make_and_drop_graphs(engine: Engine) -> None:
    x = engine.Value(2.0)
    kept = []

    def noisy(operand: Any) -> Any:
        out = engine.Value(operand.data, (operand,), "noisy")

        def backward() -> None:
            for i in range(200):
                scratch = operand * float(i) + 1.0
            kept.append(scratch)
            operand.grad += out.grad

        out._backward = backward
        return out

    out = x
    for _ in range(100):
        out = noisy(out * 1.0)
    out.backward()
    assert x.grad == 1.0
    assert len(kept) == 100


def test_a_closure_may_change_data(engine: Engine) -> None:
    x = engine.Value(2.0)
    square = x * x
    out = engine.Value(square.data, (square,), "changing")

    def backward() -> None:
        x.data = 10.0
        square.grad += out.grad

    out._backward = backward
    out.backward()
    assert x.grad == 20.0


def test_a_leafs_closure_that_is_replaced_in_between_runs_once(engine: Engine) -> None:
    calls = []
    leaf = engine.Value(1.0)
    leaf._backward = lambda: calls.append("old")
    out = engine.Value(2.0, (leaf,), "own")

    def replace() -> None:
        del leaf._backward
        leaf._backward = lambda: calls.append("new")

    out._backward = replace
    (out * leaf).backward()
    assert calls == ["new"]


def test_closures_may_replace_each_other() -> None:
    a, b = Value(1.0), Value(2.0)
    a._backward = b._backward = lambda: None
    out = Value(3.0, (a, b), "fickle")

    def backward() -> None:
        out._backward = lambda: None
        a._backward = b._backward = lambda: calls.append("replaced")

    calls: list[str] = []
    out._backward = backward
    out.backward()
    assert calls == ["replaced", "replaced"]


def native_only(x: Value) -> Value:
    return x * 2.0 + 1.0


def custom_only(x: Value) -> Any:
    return sine(x)


def closure_on_a_native_node(x: Value) -> Value:
    product = x * 2.0
    product._backward = lambda: setattr(x, "grad", x.grad + 2.0 * product.grad)
    return product


def custom_below_native(x: Value) -> Any:
    return (sine(x) * 2.0 - 1.0) / 3.0


def custom_above_native(x: Value) -> Any:
    return sine(-((x + 1.0) ** 2))


def custom_of_many(x: Value) -> Any:
    return mean([sine(x), x * 2.0, x])


def custom_through_a_neuron(x: Value) -> Value:
    from microgradx.nn import Neuron

    return Neuron(2)([sine(x), x])


def closure_on_a_leaf(x: Value) -> Value:
    out = x * 2.0
    leaf = Value(1.0)
    leaf._backward = lambda: setattr(leaf, "seen", leaf.grad)
    return out + leaf


def closure_that_knows_the_root(x: Value) -> Value:
    product = x * 2.0
    root = product + 1.0
    product._backward = lambda: setattr(x, "grad", x.grad + 2.0 * root.grad)
    return root


def closure_on_a_leaf_that_knows_the_root(x: Value) -> Value:
    leaf = Value(3.0)
    root = x * leaf + 1.0
    leaf._backward = lambda: setattr(root, "seen", leaf.grad)
    return root


@pytest.mark.parametrize(
    "operation",
    [
        native_only,
        custom_only,
        closure_on_a_native_node,
        custom_below_native,
        custom_above_native,
        custom_of_many,
        custom_through_a_neuron,
        closure_on_a_leaf,
        closure_that_knows_the_root,
        closure_on_a_leaf_that_knows_the_root,
    ],
)
@pytest.mark.parametrize("depth", [1, 1000])
@pytest.mark.parametrize("use", ["dropped", "differentiated", "inspected"])
def test_one_collection_takes_all_of_a_graph(
    operation: Callable[[Value], Value], depth: int, use: str, living_nodes: Callable[[], int]
) -> None:
    baseline = living_nodes()
    gc.disable()
    try:
        x = Value(0.5)
        for _ in range(depth):
            x = operation(x)
            x.data = 0.5
            if use == "inspected":
                assert x._prev
        if use == "differentiated":
            x.backward()
        del x
        assert living_nodes() == baseline
    finally:
        gc.enable()


def test_a_cycle_is_collected_where_a_wrapper_holds_the_operands() -> None:
    before = count_living_nodes()
    leaf = Value(1.0)
    middle = leaf * 2.0
    out = middle + 1.0
    assert leaf in middle._prev

    def refer_to_the_root(out: Value = out) -> None: ...

    leaf._backward = refer_to_the_root
    del leaf, middle, out, refer_to_the_root
    assert count_living_nodes() == before


def test_a_graph_in_use_is_not_collected() -> None:
    x = Value(0.5)
    out = x
    for _ in range(100):
        out = sine(out) * 1.0
    gc.collect()
    out.backward()
    assert x.grad > 0
    assert out._prev


def test_a_closure_dies_with_its_node() -> None:
    class Callback:
        def __call__(self) -> None:
            pass

    callback = Callback()
    dead = weakref.ref(callback)
    node = Value(1.0) * 2.0
    node._backward = callback
    del callback
    assert dead() is not None
    del node
    assert dead() is None


def test_replacing_a_closure_releases_it() -> None:
    class Callback:
        def __call__(self) -> None:
            pass

    node = Value(1.0) * 2.0
    node._backward = Callback()
    dead = weakref.ref(node._backward)
    node._backward = Callback()
    assert dead() is None


def test_a_closure_survives_its_wrapper() -> None:
    x = Value(2.0)
    root = sine(x * 2.0) + 1.0
    gc.collect()
    root.backward()
    assert x.grad == 2 * math.cos(4.0)
