"""Puts rows into the one order that depends on nothing but their contents, and finds the rows that are equal."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.table import Table

_PIECE = 1 << 20
_FEW = 1 << 10
_FIRST = ("country", "time", "user", "item")


def sort_rows(table: Table) -> NDArray[np.bool_]:
    """Sort by (country, time, user, item) and then all other columns; (n,) True for rows equal to the one before.

    Most rows find their place by the upper bits of these four; what is left is compared only where those are equal.
    """
    order, tied = _order_of_upper_bits(table.columns)
    rows = order[tied]
    order[tied] = rows[order_of(_first_keys(table.columns, rows))]
    table.keep(order)
    same = np.diff(tied) == 1
    for role in _FIRST:
        if role in table.columns:
            values = table.columns[role][tied]
            same &= values[1:] == values[:-1]
    duplicates = np.zeros(len(table), dtype=np.bool_)
    if same.any():
        together = np.append(same, False) | np.insert(same, 0, False)
        group = np.cumsum(~np.insert(same, 0, False)[together], dtype=np.intp)
        duplicates[tied[together]] = _sort_ties(table, tied[together], group)
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
    pieces = _pieces(len(key))
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


def _order_of_upper_bits(columns: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The order of the rows by what fits above a position in 63 bits, and the places whose neighbour is equal in that."""
    n = len(columns["user"])
    packed = np.zeros(n, dtype=np.int64)
    room = 63 - (low := max(n - 1, 1).bit_length())
    for role in _FIRST:
        if role in columns:
            room -= _push(packed, columns[role], _unit(columns[role]) if role == "time" else 1, room)
    for rows in _pieces(n):
        packed[rows] = packed[rows] << low | np.arange(rows.start, rows.stop)
    packed.sort()
    same = np.zeros(n + 1, dtype=np.bool_)
    same[1:n] = (packed[1:] ^ packed[:-1]) < 1 << low
    packed &= (1 << low) - 1
    return packed, np.flatnonzero(same[:-1] | same[1:])


def _push(packed: NDArray[np.int64], values: NDArray[Any], unit: int, room: int) -> int:
    """Put the upper bits of values, counted in units, below what is packed; how many bits, at most `room`."""
    lowest = int(values.min(initial=0))
    size = ((int(values.max(initial=0)) - lowest) // unit).bit_length()
    taken = min(size, room)
    for rows in _pieces(len(values)):
        packed[rows] = packed[rows] << taken | (values[rows].astype(np.int64) - lowest) // unit >> (size - taken)
    return taken


def _unit(times: NDArray[np.int64]) -> int:
    """Seconds in a day or a minute where all times are whole ones, else 1: the fewer bits a time has, the better."""
    return next(unit for unit in (86_400, 60, 1) if not (times[:_FEW] % unit).any() and not (times % unit).any())


def _pieces(n: int) -> list[slice]:
    return [slice(start, min(start + _PIECE, n)) for start in range(0, n, _PIECE)]


def _first_keys(columns: Mapping[str, NDArray[Any]], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """(user, item), time and country of some rows, each >= 0."""
    yield pair_key(columns["user"][rows], columns["item"][rows])
    if "time" in columns:
        yield columns["time"][rows] - columns["time"].min(initial=0)
    yield columns["country"][rows].astype(np.int64)


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
