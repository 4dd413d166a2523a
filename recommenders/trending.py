"""The family `trending`: what sells lately, pulled towards what a user's history is like."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array

from recommenders.decay import half_life_decay
from recommenders.item_item import ItemItemRecommender, product, smaller
from recommenders.protocol import Arrays, FamilyConfig, Interactions


class TrendingConfig(FamilyConfig):
    """The hyperparameters of `trending`."""

    half_life_days: float | None = Field(default=None, gt=0)
    """After so many days an event counts half in an item's popularity; None: all count alike."""
    taste: float = Field(default=4.0, ge=0)
    """How many times its popularity an item gains that is as near to the history as any; 0 is popularity alone."""
    threshold: int = Field(default=1, ge=1)
    """Two items with fewer common users are not similar at all."""


class Trending(ItemItemRecommender[TrendingConfig]):
    """Decayed popularity times (1 + taste x likeness), for markets in which today's sellers were unknown last year.

    Likeness is the user's history times the items' Jaccard similarity, as in SAR, over its largest value for that user:
    popularity is the prior, and the history what is learned of the user. Unknown users get the decayed popularity.
    """

    config_type = TrendingConfig
    popularity: NDArray[np.float32]
    """(n_items,) decayed weights, summed."""

    def _fit(self, interactions: Interactions) -> None:
        ages_s = interactions.times.max(initial=0) - interactions.times
        weights = interactions.weights * half_life_decay(ages_s, self.config.half_life_days)
        popularity = np.bincount(interactions.items, weights=weights, minlength=interactions.n_items)
        self.popularity = popularity.astype(np.float32)
        super()._fit(interactions)

    def _learn(self, interactions: Interactions) -> csr_array | NDArray[np.float32]:
        hits = interactions.matrix.copy()
        hits.data = np.ones(hits.nnz, dtype=np.float32)
        common = product(hits.T.tocsr(), hits)
        users = common.diagonal().copy()
        common[common < self.config.threshold] = 0
        for row, count in zip(common, users, strict=True):
            np.divide(row, users + count - row, out=row, where=row > 0)
        return smaller(common)

    def _scores(self, users: NDArray[np.intp]) -> NDArray[np.float32]:
        likeness = super()._scores(users)
        peaks = likeness.max(axis=1, keepdims=True)
        np.divide(likeness, peaks, out=likeness, where=peaks > 0)
        likeness *= np.float32(self.config.taste)
        likeness += 1
        likeness *= self.popularity
        return likeness

    def _fallback_scores(self) -> NDArray[np.float32]:
        return self.popularity

    def _arrays(self) -> Arrays:
        return {**super()._arrays(), "popularity": self.popularity}

    def _restore(self, arrays: Arrays) -> None:
        super()._restore(arrays)
        self.popularity = arrays["popularity"]
