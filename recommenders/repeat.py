"""The family `repeat`: what a user has bought before, most often and lately first; then what sells."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array

from recommenders.base import ScoringRecommender, csr_arrays, csr_from
from recommenders.decay import half_life_decay
from recommenders.protocol import Arrays, FamilyConfig, Interactions


class RepeatConfig(FamilyConfig):
    """The hyperparameters of `repeat`."""

    half_life_days: float | None = Field(default=None, gt=0)
    """After so many days a purchase counts half, reckoned back from the user's own last one; None: all alike."""


class Repeat(ScoringRecommender[RepeatConfig]):
    """Personal purchase frequency, decayed, with the popular items behind it.

    The personal frequencies are the top-frequency baseline of Hu et al., "Modeling Personalized Item Frequency
    Information for Next-basket Recommendation", SIGIR 2020. Scores: an item of the user's own has its decayed weight
    (0 or more); any other has minus its place by popularity, so it stands behind.
    """

    config_type = RepeatConfig
    own: csr_array
    """(n_users, n_items) decayed weights, summed."""

    def _fit(self, interactions: Interactions) -> None:
        users, times = interactions.users, interactions.times
        # Ages count from the user's own last event: a constant factor per user, which changes no order, and keeps
        # users who left long ago from vanishing in float32.
        last = np.full(interactions.n_users, np.iinfo(np.int64).min)
        np.maximum.at(last, users, times)
        weights = interactions.weights * half_life_decay(last[users] - times, self.config.half_life_days)
        shape = (interactions.n_users, interactions.n_items)
        self.own = csr_array((weights, (users, interactions.items)), shape=shape).astype(np.float32)

    def _scores(self, users: NDArray[np.intp]) -> NDArray[np.float32]:
        places = np.arange(1, self.own.shape[1] + 1, dtype=np.float32)
        scores = np.tile(-places, (len(users), 1))
        own = self.own[users].tocoo()
        scores[own.coords] = own.data
        return scores

    def _arrays(self) -> Arrays:
        return csr_arrays("own", self.own)

    def _restore(self, arrays: Arrays) -> None:
        self.own = csr_from("own", arrays)
