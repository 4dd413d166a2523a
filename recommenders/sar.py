"""The family `sar`: Microsoft's Simple Algorithm for Recommendation, to the digit."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array

from recommenders.base import csr_arrays, csr_from
from recommenders.decay import half_life_decay
from recommenders.item_item import ItemItemRecommender, product, smaller
from recommenders.protocol import Arrays, FamilyConfig, Interactions

LAST = float(np.finfo(np.float32).min)
"""Stands for minus infinity: behind every other score, but still to be recommended when nothing else is left."""
VANISHING = 1e-30
"""A user whose best score is nearer to 0 than this would lose digits in float32."""


class SARConfig(FamilyConfig):
    """The hyperparameters of `sar`."""

    similarity: Literal[
        "cooccurrence",
        "cosine",
        "inclusion index",
        "jaccard",
        "lexicographers mutual information",
        "lift",
        "mutual information",
    ] = "jaccard"
    """How the number of common users becomes a similarity."""
    half_life_days: float | None = Field(default=None, gt=0)
    """After so many days a user's affinity is halved, reckoned back from the newest event; None: no time decay."""
    threshold: int = Field(default=1, ge=1)
    """Two items with fewer common users are not similar at all."""


class SAR(ItemItemRecommender[SARConfig]):
    """SARSingleNode of Microsoft's package `recommenders` 1.2.1, without its rescaling of scores.

    Affinity (weights, decayed and summed over repeated pairs) times a similarity made of binary co-occurrence counts;
    time decay touches the affinity alone. Theirs wants rows without repeated pairs; here they are summed first. Both
    factors and the sums are float64, as theirs; the scores given out are float32.

    The two kinds of mutual information are as published, too: items without a common user are minus infinity apart,
    so only items that share a user with every single item of the history get a finite score, and the lexicographers'
    one multiplies counts and mutual information as matrices. An infinite score is given as the lowest finite one, and
    a user all of whose scores are infinite as unknown. A user whose affinities have decayed to less than 1e-30 gets
    scores relative to the best one.
    """

    config_type = SARConfig
    affinity: csr_array
    """(n_users, n_items) float64."""

    def _fit(self, interactions: Interactions) -> None:
        ages_s = interactions.times.max(initial=0) - interactions.times
        weights = interactions.weights * half_life_decay(ages_s, self.config.half_life_days)
        where = (interactions.users, interactions.items)
        self.affinity = csr_array((weights, where), shape=(interactions.n_users, interactions.n_items))
        self.affinity.eliminate_zeros()  # decayed to nothing: 0 times minus infinity would be no number
        super()._fit(interactions)

    def _learn(self, interactions: Interactions) -> csr_array | NDArray[np.float64]:
        hits = interactions.matrix.copy()
        hits.data = np.ones(hits.nnz)
        counts = product(hits.T.tocsr(), hits)
        counts[counts < self.config.threshold] = 0
        return smaller(SIMILARITIES[self.config.similarity](counts))

    def _scores(self, users: NDArray[np.intp]) -> NDArray[np.float32]:
        exact = product(self.affinity[users], self.similarity)
        infinite = np.isneginf(exact)
        exact[infinite] = 0
        peaks = np.maximum(exact.max(axis=1), -exact.min(axis=1))
        vanishing = (peaks > 0) & (peaks < VANISHING)
        exact[vanishing] /= peaks[vanishing, None]
        scores: NDArray[np.float32] = exact.astype(np.float32)
        infinite[infinite.all(axis=1)] = False
        scores[infinite] = LAST
        return scores

    def _arrays(self) -> Arrays:
        return {**super()._arrays(), **csr_arrays("affinity", self.affinity)}

    def _restore(self, arrays: Arrays) -> None:
        super()._restore(arrays)
        self.affinity = csr_from("affinity", arrays)


Matrix = NDArray[np.float64]


def _over(denominator: Callable[[Matrix, Matrix, Matrix], Matrix]) -> Callable[[Matrix], Matrix]:
    """The similarity counts / denominator(counts, users of the row, users of the column); no count, no similarity."""

    def similarity(counts: Matrix) -> Matrix:
        users = counts.diagonal().copy()
        for row, count in zip(counts, users, strict=True):
            np.divide(row, denominator(row, count, users), out=row, where=row > 0)
        return counts

    return similarity


def _mutual_information(counts: Matrix) -> Matrix:
    """log2 of n_items x lift; minus infinity for items without a common user."""
    information: Matrix = SIMILARITIES["lift"](counts)
    information *= len(counts)
    with np.errstate(divide="ignore"):
        return np.log2(information, out=information)


def _lexicographers_mutual_information(counts: Matrix) -> Matrix:
    """The matrix product of counts and mutual information, minus infinity wherever a term of the sum is."""
    information = _mutual_information(counts.copy())
    infinite = np.isneginf(information)
    information[infinite] = 0
    similarity = counts @ information
    terms = (counts > 0).astype(np.float32) @ infinite.astype(np.float32)
    similarity[terms > 0] = -np.inf
    return similarity


SIMILARITIES: dict[str, Callable[[Matrix], Any]] = {
    "cooccurrence": lambda counts: counts,
    "cosine": _over(lambda _, row, column: np.sqrt(row * column)),
    "inclusion index": _over(lambda _, row, column: np.minimum(row, column)),
    "jaccard": _over(lambda both, row, column: row + column - both),
    "lexicographers mutual information": _lexicographers_mutual_information,
    "lift": _over(lambda _, row, column: row * column),
    "mutual information": _mutual_information,
}
"""Co-occurrence counts (n_items, n_items), which may be overwritten, to similarities; names as Microsoft's."""
