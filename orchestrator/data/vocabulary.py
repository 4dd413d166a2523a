"""Columns that grow block by block, so that the strings of all rows never stand in memory together."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

_FIRST_CAPACITY = 65_536


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

    Each block is coded against its own distinct values at once. Those are merged into the vocabulary when they have
    become twice as many as it holds, so that all merging together hashes the distinct values of all blocks one and a
    half times, however many names there are.
    """

    def __init__(self, dtype: DTypeLike = np.int32) -> None:
        super().__init__(dtype)
        self._limit = int(np.iinfo(np.dtype(dtype)).max)
        self._words = pa.array([], pa.string())
        self._pending: list[tuple[int, pa.Array]] = []
        """(first row, distinct values) of each block whose codes are still its own."""
        self._n_pending = 0

    def append_names(self, names: pa.Array) -> None:
        """Add a block of strings, numbers or anything else that Arrow can write as a string.

        Raises OverflowError where there are more names than codes.
        """
        if pa.types.is_dictionary(names.type):
            names = names.dictionary_decode()
        encoded = names.dictionary_encode()
        words = encoded.dictionary.cast(pa.string())
        self._check(len(words))
        self._pending.append((len(self), words))
        self._n_pending += len(words)
        self.append(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False))
        if self._n_pending >= max(2 * len(self._words), _FIRST_CAPACITY):
            self.merge()

    def truncate(self, size: int) -> None:
        """Forget all but the first `size` codes, and the names that only the others had, which come last."""
        self.merge()
        super().truncate(size)
        self._words = self._words.slice(0, int(self.values.max(initial=-1)) + 1)

    def merge(self) -> pa.Array:
        """Bring all codes to the one vocabulary, and return it: distinct names in order of appearance."""
        if not self._pending:
            return self._words
        merged = pa.concat_arrays([self._words, *(words for _, words in self._pending)]).dictionary_encode()
        self._check(len(merged.dictionary))
        codes = merged.indices.to_numpy(zero_copy_only=False)
        stops = [start for start, _ in self._pending[1:]] + [len(self)]
        offset = len(self._words)
        for (start, words), stop in zip(self._pending, stops, strict=True):
            of_block = np.append(codes[offset : offset + len(words)], -1)  # the last place answers for code -1
            self._values[start:stop] = of_block[self._values[start:stop]]
            offset += len(words)
        self._words, self._pending, self._n_pending = merged.dictionary, [], 0
        return self._words

    def _check(self, n_words: int) -> None:
        if n_words > self._limit:
            raise OverflowError(f"more than {self._limit:,} different values")
