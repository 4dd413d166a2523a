"""Turns columns of text, numbers or dates into seconds and floats, block by block, without a loop over rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

NO_TIME = int(np.iinfo(np.int64).min)
"""Stands for a date that could not be read."""

Order = Literal["ymd", "mdy", "dmy"]
TimeStyle = Literal["compact", "s", "ms", "us", "ns", "ymd", "mdy", "dmy"]

STYLE_WORDS: Mapping[TimeStyle, str] = {
    "compact": "dates written as yyyymmdd",
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970",
    "ymd": "dates written year first",
    "mdy": "dates written month/day/year",
    "dmy": "dates written day/month/year",
}
_PER_SECOND: Mapping[TimeStyle, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_ISO = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?$"
_PARTS = (
    r"^(?P<a>\d{1,4})[-/., ]+(?P<b>\d{1,2})[-/., ]+(?P<c>\d{1,4})"
    r"(?:[T ]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d+)?)?)?"
    r"\s*(?P<half>[AaPp][Mm])?\s*(?:Z|UTC|GMT)?(?P<zone>[+-]\d{2}:?\d{2})?$"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass
class TimeReader:
    """Reads one column of times; how its dates are written is decided on the first block that has any."""

    style: TimeStyle | None = None
    ambiguous: bool = False
    """True when the first block could be read month first and day first."""

    def read(self, column: pa.Array) -> NDArray[np.int64]:
        """Seconds since 1970-01-01 UTC, NO_TIME where a value is missing or cannot be read."""
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_temporal(column.type):
            self.style = self.style or "ymd"
            return _typed(column)
        if self.style is None and column.null_count < len(column):
            self.style, self.ambiguous = _detect(column)
        if self.style is None:
            return np.full(len(column), NO_TIME)
        if self.style in _PER_SECOND:
            return _epoch(column, _PER_SECOND[self.style])
        if self.style == "compact":
            return _compact(column)
        return _written(column, "ymd" if self.style == "ymd" else "mdy" if self.style == "mdy" else "dmy")


def read_numbers(column: pa.Array) -> NDArray[np.float32]:
    """Numbers as float32, NaN where a value is missing or is no finite number; "1,234.50", "2,55", "$ 3.50" are."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        numbers = pc.cast(column, pa.float64(), safe=False)
    except pa.ArrowInvalid:
        encoded = column.dictionary_encode()
        numbers = _untidy_numbers(encoded.dictionary).take(encoded.indices)
    values = numbers.fill_null(np.nan).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        narrow = np.asarray(values).astype(np.float32)
    narrow[np.isinf(narrow)] = np.nan
    return narrow


def share_of_numbers(column: pa.Array) -> float:
    """Share of the values of a column that are numbers; 0 for a column without values."""
    if column.null_count == len(column) or pa.types.is_temporal(column.type):
        return 0.0
    return float(np.isfinite(read_numbers(column.drop_null())).mean())


def share_of_times(column: pa.Array) -> float:
    """Share of the values of a column that can be read as times; 0 for a column without values."""
    present = column.drop_null()
    return float((TimeReader().read(present) != NO_TIME).mean()) if len(present) else 0.0


def is_dated(column: pa.Array) -> bool:
    """Whether a column holds dates for sure: typed dates, or text that reads as dates and is no number."""
    if pa.types.is_temporal(column.type):
        return True
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return is_text and share_of_numbers(column) < 0.5 and share_of_times(column) > 0.9


def _untidy_numbers(words: pa.Array) -> pa.Array:
    plain = pc.replace_substring_regex(words.cast(pa.string()), r"[^0-9,.eE+-]", "")
    decimal_comma = pc.match_substring_regex(plain, r"^[+-]?(\d+|\d{1,3}(\.\d{3})+),(\d{1,2}|\d{4,})$")
    european = pc.replace_substring(pc.replace_substring(plain, ".", ""), ",", ".")
    plain = pc.if_else(decimal_comma, european, pc.replace_substring(plain, ",", ""))
    return _cast_where(plain, pc.match_substring_regex(plain, _NUMBER), pa.float64())


