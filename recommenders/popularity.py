"""The family `popularity`: what sells, and lately, is shown to everyone."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recommenders.base import ScoringRecommender
from recommenders.decay import half_life_decay
from recommenders.protocol import Arrays, FamilyConfig, Interactions


class PopularityConfig(FamilyConfig):
    """The hyperparameters of `popularity`."""

    half_life_days: float | None = Field(default=None, gt=0)
    """After so many days an event counts half, reckoned back from the newest event; None: all count alike."""


class Popularity(ScoringRecommender[PopularityConfig]):
    """Ranks items by the sum of their decayed weights, for known and unknown users alike."""

    config_type = PopularityConfig
    counts: NDArray[np.float32]
    """(n_items,) decayed weights, summed."""

    def _fit(self, interactions: Interactions) -> None:
        ages_s = interactions.times.max(initial=0) - interactions.times
        weights = interactions.weights * half_life_decay(ages_s, self.config.half_life_days)
        counts = np.bincount(interactions.items, weights=weights, minlength=interactions.n_items)
        self.counts = counts.astype(np.float32)

    def _scores(self, users: NDArray[np.intp]) -> NDArray[np.float32]:
        return np.tile(self.counts, (len(users), 1))

    def _fallback_scores(self) -> NDArray[np.float32]:
        return self.counts

    def _arrays(self) -> Arrays:
        return {"counts": self.counts}

    def _restore(self, arrays: Arrays) -> None:
        self.counts = arrays["counts"]
