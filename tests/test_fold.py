"""The cut of a fold, held against a naive one written with dictionaries and sets."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.fold import Rules, cut
from scoring import split as splits
from scoring.split import Split

ALLOW = Rules(exclude_seen=False, cold_users="fallback", cold_items="exclude")


def data(seed: int, rows: int) -> dict[str, Any]:
    """Rows sorted by country, users coded per country, as the data part gives them."""
    rng = np.random.default_rng(seed)
    countries = np.sort(rng.integers(0, 3, rows)).astype(np.int16)
    users = (countries * 5 + rng.integers(0, 5, rows)).astype(np.int32)
    items = rng.integers(0, 12, rows).astype(np.int32)
    return {
        "users": users,
        "items": items,
        "countries": countries,
        "times": rng.integers(0, 1000, rows),
        "weights": np.ones(rows, dtype=np.float32),
        "spend": rng.random(rows).astype(np.float32),
        "shape": np.array([15, 12]),
    }


def naive(
    arrays: dict[str, Any], split: Split, scope: int | None, fold: str, rules: Rules
) -> dict[int, dict[int, float]]:
    """user -> item -> spend, of what counts, in the codes of the whole data."""
    inside = [r for r in range(len(arrays["users"])) if scope is None or arrays["countries"][r] == scope]
    train, evaluated = (set(part.tolist()) for part in split.rows(fold))
    had = {(int(arrays["users"][r]), int(arrays["items"][r])) for r in inside if r in train}
    sold = {item for _, item in had}
    known = {user for user, _ in had}
    truth: dict[int, dict[int, float]] = {}
    for r in inside:
        user, item = int(arrays["users"][r]), int(arrays["items"][r])
        wanted = r in evaluated and (item in sold or rules.cold_items == "miss")
        wanted = wanted and not (rules.exclude_seen and (user, item) in had)
        if wanted and not (rules.cold_users == "exclude" and user not in known):
            items = truth.setdefault(user, {})
            items[item] = items.get(item, 0.0) + float(arrays["spend"][r])
    return truth


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(40, 120),
    scope=st.sampled_from([None, 0, 1, 2]),
    fold=st.sampled_from(["0", "1", "test"]),
    exclude_seen=st.booleans(),
    cold_users=st.sampled_from(["fallback", "exclude"]),
    cold_items=st.sampled_from(["exclude", "miss"]),
)
def test_a_fold_is_what_a_naive_cut_says(
    seed: int, rows: int, scope: int | None, fold: str, exclude_seen: bool, cold_users: str, cold_items: str
) -> None:
    arrays, rules = data(seed, rows), Rules(exclude_seen, cold_users, cold_items)
    split = splits.temporal(arrays["times"], folds=2, window=0.2)
    got = cut(arrays, split, scope, fold, rules)
    expected = naive(arrays, split, scope, fold, rules)

    train_rows = [r for r in split.rows(fold)[0] if scope is None or arrays["countries"][r] == scope]
    counts = Counter(arrays["items"][train_rows].tolist())
    by_count = sorted(counts, key=lambda item: (-counts[item], item))
    train_users = sorted(set(arrays["users"][train_rows].tolist()))
    assert got.item_counts.tolist() == [counts[item] for item in by_count]
    assert [by_count[i] for i in got.train.items] == arrays["items"][train_rows].tolist()
    assert [train_users[u] for u in got.train.users] == arrays["users"][train_rows].tolist()
    assert got.train.n_items == len(by_count)

    users = sorted(expected)
    assert [train_users[code] if code >= 0 else None for code in got.users] == [
        u if u in train_users else None for u in users
    ]
    assert got.countries.tolist() == [user // 5 for user in users]
    for place, user in enumerate(users):
        start, stop = got.truth.indptr[place : place + 2]
        codes = got.truth.items[start:stop].tolist()
        assert codes == sorted(codes)
        names = [by_count[c] if c < len(by_count) else c - len(by_count) for c in codes]
        assert sorted(names) == sorted(expected[user])
        assert got.truth.spend is not None
        assert dict(zip(names, got.truth.spend[start:stop], strict=True)) == pytest.approx(expected[user])
        had = {i for r, i in enumerate(got.train.items) if got.train.users[r] == got.users[place]}
        assert got.n_candidates[place] == len(by_count) - (len(had) if exclude_seen else 0)


def test_a_country_without_rows_gives_an_empty_fold() -> None:
    arrays = data(1, 60)
    split = splits.temporal(arrays["times"], folds=2, window=0.2)
    fold = cut({**arrays, "countries": np.zeros_like(arrays["countries"])}, split, 2, "0", ALLOW)
    assert len(fold.users) == 0
    assert fold.train.n_items == 0


def test_training_never_looks_ahead() -> None:
    arrays = data(2, 120)
    split = splits.temporal(arrays["times"], folds=2, window=0.2)
    for fold in ("0", "1", "test"):
        train, evaluated = split.rows(fold)
        assert arrays["times"][train].max() < arrays["times"][evaluated].min()
        assert replace(split).fingerprint == split.fingerprint
