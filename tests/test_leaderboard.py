import pytest

from orchestrator.errors import InputError
from orchestrator.leaderboard import CountryRow, Row, TrialRow, choose, rank

COUNTRIES = [
    CountryRow("FR", "tuned", "enough"),
    CountryRow("MT", "pooled", "few"),
    CountryRow("HK", "skipped", "none"),
]


def trial(scope: str, family: str, uid: str, score: float | None, **metrics: float) -> TrialRow:
    values = {} if score is None else {"score": score, "ndcg_at_10": score, **metrics}
    state = "FAILED" if score is None else "COMPLETE"
    measured = {"users": 30.0, "fit_s": 0.1, "model_mb": 2.0}
    return TrialRow(scope, family, uid, state, score, {"k": 1}, values, measured=measured)


@pytest.fixture
def rows() -> list[Row]:
    trials = [
        trial("FR", "als", "a1", 0.2),
        trial("FR", "als", "a2", 0.3),
        trial("FR", "als", "a3", None),
        trial("FR", "sar", "s1", 0.3),
        trial(
            "global",
            "als",
            "g1",
            0.5,
            **{"country.MT.score": 0.11, "country.MT.ndcg_at_10": 0.12, "country.MT.users": 3},
        ),
        trial(
            "global", "sar", "g2", 0.4, **{"country.MT.score": 0.9, "country.MT.ndcg_at_10": 0.9, "country.MT.users": 3}
        ),
    ]
    return rank(COUNTRIES, trials)


def test_the_best_trial_of_each_family_is_ranked_and_ties_stand_by_name(rows: list[Row]) -> None:
    assert [(r["rank"], r["family"], r["trial_uid"]) for r in rows if r["country"] == "FR"] == [
        (1, "als", "a2"),
        (2, "sar", "s1"),
    ]
    assert (rows[0]["trials"], rows[0]["failed"]) == (3, 1)


def test_a_pooled_country_is_ranked_by_global_and_shows_its_own_figures(rows: list[Row]) -> None:
    pooled = [r for r in rows if r["country"] == "MT"]
    assert [(r["family"], r["score"], r["users"]) for r in pooled] == [("als", 0.11, 3), ("sar", 0.9, 3)]
    assert not any(name.startswith("country.") for r in pooled for name in r)


def test_a_skipped_country_keeps_its_row_with_the_reason(rows: list[Row]) -> None:
    assert rows[-1] == {
        "country": "HK", "role": "skipped", "reason": "none", "rank": None, "family": None, "score": None, "trials": 0, "failed": 0,
    }  # fmt: skip


def test_filters_top_and_sort(rows: list[Row]) -> None:
    assert {r["country"] for r in choose(rows, country="FR")} == {"FR"}
    assert {r["family"] for r in choose(rows, family="sar")} == {"sar"}
    assert [r["country"] for r in choose(rows, top=1)] == ["FR", "MT", "HK"]
    assert [r["score"] for r in choose(rows, sort="ndcg@10")] == [0.9, 0.3, 0.3, 0.11, None]


def test_where_is_sql_over_the_columns(rows: list[Row]) -> None:
    assert [r["family"] for r in choose(rows, where="score > 0.2 AND model_mb < 50 AND country LIKE 'M%'")] == ["sar"]


@pytest.mark.parametrize(
    "condition", ["scoer > 1", "1); DROP TABLE board; --", "score >", "(SELECT load_extension('x'))"]
)
def test_a_condition_that_is_none_is_a_sentence_naming_the_columns(rows: list[Row], condition: str) -> None:
    with pytest.raises(InputError, match="--where must be an SQL condition over country, role"):
        choose(rows, where=condition)


def test_an_unknown_sort_is_a_sentence(rows: list[Row]) -> None:
    with pytest.raises(InputError, match="--sort"):
        choose(rows, sort="niceness")


def test_no_measured_column_ranks() -> None:
    """Seconds differ from run to run: equal scores stand by family, whatever the trial took."""
    slow = TrialRow("FR", "als", "a", "COMPLETE", 0.3, {}, {"score": 0.3}, measured={"fit_s": 99.0})
    fast = TrialRow("FR", "sar", "s", "COMPLETE", 0.3, {}, {"score": 0.3}, measured={"fit_s": 0.1})
    for order in ([slow, fast], [fast, slow]):
        assert [r["family"] for r in rank(COUNTRIES[:1], order)] == ["als", "sar"]


def test_a_cancelled_trial_is_neither_done_nor_failed() -> None:
    cancelled = TrialRow("FR", "als", "c", "CANCELLED", None, {}, {})
    row = rank(COUNTRIES[:1], [trial("FR", "als", "a", 0.1), cancelled])[0]
    assert (row["trials"], row["failed"]) == (1, 0)


def test_a_country_for_which_no_trial_ended_says_so() -> None:
    assert rank(COUNTRIES[:1], [])[0]["reason"] == "no trial gave a score (enough)"
