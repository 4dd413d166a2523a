"""`lightfm`: matrix factorization that knows the features of users and items."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import coo_matrix, csr_array, csr_matrix, diags_array, eye_array, hstack

from recommenders.factors import FactorRecommender, Factors, diverged
from recommenders.protocol import FamilyConfig, FamilyNotInstalled, Interactions

try:
    from lightfm import LightFM
except ImportError as error:
    raise FamilyNotInstalled(
        "lightfm is not installed; give: pip install 'orchestrate-recsys[lightfm]' (it needs a C compiler)"
    ) from error


class LightFMConfig(FamilyConfig):
    """The hyperparameters of `lightfm`, named as in its library."""

    loss: Literal["warp", "bpr", "logistic"] = "warp"
    """What is learned: the top of the list (warp), all pairs of items (bpr), or pairs seen alone (logistic)."""
    no_components: int = Field(32, ge=1)
    """Length of a feature's vector."""
    learning_rate: float = Field(0.03, gt=0)
    """First step of AdaGrad, which shrinks by itself."""
    item_alpha: float = Field(1e-5, ge=0)
    """L2 penalty on item features."""
    user_alpha: float = Field(1e-5, ge=0)
    """L2 penalty on user features."""
    epochs: int = Field(15, ge=1)
    """Passes over the pairs of user and item."""


class LightFMFamily(FactorRecommender[LightFMConfig]):
    """LightFM: a vector and a bias per feature, a user or item being the sum of its own (Kula, arXiv 1507.08439).

    Each user and item is a feature of its own (identity), beside those that the data has; the weights of a row sum to 1.
    Weights of pairs become sample weights of mean 1. With `logistic` there are no negative pairs to learn from, so it
    ranks little better than popularity. Only one thread repeats bit for bit.
    """

    config_type = LightFMConfig
    libraries = ("rectools-lightfm",)

    def _learn(self, interactions: Interactions) -> Factors:
        users = with_identity(interactions.user_features, interactions.n_users)
        items = with_identity(interactions.item_features, interactions.n_items)
        options = self.config.model_dump(exclude={"epochs"})
        model = LightFM(**options, random_state=self.seed % 2**32)
        seen, weights = pairs(interactions.matrix)
        try:
            model.fit(seen, users, items, weights, epochs=self.config.epochs, num_threads=self.threads)
        except ValueError as error:  # "Not all estimated parameters are finite, ..."
            raise ValueError(diverged(self)) from error
        return folded(model, users, items)


def pairs(matrix: csr_array) -> tuple[coo_matrix, coo_matrix]:
    """Ones where a user has an item, as LightFM's losses ask for, and the weights of these pairs, of mean 1."""
    rows, columns = (np.array(part, np.int32) for part in matrix.tocoo().coords)
    weights = matrix.data / matrix.data.mean(dtype=np.float64)
    values = (np.ones(len(rows), np.float32), weights.astype(np.float32))
    ones, scaled = (coo_matrix((value, (rows, columns)), shape=matrix.shape) for value in values)
    return ones, scaled


def with_identity(features: csr_array | None, n: int) -> csr_matrix:
    """(n, n + f) one feature for each row, then those given; rows are scaled to an absolute sum of 1."""
    matrix = eye_array(n, dtype=np.float32, format="csr")
    if features is not None:
        wide = hstack([matrix, features], format="csr")
        matrix = diags_array(1.0 / abs(wide).sum(axis=1)) @ wide
    indices, indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    return csr_matrix((matrix.data.astype(np.float32), indices, indptr), shape=matrix.shape)


def folded(model: Any, users: csr_matrix, items: csr_matrix) -> Factors:
    """Vectors with the biases of both sides as columns, so that an inner product is LightFM's prediction."""
    user_bias, user_vectors = model.get_user_representations(users)
    item_bias, item_vectors = model.get_item_representations(items)
    left = np.column_stack([user_vectors, np.ones_like(user_bias), user_bias])
    right = np.column_stack([item_vectors, item_bias, np.ones_like(item_bias)])
    return contiguous(left), contiguous(right)


def contiguous(array: NDArray[Any]) -> NDArray[np.float32]:
    """As float32 in C order, so that a saved and loaded model multiplies in the same order."""
    return np.ascontiguousarray(array, dtype=np.float32)
