"""Files of arrays: what a model has learnt, to be kept and to be taken elsewhere.

Both formats hold arrays and nothing else: nothing is executed when a file is read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microgradx.nn import Module

__all__ = ["load", "save"]

_FORMATS = (".npz", ".safetensors")


def save(what: Module | Mapping[str, npt.ArrayLike], path: str | os.PathLike[str]) -> None:
    """Write arrays to a file, or the numbers of a model's parameters.

    The file is written beside its place first and then put there: if that fails, a file that was
    there before is what it was.

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
        If the path ends in another way.
    TypeError
        If an entry is not an array of real numbers.
    ImportError
        If the package ``safetensors`` is not installed.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import microgradx as mgx
    >>> model = mgx.nn.MLP(2, [3, 1])
    >>> mgx.save(model, "model.npz")                        # doctest: +SKIP
    >>> model.load_state_dict(mgx.load("model.npz"))        # doctest: +SKIP
    """
    path = Path(path)
    _check(path)
    import zipfile  # which takes long, and only here

    state = what.state_dict() if isinstance(what, Module) else what
    arrays = {}
    for name, array in state.items():
        if not isinstance(name, str):
            raise TypeError(f"names must be strings, not {type(name).__name__}")
        arrays[name] = np.ascontiguousarray(array)
        if arrays[name].dtype.kind not in "fiub":
            raise TypeError(f"{name!r} must be an array of real numbers, not {arrays[name].dtype}")
        arrays[name] = arrays[name].reshape(np.shape(array))
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(beside, "w") as members:
                for name, array in arrays.items():
                    with members.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
        else:
            beside.write_bytes(_safetensors().save(arrays))
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
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

    Raises
    ------
    ValueError
        If the path ends in another way, or if the file is none of this format or damaged.
    ImportError
        If the package ``safetensors`` is not installed.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    _check(path)
    if path.suffix == ".safetensors":
        safetensors = _safetensors()
        content = path.read_bytes()
        try:
            return dict(safetensors.load(content))
        except Exception as error:
            raise ValueError(f"{path} is no safetensors file, or damaged: {error}") from error
    import zipfile

    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is no npz file of numbers, or damaged: {error}") from error


def _check(path: Path) -> None:
    if path.suffix not in _FORMATS:
        raise ValueError(f"path must end in {' or '.join(_FORMATS)}, not {path.suffix!r}: {path}")


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            'files that end in .safetensors need a package: pip install "microgradx[save]"'
        ) from error
    return safetensors.numpy
