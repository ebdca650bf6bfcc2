"""PyTorch: the same models on tensors, eagerly or with the losses compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..programs import Step, moons_data
from .workloads import (
    DIGITS,
    DIGITS_SIZES,
    GPT,
    GPT_BETAS,
    GPT_RATE,
    MOONS,
    MOONS_SGD,
    MOONS_SIZES,
    PENALTY,
    RATE,
    digits_batches,
    first_layers,
    gpt_heads,
    gpt_tokens,
    gpt_weights,
    neurons,
)

Compile = Callable[[Callable[..., Any]], Callable[..., Any]]

torch.set_num_threads(1)


def moons_step(compiled: Compile) -> Step:
    """Return a step of micrograd's demo: forward, accuracy, zero_grad, backward, update."""
    points, labels = map(torch.from_numpy, moons_data())
    model = _mlp(MOONS_SIZES)
    loss_of = compiled(_max_margin)

    def step() -> float:
        loss, scores = loss_of(model, points, labels)
        ((labels > 0) == (scores > 0)).double().mean()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= RATE * p.grad
        return float(loss.item())

    return Step(step, partial(_neurons, model))


def moons_sgd_step(compiled: Compile) -> Step:
    """Return a step of the demo: forward, zero_grad, backward, SGD."""
    model = _mlp(MOONS_SIZES)
    loss_of = compiled(lambda *given: _max_margin(*given)[0])
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
    step = _training(partial(loss_of, model), optimiser, [moons_data()])
    return Step(step, partial(_neurons, model))


def digits_epoch(compiled: Compile) -> Step:
    """Return an epoch on the digits: for each batch forward, zero_grad, backward, SGD."""
    model = _mlp(DIGITS_SIZES)
    loss_of = compiled(lambda model, *batch: functional.cross_entropy(model(batch[0]), batch[1]))
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
    epoch = _training(partial(loss_of, model), optimiser, digits_batches())
    return Step(epoch, partial(_neurons, model))


def gpt_step(compiled: Compile) -> Step:
    """Return a step of ``examples/gpt.py`` on tensors: forward, zero_grad, backward, Adam."""
    weights = {
        name: torch.from_numpy(matrix).requires_grad_() for name, matrix in gpt_weights().items()
    }
    loss_of = compiled(partial(_gpt_loss, heads=gpt_heads()))
    optimiser = torch.optim.Adam(weights.values(), lr=GPT_RATE, betas=GPT_BETAS)
    step = _training(partial(loss_of, weights), optimiser, [gpt_tokens()])
    return Step(step, lambda: torch.cat([w.detach().ravel() for w in weights.values()]).numpy())


def steps(compiled: Compile) -> dict[str, Callable[[], Step]]:
    """Return the workloads, the losses passed through `compiled`."""
    return {
        MOONS: partial(moons_step, compiled),
        MOONS_SGD: partial(moons_sgd_step, compiled),
        GPT: partial(gpt_step, compiled),
        DIGITS: partial(digits_epoch, compiled),
    }


def _training(
    loss_of: Callable[..., Any], optimiser: Any, batches: Sequence[tuple[Any, Any]]
) -> Callable[[], float]:
    tensors = [tuple(map(torch.from_numpy, batch)) for batch in batches]

    def step() -> float:
        for batch in tensors:
            loss = loss_of(*batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return float(loss.item())

    return step


def _mlp(sizes: Sequence[int]) -> Any:
    modules: list[Any] = []
    for weights, biases in first_layers(sizes):
        linear = nn.Linear(*reversed(weights.shape), dtype=torch.float64)
        state = {"weight": torch.from_numpy(weights), "bias": torch.from_numpy(biases)}
        linear.load_state_dict(state)
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def _neurons(model: Any) -> Any:
    return neurons([(m.weight.detach(), m.bias.detach()) for m in model[::2]])


def _max_margin(model: Any, points: Any, labels: Any) -> tuple[Any, Any]:
    scores = model(points).squeeze(1)
    data_loss = functional.relu(1 - labels * scores).mean()
    return data_loss + PENALTY * sum((p * p).sum() for p in model.parameters()), scores


def _gpt_loss(weights: dict[str, Any], tokens: Any, following: Any, heads: int) -> Any:
    x = weights["characters"][tokens] + weights["positions"][: len(tokens)]
    width = x.shape[1:]
    normal = functional.rms_norm(x, width, eps=1e-5)
    query, key, value = (
        functional.linear(normal, weights[name]).unflatten(1, (heads, -1)).transpose(0, 1)
        for name in ("queries", "keys", "values")
    )
    attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    x = x + functional.linear(attended.transpose(0, 1).flatten(1), weights["mix"])
    hidden = functional.relu(
        functional.linear(functional.rms_norm(x, width, eps=1e-5), weights["expand"])
    )
    x = x + functional.linear(hidden, weights["contract"])
    scores = functional.linear(functional.rms_norm(x, width, eps=1e-5), weights["scores"])
    return functional.cross_entropy(scores, following)


def _eagerly(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


STEPS = steps(_eagerly)
