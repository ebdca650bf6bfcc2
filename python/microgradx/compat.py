"""Programs written for micrograd, run unchanged on microgradx."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

__all__ = ["install_as_micrograd", "run_script"]

_STAND_INS = {
    "micrograd": "microgradx",
    "micrograd.engine": "microgradx.engine",
    "micrograd.nn": "microgradx.nn",
}


def install_as_micrograd() -> None:
    """Make every later import of ``micrograd`` give microgradx.

    Afterwards ``from micrograd.engine import Value`` and ``from micrograd import nn`` bind
    microgradx's own classes, whether or not micrograd is installed. Calling it again does nothing.
    It holds for this process only: a process started by ``multiprocessing`` without fork has to
    call it as well.

    Warns
    -----
    RuntimeWarning
        If micrograd has been imported already, as names bound by then keep micrograd's classes.

    Examples
    --------
    >>> import microgradx
    >>> microgradx.install_as_micrograd()
    >>> from micrograd.engine import Value
    >>> Value is microgradx.Value
    True
    """
    modules = {alias: importlib.import_module(name) for alias, name in _STAND_INS.items()}
    if any(sys.modules.get(alias, module) is not module for alias, module in modules.items()):
        warnings.warn(
            "micrograd was imported before install_as_micrograd(), and names imported from it keep "
            "micrograd's classes; call install_as_micrograd() first, in a notebook after "
            "restarting the kernel",
            RuntimeWarning,
            stacklevel=2,
        )
    sys.modules.update(modules)


def run_script(script: str, arguments: Sequence[str] = ()) -> None:
    """Run a Python file as ``python script arguments...`` would, with microgradx as micrograd.

    The file becomes ``__main__`` of this process: ``sys.argv``, ``sys.path[0]`` and ``__file__``
    are what Python sets, and its exceptions, ``SystemExit`` included, reach the caller.

    Parameters
    ----------
    script : str
        Path of the Python file.
    arguments : sequence of str, optional
        What the script finds in ``sys.argv[1:]``.

    Raises
    ------
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from microgradx.compat import run_script
    >>> program = "from micrograd.engine import Value; print(Value(2.0) * 3)"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     script = Path(folder, "script.py")
    ...     assert script.write_text(program)
    ...     run_script(str(script))
    Value(data=6.0, grad=0)
    """
    # runpy.run_path would make sys.argv[0] and __file__ the same string, where Python keeps the
    # one as typed and makes the other absolute, and would take __main__ away at the end, while
    # exit handlers and threads of the script may still need it.
    from importlib.machinery import SourceFileLoader

    path = str(Path(script).absolute())
    loader = SourceFileLoader("__main__", path)
    source = loader.get_data(path)

    install_as_micrograd()
    sys.argv[:] = [script, *arguments]
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = str(Path(script).resolve().parent)
    main = ModuleType("__main__")
    main.__file__ = path
    main.__loader__ = loader
    sys.modules["__main__"] = main
    exec(loader.source_to_code(source, path), main.__dict__)
