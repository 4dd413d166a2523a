"""Reads files of sales into cleaned, integer-coded interactions: the way in for a user's own data."""

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.data.batches import Restart, batches, sample
from orchestrator.data.clean import clean
from orchestrator.data.columns import FEATURE_ROLES, SPLIT_LABELS, Reading, recognise
from orchestrator.data.model import Data
from orchestrator.data.source import File, find_files
from orchestrator.data.table import Table
from orchestrator.data.values import STYLE_WORDS, TimeReader, read_numbers
from orchestrator.data.vocabulary import CodedColumn, GrowingColumn
from orchestrator.errors import InputError

ONE_COUNTRY = "market"
"""The name of the only country of data without a country column."""

_NUMBERS = ("price", "spend", "quantity", "rating", "weight")
_BLOCKS_AHEAD = 8
"""Blocks that are parsed, at most, before the slowest column has taken the first of them."""


def read_data(source: str, *, columns: Mapping[str, str] | None = None, now: float | None = None) -> Data:
    """Read a CSV or Parquet file, a folder of them, or a URI, clean it and code it.

    `columns` (role -> column) overrules what is recognised, "" leaves a role out; `now` (seconds since the epoch, the
    clock unless given) tells which dates lie in the future. Raises InputError for all that a user can mend.
    """
    files = find_files(source)
    reading = _reading(files, columns)
    table = _Reader(reading, _given(files)).read(files)
    if not len(table):
        raise InputError(f"the data must have rows, but {source} has none; write the file again")
    return clean(table, now=time.time() if now is None else now)


def _reading(files: Sequence[File], columns: Mapping[str, str] | None) -> Reading:
    """What the first file says, after a look whether all others have the same columns."""
    first = sample(files[0])
    for file in files[1:]:
        names = sample(file).column_names
        if set(names) != set(first.column_names):
            odd = sorted(set(names) ^ set(first.column_names))
            raise InputError(
                f"all files of a folder must have the same columns, but {files[0].name} and {file.name} differ in "
                f"{', '.join(f'`{name}`' for name in odd[:5])}; put other data into another folder"
            )
    return recognise(first, columns)


def _given(files: Sequence[File]) -> tuple[int, ...] | None:
    """The label of each file by its name; None unless there are files for training and others to evaluate on."""
    stems = [file.name.lower().split(".")[0] for file in files]
    labels = [next((label for word, label in SPLIT_LABELS.items() if stem.startswith(word)), None) for stem in stems]
    known = [label for label in labels if label is not None]
    if 0 not in known or max(known) == 0:
        return None
    if len(known) < len(files):
        odd = files[labels.index(None)].name
        raise InputError(
            f"beside files named train and test every file must be named for its part (train, validation, test), "
            f"but there is {odd}; rename or remove it"
        )
    return tuple(known)


