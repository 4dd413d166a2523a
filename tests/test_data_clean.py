"""What is dropped, under which reason, and what is left."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.data import REASONS, Data, read_data
from orchestrator.data.cancel import reversed_sales
from orchestrator.data.ids import fold_case, non_products, tidy
from orchestrator.data.order import order_of, sort_rows
from orchestrator.data.table import Table

NOW = 1_700_000_000.0
HEADER = "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


def read(tmp_path: Path, rows: Sequence[str], header: str = HEADER) -> Data:
    (tmp_path / "s.csv").write_text("\n".join((header, *rows)))
    return read_data(str(tmp_path / "s.csv"), now=NOW)


def dropped(data: Data, country: int = 0) -> dict[str, int]:
    return {reason: count for reason, count in data.facts[country].dropped.items() if count}


CASES: dict[str, tuple[str, str]] = {
    "no_user": ("1,10001,1,2011-01-02,1,,FR", "no user"),
    "no_item": ("1,,1,2011-01-02,1,7,FR", "no item"),
    "unparsable_date": ("1,10001,1,yesterday,1,7,FR", "no date"),
    "future_date": ("1,10001,1,2031-01-02,1,7,FR", "a date to come"),
    "non_positive_quantity": ("1,10001,-1,2011-01-02,1,7,FR", "a return without an invoice of its own"),
    "non_positive_price": ("1,10001,1,2011-01-02,0,7,FR", "a gift"),
    "duplicate": ("1,10001,1,2011-01-01,1,7,FR", "the first row again"),
    "cancellation": ("C2,10001,-5,2011-01-02,1,7,FR", "no sale of five"),
}


@pytest.mark.parametrize("reason", CASES)
def test_each_reason(reason: str, tmp_path: Path) -> None:
    data = read(tmp_path, ["1,10001,1,2011-01-01,1,7,FR", "1,10002,1,2011-01-03,1,8,FR", CASES[reason][0]])
    assert dropped(data) == {reason: 1}
    assert data.facts[0].rows_read == 3
    assert data.facts[0].rows_kept == len(data.users) == 2


def test_a_row_counts_once_under_the_first_reason(tmp_path: Path) -> None:
    data = read(tmp_path, ["1,10001,1,2011-01-01,1,7,FR", "1,,0,never,0,,FR"])
    assert dropped(data) == {"no_user": 1}


def test_a_cancellation_takes_its_sale_along(tmp_path: Path) -> None:
    rows = [
        "1,10001,2,2011-01-01,1,7,FR",
        "2,10001,2,2011-01-03,1,7,FR",  # the latest before the cancellation
        "C3,10001,-2,2011-01-04,1,7,FR",
        "4,10001,2,2011-01-05,1,7,FR",  # later
        "5,10001,2,2011-01-02,9,7,FR",  # another price
        "6,10001,2,2011-01-02,1,8,FR",  # another user
    ]
    data = read(tmp_path, rows)
    assert dropped(data) == {"cancellation": 1, "reversed_sale": 1}
    assert data.times is not None
    days = ((data.times - data.times.min()) // 86_400 + 1).tolist()
    assert sorted(days) == [1, 2, 2, 5]


def test_what_lost_all_rows_is_gone_but_its_country_is_told(tmp_path: Path) -> None:
    data = read(tmp_path, ["1,10001,1,2011-01-01,1,7,FR", "1,10002,1,2011-01-01,1,,Hong Kong"])
    assert data.country_names == ("FR", "Hong Kong")
    assert data.facts[1].rows_kept == data.facts[1].users == 0
    assert data.item_ids.to_pylist() == ["10001"]
    assert data.rows_of("Hong Kong") == slice(1, 1)


def test_a_user_of_two_countries_is_two_users(tmp_path: Path) -> None:
    data = read(tmp_path, ["1,10001,1,2011-01-01,1,7,FR", "1,10001,1,2011-01-01,1,7,DE", "1,10001,1,2011-01-01,1,8,DE"])
    assert data.user_ids.to_pylist() == ["7", "8", "7"]
    assert any(note.startswith("1 user ids occur in more than one country") for note in data.notes)


def test_odd_countries_are_told_and_kept(tmp_path: Path) -> None:
    data = read(tmp_path, ["1,1,1,2011-01-01,1,7,Unspecified", "1,1,1,2011-01-01,1,7,"])
    assert data.country_names == ("(none)", "Unspecified")
    assert any("(none), Unspecified" in note for note in data.notes)


def test_totals_without_a_price_are_the_spend(tmp_path: Path) -> None:
    data = read(tmp_path, ["1,1,4,8.5", "2,1,1,-1"], header="user,item,qty,total")
    assert data.spend is not None
    assert data.spend.tolist() == [8.5]
    assert dropped(data) == {"non_positive_price": 1}


def test_codes_that_are_no_products() -> None:
    codes = [f"{number}A" for number in range(10_000, 10_100)] + ["POST", "C2", "M", "gift_0001_20"]
    assert np.flatnonzero(non_products(pa.array(codes))).tolist() == [100, 101, 102]


@pytest.mark.parametrize(
    "codes",
    [
        [str(number) for number in range(1, 2_000)],
        [f"A{number}" for number in range(1, 2_000)],
        ["apple", "pear", "plum", *(f"fruit {number}" for number in range(30))],
        ["1001", "1002", "POST"],
    ],
)
def test_ordinary_catalogues_lose_no_product(codes: list[str]) -> None:
    assert not non_products(pa.array(codes)).any()


def test_case_is_merged_into_the_most_frequent_spelling() -> None:
    renaming = fold_case(pa.array(["85123A", "85123a", "7", "8b", "8B"]), np.array([3, 9, 1, 2, 2]))
    assert renaming is not None
    assert renaming.words.to_pylist() == ["7", "85123a", "8b"]
    assert renaming(np.array([0, 1, 2, 3, 4, -1], dtype=np.int32)).tolist() == [1, 1, 0, 2, 2, -1]


def test_random_ids_keep_their_case() -> None:
    assert fold_case(pa.array(["aBc", "abC", "xYz"]), np.ones(3, dtype=np.int64)) is None


def test_names_are_trimmed_and_missing_ones_marked() -> None:
    renaming = tidy(pa.array([" b", "a ", "b", "", "nan"]))
    assert renaming.words.to_pylist() == ["a", "b"]
    assert renaming.codes.tolist() == [1, 0, 1, -1, -1, -1]


@pytest.mark.parametrize(
    ("names", "tidied"),
    [
        (["1.0", "2.0"], ["1", "2"]),
        (["1.0", "2"], ["1", "2"]),
        (["1.0", "1.5"], ["1.0", "1.5"]),
        (["1.0", "a"], ["1.0", "a"]),
    ],
)
def test_only_whole_numbers_lose_their_point(names: list[str], tidied: list[str]) -> None:
    assert tidy(pa.array(names)).words.to_pylist() == tidied


EVENTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 6), st.booleans()), max_size=40)


@settings(max_examples=200, deadline=None)
@given(EVENTS)
def test_reversal_is_the_latest_open_sale(events: list[tuple[int, int, int, bool]]) -> None:
    keys = [np.array([event[position] for event in events], dtype=np.int64) for position in (0, 1)]
    times = np.array([event[2] for event in events], dtype=np.int64)
    cancels = np.array([event[3] for event in events], dtype=np.bool_)
    found = reversed_sales(keys, times, cancels)
    assert len(set(found.tolist())) == len(found)
    assert sorted(events[row][:3] for row in found) == sorted(_one_by_one(events))


def _one_by_one(events: list[tuple[int, int, int, bool]]) -> list[tuple[int, int, int]]:
    taken = []
    for pair in {event[:2] for event in events}:
        open_sales: list[tuple[int, int, int]] = []
        for user, item, time, cancels in sorted((event for event in events if event[:2] == pair), key=lambda e: e[2:]):
            if not cancels:
                open_sales.append((user, item, time))
            elif open_sales:
                taken.append(open_sales.pop())
    return taken


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 3)), min_size=1, max_size=50))
def test_order_is_that_of_lexsort(rows: list[tuple[int, int]]) -> None:
    keys = [np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)]
    np.testing.assert_array_equal(order_of(keys), np.lexsort(keys))


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([0, 1, 300]),
            st.one_of(st.integers(0, 3), st.integers(-(2**61), 2**61), st.integers(0, 9).map(lambda day: 86_400 * day)),
            st.sampled_from([0, 1, 2, 2**31 - 2, 2**31 - 1]),
            st.sampled_from([0, 1, 2**31 - 1]),
            st.sampled_from([1.0, 2.0, np.nan]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_rows_are_sorted_whatever_their_range(rows: list[tuple[float, ...]]) -> None:
    roles = {"country": np.int16, "time": np.int64, "user": np.int32, "item": np.int32, "price": np.float32}
    columns = {role: np.array([row[place] for row in rows], roles[role]) for place, role in enumerate(roles)}
    table = Table(columns, {}, {})
    duplicates = sort_rows(table)
    wanted = sorted(tuple(-1.0 if value != value else value for value in row) for row in rows)
    found = [tuple(row) for row in zip(*(np.nan_to_num(table.columns[role], nan=-1) for role in roles), strict=True)]
    assert found == wanted
    assert duplicates.tolist() == [place > 0 and row == wanted[place - 1] for place, row in enumerate(wanted)]


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "C3", "C4"]),
        st.sampled_from(["10001", "10002", "10001a", "10001A", ""]),
        st.sampled_from(["1", "2", "-1", "-2", "0"]),
        st.sampled_from(["2011-01-01", "2011-01-02", "2031-01-01", "soon"]),
        st.sampled_from(["1.5", "2", "0"]),
        st.sampled_from(["7", "8.0", ""]),
        st.sampled_from(["FR", "DE", ""]),
    ),
    max_size=30,
)
KEPT = ("1", "10001", "1", "2011-01-01", "1", "9", "FR")


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 9))
def test_rows_add_up_and_their_order_leaves_no_trace(
    rows: list[tuple[str, ...]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    lines = [",".join(row) for row in [*rows, KEPT]]
    data = read(folder, lines)
    shuffled = [lines[place] for place in np.random.default_rng(seed).permutation(len(lines))]
    assert read(folder, shuffled).fingerprint == data.fingerprint
    for facts in data.facts:
        assert tuple(facts.dropped) == REASONS
        assert facts.rows_read == sum(facts.dropped.values()) + facts.rows_kept
    assert sum(facts.rows_read for facts in data.facts) == len(lines)
    assert set(data.users.tolist()) == set(range(data.n_users))
    assert set(data.items.tolist()) == set(range(data.n_items))