def _cast_where(words: pa.Array, fits: pa.Array, to: pa.DataType) -> pa.Array:
    return pc.cast(pc.if_else(fits, words, None), to)


def _detect(column: pa.Array) -> tuple[TimeStyle, bool]:
    words = column.drop_null().unique().cast(pa.string())
    numbers = pc.match_substring_regex(words, _NUMBER)
    if 2 * pc.sum(numbers).as_py() > len(words):
        return _numeric_style(words.filter(numbers)), False
    return _written_style(words)


def _numeric_style(words: pa.Array) -> TimeStyle:
    values = np.abs(pc.cast(words, pa.float64()).to_numpy())
    if np.mean((_compact(words) != NO_TIME) & (values >= 1900_01_01) & (values <= 2199_12_31)) > 0.9:
        return "compact"
    size = float(np.median(values))
    return "s" if size < 1e11 else "ms" if size < 1e14 else "us" if size < 1e17 else "ns"


def _written_style(words: pa.Array) -> tuple[Order, bool]:
    """The reading under which most dates are dates; of equals the one with the shorter period, then ymd, mdy, dmy."""
    ranks: list[tuple[int, int, Order]] = []
    orders: tuple[Order, ...] = ("ymd", "mdy", "dmy")
    for order in orders:
        times = _written(words, order)
        read = times[times != NO_TIME]
        ranks.append((-len(read), int(np.ptp(read)) if len(read) else 0, order))
    best = min(ranks, key=lambda rank: rank[:2])
    rival = [rank for rank in ranks if rank[2] != best[2] and rank[0] == best[0] and rank[1] != best[1]]
    return best[2], bool(rival) and best[0] < 0


