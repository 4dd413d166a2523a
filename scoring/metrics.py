"""The metrics: what each measures, with its formula and its source.

In all of them a list is cut at K; `hit_i` is 1 when the item at place i (from 1) is relevant, that is taken by the user in
the evaluated window, and R is the number of the user's relevant items, at least 1. A pad (-1) is never a hit, and a list
that is shorter than K is not excused: it is scored as if misses followed. Relevance is binary. All but `novelty` lie
within 0..1; more is better.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

METRIC_DEFINITIONS = "1"
"""Rises whenever a definition below changes, so that scores of different definitions are never ranked together."""

Vector = NDArray[np.float64]
"""(n,) one number for each user."""


@dataclass(frozen=True, eq=False)
class Hits:
    """What the metrics are computed from: the lists of n users, cut at the largest K, seen against the truth."""

    hits: NDArray[np.bool_]
    """(n, K) whether the item at each place is relevant."""
    relevant: NDArray[np.int64]
    """(n,) R of each user."""
    listed: NDArray[np.bool_]
    """(n, K) False at the pads."""
    information: NDArray[np.float64]
    """(n, K) -log2 of the popularity of the item at each place; 0 at the pads."""
    captured: NDArray[np.float64] | None = None
    """(n, K) the share of the user's spend that went to the item at each place; None without prices."""

    @cached_property
    def found(self) -> NDArray[np.int64]:
        """(n, K) relevant items up to and with each place."""
        return np.cumsum(self.hits, axis=1, dtype=np.int64)

    @cached_property
    def places(self) -> NDArray[np.float64]:
        """(K,) 1, 2, ..., K."""
        return np.arange(1, self.hits.shape[1] + 1, dtype=np.float64)

    @cached_property
    def precisions(self) -> NDArray[np.float64]:
        """(n, K) the sum of the precisions at the hits up to and with each place."""
        return np.cumsum(self.hits * (self.found / self.places), axis=1)

    @cached_property
    def gains(self) -> NDArray[np.float64]:
        """(n, K) the discounted cumulative gain up to and with each place."""
        return np.cumsum(self.hits / np.log2(self.places + 1), axis=1)

    @cached_property
    def ideal_gains(self) -> NDArray[np.float64]:
        """(K,) the gain of a list that begins with that many hits."""
        return np.cumsum(1 / np.log2(self.places + 1))

    @cached_property
    def first_hits(self) -> NDArray[np.float64]:
        """(n,) the place of the first hit, or infinity."""
        return np.where(self.found[:, -1] > 0, self.hits.argmax(axis=1) + 1.0, np.inf)


def mean_average_precision(hits: Hits, k: int) -> Vector:
    """map: sum over i <= K of hit_i * precision@i, divided by min(K, R), so that a perfect list scores 1.

    As trec_eval's map_cut but for the divisor, which is that of Microsoft's `map_at_k`, RecBole and RePlay.
    Buckley & Voorhees, Evaluating Evaluation Measure Stability, SIGIR 2000.
    """
    return np.asarray(hits.precisions[:, k - 1] / np.minimum(hits.relevant, k))


def normalised_gain(hits: Hits, k: int) -> Vector:
    """ndcg: sum over i <= K of hit_i / log2(i + 1), divided by that of a list that begins with min(K, R) hits.

    Järvelin & Kekäläinen, Cumulated Gain-Based Evaluation of IR Techniques, TOIS 20 (2002).
    """
    return np.asarray(hits.gains[:, k - 1] / hits.ideal_gains[np.minimum(hits.relevant, k) - 1])


def recall(hits: Hits, k: int) -> Vector:
    """recall: hits among the first K, divided by R."""
    return hits.found[:, k - 1] / hits.relevant


def precision(hits: Hits, k: int) -> Vector:
    """precision: hits among the first K, divided by K, also where the list is shorter."""
    return hits.found[:, k - 1] / k


def hit_rate(hits: Hits, k: int) -> Vector:
    """hit_rate: 1 when there is a hit among the first K, else 0."""
    return (hits.found[:, k - 1] > 0).astype(np.float64)


def reciprocal_rank(hits: Hits, k: int) -> Vector:
    """mrr: 1 / place of the first hit, or 0 without a hit among the first K (Voorhees, TREC-8, 1999)."""
    return np.where(hits.first_hits <= k, 1 / hits.first_hits, 0.0)


def novelty(hits: Hits, k: int) -> Vector:
    """novelty: mean over the items among the first K of -log2(share of the training rows that are the item's).

    Mean self-information, in bits; 0 for an empty list. It rewards rare items whether they are liked or not, so read it
    beside an accuracy. Zhou et al., Solving the apparent diversity-accuracy dilemma, PNAS 107 (2010); Vargas & Castells,
    Rank and Relevance in Novelty and Diversity Metrics, RecSys 2011.
    """
    listed = hits.listed[:, :k].sum(axis=1)
    return np.asarray(np.cumsum(hits.information[:, :k], axis=1)[:, -1] / np.maximum(listed, 1))


