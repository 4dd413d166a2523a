"""The generated marketplace: the same for a seed anywhere, and with something to learn for each kind of model."""

import numpy as np
import pytest

from orchestrator.data import Data, generate_marketplace
from orchestrator.data.marketplace import COUNTRIES, END


@pytest.fixture(scope="module")
def market() -> Data:
    return generate_marketplace()


def test_a_seed_gives_the_same_data_everywhere(market: Data) -> None:
    assert market.fingerprint == "1312fc7f8331af450f6d6dc99a613715"
    assert generate_marketplace(1).fingerprint != market.fingerprint


def test_countries_are_unequal(market: Data) -> None:
    users = {facts.country: facts.users for facts in market.facts}
    assert users == dict(sorted(COUNTRIES.items()))
    assert min(users.values()) < 10 < 1_000 < max(users.values())
    assert 40_000 <= len(market.users) <= 60_000


def test_every_row_has_what_a_sale_has(market: Data) -> None:
    assert market.times is not None
    assert market.spend is not None
    assert 0 < END - market.times.max() < 86_400 * 7
    assert market.times.max() - market.times.min() > 86_400 * 350
    assert (market.spend > 0).all()
    assert market.notes == ()


def test_features_describe_users_and_items(market: Data) -> None:
    assert market.user_features is not None
    assert market.item_features is not None
    assert market.user_features.shape == (market.n_users, 2)
    assert market.item_features.sum(axis=1).tolist() == [1] * market.n_items


def test_catalogues_overlap_in_part(market: Data) -> None:
    sold = {name: set(market.items[market.rows_of(name)].tolist()) for name in ("Germany", "France", "Spain")}
    assert len(sold["Germany"] & sold["France"]) > 200
    assert len(sold["France"] - sold["Germany"]) > 10
    assert len(sold["France"] - sold["Spain"]) > 50


def test_popularity_has_a_long_tail(market: Data) -> None:
    counts = np.sort(np.bincount(market.items))[::-1]
    tenth = len(counts) // 10
    assert 0.3 < counts[:tenth].sum() / counts.sum() < 0.6


def test_users_buy_again(market: Data) -> None:
    assert all(0.1 < (facts.repeat_share or 0.0) < 0.5 for facts in market.facts)


def test_tastes_are_narrow(market: Data) -> None:
    """A user's purchases fall into fewer categories than purchases of strangers would."""
    assert market.item_features is not None
    category = market.item_features.indices[market.items]
    shares = np.zeros((market.n_users, 9))
    np.add.at(shares, (market.users, category), 1)
    shares /= shares.sum(axis=1, keepdims=True)
    overall = np.bincount(category, minlength=9) / len(category)
    assert (shares**2).sum(axis=1).mean() > 1.5 * (overall**2).sum()


def test_what_sells_changes_over_the_year(market: Data) -> None:
    assert market.times is not None
    early = np.bincount(market.items[market.times < np.quantile(market.times, 0.3)], minlength=market.n_items)
    late = np.bincount(market.items[market.times > np.quantile(market.times, 0.9)], minlength=market.n_items)
    assert np.mean(np.isin(np.argsort(-late)[:50], np.argsort(-early)[:50])) < 0.7
