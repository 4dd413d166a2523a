"""scoring.evaluate: equal to a naive definition, and what it refuses."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scoring.evaluate
from scoring.evaluate import Evaluation, Truth, evaluate

N_ITEMS = 12
CUTOFFS = (1, 3, 8)


def naive(listed: list[int], spend: dict[int, float], k: int, counts: list[int]) -> dict[str, float]:
    """Every metric of one user, as its formula reads."""
    first = listed[:k]
    places = [place for place, item in enumerate(first, 1) if item in spend]
    shown = [item for item in first if item >= 0]
    total, paid = sum(spend.values()), sum(spend[item] for item in first if item in spend)
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(spend)) + 1))
    bits = [-math.log2(max(counts[item], 1) / max(sum(counts), 1)) for item in shown]
    return {
        "map": sum((n / place) for n, place in enumerate(places, 1)) / min(k, len(spend)),
        "ndcg": sum(1 / math.log2(place + 1) for place in places) / ideal,
        "recall": len(places) / len(spend),
        "precision": len(places) / k,
        "hit_rate": float(bool(places)),
        "mrr": 1 / places[0] if places else 0.0,
        "novelty": sum(bits) / len(bits) if bits else 0.0,
        "revenue": paid / total if total else 0.0,
    }


@st.composite
def users(draw: st.DrawFn) -> tuple[list[int], dict[int, float]]:
    """A list, padded to 8, and what the user took, some of which no model knows."""
    listed = draw(st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=8))
    price = st.floats(0, 1e6, allow_subnormal=False)
    spend = draw(st.dictionaries(st.integers(0, N_ITEMS + 3), price, min_size=1, max_size=10))
    return listed + [-1] * (8 - len(listed)), dict(sorted(spend.items()))


def evaluate_users(cases: list[tuple[list[int], dict[int, float]]], counts: list[int]) -> Evaluation:
    lists, spends = zip(*cases, strict=True)
    truth = Truth(
        indptr=np.cumsum([0, *map(len, spends)]),
        items=np.array([item for spend in spends for item in spend], dtype=np.int32),
        spend=np.array([paid for spend in spends for paid in spend.values()]),
    )
    items = np.array(lists, dtype=np.int32)
    return evaluate(items, truth, cutoffs=CUTOFFS, n_items=N_ITEMS, item_counts=np.array(counts))


COUNTS = st.lists(st.integers(0, 1000), min_size=N_ITEMS, max_size=N_ITEMS)


@settings(max_examples=150, deadline=None)
@given(st.lists(users(), min_size=1, max_size=9), COUNTS, st.sampled_from([1, 2, 8192]))
def test_equals_a_naive_definition(cases: list[tuple[list[int], dict[int, float]]], counts: list[int], n: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring.evaluate, "BLOCK_USERS", n)
        found = evaluate_users(cases, counts)
    for k in CUTOFFS:
        rows = [naive(listed, spend, k, counts) for listed, spend in cases]
        for metric in rows[0]:
            expected = [row[metric] for row in rows]
            np.testing.assert_allclose(found.per_user[f"{metric}_at_{k}"], expected, rtol=0, atol=1e-12)
            assert found.overall[f"{metric}_at_{k}"] == pytest.approx(sum(expected) / len(rows), abs=1e-12)
        shown = {item for listed, _ in cases for item in listed[:k]} - {-1}
        assert found.overall[f"coverage_at_{k}"] == len(shown) / N_ITEMS
    assert found.overall.keys() - found.per_user.keys() == {f"coverage_at_{k}" for k in CUTOFFS}


@settings(max_examples=60, deadline=None)
@given(st.lists(users(), min_size=1, max_size=9), COUNTS)
def test_metrics_keep_their_bounds(cases: list[tuple[list[int], dict[int, float]]], counts: list[int]) -> None:
    found = evaluate_users(cases, counts)
    for name, vector in found.per_user.items():
        top = math.log2(max(sum(counts), 1)) if name.startswith("novelty") else 1.0
        assert vector.dtype == np.float64
        assert vector.shape == (len(cases),)
        assert ((vector >= 0) & (vector <= top + 1e-12)).all(), name
    for early, late in pairwise(CUTOFFS):
        for metric in ("recall", "hit_rate", "mrr", "revenue"):
            assert (found.per_user[f"{metric}_at_{early}"] <= found.per_user[f"{metric}_at_{late}"] + 1e-12).all()


def test_a_perfect_list_scores_one() -> None:
    found = evaluate_users([([3, 1, 2, 0, -1, -1, -1, -1], {0: 1.0, 1: 1.0, 2: 1.0, 3: 4.0})], [1] * N_ITEMS)
    for metric in ("map", "ndcg", "recall", "revenue"):
        assert found.overall[f"{metric}_at_8"] == pytest.approx(1.0, abs=1e-15)


def test_the_mean_does_not_depend_on_the_order_of_users() -> None:
    rng = np.random.default_rng(3)
    cases = [
        (rng.permutation(N_ITEMS)[:8].tolist(), dict.fromkeys(sorted(rng.permutation(N_ITEMS)[:3].tolist()), 1.0))
        for _ in range(500)
    ]
    assert evaluate_users(cases, [1] * N_ITEMS).overall == evaluate_users(cases[::-1], [1] * N_ITEMS).overall


TRUTH = Truth(np.array([0, 1, 3]), np.array([5, 2, 4], dtype=np.int32))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"items": np.zeros((1, 3), dtype=np.int32)}, "one list for each"),
        ({"cutoffs": [4]}, r"within 1\.\.3"),
        ({"cutoffs": []}, r"within 1\.\.3"),
        ({"cutoffs": [0]}, r"within 1\.\.3"),
        ({"items": np.array([[1, 2, 1], [0, -1, -1]], dtype=np.int32)}, "must not repeat"),
        ({"items": np.array([[1, 2, 9], [0, -1, -1]], dtype=np.int32)}, r"-1\.\.9"),
        ({"items": np.array([[1, 2, -2], [0, -1, -1]], dtype=np.int32)}, r"-2\.\."),
        ({"item_counts": np.ones(8, dtype=np.int64)}, "holds 8"),
        (
            {"truth": Truth(np.array([0]), np.array([], dtype=np.int32)), "items": np.zeros((0, 3), np.int32)},
            "1 or more",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], sentence: str) -> None:
    good: dict[str, Any] = {"items": np.array([[1, 2, 3], [0, -1, -1]], dtype=np.int32), "truth": TRUTH}
    good |= {"cutoffs": [1, 3], "n_items": 9, "item_counts": np.ones(9, dtype=np.int64)}
    evaluate(**good)
    with pytest.raises(ValueError, match=sentence):
        evaluate(**(good | change))


@pytest.mark.parametrize(
    ("indptr", "items", "spend", "sentence"),
    [
        ([0, 1, 1], [3], None, "must have a relevant item"),
        ([0, 1, 3], [3, 4], None, "must have a relevant item"),
        ([0, 2], [4, 3], None, "distinct and sorted"),
        ([0, 2, 4], [3, 4, 5, 5], None, "distinct and sorted"),
        ([0, 1], [-1], None, "distinct and sorted"),
        ([0, 1], [3], [-1.0], "0 or more"),
        ([0, 1], [3], [math.nan], "0 or more"),
    ],
)
def test_a_wrong_truth_is_refused(
    indptr: list[int], items: list[int], spend: list[float] | None, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        Truth(np.array(indptr), np.array(items, dtype=np.int32), None if spend is None else np.array(spend))
