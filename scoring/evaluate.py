"""Score lists against what users really took: one pass, every metric, one number a user."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scoring.metrics import COVERAGE, PER_USER, Hits

BLOCK_USERS = 8192
"""Users scored at once, so that memory does not grow with their number."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What n evaluated users really took, as the rows of a CSR matrix. Raises ValueError where it does not hold."""

    indptr: NDArray[np.int64]
    """(n + 1,) user u took items[indptr[u] : indptr[u + 1]], at least one."""
    items: NDArray[np.int32]
    """(m,) item codes, rising and distinct within a user; n_items or more is an item that no model knows."""
    spend: NDArray[np.float64] | None = None
    """(m,) what the user spent on each, 0 or more, or None without prices."""

    def __post_init__(self) -> None:
        if self.indptr[0] != 0 or self.indptr[-1] != len(self.items) or (np.diff(self.indptr) < 1).any():
            raise ValueError("every evaluated user must have a relevant item; leave out the users who have none")
        rising = np.diff(self.items) > 0
        rising[self.indptr[1:-1] - 1] = True
        if not rising.all() or (self.items < 0).any():
            raise ValueError("the relevant items of a user must be 0 or more, distinct and sorted")
        if self.spend is not None and not (np.isfinite(self.spend) & (self.spend >= 0)).all():
            raise ValueError("what a user spent on an item must be a number of 0 or more")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The metrics of one fold; names as `ndcg_at_10`."""

    per_user: Mapping[str, NDArray[np.float64]]
    """metric -> (n,) in the order of users."""
    overall: Mapping[str, float]
    """metric -> mean over users; coverage, which only all lists have together, stands here alone."""


def evaluate(
    items: NDArray[np.int32],
    truth: Truth,
    *,
    cutoffs: Sequence[int],
    n_items: int,
    item_counts: NDArray[np.int64],
) -> Evaluation:
    """Score the lists `items` (n, k), best first, -1 pads, of the n users of `truth`, at each of `cutoffs`.

    `item_counts` (n_items,) are the training rows of each candidate item, from which novelty follows; an item without
    one counts as if it had one. Raises ValueError for no users, for a cut-off beyond k, and for lists that repeat an item
    or hold an unknown one.
    """
    places = _checked_places(items, truth, cutoffs, n_items, item_counts)
    information = np.log2(max(int(item_counts.sum()), 1) / np.maximum(item_counts, 1))
    blocks = [
        {f"{name}_at_{k}": PER_USER[name](hits, k) for name in _measured(truth) for k in cutoffs}
        for hits in _blocks(items[:, :places], truth, n_items, information)
    ]
    per_user = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    overall = {name: math.fsum(vector.tolist()) / len(vector) for name, vector in per_user.items()}
    coverage = {f"{COVERAGE}_at_{k}": _coverage(items[:, :k], n_items) for k in cutoffs}
    return Evaluation(per_user, {**overall, **coverage})


def _measured(truth: Truth) -> list[str]:
    return [name for name in PER_USER if name != "revenue" or truth.spend is not None]


def _checked_places(
    items: NDArray[np.int32], truth: Truth, cutoffs: Sequence[int], n_items: int, item_counts: NDArray[np.int64]
) -> int:
    """The largest cut-off, when everything fits together."""
    n_users = len(truth.indptr) - 1
    if n_users == 0 or items.shape[0] != n_users:
        raise ValueError(f"there must be one list for each of 1 or more users, but got {len(items)} for {n_users}")
    if not cutoffs or min(cutoffs) < 1 or max(cutoffs) > items.shape[1]:
        raise ValueError(f"cut-offs must lie within 1..{items.shape[1]}, the length of the lists, but got {cutoffs}")
    if len(item_counts) != n_items or n_items < 1:
        raise ValueError(f"item_counts must hold one count for each of {n_items} items, but holds {len(item_counts)}")
    ordered = np.sort(items[:, : max(cutoffs)], axis=1)
    if (ordered[:, 0] < -1).any() or (ordered[:, -1] >= n_items).any():
        raise ValueError(
            f"lists must hold items within 0..{n_items - 1} or -1, but got {ordered.min()}..{ordered.max()}"
        )
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise ValueError("a list must not repeat an item, but one does")
    return max(cutoffs)


def _blocks(items: NDArray[np.int32], truth: Truth, n_items: int, information: NDArray[np.float64]) -> Iterator[Hits]:
    """Look up a block of users' lists in their truth: keys (user, item) are sorted, so a binary search finds them."""
    relevant = np.diff(truth.indptr)
    stride = max(n_items, int(truth.items.max()) + 1)
    keys = np.repeat(np.arange(len(relevant)), relevant) * stride + truth.items
    shares = _shares(truth)
    for start in range(0, len(items), BLOCK_USERS):
        block = items[start : start + BLOCK_USERS]
        wanted = np.arange(start, start + len(block))[:, None] * stride + block
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        listed = block >= 0
        hits = listed & (keys[at] == wanted)
        yield Hits(
            hits=hits,
            relevant=relevant[start : start + len(block)],
            listed=listed,
            information=np.where(listed, information[block], 0.0),
            captured=None if shares is None else np.where(hits, shares[at], 0.0),
        )


def _shares(truth: Truth) -> NDArray[np.float64] | None:
    """(m,) each item's share of its user's spend; 0 where the user spent nothing."""
    if truth.spend is None:
        return None
    totals = np.add.reduceat(truth.spend, truth.indptr[:-1])
    totals = np.repeat(np.where(totals > 0, totals, 1.0), np.diff(truth.indptr))
    return np.asarray(truth.spend / totals, dtype=np.float64)


def _coverage(items: NDArray[np.int32], n_items: int) -> float:
    seen = np.zeros(n_items + 1, dtype=np.bool_)
    seen[items] = True  # a pad, -1, marks the last place, which is nobody's
    return int(seen[:n_items].sum()) / n_items
