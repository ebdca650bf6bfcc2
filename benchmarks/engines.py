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
        spec = importlib.util.spec_from_file_location(
            f"{Path(program).stem}_on_{self.name}", EXAMPLES / program
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        displaced = {name: sys.modules.get(name) for name in stand_ins}
        sys.modules.update(stand_ins)
        try:
            spec.loader.exec_module(module)
        finally:
            for name, original in displaced.items():
                if original is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = original
        return module


MICROGRAD = Engine("micrograd")
MICROGRADX = Engine("microgradx")
ENGINES = (MICROGRAD, MICROGRADX)
