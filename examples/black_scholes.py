"""Price European options by simulation, with their Greeks, and compare with the closed forms.

What one path pays is written down in scalars. Its derivatives by the parameters of the market come
with it, path by path, and their means are the Greeks (the pathwise method).

    python examples/black_scholes.py
"""

import argparse
import math
import time
from statistics import NormalDist
from typing import NamedTuple

import microgradx as mgx
import numpy as np
from microgradx import Value

KINDS = ("call", "put")


class Market(NamedTuple):
    """What the price of an option depends on; rate and volatility are those of a year."""

    spot: float = 100.0
    strike: float = 105.0
    volatility: float = 0.2
    rate: float = 0.05
    maturity: float = 1.0


class Greeks(NamedTuple):
    """A price and its derivatives by spot, volatility, rate and the time that passes."""

    price: float
    delta: float
    vega: float
    rho: float
    theta: float


@mgx.compile(static_argnames="kind")
def payoff(
    kind: str,
    spot: Value,
    strike: Value,
    volatility: Value,
    rate: Value,
    maturity: Value,
    noise: Value,
) -> Value:
    """Return what an option pays on one path, discounted to today; `noise` is standard normal."""
    drift = (rate - volatility**2 / 2) * maturity
    final = spot * (drift + volatility * maturity.sqrt() * noise).exp()
    gain = final - strike if kind == "call" else strike - final
    return (-rate * maturity).exp() * gain.relu()


def simulate(kind: str, market: Market, paths: int, seed: int = 0) -> tuple[Greeks, Greeks]:
    """Return the estimates from some random paths, and their standard errors."""
    noise = np.random.default_rng(seed).standard_normal(paths)
    price, gradients = payoff.map_value_and_grad(kind, *market, noise)
    delta, _, vega, rho, by_maturity, _ = gradients
    samples = np.array([price, delta, vega, rho, -by_maturity])
    errors = samples.std(axis=1, ddof=1) / math.sqrt(paths)
    return Greeks(*samples.mean(axis=1).tolist()), Greeks(*errors.tolist())


def closed_form(kind: str, market: Market) -> Greeks:
    """Return the price and the Greeks by the formulas of Black and Scholes."""
    spot, strike, volatility, rate, maturity = market
    normal = NormalDist()
    spread = volatility * math.sqrt(maturity)
    d1 = (math.log(spot / strike) + rate * maturity) / spread + spread / 2
    sign = 1 if kind == "call" else -1
    delta = sign * normal.cdf(sign * d1)
    debt = sign * strike * math.exp(-rate * maturity) * normal.cdf(sign * (d1 - spread))
    vega = spot * normal.pdf(d1) * math.sqrt(maturity)
    return Greeks(
        price=spot * delta - debt,
        delta=delta,
        vega=vega,
        rho=maturity * debt,
        theta=-vega * volatility / (2 * maturity) - rate * debt,
    )


def main() -> None:
    """Print estimates, standard errors and closed forms."""
    parser = argparse.ArgumentParser(description="Price options by simulation.")
    parser.add_argument("--paths", type=int, default=100_000, help="how many (default 100,000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random paths (default 0)")
    arguments = parser.parse_args()

    market = Market()
    print(", ".join(f"{name} {number:g}" for name, number in market._asdict().items()))
    for kind in KINDS:
        start = time.perf_counter()
        estimates, errors = simulate(kind, market, arguments.paths, arguments.seed)
        elapsed = time.perf_counter() - start
        print(f"\n{kind}, {arguments.paths:,} paths in {elapsed:.3f} seconds")
        print(f"{'':5}  {'estimate':>10}  {'std. error':>10}  {'closed form':>11}")
        for row in zip(Greeks._fields, estimates, errors, closed_form(kind, market), strict=True):
            print("{:5}  {:10.4f}  {:10.4f}  {:11.4f}".format(*row))


if __name__ == "__main__":
    main()
