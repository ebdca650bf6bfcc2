"""Train a network with gradients from workers of Ray.

The workers are actors, which keep the model and their samples from step to step; only parameters go
to them and gradients come back. Needs the extra `ray`, and scikit-learn for the pictures.

    python examples/data_parallel_ray.py --workers 2
"""

import logging
from pathlib import Path
from typing import Any

import data_parallel
import numpy as np
from data_parallel import Compute, Part, Totals, Worker

with data_parallel.extra("ray"):
    import ray


def distribute(parts: list[Part]) -> Compute:
    """Make a Worker of each part, each in a process of its own, and have them compute together."""
    actor: Any = ray.remote(num_cpus=1)(Worker)
    workers = [actor.remote(*part) for part in parts]
    ray.get([worker.__ray_ready__.remote() for worker in workers])

    def compute(parameters: np.ndarray) -> Totals:
        shared = ray.put(parameters)
        return data_parallel.add(ray.get([worker.totals.remote(shared) for worker in workers]))

    return compute


def main() -> None:
    """Start workers here, or use those of a cluster, and train."""
    parser = data_parallel.make_parser("Learn to read digits with workers of Ray.")
    data_parallel.add_workers(parser)
    parser.add_argument("--address", help="of a cluster; without it, workers are started here")
    arguments = parser.parse_args()
    problem = data_parallel.make_problem(arguments.copies)
    parts = data_parallel.split(problem, arguments.workers)

    if arguments.address:
        here = Path(__file__).parent
        settings: dict[str, Any] = {
            "address": arguments.address,
            "runtime_env": {"working_dir": str(here)},
        }
    else:
        settings = {"num_cpus": len(parts), "include_dashboard": False}
    with ray.init(logging_level=logging.ERROR, **settings):
        data_parallel.report(problem, distribute(parts), arguments.steps)


if __name__ == "__main__":
    main()
