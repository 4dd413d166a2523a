"""Puts rows into the one order that depends on nothing but their contents, and finds the rows that are equal."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.table import Table

_PIECE = 1 << 20
_FIRST = ("country", "time", "user", "item")


def sort_rows(table: Table) -> NDArray[np.bool_]:
    """Sort by (country, time, user, item) and then all other columns; (n,) True for rows equal to the one before.

    The other columns are compared only where these four are equal.
    """
    table.keep(order_of(_first_keys(table)))
    same = np.ones(max(len(table) - 1, 0), dtype=np.bool_)
    for role in _FIRST:
        if role in table.columns:
            same &= table.columns[role][1:] == table.columns[role][:-1]
    duplicates = np.zeros(len(table), dtype=np.bool_)
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    if len(tied):
        group = np.cumsum(~np.insert(same, 0, False)[tied], dtype=np.intp)
        duplicates[tied] = _sort_ties(table, tied, group)
    return duplicates


def order_of(keys: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The stable order of n rows by one key >= 0 after the other, the last one first, as np.lexsort, but faster.

    The position of a row is packed below its key, so that plain sorting of 64-bit numbers, which NumPy does with vector
    instructions, yields the order; a key too wide for the bits left goes in several passes, the low bits first.
    """
    order: NDArray[np.int64] | None = None
    for key in keys:
        low = max(len(key) - 1, 1).bit_length()
        for shift in range(0, max(int(key.max(initial=0)).bit_length(), 1), 63 - low):
            order = _pass(key, order, shift, low)
    assert order is not None, "at least one key"
    return order


def _pass(key: NDArray[np.int64], before: NDArray[np.int64] | None, shift: int, low: int) -> NDArray[np.int64]:
    """The order `before`, stably sorted by 63 - low bits of the key; worked in pieces, so that one array is all it takes."""
    order = np.empty(len(key), dtype=np.int64)
    pieces = [slice(start, min(start + _PIECE, len(key))) for start in range(0, len(key), _PIECE)]
    for rows in pieces:
        part = (key[rows] if before is None else key[before[rows]]) >> shift
        part &= (1 << (63 - low)) - 1
        part <<= low
        part |= np.arange(rows.start, rows.stop)
        order[rows] = part
    order.sort()
    for rows in pieces:
        places = order[rows] & ((1 << low) - 1)
        order[rows] = places if before is None else before[places]
    return order


def pair_key(users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.int64]:
    """One number for each (user, item), in that order."""
    key = users.astype(np.int64)
    key <<= int(items.max(initial=0)).bit_length()
    key |= items
    return key


def _first_keys(table: Table) -> Iterator[NDArray[np.int64]]:
    """(user, item), then (country, time): made when asked for, so that no two stand in memory together."""
    columns = table.columns
    yield pair_key(columns["user"], columns["item"])
    when = columns["country"].astype(np.int64)
    if "time" in columns and len(when):
        earliest = int(columns["time"].min())
        when *= int(columns["time"].max()) - earliest + 1
        when += columns["time"]
        when -= earliest
    yield when


def _sort_ties(table: Table, tied: NDArray[np.intp], group: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Sort the rows at the positions `tied` within their groups; (len(tied),) True for rows equal to the one before."""
    others = [role for role in sorted(table.columns) if role not in _FIRST]
    keys = [_sortable(table.columns[role][tied]) for role in others]
    order = np.lexsort((*keys, group))
    equal = group[1:] == group[:-1]  # groups stay where they are
    for role, key in zip(others, keys, strict=True):
        table.columns[role][tied] = table.columns[role][tied[order]]
        equal &= key[order][1:] == key[order][:-1]
    return np.insert(equal, 0, False)


def _sortable(values: NDArray[Any]) -> NDArray[Any]:
    """Values that can be compared: NaN equals NaN and comes first."""
    return np.where(np.isnan(values), -np.inf, values) if values.dtype.kind == "f" else values
