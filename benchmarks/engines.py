"""The two engines, and programs loaded once for each."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@dataclass(frozen=True)
class Engine:
    """A package with the modules ``engine`` and ``nn``."""

    name: str

    @property
    def Value(self) -> Any:
        """The package's scalar class."""
        return importlib.import_module(f"{self.name}.engine").Value

    @property
    def MLP(self) -> Any:
        """The package's multilayer perceptron."""
        return importlib.import_module(f"{self.name}.nn").MLP

    def load(self, program: str) -> ModuleType:
        """Execute a program of ``examples/`` with this engine behind the name ``micrograd``."""
        stand_ins = {
            f"micrograd{submodule}": importlib.import_module(f"{self.name}{submodule}")
            for submodule in ("", ".engine", ".nn")
        }
        # A program may import another one, which is executed anew as well.
        names = (*stand_ins, *(path.stem for path in EXAMPLES.glob("*.py")))
        spec = importlib.util.spec_from_file_location(
            f"{Path(program).stem}_on_{self.name}", EXAMPLES / program
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        displaced = {name: sys.modules.pop(name) for name in names if name in sys.modules}
        sys.modules.update(stand_ins)
        sys.path.insert(0, str(EXAMPLES))
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(EXAMPLES))
            for name in names:
                sys.modules.pop(name, None)
            sys.modules.update(displaced)
        return module


MICROGRAD = Engine("micrograd")
MICROGRADX = Engine("microgradx")
ENGINES = (MICROGRAD, MICROGRADX)
