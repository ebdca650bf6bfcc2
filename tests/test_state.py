"""What a model has learnt can be named, frozen, kept in files and taken to PyTorch and back."""

import math
import os
import random
import re
import stat
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import microgradx as mgx
import numpy as np
import pytest
from microgradx import Value, nn
from microgradx.nn import MLP, Layer, Module, Neuron

pytestmark = pytest.mark.usefixtures("nodes_return_to_the_baseline")

SUFFIXES = [".npz", ".safetensors"]
every_format = pytest.mark.parametrize("suffix", SUFFIXES)


class Branches(Module):
    """Keeps parameters in all the ways that there are."""

    def __init__(self) -> None:
        self.scale = Value(2.0)
        self.table = [[Value(1.0), Value(2.0), Value(3.0)], [Value(4.0), Value(5.0), Value(6.0)]]
        self.parts: list[Any] = [Neuron(2), (Layer(2, 3), Value(7.0))]
        self.named: dict[str, Any] = {"left": MLP(1, [2]), "right": Value(8.0)}
        self.size, self.name, self.nothing, self.empty = 3, "name", None, list[Value]()

    def parameters(self) -> list[Value]:
        neuron, (layer, value) = self.parts
        left, right = self.named.values()
        table = [v for row in self.table for v in row]
        nested = [*neuron.parameters(), *layer.parameters(), value, *left.parameters(), right]
        return [self.scale, *table, *nested]


SHAPES = {
    "scale": (),
    "table": (2, 3),
    "parts.0.weight": (2,),
    "parts.0.bias": (),
    "parts.1.0.weight": (3, 2),
    "parts.1.0.bias": (3,),
    "parts.1.1": (),
    "named.left.layers.0.weight": (2, 1),
    "named.left.layers.0.bias": (2,),
    "named.right": (),
}


def test_names_and_shapes() -> None:
    state = Branches().state_dict()
    assert {name: array.shape for name, array in state.items()} == SHAPES
    assert list(state) == list(SHAPES)
    assert state["table"].tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert all(array.dtype == np.float64 for array in state.values())


def test_a_state_is_a_copy() -> None:
    model = Branches()
    state = model.state_dict()
    state["scale"][...] = 9.0
    assert model.scale.data == 2.0
    model.load_state_dict(state)
    assert model.scale.data == 9.0
    model.scale.data = 1.0
    assert state["scale"] == 9.0


def test_loading_keeps_the_values_and_their_gradients() -> None:
    model, other = Branches(), Branches()
    before = model.parameters()
    before[0].grad = 3.0
    model.load_state_dict(other.state_dict())
    assert all(p is q for p, q in zip(before, model.parameters(), strict=True))
    assert before[0].grad == 3.0
    assert [p.data for p in before] == [p.data for p in other.parameters()]


def test_neurons_that_are_not_alike_go_one_by_one() -> None:
    class Own(Neuron):
        pass

    layer = Layer(2, 2)
    layer.neurons[1] = Own(2)
    names = ["neurons.0.weight", "neurons.0.bias", "neurons.1.weight", "neurons.1.bias"]
    assert list(layer.state_dict()) == names
    layer = Layer(2, 2)
    layer.neurons[0].w.append(Value(0.0))
    assert list(layer.state_dict()) == names


def test_values_that_are_no_parameters_are_left_out() -> None:
    layer = Layer(2, 2)
    layer.neurons[0].gain = Value(1.0)  # type: ignore[attr-defined]
    layer.last = layer.neurons[0].w[0] * 2.0  # type: ignore[attr-defined]
    assert list(layer.state_dict()) == ["weight", "bias"]

    class Scaled(Layer):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.scale = Value(2.0)

        def parameters(self) -> list[Value]:
            return [*super().parameters(), self.scale]

    assert list(Scaled().state_dict()) == ["weight", "bias", "scale"]


def test_parameters_without_a_name() -> None:
    class Hidden(Module):
        def __init__(self) -> None:
            self.known = Value(1.0)
            self.hidden = {Value(2.0), Value(3.0)}

        def parameters(self) -> list[Value]:
            return [self.known, *self.hidden]

    with pytest.raises(ValueError, match="2 of the parameters are in no attribute of Hidden"):
        Hidden().state_dict()