def revenue(hits: Hits, k: int) -> Vector:
    """revenue: the part of the user's spend in the evaluated window that went to the first K items.

    A share, so it has no currency; 0 for a user who spent nothing. Only where there are prices.
    """
    if hits.captured is None:
        raise ValueError("revenue needs what each user spent, but the data has no prices")
    return np.asarray(np.cumsum(hits.captured[:, :k], axis=1)[:, -1])


PER_USER: Mapping[str, Callable[[Hits, int], Vector]] = MappingProxyType(
    {
        "map": mean_average_precision,
        "ndcg": normalised_gain,
        "recall": recall,
        "precision": precision,
        "hit_rate": hit_rate,
        "mrr": reciprocal_rank,
        "novelty": novelty,
        "revenue": revenue,
    }
)
"""name -> the metric of each user."""

COVERAGE = "coverage"
"""The one metric of all lists together: the share of the candidate items that stand in any list cut at K
(Ge et al., Beyond Accuracy, RecSys 2010)."""

METRICS = (*PER_USER, COVERAGE)
"""The names of all metrics."""


def expected_at_random(metric: str, k: int, n_relevant: NDArray[np.int64], n_candidates: NDArray[np.int64]) -> float:
    """What a random order of the candidates scores on average: a model below it has learned nothing.

    `n_relevant` and `n_candidates` (n,) are counted for each user; the mean over users is returned. Relevant items that
    are no candidates count as if they were, which errs upwards. Exact for map, ndcg, recall, precision, hit_rate and mrr;
    ValueError for the others, which have no such expectation.

    With p = R / N, a place holds a hit with chance p, two places hold two with p * (R - 1) / (N - 1), and the first i
    places hold none with the product over j < i of (N - R - j) / (N - j).
    """
    if metric not in _AT_RANDOM:
        raise ValueError(
            f"a metric with a known expectation must be one of {', '.join(_AT_RANDOM)}, but got {metric!r}"
        )
    if not len(n_relevant):
        raise ValueError("there must be at least one user to average over, but there is none")
    candidates = n_candidates.astype(np.float64)[:, None]
    relevant = np.minimum(n_relevant[:, None], candidates)
    per_place = _AT_RANDOM[metric](relevant, candidates, np.arange(1, k + 1, dtype=np.float64))
    reached = np.arange(k) < candidates
    totals = np.where(reached, per_place, 0.0).sum(axis=1) / _divisors(metric, k, n_relevant)
    return float(totals.mean())


def _chance(relevant: Vector, candidates: Vector) -> Vector:
    return relevant / np.maximum(candidates, 1)


def _random_hits(relevant: Vector, candidates: Vector, places: Vector) -> Vector:
    return np.broadcast_to(_chance(relevant, candidates), (len(relevant), len(places)))


def _random_gains(relevant: Vector, candidates: Vector, places: Vector) -> Vector:
    return _chance(relevant, candidates) / np.log2(places + 1)


def _random_precisions(relevant: Vector, candidates: Vector, places: Vector) -> Vector:
    second = (relevant - 1) / np.maximum(candidates - 1, 1)
    return _chance(relevant, candidates) * (1 + (places - 1) * second) / places


def _random_first_hits(relevant: Vector, candidates: Vector, places: Vector) -> Vector:
    """The chance that the first hit stands at each place."""
    left = np.maximum(candidates - places + 1, 1)
    missed = np.cumprod(np.maximum(left - relevant, 0) / left, axis=1)
    before = np.concatenate([np.ones_like(relevant), missed[:, :-1]], axis=1)
    return before * np.minimum(relevant / left, 1)


def _random_first_ranks(relevant: Vector, candidates: Vector, places: Vector) -> Vector:
    return _random_first_hits(relevant, candidates, places) / places


_AT_RANDOM: Mapping[str, Callable[[Vector, Vector, Vector], Vector]] = {
    "map": _random_precisions,
    "ndcg": _random_gains,
    "recall": _random_hits,
    "precision": _random_hits,
    "hit_rate": _random_first_hits,
    "mrr": _random_first_ranks,
}
"""metric -> its expected part at each place, (n, K) from relevant (n, 1), candidates (n, 1) and places (K,)."""


def _divisors(metric: str, k: int, n_relevant: NDArray[np.int64]) -> Vector:
    """(n,) what the sum over places is divided by."""
    if metric == "map":
        return np.minimum(n_relevant, k).astype(np.float64)
    if metric == "ndcg":
        return np.asarray(np.cumsum(1 / np.log2(np.arange(2, k + 2)))[np.minimum(n_relevant, k) - 1])
    if metric == "recall":
        return n_relevant.astype(np.float64)
    return np.full(len(n_relevant), float(k) if metric == "precision" else 1.0)
