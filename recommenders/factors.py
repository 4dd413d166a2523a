"""What the factor families share: users and items as vectors, a score as their inner product."""

import numpy as np
from numpy.typing import NDArray

from recommenders.base import Config, ScoringRecommender
from recommenders.protocol import Arrays, Interactions

Factors = tuple[NDArray[np.float32], NDArray[np.float32]]
"""The vectors of users (n_users, f) and of items (n_items, f); biases are columns beside a column of ones."""


class FactorRecommender(ScoringRecommender[Config]):
    """A family that learns vectors; a subclass writes `_learn` alone."""

    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]

    def _learn(self, interactions: Interactions) -> Factors:
        """The factors, as float32."""
        raise NotImplementedError

    def _fit(self, interactions: Interactions) -> None:
        self.user_factors, self.item_factors = self._learn(interactions)
        # Scores, too, must be finite in float32: the bound holds for every inner product, and fails for a NaN.
        users, items = (float(np.abs(factors).max(initial=0.0)) for factors in (self.user_factors, self.item_factors))
        if not users * items * self.item_factors.shape[1] < float(np.finfo(np.float32).max):
            raise ValueError(diverged(self))

    def _scores(self, users: NDArray[np.intp]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = self.user_factors[users] @ self.item_factors.T
        return scores

    def _arrays(self) -> Arrays:
        return {"user_factors": self.user_factors, "item_factors": self.item_factors}

    def _restore(self, arrays: Arrays) -> None:
        self.user_factors, self.item_factors = arrays["user_factors"], arrays["item_factors"]


def diverged(model: FactorRecommender[Config]) -> str:
    """The sentence for a fit that ended in infinite or undefined numbers."""
    return (
        f"the factors must be finite, but the fit of {type(model).__name__} with {model.config.model_dump()} diverged; "
        "give a smaller learning rate or a larger regularization"
    )
