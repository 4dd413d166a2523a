"""`popularity` and `repeat`, on rows small enough to reckon by hand."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from recommenders.decay import half_life_decay
from recommenders.popularity import Popularity, PopularityConfig
from recommenders.protocol import Interactions
from recommenders.repeat import Repeat, RepeatConfig

DAY_S = 86_400


def rows(events, n_users=3, n_items=4):
    """Interactions of (user, item, day, weight)."""
    users, items, days, weights = np.array(events, dtype=np.float64).T
    return Interactions(
        users.astype(np.int32),
        items.astype(np.int32),
        (days * DAY_S).astype(np.int64),
        weights.astype(np.float32),
        n_users,
        n_items,
    )


ROWS = rows([(0, 0, 0, 1), (0, 0, 0, 1), (1, 0, 0, 1), (1, 1, 20, 1), (0, 1, 10, 1), (2, 2, 20, 3), (0, 3, 20, 1)])


def fitted(family, config, interactions=ROWS):
    return family(config, seed=0, threads=1).fit(interactions)


def test_decay_halves_at_the_half_life():
    assert_allclose(half_life_decay(np.array([0, 10, 20]) * DAY_S, 10.0), [1, 0.5, 0.25])
    assert_array_equal(half_life_decay(np.array([0, 10**9]), None), [1, 1])


def test_popularity_without_decay_sums_weights():
    top = fitted(Popularity, PopularityConfig()).recommend(np.array([0, 2]), 4, exclude_seen=False)
    assert_array_equal(top.items, [[0, 2, 1, 3]] * 2)  # 3, 3, 2, 1: the lower code first
    assert_array_equal(top.scores, [[3, 3, 2, 1]] * 2)
    assert not top.fallback.any()


def test_popularity_decays_from_the_newest_event():
    top = fitted(Popularity, PopularityConfig(half_life_days=10.0)).recommend(np.array([1]), 4, exclude_seen=False)
    assert_array_equal(top.items, [[2, 1, 3, 0]])
    assert_allclose(top.scores, [[3, 1 + 0.5, 1, 3 * 0.25]])


def test_popularity_decays_for_unknown_users_too():
    top = fitted(Popularity, PopularityConfig(half_life_days=10.0)).recommend(np.array([-1, 1]), 4, exclude_seen=True)
    assert_array_equal(top.items, [[2, 1, 3, 0], [2, 3, -1, -1]])
    assert_array_equal(top.fallback, [True, False])


def test_repeat_ranks_own_items_by_frequency_then_the_popular_ones():
    top = fitted(Repeat, RepeatConfig()).recommend(np.array([0, 1, 2, -1]), 4, exclude_seen=False)
    assert_array_equal(top.items, [[0, 1, 3, 2], [0, 1, 2, 3], [2, 0, 1, 3], [0, 1, 2, 3]])
    assert_array_equal(top.scores[:3], [[2, 1, 1, -3], [1, 1, -3, -4], [3, -1, -2, -4]])
    assert_array_equal(top.fallback, [False, False, False, True])


def test_repeat_decays_from_the_users_own_last_event():
    top = fitted(Repeat, RepeatConfig(half_life_days=10.0)).recommend(np.array([0]), 4, exclude_seen=False)
    assert_array_equal(top.items, [[3, 0, 1, 2]])
    assert_allclose(top.scores, [[1, 2 * 0.25, 0.5, -3]])


def test_repeat_without_seen_items_is_popularity():
    top = fitted(Repeat, RepeatConfig()).recommend(np.array([1, 2]), 4, exclude_seen=True)
    assert_array_equal(top.items, [[2, 3, -1, -1], [0, 1, 3, -1]])


def test_repeat_keeps_the_order_of_users_who_left_long_ago():
    events = rows([(0, 0, 0, 1), (0, 1, 5, 1), (1, 2, 20_000, 1)])
    top = fitted(Repeat, RepeatConfig(half_life_days=10.0), events).recommend(np.array([0]), 2, exclude_seen=False)
    assert_array_equal(top.items, [[1, 0]])
    assert_allclose(top.scores, [[1, 0.5**0.5]])


@pytest.mark.parametrize("config", [PopularityConfig, RepeatConfig])
def test_a_half_life_is_positive(config):
    with pytest.raises(ValueError, match="greater than 0"):
        config(half_life_days=0)
