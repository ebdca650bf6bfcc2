"""A process of its own for each peer, which times what it is told to."""

from __future__ import annotations

import sys
from functools import lru_cache

from ..timing import Task
from ..worker import serve
from .contestants import PEERS, Peer


# Only the present workload's model lives: the collector would walk through the others' as well.
@lru_cache(maxsize=1)
def _task(peer: Peer, workload: str) -> Task:
    return Task(peer.steps[workload]())


if __name__ == "__main__":
    (peer,) = (peer for peer in PEERS if peer.name == sys.argv[1])
    serve(lambda workload: _task(peer, workload).seconds)
