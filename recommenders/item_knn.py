"""The family `item_knn`: items like those a user has had, likeness being the overlap of their buyers."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array

from recommenders.item_item import ItemItemRecommender, nearest, product
from recommenders.protocol import FamilyConfig, Interactions


class ItemKNNConfig(FamilyConfig):
    """The hyperparameters of `item_knn`."""

    weighting: Literal["cosine", "tfidf", "bm25"] = "tfidf"
    """How much a cell of the training matrix counts when two items are compared."""
    neighbours: int = Field(default=100, ge=1)
    """Of each item, so many items profit when it is in a history."""
    shrinkage: float = Field(default=100.0, ge=0)
    """Added to the denominator of cosine and TF-IDF, against likeness by a few shared buyers; BM25 has none."""
    bm25_k1: float = Field(default=1.2, ge=0)
    """BM25: how slowly repeated purchases saturate."""
    bm25_b: float = Field(default=0.75, ge=0, le=1)
    """BM25: how much a popular item is discounted."""


class ItemKNN(ItemItemRecommender[ItemKNNConfig]):
    """Item-based nearest neighbours (Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms", TOIS 2004).

    The weightings, the direction in which neighbours are cut (each item of the history lifts its own k nearest, itself
    among them) and the score (raw training weights times similarities) are those of `implicit.nearest_neighbours`
    0.7: CosineRecommender, TFIDFRecommender and BM25Recommender; the shrinkage is that of irspack's
    CosineKNNRecommender.
    """

    config_type = ItemKNNConfig

    def _learn(self, interactions: Interactions) -> csr_array | NDArray[np.float32]:
        weighted = self._weighted(interactions.matrix)
        columns = weighted.T.tocsr()
        lengths = np.sqrt(weighted.power(2).sum(axis=0)).astype(np.float32)

        def rows(block: slice) -> NDArray[np.float32]:
            dots: NDArray[np.float32] = product(columns[block], weighted)
            if self.config.weighting != "bm25":
                lower = np.outer(lengths[block], lengths) + np.float32(self.config.shrinkage)
                np.divide(dots, lower, out=dots, where=dots > 0)
            return dots

        return nearest(interactions.n_items, self.config.neighbours, rows)

    def _weighted(self, matrix: csr_array) -> csr_array:
        """The training matrix as it is compared, (n_users, n_items) float32."""
        data = matrix.data.astype(np.float64)
        if self.config.weighting == "tfidf":
            data = np.sqrt(data) * _rarity(matrix)
        elif self.config.weighting == "bm25":
            k1, b = self.config.bm25_k1, self.config.bm25_b
            sums = np.bincount(matrix.indices, weights=data, minlength=matrix.shape[1])
            length = (1 - b + b * sums / sums.mean())[matrix.indices]
            data = data * (k1 + 1) / (k1 * length + data) * _rarity(matrix)
        return csr_array((data.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


def _rarity(matrix: csr_array) -> NDArray[Any]:
    """The inverse document frequency of each stored cell: a user of few items says more about them."""
    counts = np.diff(matrix.indptr)
    rarity: NDArray[Any] = np.repeat(np.log(matrix.shape[1]) - np.log1p(counts), counts)
    return rarity
