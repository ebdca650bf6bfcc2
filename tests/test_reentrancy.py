"""Python code that runs in the midst of the engine: finalisers, conversions, threads, collections.

Each program has a process to itself, since what is tested is that none can bring it down.
"""

import textwrap
from collections.abc import Callable

import pytest

PREAMBLE = """
import gc, numbers, random, sys, threading, weakref
from microgradx import Value, _core
from microgradx.nn import MLP, Layer, Neuron

def living_nodes():
    for _ in range(3):
        gc.collect()
    return _core.arena_counters()["nodes"]

def custom(*operands):
    out = Value(sum(o.data for o in operands), operands, "sum")
    def backward():
        for o in operands:
            o.grad += out.grad
    out._backward = backward
    return out

"""

PROGRAMS = {
    "weak callbacks that collect": """
        for kind in (Value, type("Special", (Value,), {})):
            for i in range(100):
                v = kind(1.0)
                v.tag = [i]
                r = weakref.ref(v, lambda r: gc.collect())
                del v
    """,
    "weak callbacks that use the engine": """
        x = Value(1.0)
        for i in range(100):
            v = x * 2
            v.tag = i
            r = weakref.ref(v, lambda r: ((x + 1) * 2).backward())
            w = v + 1
            del v
            w.backward()
            del w
        del x
    """,
    "finalisers that differentiate": """
        class Special(Value):
            def __del__(self):
                (self * 2 + 1).backward()
        x = Special(1.0)
        for _ in range(1000):
            x = Special(1.0, (x * 2,), "own")
        x.backward()
        del x
    """,
    "finalisers of attributes that drop graphs": """
        class Payload:
            def __init__(self, graph):
                self.graph = graph
            def __del__(self):
                self.graph.backward()
                self.graph = None
        x = Value(1.0)
        for i in range(1000):
            x = x * 1.0
            x.payload = Payload(Value(2.0) * 3)
        x.backward()
        del x
    """,
    "objects that come back to life": """
        saved = []
        class Special(Value):
            def __del__(self):
                saved.append(self)
        for i in range(100):
            x = Special(float(i))
            (x * 2).backward()
            del x
        assert [s.data for s in saved] == [float(i) for i in range(100)]
        sum(saved).backward()
        assert all(s.grad == 3 for s in saved)
        saved.clear()
    """,
    "a collection at every allocation": """
        gc.set_threshold(1)
        x = Value(1.0)
        out = x
        for i in range(300):
            out = custom(out * 1.0, x * 0.0)
            out.tag = [out]
            assert out._prev
        out.backward()
        assert x.grad == 1.0
        model = MLP(2, [3, 1])
        model([out, x]).backward()
        del x, out, model
    """,
    "a deep chain of custom operations": """
        x = out = Value(1.0)
        for _ in range(100_000):
            out = custom(out)
        out.backward()
        assert x.grad == 1
        del x, out
    """,
    "a deep chain of custom and native operations without the collector": """
        gc.disable()
        x = out = Value(1.0)
        for _ in range(50_000):
            out = Value(1.0, (out * 1.0,), "opaque")
            out._backward = int
        out.backward()
        del x, out
        assert _core.arena_counters()["nodes"] == 0
    """,
    "a deep chain of nodes with attributes": """
        out = Value(1.0)
        for i in range(100_000):
            out = out * 1.0
            out.number = i
        out.backward()
        del out
        assert _core.arena_counters()["nodes"] == 0
    """,
    "a deep chain that was inspected": """
        out = Value(1.0)
        for i in range(100_000):
            out = out.relu()
        node = out
        while node._prev:
            (node,) = node._prev
        del node
        out.backward()
        del out
        assert _core.arena_counters()["nodes"] == 0
    """,
    "a deep chain of attributes": """
        out = Value(1.0)
        for i in range(100_000):
            previous, out = out, Value(1.0)
            out.previous = previous
        del previous, out
    """,
    "a closure that deletes closures still to run": """
        a, b = Value(1.0), Value(2.0)
        out = Value(3.0, (a, b), "own")
        def backward():
            del a._backward
            del b._backward
        a._backward = b._backward = lambda: None
        out._backward = backward
        out.backward()
        del a, b, out
    """,
    "a closure of a leaf that deletes another's": """
        leaves = [Value(float(i)) for i in range(100)]
        def backward():
            for leaf in leaves:
                del leaf._backward
        for leaf in leaves:
            leaf._backward = backward
        sum(leaves).backward()
        leaves.clear()
        del leaf
    """,
    "a closure that deletes itself": """
        x = Value(1.0)
        out = custom(x * 2)
        def backward():
            del out._backward
            gc.collect()
        out._backward = backward
        (out * 2).backward()
        del x, out
    """,
    "a closure that inspects the graph": """
        x = Value(1.0)
        model = MLP(2, [4, 4, 1])
        inner = custom(x * 2)
        root = model([inner, x]) * 3
        def backward():
            waiting, seen = [root], {root}
            while waiting:
                new = waiting.pop()._prev - seen
                waiting += new
                seen |= new
            for node in seen - {inner}:
                node._backward()
            x.grad += 1
        inner._backward = backward
        root.backward()
        assert x.grad != 0
        del x, model, inner, root, backward
    """,
    "a closure that calls itself without end": """
        x = Value(1.0)
        out = Value(1.0, (x,), "own")
        out._backward = lambda: out.backward()
        try:
            (out * 2).backward()
        except RecursionError:
            pass
        else:
            raise AssertionError
        out._backward = lambda: setattr(x, "grad", x.grad + out.grad)
        x.grad = out.grad = 0
        (out * 2).backward()
        assert x.grad == 2.0
        del x, out
    """,
    "a closure that drops the root": """
        x = Value(1.0)
        holder = [custom(x) * 2]
        (middle,) = (o for o in holder[0]._prev if o._op == "sum")
        middle._backward = lambda: (holder.clear(), gc.collect())
        holder[0].backward()
        assert holder == []
        del x, middle
    """,
    "threads that differentiate with closures": """
        sys.setswitchinterval(1e-6)
        failures = []
        def work():
            try:
                for _ in range(100):
                    x = out = Value(1.0)
                    for _ in range(30):
                        out = custom(out * 1.0)
                    out.backward()
                    assert x.grad == 1.0, x.grad
            except BaseException as failure:
                failures.append(failure)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not failures, failures
        del threads, thread
    """,
    "passes of two threads that begin and end in the same order": """
        first_begun, second_begun, first_ended = (threading.Event() for _ in range(3))
        def waiting(x, begun, awaited):
            out = Value(x.data, (x,), "waiting")
            def backward():
                begun.set()
                assert awaited.wait(60)
                x.grad += out.grad
            out._backward = backward
            return out
        leaves = [Value(1.0), Value(1.0)]
        def first():
            (waiting(leaves[0] * 2.0, first_begun, second_begun) * 3.0).backward()
            first_ended.set()
        def second():
            assert first_begun.wait(60)
            (waiting(leaves[1] * 2.0, second_begun, first_ended) * 3.0).backward()
        threads = [threading.Thread(target=first), threading.Thread(target=second)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert [leaf.grad for leaf in leaves] == [6.0, 6.0]
        del threads, thread, leaves
    """,
    "threads that differentiate a graph in common": """
        sys.setswitchinterval(1e-6)
        x = out = Value(1.0)
        for _ in range(100):
            out = custom(out * 1.0)
        threads = [threading.Thread(target=out.backward) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        del threads, thread, x, out
    """,
    "threads without closures": """
        sys.setswitchinterval(1e-6)
        failures = []
        def work():
            try:
                model = MLP(2, [3, 1])
                for _ in range(200):
                    x = Value(1.0)
                    x.tag = [x]
                    (model([x, 1.0]) * 2).backward()
                    x._prev
            except BaseException as failure:
                failures.append(failure)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not failures, failures
        del threads, thread
    """,
    "numbers whose conversion empties the weights": """
        class Number:
            def __float__(self):
                neuron.w.clear()
                return 1.0
        numbers.Real.register(Number)
        for network in (lambda: neuron, lambda: layer):
            layer = Layer(50, 2)
            neuron = layer.neurons[0]
            try:
                network()([Number()] + [1.0] * 49)
            except (ValueError, IndexError, RuntimeError):
                pass
        del neuron, layer
    """,
    "numbers whose conversion empties the inputs": """
        class Number:
            def __index__(self):
                inputs.clear()
                gc.collect()
                return 1
        for network in (Neuron(500), Layer(500, 2)):
            for first, second in ((Value, float), (float, Value)):
                inputs = [Number(), *(first(i) * 1.5 for i in range(250))]
                inputs += [second(i) * 1.5 for i in range(249)]
                try:
                    network(inputs)
                except (ValueError, IndexError, RuntimeError):
                    pass
        del network, inputs
    """,
    "numbers whose conversion replaces the inputs": """
        class Number:
            def __init__(self, substitutes):
                self.substitutes = substitutes
            def __index__(self):
                inputs[:] = self.substitutes
                return 1
        for network in (Neuron(5), Layer(5, 2)):
            for count in (1, 5, 5000):
                for substitute in ("text", None, 2.5, Value(1.0), Number):
                    inputs = [Value(1.0) * 2, 1.0, Number([substitute] * count), Value(3.0), 5]
                    try:
                        network(inputs)
                    except (TypeError, ValueError, IndexError, RuntimeError):
                        pass
        del network, inputs, substitute
    """,
    "numbers whose conversion replaces the neuron": """
        class Number:
            def __index__(self):
                neuron.w = [Value(1.0)] * 3
                neuron.b = Value(5.0)
                neuron.activation = "tanh"
                layer.neurons.clear()
                gc.collect()
                return 1
        layer = Layer(3, 2)
        neuron = layer.neurons[0]
        try:
            layer([1.0, 2.0, Number()])
        except (ValueError, IndexError, RuntimeError):
            pass
        try:
            neuron([1.0, Number(), 2.0])
        except (ValueError, IndexError, RuntimeError):
            pass
        del neuron, layer
    """,
    "operators that empty the weights and inputs": """
        class Special(Value):
            def __mul__(self, other):
                neuron.w.clear()
                inputs.clear()
                gc.collect()
                return 1.0
            __rmul__ = __mul__
        neuron = Neuron(50)
        inputs = [Special(1.0) for _ in range(50)]
        try:
            neuron(inputs)
        except (ValueError, IndexError, RuntimeError):
            pass
        del neuron, inputs
    """,
    "activations that change the layer": """
        def activation(value):
            layer.neurons.clear()
            gc.collect()
            return value * 2
        layer = Layer(2, 5, activation=activation)
        outputs = layer([1.0, 2.0])
        del layer, outputs
    """,
    "children that make graphs while they are listed": """
        class Number:
            def __index__(self):
                gc.collect()
                sum(Value(float(i)) for i in range(200)).backward()
                return 3
        def children():
            for i in range(200):
                yield custom(Value(float(i)))
                gc.collect()
        node = Value(Number(), children(), "own")
        assert len(node._prev) == 200
        node.data = Number()
        node.grad = Number()
        del node
    """,
    "an initialiser called from within itself": """
        value = Value.__new__(Value)
        def children():
            value.__init__(5.0)
            yield Value(1.0)
        try:
            value.__init__(1.0, children())
        except RuntimeError:
            pass
        assert value.data == 5.0
        del value
    """,
    "classes exchanged": """
        class Special(Value):
            pass
        for _ in range(2000):
            for before, after in ((Value, Special), (Special, Value)):
                v = before(1.0)
                v.__class__ = after
                w = v * 2
                del v
                w.backward()
                del w
        values = [Value(float(i)) for i in range(2000)]
        assert sum(v.data for v in values) == 1999000.0
        del values
    """,
    "classes exchanged where the collector looks on": """
        class Lazy(Value):
            def __init__(self):
                pass
        class Undecided(Value):
            def __del__(self):
                self.__class__ = Value
        lazy = Lazy()
        lazy.__class__ = Value
        lazy.__init__(1.0)
        undecided = Value(1.0)
        undecided.__class__ = Undecided
        del lazy, undecided
        gc.collect()
        values = [Value(float(i)) for i in range(2000)]
        assert [v.data for v in values] == list(range(2000))
        del values
    """,
    "the node of a dying Value is found": """
        class Finder:
            def __del__(self):
                leaf._backward = lambda: None
        def find(reference=None):
            leaf._backward = lambda: None
        for attach in (
            lambda v: setattr(v, "attribute", Finder()),
            lambda v: references.append(weakref.ref(v, find)),
            lambda v: setattr(v, "_backward", lambda finder=Finder(): None),
            lambda v: (v._prev, setattr(v, "attribute", Finder())),
        ):
            references = []
            leaf = Value(1.0)
            dying = (leaf + 1) * 2
            attach(dying)
            del dying
            values = [Value(float(i)) for i in range(100)]
            assert [v.data for v in values] == list(range(100))
            total = leaf * 2
            total.backward()
            assert total._prev
            del leaf, values, total
        del references, attach
    """,
    "every method with every kind of argument": """
        import itertools
        arguments = [None, 1, 1.5, "a", Value(1.0), Value.__new__(Value), [1], object, (1.0, 0, {})]
        for name in sorted(vars(Value)):
            method = getattr(Value, name)
            for length in range(4 if callable(method) else 0):
                for chosen in itertools.product(arguments, repeat=length):
                    try:
                        method(*chosen)
                    except Exception:
                        pass
        del arguments, method, chosen
    """,
    "a random mixture": """
        random.seed(0)
        gc.set_threshold(5)
        class Special(Value):
            def __del__(self):
                (self.relu() * 2).backward()
        pool = [Value(random.random()) for _ in range(5)]
        model = MLP(2, [3, 1])
        references = []
        def a():
            return random.choice(pool)
        def drop():
            random.shuffle(pool)
            del pool[10:]
        def nested(x):
            out = Value(1.0, (x,), "nested")
            def backward():
                custom(Value(1.0) * 2).backward()
                x._prev
                drop()
                x.grad += out.grad
            out._backward = backward
            return out
        actions = [
            lambda: a() + a(), lambda: a() * 0.5, lambda: a().tanh(), lambda: -a(),
            lambda: custom(a(), a()), lambda: nested(a()), lambda: Special(1.0),
            lambda: model([a(), 1.0]), lambda: model.layers[0].neurons[0]([a(), a()]),
            lambda: a().backward(), lambda: a()._prev, lambda: drop(),
            lambda: setattr(a(), "tag", [1]), lambda: a()._backward(),
            lambda: references.append(weakref.ref(a(), lambda r: gc.collect())),
            lambda: pool.extend(a()._prev), lambda: model.zero_grad(),
        ]
        for _ in range(5000):
            result = random.choice(actions)()
            if isinstance(result, Value):
                result.data = random.random()
                pool.append(result)
            for value in pool:
                value.grad = 0.0
        del result, value, model
        pool.clear()
    """,
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_nothing_breaks_and_nothing_is_left(program: str, run_python: Callable[..., str]) -> None:
    assert run_python(f"{PREAMBLE}{textwrap.dedent(program)}\nprint(living_nodes())") == "0\n"


def test_the_interpreter_ends_quietly(run_python: Callable[..., str]) -> None:
    """With graphs, closures and finalisers still around, in places that outlive modules."""
    printed = run_python(
        PREAMBLE
        + textwrap.dedent(
            """
            import atexit, builtins
            class Special(Value):
                def __del__(self):
                    (self * 2).backward()
            out = Special(1.0)
            for _ in range(100):
                out = custom(out * 1.0)
            out.tag = [out]
            builtins.hidden = [out, Special(2.0), MLP(2, [2, 1])]
            sys.modules["kept"] = custom(out)
            finalizer = weakref.finalize(out, print, "finalised")
            atexit.register(out.backward)
            gc.disable()
            print("end")
            """
        )
    )
    assert printed == "end\nfinalised\n"
