"""One fold of one scope, as a family and the evaluator see it: compacted, with the truth about each evaluated user.

`cut` is the single place that says who is evaluated and on what; the plan counts with it, and the workers score with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from orchestrator.spec import GLOBAL
from recommenders.protocol import Interactions
from scoring.evaluate import Truth
from scoring.split import Split

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Rules:
    """What counts in an evaluation, with `auto` resolved."""

    exclude_seen: bool
    cold_users: str
    cold_items: str


@dataclass(frozen=True, eq=False)
class Fold:
    """Training rows and the truth of the evaluated users of one (scope, fold)."""

    train: Interactions
    users: NDArray[np.intp]
    """(n,) the evaluated users as they are coded in `train`; -1 is cold."""
    countries: NDArray[np.int16]
    """(n,) the country of each."""
    truth: Truth
    """What each of them took in the evaluated window; item codes of n_items or more are cold items."""
    item_counts: NDArray[np.int64]
    """(n_items,) training rows of each item."""
    n_candidates: NDArray[np.int64]
    """(n,) items that may be recommended to each."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows and users, also those left out."""


def cut(arrays: Arrays, split: Split, scope: int | None, fold: str, rules: Rules) -> Fold:
    """The fold of a scope (the code of a country, or None for all pooled) from the arrays of the cleaned data.

    `arrays` are those that `data_arrays` wrote; rows are sorted by country.
    """
    rows = _scope_rows(arrays["countries"], scope)
    train_rows, eval_rows = (rows.start + part for part in replace(split, part=split.part[rows]).rows(fold))
    n_users, n_items = arrays["shape"]
    items, item_codes, item_counts = _code_items(arrays["items"][train_rows], n_items)
    users, user_codes = _code_users(arrays["users"][train_rows], n_users)
    train = Interactions(
        users=user_codes[arrays["users"][train_rows]],
        items=item_codes[arrays["items"][train_rows]],
        times=np.ascontiguousarray(arrays["times"][train_rows]),
        weights=np.ascontiguousarray(arrays["weights"][train_rows]),
        n_users=len(users),
        n_items=len(items),
        user_features=_features("user_features", arrays, users),
        item_features=_features("item_features", arrays, items),
    )
    return _evaluated(arrays, train, eval_rows, user_codes, item_codes, item_counts, rules)


def data_arrays(data: Any) -> dict[str, NDArray[Any]]:
    """What the workers need of the cleaned data (`orchestrator.data.Data`), ready for the store."""
    times = data.times if data.times is not None else np.zeros(len(data.users), dtype=np.int64)
    arrays = {"users": data.users, "items": data.items, "countries": data.countries, "times": times}
    arrays["weights"] = data.weights
    arrays["shape"] = np.array([data.n_users, data.n_items], dtype=np.int64)
    if data.spend is not None:
        arrays["spend"] = data.spend
    for name, matrix in (("user_features", data.user_features), ("item_features", data.item_features)):
        if matrix is not None:
            parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
            arrays |= {f"{name}.{part}": array for part, array in parts.items()}
            arrays[f"{name}.width"] = np.array([matrix.shape[1]], dtype=np.int64)
    return arrays


def fold_names(folds: int) -> tuple[str, ...]:
    """The names of the validation folds, in order; the test set has a name of its own."""
    return tuple(str(number) for number in range(folds))


def _scope_rows(countries: NDArray[np.int16], scope: int | None) -> slice:
    if scope is None:
        return slice(0, len(countries))
    start, stop = np.searchsorted(countries, (scope, scope + 1))
    return slice(int(start), int(stop))


def _code_items(items: NDArray[np.int32], n_items: int) -> tuple[Any, Any, Any]:
    """Items of the training rows by falling count, then code; the map from code to place; the counts in that order."""
    counts = np.bincount(items, minlength=n_items)
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    codes = np.full(n_items, -1, dtype=np.int32)
    codes[order] = np.arange(len(order), dtype=np.int32)
    return order, codes, counts[order]


