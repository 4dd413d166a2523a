"""What the families share: ranking in blocks, the fallback for unknown users, saving and loading."""

import json
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recommenders.protocol import Arrays, FamilyConfig, Interactions, TopK
from scoring.topk import top_k

Config = TypeVar("Config", bound=FamilyConfig)

BLOCK_CELLS = 4_000_000
"""Scores held at once (16 MB of float32): the memory of `recommend` does not grow with the users."""


class ScoringRecommender(Generic[Config]):
    """A family that can score all items for a block of users; the rest is done here.

    A subclass sets `config_type` and writes four methods: `_fit`, `_scores`, `_arrays`, `_restore`.
    """

    config_type: ClassVar[type[FamilyConfig]]
    libraries: ClassVar[tuple[str, ...]] = ()
    seen: csr_array
    """(n_users, n_items) the training matrix: what a user has had, and the input of item-item models."""

    def __init__(self, config: Config, *, seed: int, threads: int) -> None:
        self.config = config
        self.seed = seed
        self.threads = threads

    def fit(self, interactions: Interactions) -> Self:
        """Learn from training rows, and return self."""
        self.seen = interactions.matrix
        self._fit(interactions)
        return self

    def recommend(self, users: NDArray[np.intp], k: int, *, exclude_seen: bool) -> TopK:
        """The k best items of each of `users` (n,), scored in blocks; -1 is a user without training rows."""
        n_items = self.seen.shape[1]
        items = np.full((len(users), k), -1, dtype=np.int32)
        scores = np.full((len(users), k), -np.inf, dtype=np.float32)
        fallback = np.zeros(len(users), dtype=np.bool_)
        block = max(1, BLOCK_CELLS // max(1, n_items))
        for start in range(0, len(users), block):
            rows = slice(start, start + block)
            dense, fallback[rows] = self._eligible(users[rows], exclude_seen)
            items[rows], scores[rows] = top_k(dense, k)
        return TopK(items, scores, fallback)

    def save(self, folder: Path) -> None:
        """Write the arrays (one .npy each) and config.json into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {**self._arrays(), **csr_arrays("seen", self.seen)}
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        about = {"config": self.config.model_dump(), "seed": self.seed, "threads": self.threads}
        (folder / "config.json").write_text(json.dumps(about, indent=1))

    def size_mb(self) -> float:
        """The arrays of the model, in MB."""
        arrays = {**self._arrays(), **csr_arrays("seen", self.seen)}
        return sum(array.nbytes for array in arrays.values()) / 1e6

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model that `save` wrote: it recommends the same."""
        about = json.loads((folder / "config.json").read_text())
        config: Any = cls.config_type(**about["config"])
        model = cls(config, seed=about["seed"], threads=about["threads"])
        arrays = {path.stem: np.load(path, allow_pickle=False) for path in sorted(folder.glob("*.npy"))}
        model.seen = csr_from("seen", arrays)
        model._restore(arrays)
        return model

    def _eligible(self, users: NDArray[np.intp], exclude_seen: bool) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Scores (b, n_items) with -inf where an item may not be shown, and who fell back to popularity."""
        known = users >= 0
        dense = np.tile(self._fallback_scores(), (len(users), 1))
        if known.any():
            scores = self._scores(users[known])
            scored = scores.any(axis=1)  # all 0: nothing speaks for any item
            known[known] = scored
            dense[known] = scores[scored]
        if exclude_seen:
            warm = np.flatnonzero(users >= 0)
            had = self.seen[users[warm]].tocoo()
            dense[warm[had.coords[0]], had.coords[1]] = -np.inf
        return dense, ~known

    def _fit(self, interactions: Interactions) -> None:
        raise NotImplementedError

    def _scores(self, users: NDArray[np.intp]) -> NDArray[np.float32]:
        """A fresh (b, n_items) float32 array of scores for known users; higher is better."""
        raise NotImplementedError

    def _fallback_scores(self) -> NDArray[np.float32]:
        """(n_items,) the scores for a user of whom nothing is known."""
        return popularity_scores(self.seen.shape[1])

    def _arrays(self) -> Arrays:
        """What was learned, as named arrays."""
        raise NotImplementedError

    def _restore(self, arrays: Arrays) -> None:
        """The reverse of `_arrays`."""
        raise NotImplementedError


def popularity_scores(n_items: int) -> NDArray[np.float32]:
    """(n_items,) scores that rank items as they are coded: by falling number of training rows."""
    return (1.0 / np.arange(1, n_items + 1)).astype(np.float32)


def csr_from(name: str, arrays: Arrays) -> csr_array:
    """The CSR matrix that `csr_arrays` took apart."""
    data, indices, indptr = (arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
    return csr_array((data, indices, indptr), shape=tuple(arrays[f"{name}.shape"]))


def csr_arrays(name: str, matrix: csr_array) -> Arrays:
    """A CSR matrix as four named arrays, to be saved."""
    parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
    return {f"{name}.{part}": array for part, array in {**parts, "shape": np.array(matrix.shape)}.items()}
