"""Train a network with gradients from workers of Dask.

The workers are actors, which keep the model and their samples from step to step; only parameters go
to them and gradients come back. Needs the extra `dask`, and scikit-learn for the pictures.

    python examples/data_parallel_dask.py --workers 2
"""

from typing import Any

import data_parallel
import numpy as np
from data_parallel import Compute, Part, Totals, Worker

with data_parallel.extra("dask"):
    from dask.distributed import Client


def distribute(client: Client, parts: list[Part]) -> Compute:
    """Make a Worker of each part, each in a process of its own, and have them compute together."""
    threads: Any = client.nthreads()  # a coroutine, if the client were asynchronous
    addresses = list(threads)[: len(parts)]
    actors = []
    for (recorded, *samples), address in zip(parts, addresses, strict=True):
        futures: Any = client.scatter(samples, workers=[address], hash=False)
        actors.append(client.submit(Worker, recorded, *futures, workers=[address], actor=True))
    workers: Any = client.gather(actors)

    def compute(parameters: np.ndarray) -> Totals:
        totals = [worker.totals(parameters) for worker in workers]
        return data_parallel.add(future.result() for future in totals)

    return compute


def main() -> None:
    """Start workers here, or use those of a cluster, and train."""
    parser = data_parallel.make_parser("Learn to read digits with workers of Dask.")
    data_parallel.add_workers(parser)
    parser.add_argument("--address", help="of a scheduler; without it, workers are started here")
    arguments = parser.parse_args()
    problem = data_parallel.make_problem(arguments.copies)
    parts = data_parallel.split(problem, arguments.workers)

    if arguments.address:
        settings: dict[str, Any] = {"address": arguments.address}
    else:
        settings = {"n_workers": len(parts), "threads_per_worker": 1, "dashboard_address": ":0"}
    with Client(**settings) as client:
        client.wait_for_workers(len(parts))
        if arguments.address:
            client.upload_file(data_parallel.__file__)
        data_parallel.report(problem, distribute(client, parts), arguments.steps)


if __name__ == "__main__":
    main()
