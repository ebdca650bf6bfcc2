"""What is installed: ``python -m microgradx info``."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import Any

from microgradx import _core

__all__ = ["information"]

# What optional packages are for, by the name of the package.
OPTIONAL = {
    "matplotlib": "plots, and the picture of the demo",
    "graphviz": "drawings of graphs",
    "safetensors": ".safetensors files",
    "tqdm": "the progress bar of the demo",
    "scikit-learn": "examples",
    "scipy": "examples",
    "dask": "examples",
    "ray": "examples",
    "mpi4py": "examples",
    "micrograd": "bench",
    "rich": "bench",
    "torch": "bench --peers and --compiled",
    "jax": "bench --peers and --compiled",
    "autograd": "bench --peers",
    "casadi": "bench --compiled",
}


def information() -> dict[str, Any]:
    """Collect what is to be known of the installation.

    Returns
    -------
    dict
        The versions, how the core was built, which instruction sets it uses, how many threads, and
        the versions of optional packages, None for those that are not installed.

    Examples
    --------
    >>> import microgradx
    >>> from microgradx.info import information
    >>> information()["microgradx"] == microgradx.__version__
    True
    """
    build = _core.build_info()
    return {
        "microgradx": build["version"],
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
        "system": f"{platform.system()} {platform.machine()}",
        "compiler": build["compiler"],
        "build type": build["build_type"],
        "kernels of layers": build["kernels"],
        "kernels of compiled functions": build["lane_kernels"],
        "threads": _core.get_num_threads(),
        "optional": {package: _version(package) for package in OPTIONAL},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def as_text(found: dict[str, Any]) -> str:
    """Return what :func:`information` has found as lines of text.

    Parameters
    ----------
    found : dict
    """
    lines = {name: value for name, value in found.items() if name != "optional"}
    width = max(map(len, [*lines, *OPTIONAL]))
    text = [f"{name:{width}}  {value}" for name, value in lines.items()]
    text.append("")
    for package, version in found["optional"].items():
        text.append(f"{package:{width}}  {version or '-':12}  {OPTIONAL[package]}")
    return "\n".join(text)


def as_json(found: dict[str, Any]) -> str:
    """Return what :func:`information` has found as JSON.

    Parameters
    ----------
    found : dict
    """
    return json.dumps(found, indent=2)