def test_a_model_that_names_parameters_but_lists_none() -> None:
    class Forgetful(Module):
        def __init__(self) -> None:
            self.layer = MLP(2, [3])
            self.scale = Value(1.0)

    for use in (Forgetful().state_dict, lambda: Forgetful().load_state_dict({})):
        with pytest.raises(ValueError, match=r"Forgetful has no parameters\(\) of its own"):
            use()
    assert Module().state_dict() == {}


def without(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], type[Exception], str]] = {
    "missing": (lambda s: without(s, "layers.0.bias"), KeyError, "no entry 'layers.0.bias'\""),
    "empty": (lambda s: {}, KeyError, r"no entry 'layers.0.weight' \(and 3 more\)"),
    "extra": (lambda s: s | {"x": 1.0}, KeyError, "an entry 'x', of which MLP has no parameters"),
    "shape": (
        lambda s: s | {"layers.1.weight": np.zeros((3, 1))},
        ValueError,
        r"state\['layers.1.weight'\] must have shape \(1, 3\), not \(3, 1\)",
    ),
    "complex": (lambda s: s | {"layers.1.bias": np.ones(1) * 1j}, TypeError, "not of complex128"),
    "text": (lambda s: s | {"layers.1.bias": ["x"]}, TypeError, "must be an array of real numbers"),
    "ragged": (
        lambda s: s | {"layers.1.bias": [[1.0], 2.0]},
        ValueError,
        r"state\['layers.1.bias'\] must be an array",
    ),
    "list": (list, TypeError, "state must be a mapping, not list"),
}


@pytest.mark.parametrize("which", BAD)
def test_bad_states(which: str) -> None:
    damage, error, message = BAD[which]
    model = MLP(2, [3, 1])
    before = [p.data for p in model.parameters()]
    state = {name: array + 1 for name, array in model.state_dict().items()}
    with pytest.raises(error, match=message):
        model.load_state_dict(damage(state))
    assert [p.data for p in model.parameters()] == before


def test_a_state_that_need_not_be_complete() -> None:
    model = MLP(2, [3, 1])
    before = model.state_dict()
    model.load_state_dict({"layers.1.bias": [5.0], "x": 1.0}, strict=False)
    assert model.layers[1].neurons[0].b.data == 5.0
    assert (model.state_dict()["layers.0.weight"] == before["layers.0.weight"]).all()
    with pytest.raises(ValueError, match="must have shape"):
        model.load_state_dict({"layers.1.bias": 5.0}, strict=False)


def test_integers_become_floats() -> None:
    model = MLP(1, [1])
    model.load_state_dict({"layers.0.weight": [[2]], "layers.0.bias": np.array([0.5], np.float32)})
    assert [repr(p.data) for p in model.parameters()] == ["2.0", "0.5"]


def test_freezing() -> None:
    model = MLP(2, [3, 2, 1])
    first, second, third = (layer.parameters() for layer in model.layers)
    assert model.trainable_parameters() == model.parameters()
    model.layers[0].freeze()
    model.layers[1].neurons[1].freeze()
    assert model.trainable_parameters() == second[:4] + third
    assert model.parameters() == first + second + third
    optimiser = mgx.optim.SGD(model.trainable_parameters(), lr=0.5)
    for p in model.parameters():
        p.grad = 1.0
    before = [p.data for p in first]
    optimiser.step()
    assert [p.data for p in first] == before
    model.unfreeze()
    assert model.trainable_parameters() == model.parameters()
    model.freeze()
    assert model.trainable_parameters() == []


def test_freezing_changes_no_names() -> None:
    model = MLP(2, [2, 1])
    state = model.state_dict()
    model.layers[0].freeze()
    model.layers[1].neurons[0].freeze()
    assert list(model.state_dict()) == list(state)
    model.unfreeze()
    model.load_state_dict(state)


def test_a_part_of_what_is_frozen() -> None:
    model = MLP(2, [2, 1])
    model.freeze()
    model.layers[1].unfreeze()
    assert model.trainable_parameters() == model.layers[1].parameters()


def test_modules() -> None:
    model = Branches()
    kinds = [type(module).__name__ for module in model.modules()]
    layer = ["Layer", "Neuron", "Neuron", "Neuron"]
    assert kinds == ["Branches", "Neuron", *layer, "MLP", "Layer", "Neuron", "Neuron"]


