"""`bpr`: Bayesian personalized ranking of pairs of items by matrix factorization."""

from implicit.cpu.bpr import BayesianPersonalizedRanking
from pydantic import Field

from recommenders.implicit_factors import ImplicitRecommender
from recommenders.protocol import FamilyConfig


class BPRConfig(FamilyConfig):
    """The hyperparameters of `bpr`, named as in the library `implicit`."""

    factors: int = Field(64, ge=1)
    """Length of a user's and of an item's vector, without the item's bias."""
    learning_rate: float = Field(0.02, gt=0)
    """Step of stochastic gradient descent, constant over the fit."""
    regularization: float = Field(0.001, ge=0)
    """L2 penalty on vectors and biases."""
    iterations: int = Field(50, ge=1)
    """Epochs: each draws as many (seen, not seen) pairs as the data has pairs of user and item."""


class BPR(ImplicitRecommender[BPRConfig]):
    """BPR-MF: a user's seen item should score above one not seen (Rendle et al., UAI 2009), by `implicit`.

    Weights are not used: a pair is seen or not. The item not seen is drawn by popularity. More than one thread writes
    the factors without locks, so only one repeats bit for bit.
    """

    config_type = BPRConfig
    model_type = BayesianPersonalizedRanking