def _code_users(users: NDArray[np.int32], n_users: int) -> tuple[Any, Any]:
    present = np.unique(users)
    codes = np.full(n_users, -1, dtype=np.int32)
    codes[present] = np.arange(len(present), dtype=np.int32)
    return present, codes


def _features(name: str, arrays: Arrays, kept: NDArray[np.intp]) -> csr_array | None:
    if f"{name}.indptr" not in arrays:
        return None
    data, indices, indptr, width = (arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr", "width"))
    return csr_array((data, indices, indptr), shape=(len(indptr) - 1, int(width[0])))[kept]


def _evaluated(
    arrays: Arrays,
    train: Interactions,
    rows: NDArray[np.intp],
    user_codes: NDArray[np.int32],
    item_codes: NDArray[np.int32],
    item_counts: NDArray[np.int64],
    rules: Rules,
) -> Fold:
    everyone, first_rows = np.unique(arrays["users"][rows], return_index=True)
    spend = arrays["spend"][rows] if "spend" in arrays else None
    pairs = _Pairs(arrays["users"][rows], arrays["items"][rows], spend)
    codes = item_codes[pairs.items]
    cold = codes < 0
    pairs.items = np.where(cold, train.n_items + pairs.items, codes)
    keep = np.ones(len(cold), dtype=np.bool_) if rules.cold_items == "miss" else ~cold
    if rules.exclude_seen:
        keep &= ~_seen(train, user_codes[pairs.users], pairs.items, cold)
    if rules.cold_users == "exclude":
        keep &= user_codes[pairs.users] >= 0
    users, truth = pairs.truth(keep)
    warm = user_codes[users].astype(np.intp)
    return Fold(
        train=train,
        users=warm,
        countries=arrays["countries"][rows][first_rows[np.isin(everyone, users)]],
        truth=truth,
        item_counts=item_counts,
        n_candidates=_candidates(train, warm, rules),
        counts={
            "train_rows": len(train.users),
            "train_users": train.n_users,
            "items": train.n_items,
            "users": len(users),
            "users_cold": int((warm < 0).sum()),
            "users_excluded": len(everyone) - len(users),
            "cold_item_pairs": int(cold.sum()),
        },
    )


class _Pairs:
    """Distinct (user, item) pairs of the evaluated rows, sorted, with what was spent on each."""

    def __init__(self, users: NDArray[np.int32], items: NDArray[np.int32], spend: NDArray[np.float32] | None) -> None:
        keys = users.astype(np.int64) << 32 | items
        distinct, inverse = np.unique(keys, return_inverse=True)
        self.users = distinct >> 32
        self.items = distinct & 0xFFFFFFFF
        self.spend: NDArray[np.float64] | None = None
        if spend is not None:
            self.spend = np.bincount(inverse, weights=spend, minlength=len(distinct)).astype(np.float64)

    def truth(self, keep: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Truth]:
        """The users with anything left, rising, and what is left, items sorted within each user."""
        users, items = self.users[keep], self.items[keep]
        order = np.lexsort((items, users))
        everyone, starts = np.unique(users, return_index=True)
        spend = None if self.spend is None else self.spend[keep][order]
        indptr = np.append(starts, len(users)).astype(np.int64)
        return everyone, Truth(indptr=indptr, items=items[order].astype(np.int32), spend=spend)


def _seen(
    train: Interactions, users: NDArray[np.int32], items: NDArray[np.int64], cold: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    had = np.unique(train.users.astype(np.int64) << 32 | train.items)
    known = (users >= 0) & ~cold
    return known & np.isin(users.astype(np.int64) << 32 | items, had)


def _candidates(train: Interactions, users: NDArray[np.intp], rules: Rules) -> NDArray[np.int64]:
    candidates = np.full(len(users), train.n_items, dtype=np.int64)
    if rules.exclude_seen and len(users):
        had = np.append(np.diff(train.matrix.indptr), 0)  # the last place is for -1, the cold users
        candidates -= had[users]
    return candidates


def scope_code(scope: str, country_names: tuple[str, ...]) -> int | None:
    """The code of a scope's country; None for `global`."""
    return None if scope == GLOBAL else country_names.index(scope)
