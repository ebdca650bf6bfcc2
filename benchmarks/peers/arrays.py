"""What is computed, in NumPy's terms, for libraries that differentiate NumPy programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .workloads import GPT_BETAS, GPT_RATE, PENALTY, Layer, Moments


@dataclass(frozen=True)
class Arrays:
    """A library's own version of NumPy.

    Attributes
    ----------
    np
        The module.
    relu, log_softmax
        Functions of an array; the latter along its last axis.
    """

    np: Any
    relu: Callable[[Any], Any]
    log_softmax: Callable[[Any], Any]

    def mlp(self, layers: Sequence[Layer], x: Any) -> Any:
        """Return the outputs of a multilayer perceptron, a row for each row of `x`."""
        *hidden, (last_weights, last_biases) = layers
        for weights, biases in hidden:
            x = self.relu(x @ weights.T + biases)
        return x @ last_weights.T + last_biases

    def max_margin(self, layers: Sequence[Layer], points: Any, labels: Any) -> tuple[Any, Any]:
        """Return the loss of micrograd's demo, its L2 penalty included, and the scores."""
        scores = self.mlp(layers, points)[:, 0]
        penalty = sum(self.np.sum(p * p) for layer in layers for p in layer)
        return self._margin_loss(scores, labels) + PENALTY * penalty, scores

    def max_margin_loss(self, layers: Sequence[Layer], points: Any, labels: Any) -> Any:
        """Return that loss alone."""
        return self.max_margin(layers, points, labels)[0]

    def data_loss(self, layers: Sequence[Layer], points: Any, labels: Any) -> Any:
        """Return that loss without the penalty."""
        return self._margin_loss(self.mlp(layers, points)[:, 0], labels)

    def accuracy(self, scores: Any, labels: Any) -> Any:
        """Return the share of points on the right side."""
        return self.np.mean((scores > 0) == (labels > 0))

    def cross_entropy(self, layers: Sequence[Layer], images: Any, targets: Any) -> Any:
        """Return the mean cross-entropy of a batch; a row of `targets` has a one at the digit."""
        return self._cross_entropy(self.mlp(layers, images), targets)

    def gpt_loss(self, weights: dict[str, Any], tokens: Any, targets: Any, heads: int) -> Any:
        """Return the loss of ``examples/gpt.py``, from all positions at once."""
        np = self.np
        length = len(tokens)

        def by_head(matrix: Any) -> Any:
            return np.swapaxes(np.reshape(normal @ matrix.T, (length, heads, -1)), 0, 1)

        x = weights["characters"][tokens] + weights["positions"][:length]
        normal = self._normalise(x)
        query, key, value = (by_head(weights[name]) for name in ("queries", "keys", "values"))
        affinity = query @ np.swapaxes(key, 1, 2) * query.shape[-1] ** -0.5
        affinity = np.where(np.tri(length) > 0, affinity, -np.inf)
        attended = np.swapaxes(np.exp(self.log_softmax(affinity)) @ value, 0, 1)
        x = x + np.reshape(attended, (length, -1)) @ weights["mix"].T
        hidden = self.relu(self._normalise(x) @ weights["expand"].T)
        x = x + hidden @ weights["contract"].T
        return self._cross_entropy(self._normalise(x) @ weights["scores"].T, targets)

    def adam(self, state: Moments, gradient: Any, step: Any) -> Moments:
        """Return the parameters and Adam's two averages after a step; the first `step` is 1."""
        p, m, v = state
        first, second = GPT_BETAS
        m = first * m + (1 - first) * gradient
        v = second * v + (1 - second) * gradient**2
        deviation = self.np.sqrt(v / (1 - second**step)) + 1e-8
        return p - GPT_RATE * m / (1 - first**step) / deviation, m, v

    def _margin_loss(self, scores: Any, labels: Any) -> Any:
        return self.np.mean(self.relu(1 - labels * scores))

    def _cross_entropy(self, scores: Any, targets: Any) -> Any:
        return -self.np.sum(self.log_softmax(scores) * targets) / len(targets)

    def _normalise(self, x: Any) -> Any:
        return x * (self.np.mean(x * x, axis=-1, keepdims=True) + 1e-5) ** -0.5
