"""scoring.composite: names as people type them, weights, and failures that are no scores."""

import json
import math
import pickle
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.composite import Composite, metric_name
from scoring.metrics import METRICS


@pytest.mark.parametrize("metric", METRICS)
def test_both_spellings_give_the_stored_name(metric: str) -> None:
    assert metric_name(f"{metric}@10") == metric_name(f"{metric}_at_10") == f"{metric}_at_10"
    assert metric_name(f" {metric.upper()}@5 ") == f"{metric}_at_5"


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("ndgc@10", "ndcg@10"),
        ("ndgc_at_20", "ndcg@20"),
        ("recal@5", "recall@5"),
        ("hitrate@10", "hit_rate@10"),
        ("ndcg", "ndcg@10"),
        ("map@0", "map@10"),
        ("ndcg@", "ndcg@10"),
        ("zzz@3", "coverage@3"),
        ("", "map@10"),
    ],
)
def test_a_typo_is_answered_with_the_nearest_names(typed: str, near: str) -> None:
    with pytest.raises(ValueError, match=r"did you mean .*" + near):
        metric_name(typed)


def test_the_default_is_half_map_half_ndcg_at_10() -> None:
    assert Composite().weights == {"map_at_10": 0.5, "ndcg_at_10": 0.5}
    assert Composite().score({"map_at_10": 0.2, "ndcg_at_10": 0.6, "recall_at_5": 9.0}) == pytest.approx(0.4)


@given(
    st.dictionaries(st.sampled_from([f"{m}@{k}" for m in METRICS for k in (5, 10)]), st.floats(1e-3, 1e3), min_size=1)
)
def test_weights_sum_to_one_and_keep_to_the_bit_when_given_again(weights: dict[str, float]) -> None:
    composite = Composite(weights)
    assert math.fsum(composite.weights.values()) == pytest.approx(1.0, abs=1e-12)
    assert Composite(composite.weights) == composite
    assert Composite(dict(reversed(weights.items()))).canonical() == composite.canonical()
    assert json.loads(composite.canonical()) == composite.weights
    assert composite.score(dict.fromkeys(composite.weights, 0.25)) == pytest.approx(0.25)


def test_cutoffs_and_the_way_to_another_process() -> None:
    composite = Composite({"map@20": 1, "ndcg@5": 2, "recall@20": 1})
    assert composite.cutoffs == (5, 20)
    assert pickle.loads(pickle.dumps(composite)) == composite


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({}, "at least one metric"),
        ({"map@10": 0.0}, "more than 0"),
        ({"map@10": 1, "ndcg@10": -1}, "more than 0"),
        ({"map@10": math.nan}, "more than 0"),
        ({"map@10": math.inf}, "more than 0"),
        ({"map@10": 1, "map_at_10": 1}, "each metric once"),
        ({"mpa@10": 1}, "did you mean"),
    ],
)
def test_wrong_weights_are_refused(weights: Mapping[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Composite(weights)


@pytest.mark.parametrize("metrics", [{"map_at_10": 0.5}, {"map_at_10": 0.5, "ndcg_at_10": math.nan}])
def test_a_failure_is_no_score(metrics: Mapping[str, float]) -> None:
    with pytest.raises(ValueError, match="ndcg_at_10 is missing or is not"):
        Composite().score(metrics)
