"""Gradients from workers of Dask and Ray and from MPI's ranks are those of one process.

The oracle for the gradient itself is NumPy.
"""

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import microgradx
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

# With three, another order of summation would be another result.
WORKERS = 3

Run: TypeAlias = Callable[[list[str]], subprocess.CompletedProcess[str]]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import what the examples share."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("data_parallel")


@pytest.fixture(scope="module")
def environment() -> Iterator[Mapping[str, str]]:
    """Let Dask and Ray leave their files in a directory that goes, and nothing elsewhere."""
    # A short name, as Ray's sockets lie below it, whose names may have 107 bytes at most.
    parent = "/tmp" if os.name == "posix" else None
    with tempfile.TemporaryDirectory(
        prefix="mgx-", dir=parent, ignore_cleanup_errors=True
    ) as directory:
        yield {
            **os.environ,
            "DASK_TEMPORARY_DIRECTORY": directory,
            "RAY_AUTH_MODE": "disabled",  # no token in the home directory
            "RAY_TMPDIR": directory,
            "RAY_USAGE_STATS_ENABLED": "0",
        }


def end(process: subprocess.Popen[str]) -> None:
    """End a process that leads a session, and all that it has started there."""
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def run(environment: Mapping[str, str], tmp_path: Path) -> Run:
    """Give a function that runs a command to its end, and leaves no process of it behind."""

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        with subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                printed, errors = process.communicate(timeout=120)
            finally:
                end(process)
        return subprocess.CompletedProcess(command, process.returncode, printed, errors)

    return run


def python(*arguments: str) -> list[str]:
    """Return the command that starts Python, with no warnings."""
    return [sys.executable, "-W", "error", *arguments]


def path(name: str) -> str:
    """Return where an example is."""
    return str(EXAMPLES / f"{name}.py")


def mpiexec(ranks: int, *arguments: str) -> list[str]:
    """Return the command that starts Python on MPI's ranks, as the example says."""
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    found = shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")
    if found is None:
        pytest.skip("needs mpiexec")
    return [found, "-n", str(ranks), *python("-m", "mpi4py", *arguments)]


def printed_losses(result: subprocess.CompletedProcess[str]) -> list[float]:
    """Return the losses that an example has printed, each to the last bit."""
    assert result.returncode == 0, result.stderr
    return [float(loss) for loss in re.findall(r"loss (\S+)", result.stdout)]


def losses_here(program: Any, steps: int, workers: int = WORKERS) -> list[float]:
    """Train in this process, with the workers one after another."""
    problem = program.make_problem()
    compute = program.take_turns(program.split(problem, workers))
    return list(program.train(problem, compute, steps))


def test_totals_are_those_of_the_formulas(program: Any) -> None:
    problem = program.make_problem()
    parameters = microgradx.data(problem.model.parameters())
    loss, gradient = program.take_turns(program.split(problem, 1))(parameters)

    inputs, labels = problem.examples
    inner, outer = parameters[: 32 * 65].reshape(32, 65), parameters[32 * 65 :].reshape(10, 33)
    with_one = np.column_stack([inputs, np.ones(len(inputs))])
    hidden = np.column_stack([np.maximum(with_one @ inner.T, 0), np.ones(len(inputs))])
    powers = np.exp(hidden @ outer.T)
    chances = powers / powers.sum(axis=1, keepdims=True)
    slopes = chances - np.eye(10)[labels]
    by_hidden = (slopes @ outer)[:, :-1] * (hidden[:, :-1] > 0)
    expected = np.concatenate([(by_hidden.T @ with_one).ravel(), (slopes.T @ hidden).ravel()])
    assert loss == pytest.approx(-np.log(chances[np.arange(len(labels)), labels]).sum(), rel=1e-12)
    assert_allclose(gradient, expected, rtol=1e-10, atol=1e-10)


def test_the_number_of_workers_changes_no_more_than_rounding(program: Any) -> None:
    problem = program.make_problem()
    parameters = microgradx.data(problem.model.parameters())
    (loss, gradient), *others = (
        program.take_turns(program.split(problem, workers))(parameters) for workers in (1, 2, 3, 7)
    )
    for other in others:
        assert other.loss == pytest.approx(loss, rel=1e-14)
        assert_allclose(other.gradient, gradient, rtol=0, atol=1e-14 * abs(gradient).max())


def test_trains_as_without_workers(program: Any) -> None:
    problem = program.make_problem()
    model = problem.model
    optimiser = microgradx.optim.SGD(model.parameters(), lr=program.RATE, momentum=0.9)
    loss = microgradx.compile(lambda x, label: microgradx.losses.cross_entropy(model(x), label))
    expected = []
    for _ in range(10):
        total = loss.mean(*problem.examples)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        expected.append(total.data)
    assert expected[-1] < 0.5 * expected[0]
    assert losses_here(program, steps=10) == pytest.approx(expected, rel=1e-11)


def test_noisy_copies_are_for_learning_only(program: Any) -> None:
    once, thrice = program.make_problem(), program.make_problem(copies=3)
    assert_array_equal(thrice.tests.pictures, once.tests.pictures)
    originals, *copies = np.split(thrice.examples.pictures, 3)
    assert_array_equal(originals, once.examples.pictures)
    assert_array_equal(thrice.examples.labels, np.tile(once.examples.labels, 3))
    for copy in copies:
        assert (copy - originals).std() == pytest.approx(0.1, rel=0.02)
    assert not np.array_equal(copies[0], copies[1])


