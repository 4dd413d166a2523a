"""What is sent fits what servers accept, whatever a ledger holds."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.tracking import Metric
from orchestrator.tracking.limits import CUT, batches, country_slug, cut, cut_head, server_name
from orchestrator.tracking.records import spelled

ACCEPTED = re.compile(r"[A-Za-z0-9_\-. :/]{1,250}")


@given(st.text(max_size=300))
def test_every_name_becomes_one_that_servers_accept(text: str) -> None:
    name = server_name(text)
    assert ACCEPTED.fullmatch(name)
    assert not {"", ".", ".."} & set(name.split("/"))
    assert server_name(name) == name


@given(st.lists(st.text("aA@é/ .", max_size=4), unique=True))
def test_no_two_countries_share_a_slug(countries: list[str]) -> None:
    slugs = [country_slug(country) for country in countries]
    assert len(set(slugs)) == len(countries)
    assert all(server_name(slug) == slug for slug in slugs)


@settings(max_examples=30)
@given(st.integers(0, 2500), st.integers(0, 250), st.integers(0, 250))
def test_batches_hold_everything_once_and_keep_to_the_limits(n_metrics: int, n_params: int, n_tags: int) -> None:
    metrics = [Metric(f"m{number}", 0.0, 1) for number in range(n_metrics)]
    params = {f"p{number}": "" for number in range(n_params)}
    tags = {f"t{number}": "" for number in range(n_tags)}
    made = list(batches(metrics, params, tags))
    assert [metric for batch in made for metric in batch.metrics] == metrics
    assert [key for batch in made for key in batch.params] == list(params)
    assert [key for batch in made for key in batch.tags] == list(tags)
    for batch in made:
        assert len(batch.params) <= 100
        assert len(batch.tags) <= 100
        assert 0 < len(batch.metrics) + len(batch.params) + len(batch.tags) <= 1000


def test_long_texts_say_that_they_were_cut() -> None:
    assert cut("x" * 20, 20) == "x" * 20
    assert cut("x" * 21, 20) == "x" * (20 - len(CUT)) + CUT
    assert cut_head("x" * 20 + "end", 20).endswith("xend")
    assert cut_head("x" * 20 + "end", 20).startswith(CUT)


def test_settings_lose_their_passwords() -> None:
    assert spelled("s3://key:secret@bucket/a@b.csv") == "s3://bucket/a@b.csv"
    assert spelled(["https://u:p@host/x"]) == '["https://host/x"]'
    assert (spelled("als"), spelled(3), spelled(None)) == ("als", "3", "null")
