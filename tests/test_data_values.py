"""Dates and numbers, as people write them."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.data.values import NO_TIME, TimeReader, read_numbers

NOON = int(datetime(2011, 11, 25, 14, 5, tzinfo=UTC).timestamp())
DAY = int(datetime(2011, 11, 25, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2011-11-25", DAY),
        ("2011-11-25 14:05", NOON),
        ("2011-11-25T14:05:00", NOON),
        ("2011-11-25 14:05:00.123456", NOON),
        ("2011-11-25 14:05:00.123456789", NOON),
        ("2011-11-25T14:05:00Z", NOON),
        ("2011-11-25 14:05:00 UTC", NOON),
        ("2011-11-25T16:05:00+02:00", NOON),
        ("2011-11-25T10:35:00-0330", NOON),
        ("2011/11/25 14:05", NOON),
        ("11/25/2011 14:05", NOON),
        ("11/25/11 2:05 PM", NOON),
        ("25/11/2011 14:05", NOON),
        ("25.11.2011 14:05:00", NOON),
        ("25-Nov-2011", DAY),
        ("Nov 25, 2011", DAY),
        ("November 25, 2011 14:05", NOON),
        ("20111125", DAY),
        (str(NOON), NOON),
        (f"{NOON}.7", NOON),
        (f"{NOON}123", NOON),
        (f"{NOON}123456", NOON),
        (f"{NOON}123456789", NOON),
    ],
)
def test_dates_of_many_kinds(text: str, seconds: int) -> None:
    assert TimeReader().read(pa.array([text, None])).tolist() == [seconds, NO_TIME]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([NOON], pa.timestamp("s")),
        pa.array([NOON * 10**9 + 5], pa.timestamp("ns", tz="Europe/Paris")),
        pa.array([NOON * 1000], pa.int64()),
        pa.array([float(NOON)], pa.float64()),
        pa.array([str(NOON)]).dictionary_encode(),
    ],
)
def test_typed_times(column: pa.Array) -> None:
    assert TimeReader().read(column).tolist() == [NOON]


def test_typed_days() -> None:
    assert TimeReader().read(pa.array([datetime(2011, 11, 25)], pa.date32())).tolist() == [DAY]


@pytest.mark.parametrize(
    "bad", ["2011-02-30", "31/04/2011", "2011-13-01", "soon", "2011-01-01 25:00", "", "99999999999999999999"]
)
def test_what_is_no_date_is_marked(bad: str) -> None:
    times = TimeReader().read(pa.array(["2011-11-25", "2011-11-26", "2011-11-27", bad]))
    assert (times != NO_TIME).tolist() == [True, True, True, False]


def test_one_bad_date_does_not_spoil_its_block() -> None:
    texts = [f"2011-11-{day:02d} 14:05:00" for day in range(1, 31)] + ["2011-11-31 14:05:00", "?"]
    times = TimeReader().read(pa.array(texts))
    assert np.diff(times[:30]).tolist() == [86_400] * 29
    assert times[30:].tolist() == [NO_TIME, NO_TIME]


def test_the_first_block_decides_between_days_and_months() -> None:
    reader = TimeReader()
    reader.read(pa.array(["1/2/2011", "13/2/2011"]))
    assert reader.read(pa.array(["3/4/2011"])).tolist() == [int(datetime(2011, 4, 3, tzinfo=UTC).timestamp())]
    assert not reader.ambiguous


def test_dates_that_read_both_ways_are_told() -> None:
    reader = TimeReader()
    reader.read(pa.array(["1/2/2011", "1/3/2011"]))
    assert reader.style == "mdy"  # two days in January, rather than two months
    assert reader.ambiguous


FORMATS = ("%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d %b %Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p")


@settings(max_examples=60, deadline=None)
@given(
    moments=st.lists(st.datetimes(datetime(1971, 1, 1), datetime(2060, 1, 1)), min_size=1, max_size=20),
    form=st.sampled_from(FORMATS),
)
def test_written_times_come_back(moments: list[datetime], form: str) -> None:
    moments = [*moments, datetime(2019, 12, 31)]  # a day that is no month
    times = TimeReader().read(pa.array([moment.strftime(form) for moment in moments]))
    epoch = datetime(1970, 1, 1)
    assert times.tolist() == [(moment.replace(microsecond=0) - epoch) // timedelta(seconds=1) for moment in moments]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-2.5", -2.5),
        ("1e3", 1000),
        ("1,234.50", 1234.5),
        ("1,234", 1234),
        ("1,234,567", 1_234_567),
        ("2,55", 2.55),
        ("1.234,5", 1234.5),
        ("$ 3.50", 3.5),
        ("3.50 €", 3.5),
        (" 7 ", 7),
    ],
)
def test_numbers_as_people_write_them(text: str, value: float) -> None:
    assert read_numbers(pa.array([text])).tolist() == [pytest.approx(value)]


def test_what_is_no_number_is_missing() -> None:
    assert np.isnan(read_numbers(pa.array(["free", "", None, "1,2,3.4.5", "1e99", "inf"]))).all()


def test_typed_numbers() -> None:
    assert read_numbers(pa.array([1, None], pa.int16())).tolist() == [1, pytest.approx(np.nan, nan_ok=True)]


WORDS = st.one_of(
    st.none(),
    st.text(max_size=12),
    st.text("0123456789-/.: TZ+,eE$", max_size=24),
    st.integers(-(10**25), 10**25).map(str),
    st.floats().map(str),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=8))
def test_any_text_is_read_or_marked(words: list[str | None]) -> None:
    column = pa.array(words, pa.string())
    assert len(TimeReader().read(column)) == len(read_numbers(column)) == len(words)