def test_learns_digits(program: Any, run: Run) -> None:
    command = python(path("data_parallel"), f"--workers={WORKERS}")
    result = run(command)
    assert printed_losses(result) == losses_here(program, steps=100)
    *_, accuracy, seconds = result.stdout.splitlines()
    assert float(re.fullmatch(r"test accuracy (\S+)%", accuracy)[1]) > 90  # type: ignore[index]
    assert re.fullmatch(r"\d+\.\d\d seconds", seconds)


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_workers_started_here(engine: str, program: Any, run: Run) -> None:
    pytest.importorskip(engine, reason=f"needs {engine}")
    command = python(path(f"data_parallel_{engine}"), f"--workers={WORKERS}", "--steps=10")
    result = run(command)
    assert printed_losses(result) == losses_here(program, steps=10)


def test_two_ranks_are_two_workers(program: Any, run: Run) -> None:
    """The sum of two numbers has one order only."""
    command = mpiexec(2, path("data_parallel_mpi"), "--steps=10")
    result = run(command)
    assert printed_losses(result) == losses_here(program, steps=10, workers=2)


def test_more_ranks_change_no_more_than_rounding(program: Any, run: Run) -> None:
    command = mpiexec(WORKERS, path("data_parallel_mpi"), "--steps=10")
    losses = printed_losses(run(command))
    assert losses == pytest.approx(losses_here(program, steps=10), rel=1e-11)


CLUSTERS = {
    "dask": f"""
        from dask.distributed import LocalCluster
        with LocalCluster(
            n_workers={WORKERS}, threads_per_worker=1, dashboard_address=None
        ) as cluster:
            print(cluster.scheduler_address, flush=True)
            input()
    """,
    "ray": f"""
        import ray
        settings = {{"include_dashboard": False, "logging_level": "ERROR"}}
        with ray.init(num_cpus={WORKERS}, **settings) as context:
            print(context.address_info["address"], flush=True)
            input()
    """,
}


@pytest.fixture(scope="module", params=["dask", "ray"])
def cluster(
    request: pytest.FixtureRequest, environment: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Start workers that cannot import the examples by themselves: the engine, the address."""
    engine = request.param
    pytest.importorskip(engine, reason=f"needs {engine}")
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CLUSTERS[engine])],
        cwd=environment["RAY_TMPDIR"],
        env=environment,
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        limit = threading.Timer(120, end, [process])
        limit.start()
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, f"{engine} has not started"
            limit.cancel()
            yield engine, address
            with suppress(subprocess.TimeoutExpired):
                process.communicate("\n", timeout=20)
        finally:
            limit.cancel()
            end(process)


def test_workers_of_a_cluster(cluster: tuple[str, str], program: Any, run: Run) -> None:
    engine, address = cluster
    arguments = [f"--address={address}", f"--workers={WORKERS}", "--steps=10"]
    command = python(path(f"data_parallel_{engine}"), *arguments)
    result = run(command)
    assert printed_losses(result) == losses_here(program, steps=10)


# Starts an example with a digit that there is not, among the last worker's.
FAILING = """
import runpy, sys
sys.path.append(sys.argv.pop(1))
import data_parallel

def make_problem(copies):
    problem = made_well(copies)
    problem.examples.labels[-1] = 10
    return problem

made_well, data_parallel.make_problem = data_parallel.make_problem, make_problem
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def failing(name: str, *arguments: str, directory: Path) -> list[str]:
    """Return the arguments for Python that start an example of which a worker fails."""
    (directory / "failing.py").write_text(FAILING)
    return ["failing.py", str(EXAMPLES), path(name), *arguments]


def assert_tells_of_the_failure(result: subprocess.CompletedProcess[str]) -> None:
    """Check that the program has ended with the error that there was on a worker."""
    assert result.returncode != 0
    assert "IndexError: take() needs an index that is a whole number from 0 to 9" in result.stderr
    assert "step" not in result.stdout


def test_an_error_on_a_worker(cluster: tuple[str, str], run: Run, tmp_path: Path) -> None:
    engine, address = cluster
    arguments = failing(f"data_parallel_{engine}", f"--address={address}", directory=tmp_path)
    result = run(python(*arguments))
    assert_tells_of_the_failure(result)


@pytest.mark.usefixtures("program")
def test_an_error_on_a_rank(run: Run, tmp_path: Path) -> None:
    arguments = failing("data_parallel_mpi", directory=tmp_path)
    result = run(mpiexec(2, *arguments))
    assert_tells_of_the_failure(result)


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize(("package", "name"), [("dask", "dask"), ("ray", "ray"), ("mpi4py", "mpi")])
def test_a_missing_package_is_named(
    package: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as failure:
        importlib.import_module(f"data_parallel_{name}")
    assert re.search(rf'{package}.*\npip install "microgradx\[{name}\]"', str(failure.value))


def test_the_page_shows_the_code_of_the_examples() -> None:
    page = (ROOT / "docs" / "parallel.md").read_text("utf-8")
    examples = "\n".join(file.read_text("utf-8") for file in EXAMPLES.glob("data_parallel*.py"))
    blocks = re.findall(r"^```py\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 4
    for block in blocks:
        assert block in examples
