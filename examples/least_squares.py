"""Fit a damped oscillation to noisy measurements with SciPy, which gets exact derivatives.

The curve is written in scalars. `value_and_grad` is what `scipy.optimize.minimize(jac=True)` calls,
and of the vector of residuals it gives `scipy.optimize.least_squares` the Jacobian matrix.
Needs SciPy.

    python examples/least_squares.py
"""

import argparse
from typing import NamedTuple

import microgradx as mgx
import numpy as np
from microgradx import CompiledFunction, Value
from scipy.optimize import least_squares, minimize

NAMES = ("amplitude", "damping", "frequency", "phase", "offset")
TRUTH = np.array([2.0, 0.3, 2.5, 0.5, 1.0])
GUESS = np.array([1.0, 0.1, 2.2, 0.0, 0.0])


class Fit(NamedTuple):
    """Parameters that were found, and how many times the curve was evaluated."""

    parameters: np.ndarray
    evaluations: int


def curve(parameters: list[Value], time: float) -> Value:
    """Return the oscillation at a time."""
    amplitude, damping, frequency, phase, offset = parameters
    return amplitude * (-damping * time).exp() * (frequency * time + phase).cos() + offset


def measure(samples: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return times and what is measured then, with normally distributed errors."""
    times = np.linspace(0, 10, samples)
    amplitude, damping, frequency, phase, offset = TRUTH
    exact = amplitude * np.exp(-damping * times) * np.cos(frequency * times + phase) + offset
    return times, exact + np.random.default_rng(seed).normal(scale=noise, size=samples)


def compile_residuals(times: np.ndarray, measured: np.ndarray) -> CompiledFunction:
    """Return the differences between the curve and what was measured, one for each time."""

    @mgx.compile
    def residuals(parameters: list[Value]) -> list[Value]:
        return [curve(parameters, t) - y for t, y in zip(times, measured, strict=True)]

    return residuals


def fit_residuals(residuals: CompiledFunction) -> Fit:
    """Fit by the vector of residuals and its Jacobian matrix."""
    found = least_squares(
        lambda parameters: mgx.data(residuals(parameters)),
        GUESS,
        jac=lambda parameters: residuals.value_and_grad(parameters)[1],
    )
    return Fit(found.x, found.nfev)


def fit_cost(residuals: CompiledFunction) -> Fit:
    """Fit by half the sum of squares and its gradient."""

    @mgx.compile
    def cost(parameters: list[Value]) -> Value:
        return mgx.sum(residual**2 for residual in residuals(parameters)) / 2

    found = minimize(cost.value_and_grad, GUESS, jac=True)
    return Fit(found.x, found.nfev)


def standard_errors(residuals: CompiledFunction, parameters: np.ndarray) -> np.ndarray:
    """Return how far off the parameters may be, going by the residuals that are left."""
    left, jacobian = residuals.value_and_grad(parameters)
    variance = left @ left / (len(left) - len(parameters))
    errors: np.ndarray = np.sqrt(variance * np.linalg.inv(jacobian.T @ jacobian).diagonal())
    return errors


def main() -> None:
    """Print what both ways find next to the truth."""
    parser = argparse.ArgumentParser(description="Fit a damped oscillation.")
    parser.add_argument("--samples", type=int, default=200, help="measurements (default 200)")
    parser.add_argument("--noise", type=float, default=0.1, help="their error (default 0.1)")
    arguments = parser.parse_args()

    residuals = compile_residuals(*measure(arguments.samples, arguments.noise))
    first, second = fit_residuals(residuals), fit_cost(residuals)
    errors = standard_errors(residuals, first.parameters)
    print(f"{'':9}  {'truth':>7}  {'least_squares':>13}  {'std. error':>10}  {'minimize':>8}")
    for row in zip(NAMES, TRUTH, first.parameters, errors, second.parameters, strict=True):
        print("{:9}  {:7.4f}  {:13.4f}  {:10.4f}  {:8.4f}".format(*row))
    print(f"{'evaluated':9}  {'':7}  {first.evaluations:13}  {'':10}  {second.evaluations:8}")


if __name__ == "__main__":
    main()
