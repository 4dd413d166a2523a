"""What every family of recommenders takes, gives and can do.

The two frozen dataclasses here are all that crosses the border of this package, besides NumPy arrays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.sparse import csr_array


class FamilyNotInstalled(ImportError):
    """The library that a family stands on is missing; the message says how to install it."""


class FamilyConfig(BaseModel):
    """The hyperparameters of a family: frozen, typed, with the defaults that are tried first."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, eq=False)
class Interactions:
    """Training rows, integer-coded, one row an event; a pair (user, item) may occur more than once.

    Users are coded 0..n_users-1. Items are coded 0..n_items-1 **by falling number of training rows**,
    so that "the lower code first" breaks every tie in favour of the more popular item, and the popular items are
    simply the first ones.
    """

    users: NDArray[np.int32]
    """(n,) user codes."""
    items: NDArray[np.int32]
    """(n,) item codes."""
    times: NDArray[np.int64]
    """(n,) seconds since 1970-01-01 UTC; all zero where the data has no time."""
    weights: NDArray[np.float32]
    """(n,) strength of the event, > 0; 1 unless the data says otherwise."""
    n_users: int
    n_items: int
    user_features: csr_array | None = None
    """(n_users, f) or None."""
    item_features: csr_array | None = None
    """(n_items, g) or None."""

    @cached_property
    def matrix(self) -> csr_array:
        """The (n_users, n_items) float32 matrix of weights, summed over repeated pairs, indices sorted."""
        shape = (self.n_users, self.n_items)
        matrix = csr_array((self.weights, (self.users, self.items)), shape=shape, dtype=np.float32)
        matrix.sum_duplicates()
        return matrix


@dataclass(frozen=True, eq=False)
class TopK:
    """The K best items of n users, best first; ties stand in order of item code."""

    items: NDArray[np.int32]
    """(n, k) item codes; -1 pads a row, only where fewer than k items are eligible."""
    scores: NDArray[np.float32]
    """(n, k) falling from left to right; -inf at the pads."""
    fallback: NDArray[np.bool_]
    """(n,) True where the family knew nothing of the user and popularity answered instead."""


@runtime_checkable
class Recommender(Protocol):
    """A family. Built as `Family(config, *, seed, threads)`; equal arguments and rows give equal models."""

    config_type: ClassVar[type[FamilyConfig]]
    libraries: ClassVar[tuple[str, ...]]
    """Distributions, besides NumPy and SciPy, on whose version the scores depend."""

    def __init__(self, config: Any, *, seed: int, threads: int) -> None: ...

    def fit(self, interactions: Interactions) -> Self:
        """Learn from training rows, and return self."""
        ...

    def recommend(self, users: NDArray[np.intp], k: int, *, exclude_seen: bool) -> TopK:
        """The k best items of each of `users` (n,); a code of -1 is a user without training rows."""
        ...

    def size_mb(self) -> float:
        """What the model takes in memory, in MB (10^6 bytes); the same for equal models."""
        ...

    def save(self, folder: Path) -> None:
        """Write arrays and JSON into `folder`, which is made when it is missing; never a pickle."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model that `save` wrote: it recommends the same."""
        ...


Arrays = Mapping[str, NDArray[Any]]
"""Named arrays, as they are saved."""
