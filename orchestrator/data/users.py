"""Codes a user per (country, user id), so that no user crosses a border."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.data.table import Table


def code_users(table: Table) -> pa.Array:
    """Recode the user column to 0..n_users-1 in the order of (country, id), and return the ids (n_users,).

    Most ids live in one country, so a table from id to user answers for nearly all rows; only rows in another country
    than that of their id are looked up.
    """
    ids, countries, n_ids = table.columns["user"], table.columns["country"], len(table.words["user"])
    home = np.full(n_ids, -1, dtype=np.int16)
    home[ids] = countries
    abroad = np.flatnonzero(home[ids] != countries)
    abroad_keys = _key(countries[abroad], ids[abroad], n_ids)
    at_home = np.flatnonzero(home >= 0)
    home_keys = _key(home[at_home], at_home, n_ids)
    keys = np.sort(np.concatenate([home_keys, np.unique(abroad_keys)]))
    user_of_id = np.full(n_ids, -1, dtype=np.int32)
    user_of_id[at_home] = np.searchsorted(keys, home_keys)
    users = user_of_id[ids]
    users[abroad] = np.searchsorted(keys, abroad_keys)
    table.columns["user"] = users
    return table.words["user"].take(pa.array(keys % max(n_ids, 1)))


def _key(countries: NDArray[np.int16], ids: NDArray[np.integer], n_ids: int) -> NDArray[np.int64]:
    return countries.astype(np.int64) * n_ids + ids
