"""The rows as they were read: one array a role, names as codes into vocabularies. What `clean` takes."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass
class Table:
    """Rows in columns of equal length, owned by whoever cleans them: columns are replaced and freed on the way."""

    columns: dict[str, NDArray[Any]]
    """role -> (n,): codes of user, item, country, order (-1 is missing) and `user_features.NAME`; time in seconds
    (NO_TIME is missing); price, spend, quantity, rating, weight (NaN is missing); given."""
    words: dict[str, pa.Array]
    """role -> vocabulary, for the columns of codes."""
    reading: Mapping[str, str]
    """role -> what it was read from, for people."""
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.columns["user"])

    def keep(self, rows: NDArray[np.bool_] | NDArray[np.integer]) -> None:
        """Reduce, or reorder, every column to `rows`, two columns at a time, for the sake of memory."""

        def keep(role: str) -> None:
            self.columns[role] = self.columns[role][rows]

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(keep, self.columns))