# Files --------------------------------------------------------------------------------------------


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def save_and_load(what: Any, path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    mgx.save(what, path)
    return mgx.load(path)


@every_format
def test_a_model_goes_through_a_file(tmp_path: Path, suffix: str) -> None:
    model, twin = Branches(), Branches()
    twin.load_state_dict(save_and_load(model, tmp_path / f"model{suffix}"))
    assert [p.data for p in twin.parameters()] == [p.data for p in model.parameters()]
    assert names_in(tmp_path) == [f"model{suffix}"]


@every_format
def test_arrays_go_through_a_file(tmp_path: Path, suffix: str) -> None:
    arrays: dict[str, Any] = {
        "file": np.arange(6.0).reshape(2, 3),
        "a/b.c": np.array([math.nan, math.inf, -0.0]),
        "number": np.float64(3.0),
        "transposed": np.arange(6).reshape(2, 3).T,
        "nothing": np.zeros((0, 3)),
        "half": np.ones(2, np.float32),
        "list": [1.0, 2.0],
    }
    loaded = save_and_load(arrays, tmp_path / f"arrays{suffix}")
    assert sorted(loaded) == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == np.asarray(array).dtype
        assert loaded[name].shape == np.shape(array)


@every_format
def test_others_read_what_is_saved(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    expected = save_and_load(MLP(2, [3]), path)
    if suffix == ".npz":
        with np.load(path) as arrays:
            loaded = dict(arrays)
    else:
        loaded = pytest.importorskip("safetensors.numpy").load_file(path)
    assert all((loaded[name] == expected[name]).all() for name in expected)
    assert sorted(loaded) == sorted(expected)


@every_format
@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04nonsense", b"\xff" * 100])
def test_damaged_files(tmp_path: Path, suffix: str, content: bytes) -> None:
    if suffix == ".safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"damaged{suffix} is no .* or damaged"):
        mgx.load(path)


def test_an_array_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "array.npz"
    with path.open("wb") as file:
        np.save(file, np.arange(3.0))
    with pytest.raises(ValueError, match="one array without a name"):
        mgx.load(path)


@every_format
def test_a_file_that_ends_too_early(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"short{suffix}"
    save_and_load({"x": np.arange(1000.0)}, path)
    content = path.read_bytes()
    for length in range(0, len(content), 500):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="damaged"):
            mgx.load(path)


def test_nothing_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, x=np.array([print], dtype=object))
    with pytest.raises(ValueError, match=r"no \.npz file of numbers"):
        mgx.load(path)


@every_format
def test_a_file_that_cannot_be_written_stays_what_it_was(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"model{suffix}"
    save_and_load({"x": np.ones(3)}, path)

    def full(*args: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="no space left"):
            mgx.save({"x": np.zeros(3)}, path)
    assert mgx.load(path)["x"].tolist() == [1.0, 1.0, 1.0]
    assert names_in(tmp_path) == [path.name]


def test_places_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        mgx.save({}, tmp_path / "missing" / "x.npz")
    with pytest.raises(FileNotFoundError):
        mgx.load(tmp_path / "x.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(OSError, match=r"folder\.npz"):
        mgx.save({}, tmp_path / "folder.npz")
    with pytest.raises(OSError, match=r"folder\.npz"):
        mgx.load(tmp_path / "folder.npz")
    assert names_in(tmp_path) == ["folder.npz"]


@pytest.mark.parametrize("name", ["model", "model.pt", "model.NPZ"])
def test_unknown_formats(tmp_path: Path, name: str) -> None:
    for use in (lambda path: mgx.save({}, path), mgx.load):
        with pytest.raises(ValueError, match=r"path must end in \.npz or \.safetensors"):
            use(tmp_path / name)


@pytest.mark.parametrize("array", [["x"], [1j], [None], object()])
def test_what_is_not_an_array_of_numbers(tmp_path: Path, array: Any) -> None:
    with pytest.raises(TypeError, match="'x' must be an array of real numbers"):
        mgx.save({"x": array}, tmp_path / "x.npz")
    with pytest.raises(TypeError, match="names must be strings, not int"):
        mgx.save({1: [1.0]}, tmp_path / "x.npz")  # type: ignore[dict-item]
    assert names_in(tmp_path) == []


def test_a_name_that_is_none(tmp_path: Path) -> None:
    for name in ("", "x.npy", "a\0b", "__metadata__"):
        with pytest.raises(ValueError, match="cannot be the name of an array"):
            mgx.save({name: [1.0]}, tmp_path / "x.npz")
    with pytest.raises(TypeError, match="what must be a Module or a mapping, not list"):
        mgx.save([1.0], tmp_path / "x.npz")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'x' must be an array"):
        mgx.save({"x": [[1.0], 2.0]}, tmp_path / "x.npz")  # type: ignore[dict-item]


def test_what_is_no_array_in_a_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as members:
        members.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"readme\.txt' is not an array"):
        mgx.load(tmp_path / "x.npz")
    np.save(tmp_path / "y.npy", np.ones(2))
    (tmp_path / "y.npy").rename(tmp_path / "y.npz")
    with pytest.raises(ValueError, match=r"no \.npz file of numbers"):
        mgx.load(tmp_path / "y.npz")


@every_format
def test_bytes_that_were_changed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    save_and_load(MLP(2, [3, 1]), path)
    content = path.read_bytes()
    generator = random.Random(0)
    refused = 0
    for _ in range(500):
        damaged = bytearray(content)
        for _ in range(generator.randrange(1, 4)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            mgx.load(path)
        except ValueError:
            refused += 1
    assert refused > 50


def test_a_link_is_kept_and_so_is_the_mode(tmp_path: Path) -> None:
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    mgx.save({"x": [1.0]}, target)
    target.chmod(0o600)
    link.symlink_to(target)
    mgx.save({"x": [2.0]}, link)
    assert link.is_symlink()
    assert mgx.load(target)["x"].tolist() == [2.0]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_threads_that_write_to_one_place(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"

    def write(number: int) -> None:
        for _ in range(30):
            mgx.save({"x": np.full(10_000, number)}, path)
            assert len(set(mgx.load(path)["x"].tolist())) == 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    assert names_in(tmp_path) == ["x.npz"]


def test_the_umask_counts(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        mgx.save({"x": [1.0]}, tmp_path / "x.npz")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "x.npz").stat().st_mode) == 0o640


def test_without_safetensors(tmp_path: Path, run_python: Callable[..., str]) -> None:
    printed = run_python("""
        import sys
        sys.modules["safetensors"] = None
        import microgradx
        for use in (lambda path: microgradx.save({}, path), microgradx.load):
            try:
                use("x.safetensors")
            except ImportError as error:
                print(error)
    """)
    assert printed.count('pip install "microgradx[save]"') == 2


@every_format
def test_many_parameters(tmp_path: Path, suffix: str) -> None:
    model = MLP(784, [128, 10])
    started = time.perf_counter()
    model.load_state_dict(save_and_load(model, tmp_path / f"model{suffix}"))
    assert time.perf_counter() - started < 60
    assert len(mgx.load(tmp_path / f"model{suffix}")["layers.0.weight"]) == 128


# The checks of gradients --------------------------------------------------------------------------


def wrong_square(x: Value) -> Value:
    square = Value(x.data**2, (x,))

    def backward() -> None:
        x.grad += 1.999 * x.data * square.grad

    square._backward = backward
    return square


def test_results_of_an_ended_trace_are_no_parameters() -> None:
    class Remembers(Module):
        def __init__(self) -> None:
            self.weight = Value(2.0)

        def parameters(self) -> list[Value]:
            return [self.weight]

        def __call__(self, x: Any) -> Any:
            self.result = self.weight * x
            return self.result * 2

    model = Remembers()
    mgx.compile(model)(3.0)
    assert model.state_dict() == {"weight": np.array(2.0)}
    model.load_state_dict({"weight": 5.0})
    assert model.weight.data == 5.0


def test_values_in_an_array_of_objects_have_its_shape() -> None:
    class Table(Module):
        def __init__(self) -> None:
            self.values = np.array(mgx.values(np.zeros((2, 3))), dtype=object)

        def parameters(self) -> Any:
            return self.values.tolist()

        def named_parameters(self, prefix: str = "") -> Any:
            yield f"{prefix}table", self.values

    table = Table()
    numbers = np.arange(6.0).reshape(2, 3)
    table.load_state_dict({"table": numbers})
    assert np.array_equal(table.state_dict()["table"], numbers)


def test_grad_check_of_right_gradients() -> None:
    random.seed(0)
    network = MLP(3, [4, 1], activation="tanh")
    target = np.array([0.5, -1.0])

    def loss(x: Any, y: Any) -> Any:
        return mgx.losses.mse([network(row) for row in x], y)

    x = np.random.default_rng(0).normal(size=(2, 3))
    for function in (loss, mgx.compile(loss)):
        found = mgx.grad_check(function, x, target)
        assert found
        assert found.ok
        assert found.entries == 8


def test_grad_check_of_a_wrong_gradient() -> None:
    def function(x: Any, y: Any) -> Any:
        return x * x + y[0][0] * 2.0 + wrong_square(y[0][1]) + y[1][0].exp()

    found = mgx.grad_check(function, 1.0, [[1.0, 3.0], [0.0, 0.0]])
    assert not found
    assert (found.argument, found.index) == (2, (0, 1))
    assert found.gradient == 1.999 * 3
    assert found.difference == pytest.approx(6.0)
    assert str(found).startswith(
        "NOT all gradients agree; the worst of 5 is by argument 2[0][1]: 5"
    )
    assert mgx.grad_check(function, 1.0, [[1.0, 3.0], [0.0, 0.0]], rtol=1e-3)


def test_grad_check_of_nan() -> None:
    found = mgx.grad_check(lambda x: x * math.nan, 1.0)
    assert not found
    assert math.isnan(found.gradient)


def test_grad_check_of_large_numbers() -> None:
    assert mgx.grad_check(lambda x: x * x, 1e9)
    assert not mgx.grad_check(wrong_square, 1e9)


def test_grad_check_of_bad_arguments() -> None:
    with pytest.raises(ValueError, match="no number among the arguments"):
        mgx.grad_check(lambda: Value(1.0))
    with pytest.raises(ValueError, match="no number among the arguments"):
        mgx.grad_check(lambda x: Value(1.0), [])
    with pytest.raises(TypeError, match="function must return a Value, not float"):
        mgx.grad_check(lambda x: 1.0, 1.0)
    for bad in ("1.5", None, 1j):
        with pytest.raises(TypeError, match="argument 2 must consist of real numbers"):
            mgx.grad_check(lambda x, y: x, 1.0, bad)
    with pytest.raises(TypeError, match="argument 1 must consist of real numbers or of Values"):
        mgx.grad_check(lambda x: x[0], [Value(1.0), 2.0])
    with pytest.raises(ValueError, match="step must be positive, not 0"):
        mgx.grad_check(lambda x: x, 1.0, step=0)
    with pytest.raises(TypeError, match="step must be a number, not str"):
        mgx.grad_check(lambda x: x, 1.0, step="0.1")  # type: ignore[arg-type]


def test_grad_check_leaves_the_values_it_is_given_alone() -> None:
    x, y = mgx.values([3.0, -2.0])
    found = mgx.grad_check(lambda pair, factor: pair[0] * pair[1] * factor, [x, y], Value(4.0))
    assert found.ok
    assert found.entries == 3
    assert (x.data, x.grad, y.data, y.grad) == (3.0, 0, -2.0, 0)


def test_grad_check_without_tolerance() -> None:
    assert mgx.grad_check(lambda x: x + 0.0, 0.0, rtol=0, atol=0)
    assert not mgx.grad_check(lambda x: x.sin(), 1.0, rtol=0, atol=0)


@pytest.mark.parametrize("page", ["README.md", "docs/training.md"])
def test_weights_travel_to_torch_and_back(page: str) -> None:
    """The two lines on the pages do what they promise."""
    text = (Path(__file__).parents[1] / page).read_text("utf-8")
    found = re.search(r"^```py\n(torch_model\..*)\n(model\..*)\n```", text, re.MULTILINE)
    assert found is not None
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    class Network(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            sizes = [(3, 5), (5, 4), (4, 2)]
            self.layers = torch.nn.ModuleList([torch.nn.Linear(*size) for size in sizes])

        def forward(self, x: Any) -> Any:
            for layer in self.layers[:-1]:
                x = layer(x).relu()
            return self.layers[-1](x)

    model, network = MLP(3, [5, 4, 2]), Network().double()
    x = np.random.default_rng(0).normal(size=(10, 3))
    compute = mgx.compile(lambda row: nn.MLP.__call__(model, row))

    exec(found[1], {"torch": torch, "torch_model": network, "model": model})
    there = network(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(compute.map(x), there, rtol=1e-12, atol=1e-15)

    other = Network().double()
    exec(found[2], {"torch_model": other, "model": model})
    back = other(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(compute.map(x), back, rtol=1e-12, atol=1e-15)
