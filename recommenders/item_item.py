"""What the item-item families share: products of sparse matrices, nearest neighbours, scores and saving.

Everything here runs in one thread and adds in a fixed order, so that a user's scores do not depend on which other
users are scored with them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recommenders.base import BLOCK_CELLS, Config, ScoringRecommender, csr_arrays, csr_from
from recommenders.protocol import Arrays, Interactions
from scoring.topk import compiled, top_k

DENSE_FROM = 0.2
"""The share of filled cells from which a similarity matrix is kept, and multiplied, densely: measured to be faster."""


class ItemItemRecommender(ScoringRecommender[Config]):
    """A family whose score is a user's history times an item-item similarity; a subclass writes `_learn`."""

    similarity: csr_array | NDArray[Any]
    """(n_items, n_items): row i is what one unit of item i in a history adds to every item's score."""

    def _learn(self, interactions: Interactions) -> csr_array | NDArray[Any]:
        raise NotImplementedError

    def _fit(self, interactions: Interactions) -> None:
        self.similarity = self._learn(interactions)

    def _scores(self, users: NDArray[np.intp]) -> NDArray[np.float32]:
        return product(self.seen[users], self.similarity).astype(np.float32, copy=False)

    def _arrays(self) -> Arrays:
        if isinstance(self.similarity, np.ndarray):
            return {"similarity": self.similarity}
        return csr_arrays("similarity", self.similarity)

    def _restore(self, arrays: Arrays) -> None:
        self.similarity = arrays["similarity"] if "similarity" in arrays else csr_from("similarity", arrays)


def product(left: csr_array, right: csr_array | NDArray[Any]) -> NDArray[Any]:
    """The dense product of a sparse (b, m) and a (m, n) matrix, summed in the type of `right`."""
    if isinstance(right, np.ndarray):
        dense: NDArray[Any] = left.astype(right.dtype, copy=False) @ right
        return dense
    out = np.zeros((left.shape[0], right.shape[1]), dtype=right.dtype)
    _add_rows(left.indptr, left.indices, left.data, right.indptr, right.indices, right.data, out)
    return out


def smaller(matrix: NDArray[Any]) -> csr_array | NDArray[Any]:
    """The same matrix, sparse where few of its cells are filled."""
    return csr_array(matrix) if np.count_nonzero(matrix) < DENSE_FROM * matrix.size else matrix


def nearest(n_items: int, k: int, rows: Callable[[slice], NDArray[np.float32]]) -> csr_array | NDArray[np.float32]:
    """The (n_items, n_items) matrix of each item's k most similar items, itself among them; the lower code wins ties.

    `rows(block)` gives a fresh (b, n_items) block of similarities; what is not above 0 is no neighbour.
    """
    block = max(1, BLOCK_CELLS // n_items)
    parts = [_strongest(rows(slice(start, start + block)), min(k, n_items)) for start in range(0, n_items, block)]
    counts, items, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    matrix = csr_array((values, items, indptr), shape=(n_items, n_items))
    return matrix if matrix.nnz < DENSE_FROM * n_items**2 else matrix.toarray()


def _strongest(block: NDArray[np.float32], k: int) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.float32]]:
    """How many neighbours each row has (at most k), which, and how near."""
    block[block <= 0] = -np.inf
    items, values = top_k(block, k)
    kept = items >= 0
    return kept.sum(axis=1), items[kept], values[kept]


@compiled
def _add_rows(
    left_indptr: NDArray[np.int32],
    left_indices: NDArray[np.int32],
    left_data: NDArray[Any],
    right_indptr: NDArray[np.int32],
    right_indices: NDArray[np.int32],
    right_data: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Add to each row of `out` the rows of `right` that the row of `left` names, one after the other."""
    for row in range(out.shape[0]):
        target = out[row]
        for at in range(left_indptr[row], left_indptr[row + 1]):
            factor, inner = left_data[at], left_indices[at]
            for cell in range(right_indptr[inner], right_indptr[inner + 1]):
                target[right_indices[cell]] += factor * right_data[cell]
