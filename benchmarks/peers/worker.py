"""A process of its own for each peer, which times what it is told to."""

from __future__ import annotations

import sys
from functools import lru_cache

import microgradx

from ..timing import Task
from ..worker import serve
from .contestants import EVERYBODY, Peer

FIRST_STEP = "first step of "


# Only the present workload's model lives: the collector would walk through the others' as well.
@lru_cache(maxsize=1)
def _task(peer: Peer, workload: str) -> Task:
    name = workload.removeprefix(FIRST_STEP)
    make = peer.steps[name]
    return Task(make()) if name == workload else Task("step()", "step = make()", {"make": make})


if __name__ == "__main__":
    microgradx.set_num_threads(1)
    (peer,) = (peer for peer in EVERYBODY if peer.name == sys.argv[1])
    serve(lambda workload: _task(peer, workload).seconds)
