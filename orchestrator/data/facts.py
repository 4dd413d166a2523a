"""Counts, for every country, what was read, dropped and kept, and what the kept rows are like."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.model import REASONS, CountryFacts
from orchestrator.data.order import order_of, pair_key
from orchestrator.data.table import Table


class Counts:
    """Rows read and dropped, by country."""

    def __init__(self, n_countries: int, countries: NDArray[np.int16]) -> None:
        self.read = np.bincount(countries, minlength=n_countries)
        self.dropped = np.zeros((n_countries, len(REASONS)), dtype=np.int64)

    def add(self, countries: NDArray[np.int16], reasons: NDArray[np.uint8]) -> None:
        """Count dropped rows; a reason is 0 for a kept row, else 1 + its position in REASONS."""
        dropped = reasons > 0
        cells = countries[dropped].astype(np.int64) * len(REASONS) + reasons[dropped] - 1
        self.dropped += np.bincount(cells, minlength=self.dropped.size).reshape(self.dropped.shape)


def country_facts(table: Table, counts: Counts, names: tuple[str, ...]) -> tuple[CountryFacts, ...]:
    """The facts of every country of a cleaned table, whose rows stand in the order of (country, time, …)."""
    bounds = np.searchsorted(table.columns["country"], np.arange(len(names) + 1))
    rows = [slice(int(start), int(stop)) for start, stop in pairwise(bounds)]
    with ThreadPoolExecutor(2) as threads:
        return tuple(threads.map(partial(_facts, table, counts), range(len(names)), names, rows))


def _facts(table: Table, counts: Counts, code: int, name: str, rows: slice) -> CountryFacts:
    users, items = table.columns["user"][rows], table.columns["item"][rows]
    times = table.columns["time"][rows] if "time" in table.columns and len(users) else None
    pairs = pair_key(users, items)
    order = order_of([pairs])
    first = np.diff(pairs[order], prepend=-1) != 0
    n_users, n_items = _n_distinct(users), _n_distinct(items)
    return CountryFacts(
        country=name,
        rows_read=int(counts.read[code]),
        dropped={reason: int(count) for reason, count in zip(REASONS, counts.dropped[code], strict=True)},
        rows_kept=len(users),
        users=n_users,
        items=n_items,
        density=np.count_nonzero(first) / (n_users * n_items) if len(users) else 0.0,
        first_time=None if times is None else int(times[0]),
        last_time=None if times is None else int(times[-1]),
        repeat_share=None if times is None else _repeat_share(times, order, first),
    )


def _n_distinct(codes: NDArray[np.int32]) -> int:
    """How many codes occur; those of a country's users stand together, so what is marked is no longer than they."""
    if not len(codes):
        return 0
    lowest = codes.min()
    seen = np.zeros(int(codes.max() - lowest) + 1, dtype=np.bool_)
    seen[codes - lowest] = True
    return int(np.count_nonzero(seen))


def _repeat_share(times: NDArray[np.int64], order: NDArray[np.int64], first: NDArray[np.bool_]) -> float:
    """Share of rows later than the first of their pair; `order` goes pair by pair, each from its `first` row on."""
    others = np.flatnonzero(~first)
    firsts = np.flatnonzero(first)[np.cumsum(first, dtype=np.int64)[others] - 1]
    return np.count_nonzero(times[order[others]] > times[order[firsts]]) / len(times)
