"""PyTorch with its compiler, which needs one for C++."""

from __future__ import annotations

from functools import partial

import torch

from .pytorch import steps

STEPS = steps(partial(torch.compile, fullgraph=True, dynamic=False))

if __name__ == "__main__":
    torch.compile(lambda x: x + 1)(torch.ones(1))
