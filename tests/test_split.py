"""scoring.split: every split partitions the rows, never looks ahead, and has a fingerprint of its own."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from scoring import split
from scoring.split import Split

Rows = st.integers(4, 60)


def times_of(draw: st.DrawFn, n: int, distinct: int) -> NDArray[np.int64]:
    return draw(arrays(np.int64, n, elements=st.integers(0, 3 * distinct)))


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[np.int32], NDArray[np.int64], int, float]:
    """Users, times, folds and a window that leaves something to train on."""
    n, folds = draw(Rows), draw(st.integers(1, 4))
    users = draw(arrays(np.int32, n, elements=st.integers(0, 8)))
    window = draw(st.floats(0.01, 0.9 / (folds + 1)))
    return users, times_of(draw, n, draw(st.integers(folds + 2, 40))), folds, window


def check_partition(found: Split, n: int) -> None:
    """Windows are disjoint, apart from their training rows, and cover the rows together with what always trains."""
    names = [*map(str, range(found.folds)), "test"]
    evaluated = [found.rows(name)[1] for name in names]
    taken = np.concatenate([*evaluated, np.flatnonzero(found.part == 0)])
    assert sorted(taken.tolist()) == list(range(n))
    for name in names:
        train, own = found.rows(name)
        assert not set(train.tolist()) & set(own.tolist())
        assert (np.diff(train) > 0).all()
        assert name == "test" or not set(train.tolist()) & set(evaluated[-1].tolist())
    assert len(found.rows("test")[0]) + len(evaluated[-1]) == n


@settings(max_examples=150, deadline=None)
@given(cases())
def test_temporal_never_looks_ahead(case: tuple[NDArray[np.int32], NDArray[np.int64], int, float]) -> None:
    _, times, folds, window = case
    if len(np.unique(times)) < folds + 2:
        with pytest.raises(ValueError, match="distinct times"):
            split.temporal(times, folds=folds, window=window)
        return
    found = split.temporal(times, folds=folds, window=window)
    check_partition(found, len(times))
    earlier: NDArray[np.intp] = np.array([], dtype=np.intp)
    for name in [*map(str, range(folds)), "test"]:
        train, own = found.rows(name)
        assert len(train) > len(earlier)
        assert len(own) > 0
        assert times[train].max() < times[own].min()
        assert set(earlier.tolist()) < set(train.tolist())  # the origin rolls on
        earlier = train


def test_temporal_windows_hold_about_their_share_wherever_times_allow() -> None:
    times = np.random.default_rng(1).permutation(10_000)
    found = split.temporal(times, folds=3, window=0.1)
    assert np.bincount(found.part).tolist() == [6000, 1000, 1000, 1000, 1000]
    days = split.temporal(times // 137, folds=3, window=0.1)
    assert (abs(np.bincount(days.part)[1:] - 1000) <= 137).all()


def test_temporal_with_as_few_times_as_it_can_do_with() -> None:
    times = np.repeat(np.arange(4), [900, 30, 30, 40])
    assert np.bincount(split.temporal(times, folds=2, window=0.1).part).tolist() == [900, 30, 30, 40]


@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(1, 3))
def test_last_takes_each_users_newest_rows(
    case: tuple[NDArray[np.int32], NDArray[np.int64], int, float], n: int
) -> None:
    users, times, folds, _ = case
    found = split.leave_last(users, times, n=n, folds=folds)
    check_partition(found, len(users))
    for user in np.unique(users):
        own = np.flatnonzero(users == user)
        newest_first = own[np.argsort(times[own], kind="stable")][::-1]
        naive = [max(folds + 1 - place // n, 0) for place in range(len(own))]
        naive[-1] = 0
        assert found.part[newest_first].tolist() == naive


def test_last_keeps_a_row_to_train_on_and_the_order_of_equal_times() -> None:
    users = np.array([0, 1, 1, 2, 2, 2, 2, 2], dtype=np.int32)
    times = np.array([9, 5, 5, 7, 7, 7, 7, 3])
    assert split.leave_last(users, times, n=2, folds=1).part.tolist() == [0, 0, 2, 1, 1, 2, 2, 0]


@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(0, 5))
def test_random_spreads_each_users_rows(
    case: tuple[NDArray[np.int32], NDArray[np.int64], int, float], seed: int
) -> None:
    users, _, folds, window = case
    found = split.random(users, folds=folds, window=window, seed=seed)
    check_partition(found, len(users))
    for user in np.unique(users):
        parts = np.bincount(found.part[users == user], minlength=folds + 2)
        assert parts[0] >= 1
        assert (parts[1:] <= np.ceil(parts.sum() * window + 1e-9)).all()
    assert found.part.tolist() == split.random(users, folds=folds, window=window, seed=seed).part.tolist()


def test_random_gives_every_window_its_share_also_of_small_users() -> None:
    users = np.repeat(np.arange(20_000, dtype=np.int32), 7)
    found = split.random(users, folds=3, window=0.1, seed=4)
    shares = np.bincount(found.part)[1:] / len(users)
    assert shares == pytest.approx([0.1] * 4, abs=0.005)
    places = np.tile(np.arange(7), 20_000)
    assert np.bincount(places[found.part == 4]) / 20_000 == pytest.approx([0.1] * 7, abs=0.01)
    assert found.fingerprint != split.random(users, folds=3, window=0.1, seed=5).fingerprint


def test_random_trains_on_the_other_folds() -> None:
    users = np.zeros(100, dtype=np.int32)
    found = split.random(users, folds=3, window=0.2, seed=0)
    assert [len(rows) for rows in found.rows("1")] == [60, 20]
    assert [len(rows) for rows in found.rows("test")] == [80, 20]


def test_given_with_validation_is_taken_as_it_is() -> None:
    labels = np.array([0, 1, 2, 0, 2], dtype=np.int8)
    found = split.given(labels, np.zeros(5, dtype=np.int32))
    assert found.folds == 1
    assert [rows.tolist() for rows in found.rows("0")] == [[0, 3], [1]]
    assert [rows.tolist() for rows in found.rows("test")] == [[0, 1, 3], [2, 4]]


def test_given_without_validation_carves_its_folds_from_train() -> None:
    labels = np.repeat(np.array([0, 2], dtype=np.int8), [100, 30])
    found = split.given(labels, np.zeros(130, dtype=np.int32), folds=4, window=0.2, seed=1)
    check_partition(found, 130)
    assert found.rows("test")[1].tolist() == list(range(100, 130))
    assert np.bincount(found.part).tolist() == [20, 20, 20, 20, 20, 30]
    assert [len(rows) for rows in found.rows("0")] == [80, 20]


USERS = np.repeat(np.arange(10, dtype=np.int32), 10)
TIMES = np.arange(100)


def test_rows_of_an_unknown_fold_are_refused_and_left_out_rows_are_in_none() -> None:
    found = split.temporal(TIMES, folds=2, window=0.1)
    with pytest.raises(ValueError, match="one of 0, 1, test, but got '2'"):
        found.rows("2")
    part = found.part.copy()
    part[[0, 75, 99]] = -1
    for rolling in (True, False):
        sparse = Split("given", part, 2, rolling, "x")
        for fold in ("0", "1", "test"):
            assert not {0, 75, 99} & set(np.concatenate(sparse.rows(fold)).tolist())


def test_fingerprints_tell_method_settings_and_parts_apart() -> None:
    made = [
        split.temporal(TIMES, folds=2, window=0.1),
        split.temporal(TIMES, folds=2, window=0.1000001),
        split.temporal(TIMES, folds=3, window=0.1),
        split.temporal(-TIMES, folds=2, window=0.1),
        split.leave_last(USERS, TIMES, n=1, folds=2),
        split.leave_last(USERS, TIMES, n=2, folds=2),
        split.random(USERS, folds=2, window=0.1, seed=0),
        split.given((TIMES > 90).astype(np.int8) * np.int8(2), USERS),
    ]
    assert len({one.fingerprint for one in made}) == len(made)
    assert made[0].fingerprint == split.temporal(TIMES.copy(), folds=2, window=0.1).fingerprint


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: split.temporal(TIMES, folds=3, window=0.25), "leave something to train on"),
        (lambda: split.temporal(TIMES, folds=3, window=0.0), "leave something to train on"),
        (lambda: split.temporal(TIMES, folds=0, window=0.1), "folds must be between 1 and 100"),
        (lambda: split.temporal(np.zeros(9, dtype=np.int64), folds=3, window=0.1), "5 distinct times, but got 1"),
        (lambda: split.temporal(TIMES[:0], folds=3, window=0.1), "5 distinct times, but got 0"),
        (lambda: split.leave_last(USERS, TIMES, n=0, folds=3), "n must be at least 1"),
        (lambda: split.leave_last(USERS, TIMES, n=1, folds=101), "folds must be between"),
        (lambda: split.random(USERS, folds=9, window=0.1, seed=0), "leave something to train on"),
        (lambda: split.given(np.zeros(100, dtype=np.int8), USERS), r"but got \[0\]"),
        (lambda: split.given(np.full(100, 3, dtype=np.int8), USERS), r"but got \[3\]"),
    ],
)
def test_impossible_splits_are_refused(make: Callable[[], Split], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
