"""PyTorch: the same models on tensors, eagerly or with the losses compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..programs import Step, evaluation, moons_data
from ..scalars import readme_value
from .workloads import (
    DECAY,
    DIGITS,
    DIGITS_SIZES,
    GPT,
    GPT_BETAS,
    GPT_RATE,
    IMAGES,
    IMAGES_SIZES,
    MOONS,
    MOONS_DECAY,
    MOONS_SGD,
    MOONS_SIZES,
    PENALTY,
    RATE,
    SAMPLES,
    digits_batches,
    first_layers,
    gpt_heads,
    gpt_tokens,
    gpt_weights,
    images_batch,
    neurons,
    readme_operands,
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
    loss_of = compiled(lambda *given: _max_margin(*given)[0])
    return _descent(loss_of, _mlp(MOONS_SIZES), [moons_data()])


def digits_epoch(compiled: Compile) -> Step:
    """Return an epoch on the digits: for each batch forward, zero_grad, backward, SGD."""
    return _descent(compiled(_cross_entropy), _mlp(DIGITS_SIZES), digits_batches())


def moons_decay_step(compiled: Compile) -> Step:
    """Return a step of the demo: forward, zero_grad, backward, SGD with weight decay."""
    return _descent(compiled(_data_loss), _mlp(MOONS_SIZES), [moons_data()], DECAY)


def images_step(compiled: Compile) -> Step:
    """Return a step on a batch of large images: forward, zero_grad, backward, SGD."""
    return _descent(compiled(_cross_entropy), _mlp(IMAGES_SIZES), [images_batch()])


def samples(compiled: Compile) -> Step:
    """Return the README's expression over many samples, each with its gradient."""
    operands = [torch.from_numpy(array).requires_grad_() for array in readme_operands()]
    value_of = compiled(partial(readme_value, relu=torch.relu))

    def evaluate() -> tuple[Any, Any]:
        values = value_of(*operands)
        return values.detach(), torch.autograd.grad(values.sum(), operands)

    return evaluation(evaluate)


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
        MOONS_DECAY: partial(moons_decay_step, compiled),
        IMAGES: partial(images_step, compiled),
        SAMPLES: partial(samples, compiled),
    }


def _descent(
    loss_of: Callable[..., Any],
    model: Any,
    batches: Sequence[tuple[Any, Any]],
    weight_decay: float = 0,
) -> Step:
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE, weight_decay=weight_decay)
    step = _training(partial(loss_of, model), optimiser, batches)
    return Step(step, partial(_neurons, model))


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
    penalty = sum((p * p).sum() for p in model.parameters())
    return _margin_loss(scores, labels) + PENALTY * penalty, scores


def _data_loss(model: Any, points: Any, labels: Any) -> Any:
    return _margin_loss(model(points).squeeze(1), labels)


def _margin_loss(scores: Any, labels: Any) -> Any:
    return functional.relu(1 - labels * scores).mean()


def _cross_entropy(model: Any, images: Any, labels: Any) -> Any:
    return functional.cross_entropy(model(images), labels)


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
