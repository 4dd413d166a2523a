"""Columns that grow block by block, so that the strings of all rows never stand in memory together."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

_FIRST_CAPACITY = 1 << 24
"""Of rows: memory that is not touched costs nothing, and what fits is never copied to grow."""
_WAITING_BYTES = 1 << 25
"""Of names that are coded together at least: as many as fit beside the blocks that Arrow reads ahead."""


class GrowingColumn:
    """A NumPy array that is appended to; doubling leaves the new half untouched, so it costs no memory until used."""

    def __init__(self, dtype: DTypeLike) -> None:
        self._values: NDArray[Any] = np.empty(_FIRST_CAPACITY, dtype=dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, values: NDArray[Any]) -> None:
        """Add a block of values, converted to the column's type."""
        needed = self._size + len(values)
        if needed > len(self._values):
            grown = np.empty(max(needed, 2 * len(self._values)), dtype=self._values.dtype)
            grown[: self._size] = self._values[: self._size]
            self._values = grown
        self._values[self._size : needed] = values
        self._size = needed

    def truncate(self, size: int) -> None:
        """Forget all but the first `size` values."""
        self._size = size

    @property
    def values(self) -> NDArray[Any]:
        """What has been appended: a view."""
        return self._values[: self._size]


class CodedColumn(GrowingColumn):
    """A column of names, kept as codes into a vocabulary that grows with it; -1 is a missing name.

    Names wait as they came until they are large enough to be coded together behind the vocabulary. Waiting for twice
    its size keeps the hashing at one and a half times the names, however many different ones there are.
    """

    def __init__(self, dtype: DTypeLike = np.int32) -> None:
        super().__init__(dtype)
        self._limit = int(np.iinfo(np.dtype(dtype)).max)
        self._words = pa.array([], pa.string())
        self._waiting: list[pa.Array] = []
        self._waiting_bytes = 0

    def __len__(self) -> int:
        return super().__len__() + sum(map(len, self._waiting))

    def append_names(self, names: pa.Array) -> None:
        """Add a block of strings, numbers or anything else that Arrow can write as a string.

        Raises OverflowError where there are more names than codes.
        """
        if pa.types.is_dictionary(names.type):
            names = names.dictionary_decode()
        self._waiting.append(names.cast(pa.string()))
        self._waiting_bytes += self._waiting[-1].nbytes
        if self._waiting_bytes >= max(2 * self._words.nbytes, _WAITING_BYTES):
            self.merge()

    def truncate(self, size: int) -> None:
        """Forget all but the first `size` codes, and the names that only the others had, which come last."""
        self.merge()
        super().truncate(size)
        self._words = self._words.slice(0, int(self.values.max(initial=-1)) + 1)

    def merge(self) -> pa.Array:
        """Code what waits, and return the vocabulary: distinct names in order of appearance. Raises OverflowError."""
        if not len(names := pa.chunked_array(self._waiting, pa.string())):
            return self._words
        coded = pa.chunked_array([self._words, *names.chunks]).dictionary_encode()
        n_before, self._words = len(self._words), coded.chunk(coded.num_chunks - 1).dictionary
        self._waiting, self._waiting_bytes = [], 0
        if len(self._words) > self._limit:
            raise OverflowError(f"more than {self._limit:,} different values")
        for block in coded.slice(n_before).chunks:
            self.append(block.indices.fill_null(-1).to_numpy(zero_copy_only=False))
        return self._words
