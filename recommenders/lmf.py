"""`lmf`: logistic matrix factorization."""

from implicit.cpu.lmf import LogisticMatrixFactorization
from pydantic import Field

from recommenders.implicit_factors import ImplicitRecommender
from recommenders.protocol import FamilyConfig


class LMFConfig(FamilyConfig):
    """The hyperparameters of `lmf`, named as in the library `implicit`."""

    factors: int = Field(30, ge=1)
    """Length of a user's and of an item's vector, without the two biases."""
    learning_rate: float = Field(1.0, gt=0)
    """Step of AdaGrad, which shrinks by itself."""
    regularization: float = Field(3.0, ge=0)
    """L2 penalty on vectors and biases."""
    iterations: int = Field(30, ge=1)
    """Alternations between users and items, one gradient step each."""


class LMF(ImplicitRecommender[LMFConfig]):
    """Logistic MF: the probability that a user takes an item (Johnson, NIPS 2014 workshop), by `implicit`.

    Weights multiply the loss of the pairs seen. Starting vectors are drawn from N(0, 1), so few iterations leave noise.
    """

    config_type = LMFConfig
    model_type = LogisticMatrixFactorization
