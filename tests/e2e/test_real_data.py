"""The real data sets, whole, with few trials: a row for every country value, and models that beat the baseline."""

from pathlib import Path

import pytest

from orchestrator.api import tune
from orchestrator.spec import Spec
from tests.conftest import real_data

pytestmark = pytest.mark.slow


def test_online_retail_has_a_row_for_each_of_its_38_countries(tmp_path: Path) -> None:
    data = real_data("online_retail_2010_2011.csv.gz")
    settings = {"data": str(data), "family": "popularity,repeat,rp3beta,ease", "trials": 2, "runs": str(tmp_path)}
    rows = tune(Spec.from_mapping({**settings, "tracking_offline": True}, "test")).rows
    assert len({row["country"] for row in rows}) == 38
    assert {row["role"] for row in rows} == {"tuned", "pooled", "skipped"}
    tuned = {row["country"] for row in rows if row["role"] == "tuned"}
    assert tuned == {"United Kingdom", "Germany", "France"}
    for country in tuned:
        scores = {row["family"]: row["score"] for row in rows if row["country"] == country}
        assert max(scores.values()) > scores["popularity"]


def test_every_market_of_xmrec_is_tuned(tmp_path: Path) -> None:
    data = real_data("xmrec_electronics.csv.gz")
    settings = {"data": str(data), "family": "popularity,trending", "trials": 3, "runs": str(tmp_path)}
    rows = tune(Spec.from_mapping({**settings, "tracking_offline": True}, "test")).rows
    assert {row["country"]: row["role"] for row in rows} == dict.fromkeys(
        ["ca", "de", "fr", "in", "jp", "mx", "uk"], "tuned"
    )