class _Reader:
    """The growing columns of all files, fed block by block."""

    def __init__(self, reading: Reading, given: tuple[int, ...] | None) -> None:
        self._reading = reading
        self._given = given
        self._times = TimeReader()
        self._names = _names(reading)
        self._columns = {key: self._column(key) for key in (*self._names, *([] if given is None else ["given"]))}
        self._running: deque[list[Future[None]]] = deque()

    def read(self, files: Sequence[File]) -> Table:
        """All rows. Each column is filled by a thread of its own, while this one parses the blocks to come."""
        names = sorted({name for names in self._reading.values() for name in names})
        with ExitStack() as stack:
            threads = {key: stack.enter_context(ThreadPoolExecutor(1)) for key in self._columns}
            for number, file in enumerate(files):
                self._finish_all_but(0)
                start = len(self._columns["user"])
                label = None if self._given is None else self._given[number]
                for block in batches(file, names, self._types()):
                    if isinstance(block, Restart):
                        self._finish_all_but(0)
                        self._truncate(start)
                        continue
                    self._running.append([threads[key].submit(self._append, key, block, label) for key in threads])
                    self._finish_all_but(_BLOCKS_AHEAD)
            self._running.append([threads[key].submit(self._merge, key) for key in threads])
            self._finish_all_but(0)
        table = self._table()
        pa.default_memory_pool().release_unused()
        return table

    def _finish_all_but(self, n_blocks: int) -> None:
        while len(self._running) > n_blocks:
            for column in self._running.popleft():
                column.result()

    def _append(self, key: str, block: pa.RecordBatch, label: int | None) -> None:
        column, name = self._columns[key], self._names.get(key)
        if name is None:
            column.append(np.full(len(block), label, dtype=np.int8))
        elif isinstance(column, CodedColumn):
            with _refusing_other_than_names(name):
                column.append_names(block.column(name))
        elif key == "given":
            column.append(_labels(block.column(name)))
        else:
            values = block.column(name)
            column.append(self._times.read(values) if key == "time" else read_numbers(values))

    def _merge(self, key: str) -> None:
        if isinstance(column := self._columns[key], CodedColumn):
            with _refusing_other_than_names(self._names[key]):
                column.merge()

    def _types(self) -> dict[str, pa.DataType]:
        """Column of the file -> what it holds if it is plainly written, unless it plays a second role."""
        kinds = {"time": pa.timestamp("us")} | dict.fromkeys(_NUMBERS, pa.float64())
        uses = Counter(self._names.values())
        return {name: kinds[key] for key, name in self._names.items() if key in kinds and uses[name] == 1}

    def _column(self, key: str) -> GrowingColumn:
        if key in ("time", "given"):
            return GrowingColumn(np.int64 if key == "time" else np.int8)
        if key in _NUMBERS:
            return GrowingColumn(np.float32)
        return CodedColumn(np.int16 if key == "country" else np.int32)

    def _truncate(self, size: int) -> None:
        for column in self._columns.values():
            column.truncate(size)

    def _table(self) -> Table:
        words = {key: column.merge() for key, column in self._columns.items() if isinstance(column, CodedColumn)}
        columns = {key: column.values for key, column in self._columns.items()}
        reading = {role: ", ".join(names) for role, names in self._reading.items()}
        table = Table(columns, words, reading, self._notes())
        if "country" not in columns:
            table.columns["country"] = np.zeros(len(table), dtype=np.int16)
            table.words["country"] = pa.array([ONE_COUNTRY])
        return table

    def _notes(self) -> list[str]:
        notes = []
        if "country" not in self._reading:
            notes.append(f"there is no country column, so all rows belong to one country, named `{ONE_COUNTRY}`")
        style = self._times.style
        if style is not None and style != "ymd":
            doubt = ", though another reading would also do" if self._times.ambiguous else ""
            notes.append(f"`{self._reading['time'][0]}` is read as {STYLE_WORDS[style]}{doubt}")
        return notes


def _names(reading: Reading) -> dict[str, str]:
    """Column of the table -> column of the file, for all that is kept row by row."""
    names = {}
    for role, columns in reading.items():
        if role in FEATURE_ROLES:
            names.update({f"{role}.{name}": name for name in columns})
        else:
            names["given" if role == "split" else role] = columns[0]
    return names


@contextmanager
def _refusing_other_than_names(name: str) -> Iterator[None]:
    try:
        yield
    except OverflowError as error:
        raise InputError(
            f"a column of names must repeat its values, but `{name}` has {error}; "
            "say which column is the country with `--column country=NAME`"
        ) from error
    except pa.ArrowException as error:
        raise InputError(
            f"a column of names must hold text or numbers, but `{name}` does not ({error}); give another column"
        ) from error


def _labels(values: pa.Array) -> NDArray[np.int8]:
    """0, 1 or 2 for the words of a split column."""
    encoded = values.cast(pa.string()).dictionary_encode()
    words = [word.strip().lower() for word in encoded.dictionary.to_pylist()]
    unknown = [word for word in words if word not in SPLIT_LABELS]
    if unknown or encoded.indices.null_count:
        raise InputError(
            f"a split column must say {', '.join(SPLIT_LABELS)}, but one row says "
            f"`{unknown[0] if unknown else ''}`; mend it, or leave the column out with `--column split=`"
        )
    labels = np.array([SPLIT_LABELS[word] for word in words], dtype=np.int8)
    codes: NDArray[np.int32] = encoded.indices.to_numpy(zero_copy_only=False)
    return labels[codes]
