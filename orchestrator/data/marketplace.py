"""Generates a marketplace of several countries, very unequal in size: what is tuned when no data is given.

What a recommender can learn from it, each by another kind of model: a long tail that differs by country and drifts
with launches and seasons; tastes of few niches a user; goods that are bought again; and sequels, bought an order
after the item that they belong to. A share of each purchase is noise.

All arithmetic is sums, products, quotients and roots, which IEEE 754 fixes, so a seed gives the same data anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.data.clean import clean
from orchestrator.data.model import Data
from orchestrator.data.table import Table

COUNTRIES: Mapping[str, int] = MappingProxyType(
    {"Germany": 1500, "France": 600, "Spain": 250, "Sweden": 120, "Ireland": 60, "Malta": 6}
)
"""Country -> users; the last is too small to be tuned."""

END = int(datetime(2025, 12, 31, tzinfo=UTC).timestamp())
N_ITEMS = 720
N_NICHES = 36
NICHES_PER_CATEGORY = 4
N_WEEKS = 52
DAY_S = 86_400
MAX_ORDERS = 24
MAX_LINES = 6

_TASTE = np.array([0.40, 0.24, 0.14])  # of a user's three niches; the rest of the purchases follow popularity alone


@dataclass(frozen=True)
class _Catalogue:
    niche: NDArray[np.intp]
    """(items,) rising."""
    price: NDArray[np.float64]
    sequel: NDArray[np.intp]
    """(items,) what is bought after the item."""
    consumable: NDArray[np.bool_]
    appeal: NDArray[np.float64]
    """(countries, weeks, items) how likely an item is among all; 0 where it is not sold (yet)."""


@dataclass(frozen=True)
class _Lines:
    """Order lines, user by user and in the order of time."""

    user: NDArray[np.intp]
    order: NDArray[np.intp]
    time: NDArray[np.int64]
    rank: NDArray[np.intp]
    """How many lines of the user stand before the line."""
    earlier: NDArray[np.intp]
    """How many lines of the user belong to earlier orders."""


def generate_marketplace(seed: int = 0) -> Data:
    """Six countries, 2,536 users, 720 items and about 50,000 rows of the year 2025, with prices and features."""
    rng = np.random.Generator(np.random.PCG64(seed))
    country = np.repeat(np.arange(len(COUNTRIES)), list(COUNTRIES.values()))
    catalogue = _catalogue(rng)
    niches = _tastes(rng, country)
    lines = _lines(rng, len(country))
    items = _choose(rng, catalogue, lines, country, niches)
    return clean(_table(rng, catalogue, lines, items, country), now=END + DAY_S)


def _catalogue(rng: np.random.Generator) -> _Catalogue:
    niche = np.sort(np.arange(N_ITEMS) % N_NICHES)
    n_countries = len(COUNTRIES)
    base = 1.0 / (rng.permutation(N_ITEMS) + 8.0)  # Zipf, with a flattened head
    local = rng.permuted(np.tile(1.0 / (np.arange(N_ITEMS) + 8.0), (n_countries, 1)), axis=1)
    sold = rng.random((n_countries, N_ITEMS)) < np.array([0.9, 0.8, 0.7, 0.65, 0.6, 0.5])[:, None]
    appeal = (0.7 * base + 0.3 * local) * sold
    return _Catalogue(
        niche=niche,
        price=np.round(2.0 + 98.0 * rng.random(N_ITEMS) * rng.random(N_ITEMS) * rng.random(N_ITEMS), 2),
        sequel=_sequels(rng, niche),
        consumable=(niche % 3 == 0) & (rng.random(N_ITEMS) < 0.7),
        appeal=appeal[:, None, :] * _over_the_year(rng)[None],
    )


def _sequels(rng: np.random.Generator, niche: NDArray[np.intp]) -> NDArray[np.intp]:
    """One other item for each, mostly of another niche, so that it is no matter of taste."""
    per_niche = N_ITEMS // N_NICHES
    return (
        niche * per_niche + per_niche * rng.integers(1, N_NICHES, N_ITEMS) + rng.integers(0, per_niche, N_ITEMS)
    ) % (N_ITEMS)


def _over_the_year(rng: np.random.Generator) -> NDArray[np.float64]:
    """(weeks, items) factors: a third of the items has a season, a third is launched in the year and then fades."""
    week = np.arange(N_WEEKS)[:, None]
    peak = rng.integers(0, N_WEEKS, N_ITEMS)[None]
    away = np.minimum(abs(week - peak), N_WEEKS - abs(week - peak))
    season = np.where(away < 8, 1.0 + 3.0 * (1.0 - away / 8.0), 0.6)
    launch = rng.integers(4, N_WEEKS - 6, N_ITEMS)[None]
    age = week - launch
    fashion = np.where(age < 0, 0.0, np.where(age < 4, 2.0 + age, np.maximum(6.0 - age / 5.0, 0.5)))
    kind = rng.integers(0, 3, N_ITEMS)[None]
    return np.where(kind == 0, season, np.where(kind == 1, fashion, 1.0))


def _tastes(rng: np.random.Generator, country: NDArray[np.intp]) -> NDArray[np.intp]:
    """(users, 3) niches; every country has its own liking for them."""
    liking = rng.random((len(COUNTRIES), N_NICHES))
    bounds = np.cumsum(0.05 + liking * liking * liking, axis=1)
    draws = rng.random((len(country), len(_TASTE))) * bounds[country, -1][:, None]
    return np.asarray((draws[:, :, None] > bounds[country][:, None, :]).sum(axis=2), dtype=np.intp)


def _lines(rng: np.random.Generator, n_users: int) -> _Lines:
    n_orders = np.minimum(3 + (3.8 / np.sqrt(rng.random(n_users)) - 3.8).astype(np.intp), MAX_ORDERS)
    owner = np.repeat(np.arange(n_users), n_orders)
    joined = rng.random(n_users) * rng.random(n_users) * 0.8
    share = joined[owner] + (1.0 - joined[owner]) * rng.random(len(owner))
    time = END - N_WEEKS * 7 * DAY_S + (share * (N_WEEKS * 7 * DAY_S)).astype(np.int64)
    time = time[np.lexsort((time, owner))]
    n_lines = 1 + (rng.random((len(owner), MAX_LINES - 1)) < 0.45).sum(axis=1)
    order = np.repeat(np.arange(len(owner)), n_lines)
    user = owner[order]
    first_of_user = np.searchsorted(user, np.arange(n_users))
    position = np.arange(len(user))
    first_of_order = np.searchsorted(order, np.arange(len(owner)))
    return _Lines(
        user=user,
        order=order,
        time=time[order],
        rank=position - first_of_user[user],
        earlier=first_of_order[order] - first_of_user[user],
    )


def _choose(
    rng: np.random.Generator,
    catalogue: _Catalogue,
    lines: _Lines,
    country: NDArray[np.intp],
    niches: NDArray[np.intp],
) -> NDArray[np.intp]:
    """The item of every line: a fresh choice, one bought before, or the sequel of one bought before."""
    items = _fresh(rng, catalogue, lines, country, niches)
    habit = 0.55 * rng.random(len(country))[lines.user]
    draw, depth = rng.random(len(items)), rng.random(len(items))
    back = 1 + (depth * depth * lines.earlier).astype(np.intp)  # rather of the latest orders than of the first
    before = np.arange(len(items)) - lines.rank + np.maximum(lines.earlier - back, 0)
    returning = lines.earlier > 0
    sold = catalogue.appeal.max(axis=1) > 0
    for rank in range(1, int(lines.rank.max()) + 1):  # every line looks back to lines of smaller rank
        rows = np.flatnonzero((lines.rank == rank) & returning)
        earlier = items[before[rows]]
        sequel = catalogue.sequel[earlier]
        again = (draw[rows] < habit[rows]) & catalogue.consumable[earlier]
        follows = (draw[rows] > 0.72) & sold[country[lines.user[rows]], sequel]
        items[rows] = np.where(again, earlier, np.where(follows, sequel, items[rows]))
    return items


def _fresh(
    rng: np.random.Generator,
    catalogue: _Catalogue,
    lines: _Lines,
    country: NDArray[np.intp],
    niches: NDArray[np.intp],
) -> NDArray[np.intp]:
    """An item by appeal in the country and week, of one of the user's niches or of the whole catalogue."""
    week = np.minimum((lines.time - (END - N_WEEKS * 7 * DAY_S)) // (7 * DAY_S), N_WEEKS - 1)
    row = country[lines.user] * N_WEEKS + week
    running = np.concatenate([[0.0], np.cumsum(catalogue.appeal.ravel())])
    taste = np.searchsorted(np.cumsum(_TASTE), rng.random(len(row)))
    niche = niches[lines.user, np.minimum(taste, len(_TASTE) - 1)]
    per_niche = N_ITEMS // N_NICHES
    start = np.where(taste < len(_TASTE), row * N_ITEMS + niche * per_niche, row * N_ITEMS)
    stop = np.where(taste < len(_TASTE), start + per_niche, start + N_ITEMS)
    nothing = running[stop] <= running[start]  # the niche is not sold there
    start, stop = np.where(nothing, row * N_ITEMS, start), np.where(nothing, (row + 1) * N_ITEMS, stop)
    target = running[start] + rng.random(len(row)) * (running[stop] - running[start])
    position = np.clip(np.searchsorted(running, target, side="right") - 1, start, stop - 1)
    return np.asarray(position - row * N_ITEMS, dtype=np.intp)


def _table(
    rng: np.random.Generator,
    catalogue: _Catalogue,
    lines: _Lines,
    items: NDArray[np.intp],
    country: NDArray[np.intp],
) -> Table:
    """The lines as rows that have just been read; what an order has twice is one line of it."""
    is_business = rng.random(len(country)) < 0.12
    factor = np.array([1.0, 1.05, 0.9, 1.2, 1.1, 0.95])[country[lines.user]]
    quantity = np.where(
        is_business[lines.user], 5 + rng.integers(0, 20, len(items)), 1 + rng.integers(0, 2, len(items))
    )
    firsts = np.sort(np.unique(lines.order * N_ITEMS + items, return_index=True)[1])
    columns = {
        "user": lines.user.astype(np.int32),
        "item": items.astype(np.int32),
        "country": country[lines.user].astype(np.int16),
        "time": lines.time,
        "price": np.round(catalogue.price[items] * factor, 2).astype(np.float32),
        "quantity": quantity.astype(np.float32),
        "order": lines.order.astype(np.int32),
        "user_features.segment": is_business[lines.user].astype(np.int32),
        "item_features.category": (catalogue.niche[items] // NICHES_PER_CATEGORY).astype(np.int32),
    }
    table = Table(columns, _words(len(country), int(lines.order.max()) + 1), _READING)
    table.keep(firsts)
    return table


_READING = MappingProxyType(
    {"user": "user_id", "item": "item_id", "time": "time", "country": "country", "price": "price"}
    | {"quantity": "quantity", "order": "order_id", "user_features": "segment", "item_features": "category"}
)


def _words(n_users: int, n_orders: int) -> dict[str, pa.Array]:
    return {
        "user": pa.array([f"U{code:05d}" for code in range(n_users)]),
        "item": pa.array([f"I{code:04d}" for code in range(N_ITEMS)]),
        "country": pa.array(list(COUNTRIES)),
        "order": pa.array([f"O{code:06d}" for code in range(n_orders)]),
        "user_features.segment": pa.array(["private", "business"]),
        "item_features.category": pa.array([f"category {code}" for code in range(N_NICHES // NICHES_PER_CATEGORY)]),
    }
