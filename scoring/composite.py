"""One number from several metrics: what trials are ranked by."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from scoring.metrics import METRICS

DEFAULT_WEIGHTS: Mapping[str, float] = {"map_at_10": 0.5, "ndcg_at_10": 0.5}


def metric_name(typed: str) -> str:
    """The stored name, `ndcg_at_10`, of a metric typed as `ndcg@10` or so; ValueError with the nearest for a typo."""
    match = re.fullmatch(r"(.+?)(?:@|_at_)([1-9]\d*)", typed.strip().lower())
    metric, k = match.groups() if match else (typed.strip().lower(), "10")
    if match and metric in METRICS:
        return f"{metric}_at_{k}"
    near = get_close_matches(metric.rstrip("@_"), METRICS, n=2, cutoff=0.5) or METRICS
    raise ValueError(
        f"a metric must be a name and a cut-off like ndcg@10, but got {typed!r}; "
        f"did you mean {' or '.join(f'{name}@{k}' for name in near)}?"
    )


@dataclass(frozen=True)
class Composite:
    """A weighted mean of metrics.

    Weights are given by metric name, as it is typed or stored, and need not sum to 1. Raises ValueError for a weight that
    is not a positive number, a metric named twice, or none at all.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: DEFAULT_WEIGHTS)
    """stored name -> weight, sorted by name, summing to 1."""

    def __post_init__(self) -> None:
        given = {metric_name(typed): float(weight) for typed, weight in sorted(self.weights.items())}
        if len(given) != len(self.weights):
            raise ValueError(f"a composite must name each metric once, but got {', '.join(self.weights)}")
        for name, weight in given.items():
            if not (math.isfinite(weight) and weight > 0):
                raise ValueError(f"the weight of {name} must be more than 0, but got {weight}; leave the metric out")
        if not given:
            raise ValueError("a composite must name at least one metric, but got none; give one like ndcg@10: 1")
        object.__setattr__(self, "weights", _summing_to_one(given))

    @property
    def cutoffs(self) -> tuple[int, ...]:
        """The cut-offs that have to be evaluated, rising."""
        return tuple(sorted({int(name.rpartition("_at_")[2]) for name in self.weights}))

    def score(self, metrics: Mapping[str, float]) -> float:
        """The weighted mean of `metrics`. ValueError where a part is missing or no number: a failure is no score."""
        bad = [name for name in self.weights if not math.isfinite(metrics.get(name, math.nan))]
        if bad:
            raise ValueError(f"every part of the composite must be a number, but {', '.join(bad)} is missing or is not")
        return math.fsum(weight * metrics[name] for name, weight in self.weights.items())

    def canonical(self) -> str:
        """The same text for the same composite, to be hashed."""
        return json.dumps(dict(self.weights), sort_keys=True)


def _summing_to_one(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights sorted by name; those that sum to 1 already are kept to the bit, so that doing it twice changes nothing."""
    total = math.fsum(weights.values())
    scale = 1.0 if math.isclose(total, 1.0, rel_tol=1e-12) else total
    return {name: weights[name] / scale for name in sorted(weights)}
