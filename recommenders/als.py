"""`als`: implicit-feedback matrix factorization by alternating least squares."""

from implicit.cpu.als import AlternatingLeastSquares
from pydantic import Field

from recommenders.implicit_factors import ImplicitRecommender
from recommenders.protocol import FamilyConfig


class ALSConfig(FamilyConfig):
    """The hyperparameters of `als`, named as in the library `implicit`."""

    factors: int = Field(64, ge=1)
    """Length of a user's and of an item's vector."""
    regularization: float = Field(10.0, gt=0)
    """L2 penalty on both, the same for every user and item however often they occur."""
    alpha: float = Field(1.5, gt=0)
    """Confidence of a pair is alpha times its weight; that of a pair not seen is 1."""
    iterations: int = Field(10, ge=1)
    """Sweeps over users and items."""


class ALS(ImplicitRecommender[ALSConfig]):
    """iALS: fit 1 to pairs seen and 0 to all others, weighted by confidence (Hu, Koren, Volinsky, ICDM 2008).

    Solved with three conjugate-gradient steps a vector (Takács, Pilászy, Tikk, RecSys 2011) by `implicit`. The factors
    are the same with any number of threads.
    """

    config_type = ALSConfig
    model_type = AlternatingLeastSquares
