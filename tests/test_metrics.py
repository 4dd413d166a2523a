"""scoring.metrics: hand-computed cases, and what random lists score."""

import math

import numpy as np
import pytest

from scoring.evaluate import Evaluation, Truth, evaluate
from scoring.metrics import METRICS, expected_at_random

COUNTS = np.array([4, 2, 1, 1, 0], dtype=np.int64)


def of_one_user(
    listed: list[int], relevant: list[int], cutoff: int, spend: list[float] | None = None
) -> dict[str, float]:
    """metric -> value at the cut-off, for one user of a catalogue of five items."""
    paid = None if spend is None else np.array(spend)
    truth = Truth(np.array([0, len(relevant)]), np.array(relevant, dtype=np.int32), paid)
    items = np.array([listed], dtype=np.int32)
    found: Evaluation = evaluate(items, truth, cutoffs=[cutoff], n_items=5, item_counts=COUNTS)
    return {name.removesuffix(f"_at_{cutoff}"): value for name, value in found.overall.items()}


def test_a_hit_at_places_2_and_3_of_3() -> None:
    found = of_one_user([4, 1, 2], [1, 2], 3)
    assert found == pytest.approx(
        {
            "map": (1 / 2 + 2 / 3) / 2,
            "ndcg": (1 / math.log2(3) + 1 / math.log2(4)) / (1 + 1 / math.log2(3)),
            "recall": 1.0,
            "precision": 2 / 3,
            "hit_rate": 1.0,
            "mrr": 1 / 2,
            "novelty": (3 + 2 + 3) / 3,
            "coverage": 3 / 5,
        }
    )


def test_map_divides_by_the_cutoff_where_more_are_relevant() -> None:
    assert of_one_user([0, 4, 1], [0, 1, 2, 3], 2)["map"] == pytest.approx(1 / 2)
    assert of_one_user([0, 1, 4], [0, 1, 2, 3], 2)["map"] == 1.0
    assert of_one_user([0, 1, 4], [0, 1, 2, 3], 2)["ndcg"] == 1.0
    assert of_one_user([0, 1, 4], [0, 1, 2, 3], 2)["recall"] == 1 / 2


def test_hits_beyond_the_cutoff_do_not_count() -> None:
    found = of_one_user([4, 3, 0], [0], 2)
    assert {name: found[name] for name in ("map", "ndcg", "recall", "precision", "hit_rate", "mrr")} == dict.fromkeys(
        ("map", "ndcg", "recall", "precision", "hit_rate", "mrr"), 0.0
    )


def test_pads_are_misses() -> None:
    found = of_one_user([0, -1, -1], [0], 3)
    assert [found["precision"], found["recall"], found["map"]] == pytest.approx([1 / 3, 1, 1])
    assert found["novelty"] == 1.0  # item 0 has half of the rows: one bit
    assert found["coverage"] == 1 / 5
    assert of_one_user([-1, -1, -1], [0], 3)["novelty"] == 0.0


def test_revenue_is_the_share_of_the_spend_that_the_first_k_hold() -> None:
    assert of_one_user([2, 4, 0], [0, 1, 2], 2, [10.0, 50.0, 40.0])["revenue"] == pytest.approx(0.4)
    assert of_one_user([2, 4, 0], [0, 1, 2], 3, [10.0, 50.0, 40.0])["revenue"] == pytest.approx(0.5)
    assert of_one_user([0], [0], 1, [0.0])["revenue"] == 0.0
    assert "revenue" not in of_one_user([0], [0], 1)


def test_an_item_without_training_rows_is_as_novel_as_one_with_a_single_row() -> None:
    assert of_one_user([4], [0], 1)["novelty"] == of_one_user([3], [0], 1)["novelty"] == 3.0


def test_a_relevant_item_that_no_model_knows_is_a_miss() -> None:
    assert of_one_user([0, 1], [0, 977], 2)["recall"] == 1 / 2


RANDOM = ("map", "ndcg", "recall", "precision", "hit_rate", "mrr")


@pytest.mark.parametrize("metric", RANDOM)
@pytest.mark.parametrize("k", [1, 5, 12])
def test_expected_at_random_agrees_with_random_lists(metric: str, k: int) -> None:
    rng = np.random.default_rng(5)
    candidates, relevant, users = np.array([9, 40, 12]), np.array([3, 7, 12]), 20_000
    means = []
    for n, r in zip(candidates, relevant, strict=True):
        lists = rng.permuted(np.tile(np.arange(n, dtype=np.int32), (users, 1)), axis=1)
        items = np.full((users, 12), -1, dtype=np.int32)
        items[:, : min(n, 12)] = lists[:, :12]
        truth = Truth(np.arange(users + 1) * r, np.tile(np.arange(r, dtype=np.int32), users))
        found = evaluate(items, truth, cutoffs=[k], n_items=int(n), item_counts=np.ones(n, dtype=np.int64))
        means.append(found.per_user[f"{metric}_at_{k}"])
    standard_error = math.sqrt(sum(vector.var() for vector in means) / users) / len(means)
    expected = expected_at_random(metric, k, relevant, candidates)
    assert expected == pytest.approx(np.mean(means), abs=4 * standard_error + 1e-12)


@pytest.mark.parametrize("metric", RANDOM)
def test_expected_at_random_at_the_edges(metric: str) -> None:
    def of(relevant: int, candidates: int) -> float:
        return expected_at_random(metric, 10, np.array([relevant]), np.array([candidates]))

    assert of(30, 30) == pytest.approx(1 / 3 if metric == "recall" else 1.0)
    assert of(3, 0) == 0.0
    assert of(1, 1) == pytest.approx(0.1 if metric == "precision" else 1.0)
    assert 0 < of(5, 3) <= 1  # relevant items that are no candidates


def test_expected_at_random_refuses_what_has_no_expectation() -> None:
    assert set(METRICS) - set(RANDOM) == {"novelty", "revenue", "coverage"}
    for metric in ("novelty", "revenue", "coverage", "ndgc"):
        with pytest.raises(ValueError, match="must be one of map, ndcg"):
            expected_at_random(metric, 10, np.array([1]), np.array([9]))
    with pytest.raises(ValueError, match="at least one user"):
        expected_at_random("map", 10, np.array([], dtype=np.int64), np.array([], dtype=np.int64))
