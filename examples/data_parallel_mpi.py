"""Train a network with gradients from MPI's ranks, which Allreduce adds up.

All ranks run this program. Each computes the gradient over samples of its own, gets the sum of all
gradients and takes the same step. Needs the extra `mpi`, and scikit-learn for the pictures.

    mpiexec -n 2 python -m mpi4py examples/data_parallel_mpi.py

`-m mpi4py` ends all ranks when one fails; the others would wait for it for ever.
"""

import data_parallel
import numpy as np
from data_parallel import Compute, Part, Totals, Worker

with data_parallel.extra("mpi"):
    from mpi4py import MPI


def distribute(communicator: MPI.Comm, parts: list[Part]) -> Compute:
    """Make a Worker of this rank's part, and have it compute together with the other ranks'."""
    worker = Worker(*parts[communicator.rank])

    def compute(parameters: np.ndarray) -> Totals:
        loss, gradient = worker.totals(parameters)
        communicator.Allreduce(MPI.IN_PLACE, gradient)
        return Totals(communicator.allreduce(loss), gradient)

    return compute


def main() -> None:
    """Train on every rank, and print on the first."""
    parser = data_parallel.make_parser("Learn to read digits with MPI's ranks: see mpiexec -n.")
    arguments = parser.parse_args()
    communicator = MPI.COMM_WORLD
    problem = data_parallel.make_problem(arguments.copies)  # the same on every rank
    compute = distribute(communicator, data_parallel.split(problem, communicator.size))
    if communicator.rank == 0:
        data_parallel.report(problem, compute, arguments.steps)
    else:
        for _ in data_parallel.train(problem, compute, arguments.steps):
            pass


if __name__ == "__main__":
    main()