def _typed(column: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_time(column.type) or pa.types.is_duration(column.type):
        return np.full(len(column), NO_TIME)
    seconds = pc.cast(pc.cast(column, pa.timestamp("s"), safe=False), pa.int64())
    return np.asarray(seconds.fill_null(NO_TIME).to_numpy(zero_copy_only=False), dtype=np.int64)


def _epoch(column: pa.Array, per_second: int) -> NDArray[np.int64]:
    try:
        whole = pc.cast(column, pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False)
        return np.where(whole == NO_TIME, NO_TIME, whole // per_second)
    except pa.ArrowInvalid:
        words = column.cast(pa.string())
        values = _cast_where(words, pc.match_substring_regex(words, _NUMBER), pa.float64())
        seconds = np.floor(values.fill_null(np.nan).to_numpy(zero_copy_only=False) / per_second)
        return _seconds(seconds, np.abs(seconds) < 2.0**62)


def _compact(column: pa.Array) -> NDArray[np.int64]:
    encoded = column.dictionary_encode()
    words = pc.replace_substring_regex(encoded.dictionary.cast(pa.string()), r"\.0+$", "")
    spaced = pc.replace_substring_regex(words, r"^(\d{4})(\d{2})(\d{2})$", r"\1-\2-\3")
    return _spread(_by_parts(spaced, "ymd"), encoded.indices)


def _written(column: pa.Array, order: Order) -> NDArray[np.int64]:
    """Dates as people write them; ISO 8601, which Arrow parses fast, first, and the rest by its parts."""
    words = column.cast(pa.string())
    if order == "ymd":
        tidy = pc.ascii_rtrim(words, characters=" UTCZ")
        for one in (words, tidy):
            try:
                return _typed(pc.cast(one, pa.timestamp("us")))
            except pa.ArrowInvalid:
                continue
        iso = pc.fill_null(pc.match_substring_regex(tidy, _ISO), False)
        try:
            times = _typed(_cast_where(tidy, iso, pa.timestamp("us")))
        except pa.ArrowInvalid:  # such as 2011-02-30, which only looks like a date
            iso, times = pc.is_null(words), np.full(len(words), NO_TIME)
        encoded = pc.if_else(iso, None, words).dictionary_encode()
        rest = _spread(_by_parts(encoded.dictionary, order), encoded.indices)
        return np.maximum(times, rest)  # NO_TIME is the smallest of all
    encoded = words.dictionary_encode()
    return _spread(_by_parts(encoded.dictionary, order), encoded.indices)


def _spread(of_words: NDArray[np.int64], indices: pa.Array) -> NDArray[np.int64]:
    codes: NDArray[np.int32] = indices.fill_null(len(of_words)).to_numpy(zero_copy_only=False)
    return np.append(of_words, NO_TIME)[codes]


def _by_parts(words: pa.Array, order: Order) -> NDArray[np.int64]:
    """Seconds of dates in a given order of year, month and day, checked against the calendar."""
    parts = pc.extract_regex(_months_as_numbers(pc.utf8_trim_whitespace(words)), _PARTS)
    found = {name: _integers(parts, name) for name in ("a", "b", "c", "hour", "minute", "second")}
    year, month, day = (found["abc"[order.index(unit)]] for unit in "ymd")
    year = np.where(year < 70, year + 2000, np.where(year < 100, year + 1900, year))
    days, valid = _days(year, month, day)
    hour = _hours(np.maximum(found["hour"], 0), parts)
    minute, second = np.maximum(found["minute"], 0), np.maximum(found["second"], 0)
    valid &= (hour < 24) & (minute < 60) & (second <= 60)
    return _seconds(days * 86_400 + hour * 3_600 + minute * 60 + second - _zone(parts), valid)


def _months_as_numbers(words: pa.Array) -> pa.Array:
    if not pc.any(pc.match_substring_regex(words, r"(?i)[a-z]{3}")).as_py():
        return words
    for number, month in enumerate(_MONTHS, start=1):
        words = pc.replace_substring_regex(words, rf"(?i)\b{month}[a-z]*\.?", str(number))
    return words


def _integers(parts: pa.Array, name: str) -> NDArray[np.int64]:
    """A group of the pattern as numbers, -1 where it is not there."""
    text = pc.struct_field(parts, name)
    numbers = pc.cast(pc.if_else(pc.equal(text, ""), None, text), pa.int64())
    return np.asarray(numbers.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _hours(hour: NDArray[np.int64], parts: pa.Array) -> NDArray[np.int64]:
    half = pc.fill_null(pc.utf8_lower(pc.struct_field(parts, "half")), "")
    is_am = pc.equal(half, "am").to_numpy(zero_copy_only=False)
    is_pm = pc.equal(half, "pm").to_numpy(zero_copy_only=False)
    return np.where(is_am | is_pm, hour % 12 + 12 * is_pm, hour)


def _zone(parts: pa.Array) -> NDArray[np.int64]:
    text = pc.replace_substring(pc.fill_null(pc.struct_field(parts, "zone"), ""), ":", "")
    number = pc.cast(pc.if_else(pc.equal(text, ""), "0", pc.replace_substring(text, "+", "")), pa.int64())
    value = number.to_numpy(zero_copy_only=False)
    return np.asarray(np.sign(value) * (np.abs(value) // 100 * 3_600 + np.abs(value) % 100 * 60), dtype=np.int64)


def _days(year: Any, month: NDArray[np.int64], day: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Days since 1970-01-01, and whether such a day exists."""
    valid = (year >= 1000) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = np.where(valid, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    dates = months.astype("datetime64[D]") + (np.where(valid, day, 1) - 1)
    return dates.astype(np.int64), valid & (dates.astype("datetime64[M]") == months)


def _seconds(seconds: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(valid, np.where(valid, seconds, 0).astype(np.int64), NO_TIME)
