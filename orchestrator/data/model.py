"""What the data part gives: cleaned, integer-coded interactions, and the facts of every country."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

REASONS: tuple[str, ...] = (
    "no_user",
    "no_item",
    "unparsable_date",
    "future_date",
    "non_product",
    "non_positive_quantity",
    "non_positive_price",
    "non_positive_weight",
    "duplicate",
    "cancellation",
    "reversed_sale",
)
"""Why a row is dropped. A row is counted once, under the first of these that holds."""

FINGERPRINT_VERSION = 1
"""Rises whenever equal rows would get another fingerprint than before."""


@dataclass(frozen=True)
class CountryFacts:
    """What was read of one country, what was dropped and why, and what is left."""

    country: str
    rows_read: int
    dropped: Mapping[str, int]
    """reason (one of REASONS) -> rows; every reason is there, also with 0."""
    rows_kept: int
    users: int
    items: int
    density: float
    """Share of the users x items pairs that occur."""
    first_time: int | None
    """Seconds since 1970-01-01 UTC of the first kept row; None without times or without rows."""
    last_time: int | None
    repeat_share: float | None
    """Share of the kept rows whose user had bought the item at an earlier time; None without times."""

    def as_dict(self) -> dict[str, Any]:
        """The facts as plain JSON values, times as ISO 8601 in UTC."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {
            "dropped": dict(self.dropped),
            "first_time": _iso(self.first_time),
            "last_time": _iso(self.last_time),
        }


@dataclass(frozen=True, eq=False)
class Data:
    """Cleaned interactions of all countries, one row an event, and how they were read.

    Rows stand in the order of (country, time, user, item) and then of the remaining columns; codes stand in the byte
    order of the names behind them, users in the order of (country, id). So nothing depends on the order of the rows
    or the files they came from, the fingerprint least of all.
    """

    users: NDArray[np.int32]
    """(n,) user codes; the same id in two countries is two users."""
    items: NDArray[np.int32]
    """(n,) item codes, one catalogue for all countries."""
    countries: NDArray[np.int16]
    """(n,) positions in `country_names`."""
    times: NDArray[np.int64] | None
    """(n,) seconds since 1970-01-01 UTC; None when the data has no time."""
    weights: NDArray[np.float32]
    """(n,) strength of the event, > 0; 1 unless a weight column was named."""
    spend: NDArray[np.float32] | None
    """(n,) price x quantity, or the price alone without quantities; None without prices."""
    ratings: NDArray[np.float32] | None
    """(n,) as read, NaN where missing; never a weight unless the user says so."""
    given: NDArray[np.int8] | None
    """(n,) the user's own split: 0 train, 1 validation, 2 test."""
    country_names: tuple[str, ...]
    """Values as in the raw data, in order; also those that lost all their rows."""
    user_ids: pa.Array
    """(n_users,) strings."""
    item_ids: pa.Array
    """(n_items,) strings."""
    user_features: csr_array | None
    """(n_users, f) 0/1 indicators of column values."""
    item_features: csr_array | None
    """(n_items, g) 0/1 indicators of column values."""
    reading: Mapping[str, str]
    """role -> the column(s) it was read from."""
    facts: tuple[CountryFacts, ...]
    """One a country, in the order of `country_names`."""
    notes: tuple[str, ...]
    """Sentences a person should see before trusting the data."""

    @property
    def n_users(self) -> int:
        """Number of users, a user being a (country, user id)."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items in the catalogue of all countries."""
        return len(self.item_ids)

    def rows_of(self, country: str) -> slice:
        """The rows of one country, which stand together; KeyError for a name that is not in `country_names`."""
        if country not in self.country_names:
            raise KeyError(country)
        code = self.country_names.index(country)
        start, stop = np.searchsorted(self.countries, [code, code + 1])
        return slice(int(start), int(stop))

    @cached_property
    def fingerprint(self) -> str:
        """A content hash (32 hex digits of BLAKE2b) of all arrays and names; row order and file format leave no trace."""
        digest = hashlib.blake2b(f"data {FINGERPRINT_VERSION}".encode(), digest_size=16)
        for name in ("users", "items", "countries", "times", "weights", "spend", "ratings", "given"):
            _hash_array(digest, name, getattr(self, name))
        for name in ("user_features", "item_features"):
            matrix = getattr(self, name)
            for part in ("indptr", "indices") if matrix is not None else ():
                _hash_array(digest, f"{name}.{part}", getattr(matrix, part).astype(np.int64))
        for name, words in (("users", self.user_ids), ("items", self.item_ids), ("countries", self.country_names)):
            _hash_words(digest, name, words if isinstance(words, pa.Array) else pa.array(words, pa.string()))
        return digest.hexdigest()


def _hash_array(digest: "hashlib.blake2b", name: str, values: NDArray[Any] | None) -> None:
    digest.update(f"|{name}:".encode())
    if values is not None:
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)


def _hash_words(digest: "hashlib.blake2b", name: str, words: pa.Array) -> None:
    fresh = pa.concat_arrays([words.slice(0, 0), words.cast(pa.string())])  # buffers without an offset
    offsets = np.frombuffer(fresh.buffers()[1], dtype=np.int32)[: len(fresh) + 1] if len(fresh) else np.zeros(1, "i4")
    _hash_array(digest, f"names of {name}", np.diff(offsets))
    if offsets[-1]:
        digest.update(memoryview(fresh.buffers()[2])[offsets[0] : offsets[-1]])


def _iso(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
