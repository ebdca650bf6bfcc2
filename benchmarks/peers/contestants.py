"""Who takes part, and why somebody does not."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..programs import Step
from .workloads import DIGITS, MOONS_SGD


@dataclass(frozen=True)
class Peer:
    """A library, and the module here that uses it.

    Attributes
    ----------
    name
        What tables call it.
    package
        What is imported and installed.
    module
        Here; its ``STEPS`` makes the step of each workload, and executing it shows that it works.
    lacks
        Why it has no part in a workload.
    """

    name: str
    package: str
    module: str
    lacks: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def steps(self) -> dict[str, Callable[[], Step]]:
        """What makes the step of each workload; the library is imported."""
        module = importlib.import_module(f".{self.module}", __package__)
        steps: dict[str, Callable[[], Step]] = module.STEPS
        return steps

    def objection(self) -> str | None:
        """Return why it cannot be used here, as a fresh process finds out."""
        if importlib.util.find_spec(self.package) is None:
            return "not installed"
        command = [sys.executable, "-m", f"{__package__}.{self.module}"]
        trial = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
        )
        if trial.returncode == 0:
            return None
        errors = re.findall(r"^[\w.]+: .*", trial.stderr, re.MULTILINE)
        return errors[-1] if errors else f"it ended with code {trial.returncode}"


MICROGRAD = Peer(
    "micrograd",
    "micrograd",
    "micrograd_",
    {MOONS_SGD: "it has no optimiser", DIGITS: "it has neither exp nor log"},
)
MICROGRADX = Peer("microgradx", "microgradx", "microgradx_")
COMPILED = Peer("microgradx.compile", "microgradx", "microgradx_compiled")
PYTORCH = Peer("PyTorch", "torch", "pytorch")
TORCH_COMPILE = Peer("torch.compile", "torch", "compiled")
JAX = Peer("JAX", "jax", "jax_")
AUTOGRAD = Peer("autograd", "autograd", "autograd_")
CASADI = Peer("CasADi", "casadi", "casadi_")

EVERYBODY = (MICROGRAD, MICROGRADX, COMPILED, PYTORCH, TORCH_COMPILE, JAX, AUTOGRAD, CASADI)
PEERS = (MICROGRAD, MICROGRADX, PYTORCH, TORCH_COMPILE, JAX, AUTOGRAD)
