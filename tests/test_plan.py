from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.fold import Rules
from orchestrator.plan import Plan, make_plan
from orchestrator.spec import Spec
from scoring import split as splits

RULES = Rules(exclude_seen=False, cold_users="fallback", cold_items="exclude")
NAMES = ("Big", "Mid", "Tiny", "Gone")


def arrays(sizes: Sequence[int], seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    users, countries = [], []
    for code, size in enumerate(sizes):
        users.append(rng.integers(0, max(1, size), size * 8) + sum(sizes[:code]))
        countries.append(np.full(size * 8, code))
    n = sum(sizes) * 8
    return {
        "users": np.concatenate(users).astype(np.int32),
        "items": rng.integers(0, 20, n).astype(np.int32),
        "countries": np.concatenate(countries).astype(np.int16),
        "times": rng.integers(0, 10_000, n),
        "weights": np.ones(n, dtype=np.float32),
        "shape": np.array([max(1, sum(sizes)), 20]),
    }


def plan(sizes: Sequence[int] = (120, 60, 4, 0), seed: int = 0, **settings: Any) -> Plan:
    data = arrays(sizes, seed)
    spec = Spec.from_mapping(settings, "test")
    split = splits.temporal(data["times"], folds=2, window=0.2)
    return make_plan(spec, ("popularity", "ease"), NAMES, data, split, RULES)


def test_countries_are_tuned_pooled_or_skipped_with_the_reason() -> None:
    made = plan()
    assert [(country.country, country.role) for country in made.countries] == [
        ("Big", "tuned"), ("Mid", "tuned"), ("Tiny", "pooled"), ("Gone", "skipped"),
    ]  # fmt: skip
    assert "20 needed: served by global" in made.countries[2].reason
    assert made.countries[3].reason == "no evaluated user in any fold"


def test_a_global_study_exists_only_where_a_country_needs_it() -> None:
    assert plan().scopes == ("global", "Big", "Mid")
    assert plan().countries_of("global") == ("Tiny",)
    assert plan(country="Big").scopes == ("Big",)
    assert plan(min_users=1).scopes == ("Big", "Mid", "Tiny")


def test_every_scope_has_every_family_in_order() -> None:
    assert [str(study) for study in plan(country="Big,Mid").studies] == [
        "Big/popularity", "Big/ease", "Mid/popularity", "Mid/ease",
    ]  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 60), min_size=4, max_size=4).filter(lambda sizes: sum(sizes) > 5),
    seed=st.integers(0, 1000),
    least=st.integers(1, 30),
)
def test_the_plan_is_a_pure_function(sizes: list[int], seed: int, least: int) -> None:
    first, second = plan(sizes, seed, min_users=least), plan(sizes, seed, min_users=least)
    assert first == second
    for country in first.countries:
        assert (country.role == "tuned") == (min(country.users) >= least) or country.role == "pooled"
        assert (country.role == "skipped") <= (max(country.users) == 0)


def test_what_decides_a_score_is_in_the_evaluation_fingerprint() -> None:
    settings = [{}, {"evaluation": {"cutoffs": [10]}}, {"composite": {"map@10": 1}}, {"trials": 3}]
    prints = [plan(**one).evaluation for one in settings]
    assert len(set(prints)) == 3
    assert prints[0] == prints[3]
