"""Files of arrays: what a model has learnt, to be kept and to be taken elsewhere.

Both formats hold arrays and nothing else: nothing is executed when a file is read.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from microgradx._arrays import real_array
from microgradx.nn import Module

__all__ = ["load", "save"]

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]


def save(what: Module | Mapping[str, npt.ArrayLike], path: str | os.PathLike[str]) -> None:
    """Write arrays to a file, or the numbers of a model's parameters.

    The file is written beside its place first and then put there: whoever reads it meanwhile finds
    one or the other, and if writing fails, what was there before is what it was.

    Parameters
    ----------
    what : Module, or mapping of str to array
        A model, of which the :meth:`~microgradx.nn.Module.state_dict` is written, or the arrays.
    path : path
        Where to. Its ending chooses the format: ``.npz``, which is NumPy's, or ``.safetensors``,
        which needs the package of that name: ``pip install "microgradx[save]"``.

    Raises
    ------
    ValueError
        If the path ends in another way, or a name is one that files cannot hold.
    TypeError
        If `what` is neither, or an entry is not an array of real numbers of at most 64 bits.
    ImportError
        If the package ``safetensors`` is not installed.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import microgradx as mgx
    >>> model, twin = mgx.nn.MLP(2, [3, 1]), mgx.nn.MLP(2, [3, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mgx.save(model, Path(folder, "model.npz"))
    ...     twin.load_state_dict(mgx.load(Path(folder, "model.npz")))
    >>> twin([1.0, -2.0]).data == model([1.0, -2.0]).data
    True
    """
    path = Path(path)
    encode, _ = _codec(path)
    if not isinstance(what, (Module, Mapping)):
        raise TypeError(f"what must be a Module or a mapping, not {type(what).__name__}")
    state = what.state_dict() if isinstance(what, Module) else what
    content = encode({name: _array(name, a) for name, a in state.items()})
    # What a link leads to is written, not the link.
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{os.urandom(8).hex()}.part")
    try:
        with beside.open("xb") as file:
            with contextlib.suppress(FileNotFoundError):
                beside.chmod(stat.S_IMODE(target.stat().st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def load(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of a file that :func:`save` or somebody else has written.

    Parameters
    ----------
    path : path
        Where from: a file that ends in ``.npz`` or ``.safetensors``.

    Returns
    -------
    dict of str to numpy.ndarray
        As they were written, each with its own shape and kind of numbers.

    Raises
    ------
    ValueError
        If the path ends in another way, or if the file is none of this format or damaged.
    ImportError
        If the package ``safetensors`` is not installed.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import microgradx as mgx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mgx.save({"limits": [0.0, 1.0]}, Path(folder, "arrays.npz"))
    ...     mgx.load(Path(folder, "arrays.npz"))
    {'limits': array([0., 1.])}
    """
    path = Path(path)
    _, decode = _codec(path)
    content = path.read_bytes()
    try:
        return decode(content)
    except Exception as error:
        raise ValueError(
            f"{path} is no {path.suffix} file of numbers, or damaged: {error}"
        ) from error


def _codec(path: Path) -> tuple[Callable[[Arrays], bytes], Callable[[bytes], Arrays]]:
    """Return how arrays become a file's content, and back."""
    if path.suffix == ".npz":
        return _to_npz, _from_npz
    if path.suffix == ".safetensors":
        try:
            import safetensors.numpy
        except ImportError as error:
            raise ImportError(
                'files that end in .safetensors need a package: pip install "microgradx[save]"'
            ) from error
        return safetensors.numpy.save, safetensors.numpy.load
    raise ValueError(f"path must end in .npz or .safetensors, not {path.suffix!r}: {path}")


def _array(name: Any, array: Any) -> npt.NDArray[Any]:
    if not isinstance(name, str):
        raise TypeError(f"names must be strings, not {type(name).__name__}")
    if not name or name.endswith(".npy") or "\0" in name or name == "__metadata__":
        raise ValueError(f"{name!r} cannot be the name of an array in a file")
    made = real_array(repr(name), array)
    if made.dtype.itemsize > 8:
        raise TypeError(
            f"{name!r} must be an array of numbers of at most 64 bits, not {made.dtype}"
        )
    return np.ascontiguousarray(made).reshape(made.shape)


def _to_npz(arrays: Arrays) -> bytes:
    import zipfile  # which takes long, and only here

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as members:
        for name, array in arrays.items():
            with members.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return content.getvalue()


def _from_npz(content: bytes) -> Arrays:
    members = np.load(io.BytesIO(content), allow_pickle=False)
    if isinstance(members, np.ndarray):
        raise ValueError("it holds one array without a name, as .npy files do")
    with members:
        arrays = {name: members[name] for name in members.files}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name!r} is not an array")
    return arrays
