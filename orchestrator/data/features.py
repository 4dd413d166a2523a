"""Turns columns that describe users or items into indicator matrices."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from orchestrator.data.ids import Renaming, tidy
from orchestrator.data.table import Table


def indicators(table: Table, role: str, n_rows: int) -> csr_array | None:
    """(n_rows, f) 0/1: which values of the `role`_features columns the rows of each user (or item) have.

    The columns are taken out of the table. None where there are none.
    """
    keys = sorted(key for key in table.columns if key.startswith(f"{role}_features."))
    if not keys:
        return None
    holders = table.columns[role]
    blocks = [_one_column(holders, table.columns.pop(key), tidy(table.words[key]), n_rows) for key in keys]
    return csr_array(hstack(blocks, format="csr", dtype=np.float32))


def _one_column(holders: NDArray[np.int32], codes: NDArray[np.int32], renaming: Renaming, n_rows: int) -> csr_array:
    values = renaming(codes)
    n_values = len(renaming.words)
    pairs = np.unique(holders[values >= 0].astype(np.int64) * max(n_values, 1) + values[values >= 0])
    rows, columns = np.divmod(pairs, max(n_values, 1))
    return csr_array((np.ones(len(pairs), dtype=np.float32), (rows, columns)), shape=(n_rows, n_values))
