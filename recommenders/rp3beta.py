"""The family `rp3beta`: a random walk user, item, user, item, with popular ends held back."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array, diags_array

from recommenders.item_item import ItemItemRecommender, nearest, product
from recommenders.protocol import FamilyConfig, Interactions


class RP3betaConfig(FamilyConfig):
    """The hyperparameters of `rp3beta`."""

    alpha: float = Field(default=1.0, ge=0)
    """The power to which each step's probability is raised."""
    beta: float = Field(default=0.6, ge=0)
    """The power of an item's number of buyers by which its score is divided."""
    neighbours: int = Field(default=100, ge=1)
    """Of each item, so many ends of the walk are kept."""
    normalize: bool = False
    """Whether the kept ends of each item are scaled to sum to 1."""


class RP3beta(ItemItemRecommender[RP3betaConfig]):
    """RP3beta of Paudel, Christoffel, Newell and Bernstein, "Updatable, Accurate, Diverse, and Scalable
    Recommendations for Interactive Applications", TiiS 2017 (Christoffel et al., RecSys 2015).

    Written as an item-item model, as in Ferrari Dacrema et al., "Are We Really Making Much Progress?", RecSys 2019:
    from an item to each of its buyers evenly, from a user to items by weight. A walk may end where it began, as in the
    paper (their evaluation code cuts it), because here a seen item may be recommended again.
    """

    config_type = RP3betaConfig

    def _learn(self, interactions: Interactions) -> csr_array | NDArray[np.float32]:
        matrix = interactions.matrix.astype(np.float64)
        buyers = np.bincount(matrix.indices, minlength=interactions.n_items)
        to_user = matrix.T.tocsr()
        to_user.data = np.repeat(1.0 / buyers[buyers > 0], buyers[buyers > 0]) ** self.config.alpha
        to_item = matrix.copy()
        to_item.data = (to_item.data / np.repeat(matrix.sum(axis=1), np.diff(matrix.indptr))) ** self.config.alpha
        held_back = np.maximum(buyers, 1.0) ** -self.config.beta
        steps = to_user.astype(np.float32), (to_item @ diags_array(held_back)).tocsr().astype(np.float32)
        kept = nearest(interactions.n_items, self.config.neighbours, lambda block: product(steps[0][block], steps[1]))
        return _rows_to_one(kept) if self.config.normalize else kept


def _rows_to_one(matrix: csr_array | NDArray[np.float32]) -> csr_array | NDArray[np.float32]:
    """Each row scaled to sum to 1; an empty one stays."""
    sums = np.asarray(matrix.sum(axis=1), dtype=np.float32)
    scale = np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)
    if isinstance(matrix, np.ndarray):
        return matrix * scale[:, None]
    matrix.data *= np.repeat(scale, np.diff(matrix.indptr))
    return matrix
