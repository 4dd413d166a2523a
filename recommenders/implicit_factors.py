"""Factor families of the library `implicit`: its classes take the fields of the config by name."""

from typing import Any, ClassVar

import numpy as np
from implicit.recommender_base import ModelFitError
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from recommenders.base import Config
from recommenders.factors import FactorRecommender, Factors, diverged
from recommenders.protocol import Interactions


class ImplicitRecommender(FactorRecommender[Config]):
    """A class of `implicit`, seeded; with one thread it repeats bit for bit."""

    libraries = ("implicit",)
    model_type: ClassVar[Any]

    def _learn(self, interactions: Interactions) -> Factors:
        # implicit's threads and those of BLAS would fight over the cores; implicit warns unless BLAS has but one.
        with threadpool_limits(limits=1, user_api="blas"):
            model = self.model_type(**self.config.model_dump(), num_threads=self.threads, random_state=self.seed)
            try:
                model.fit(writable_csr(interactions.matrix), show_progress=False)
            except ModelFitError as error:
                raise ValueError(diverged(self)) from error
        return model.user_factors, model.item_factors


def writable_csr(matrix: csr_array) -> csr_matrix:
    """The matrix as implicit's compiled code takes it: int32 indices, and writable, which costs a copy where it is not.

    Its buffers are not declared `const`: a read-only array ends in "buffer source array is read-only".
    """
    data = np.require(matrix.data, np.float32, "W")
    indices, indptr = (np.require(part, np.int32, "W") for part in (matrix.indices, matrix.indptr))
    return csr_matrix((data, indices, indptr), shape=matrix.shape)
