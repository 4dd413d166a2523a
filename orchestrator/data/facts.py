"""Counts, for every country, what was read, dropped and kept, and what the kept rows are like."""

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
    return tuple(
        _facts(table, counts, code, name, slice(int(bounds[code]), int(bounds[code + 1])))
        for code, name in enumerate(names)
    )


def _facts(table: Table, counts: Counts, code: int, name: str, rows: slice) -> CountryFacts:
    users, items = table.columns["user"][rows], table.columns["item"][rows]
    times = table.columns["time"][rows] if "time" in table.columns and len(users) else None
    pairs = pair_key(users, items)
    order = order_of([pairs])
    firsts = np.flatnonzero(np.diff(pairs[order], prepend=-1))
    n_users, n_items = _n_distinct(users), _n_distinct(items)
    return CountryFacts(
        country=name,
        rows_read=int(counts.read[code]),
        dropped={reason: int(count) for reason, count in zip(REASONS, counts.dropped[code], strict=True)},
        rows_kept=len(users),
        users=n_users,
        items=n_items,
        density=len(firsts) / (n_users * n_items) if len(users) else 0.0,
        first_time=None if times is None else int(times[0]),
        last_time=None if times is None else int(times[-1]),
        repeat_share=None if times is None else _repeat_share(times[order], firsts),
    )


def _n_distinct(codes: NDArray[np.int32]) -> int:
    """How many codes occur; those of a country's users stand together, so what is marked is no longer than they."""
    if not len(codes):
        return 0
    lowest = codes.min()
    seen = np.zeros(int(codes.max() - lowest) + 1, dtype=np.bool_)
    seen[codes - lowest] = True
    return int(np.count_nonzero(seen))


def _repeat_share(times: NDArray[np.int64], firsts: NDArray[np.intp]) -> float:
    """Share of rows later than the first of their pair; rows stand pair by pair, beginning at `firsts`."""
    lengths = np.diff(np.append(firsts, len(times)))
    return float(np.mean(times > np.repeat(np.minimum.reduceat(times, firsts), lengths)))
