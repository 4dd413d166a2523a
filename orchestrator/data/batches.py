"""Streams the wanted columns of a CSV or Parquet file, block by block."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from orchestrator.data.source import File
from orchestrator.errors import InputError

BLOCK_BYTES = 1 << 21
"""Of CSV text parsed at once. Arrow reads some 30 blocks ahead, so this bounds what stands in memory besides the result."""
BATCH_ROWS = 1 << 17
"""Of Parquet decoded at once."""
SAMPLE_BYTES = 1 << 20
SAMPLE_ROWS = 1 << 14
_DELIMITERS = (",", ";", "\t", "|")
_MISSING = ["", "NULL", "null", "NaN", "nan", "None", "#N/A", "<NA>"]  # not "NA": that is Namibia


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written."""

    names: tuple[str, ...]
    delimiter: str
    encoding: str = "utf8"
    newlines_in_values: bool = False
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    """Columns that hold nothing but plain numbers or dates, which Arrow reads on its way; all others are text."""


class Restart:
    """What was read of the file so far must be forgotten: it comes again, read in another dialect."""


def sample(file: File) -> pa.Table:
    """The first rows of a file with all its columns, those of CSV as text. Raises InputError."""
    with file.open() as stream:
        if file.kind == "parquet":
            return _parquet_sample(file, stream)
        head = _head(stream)
    dialect = _dialect(file, head)
    try:
        return pa_csv.open_csv(pa.BufferReader(head), **_options(dialect, dialect.names, skip_bad=True)).read_all()
    except pa.ArrowInvalid as error:
        raise _not_csv(file, error) from error


def batches(file: File, names: Sequence[str], types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch | Restart]:
    """The columns `names` of a file in blocks. A `Restart` among them voids all blocks before it. Raises InputError.

    Columns of CSV come as text; where `types` names another type, in that, if all values of the columns with it are so
    written. Those of Parquet come as they are.
    """
    if file.kind == "parquet":
        yield from _parquet_batches(file, names)
        return
    with file.open() as stream:
        dialect: Dialect | None = replace(_dialect(file, _head(stream)), types=types)
    while dialect:
        try:
            yield from _csv_batches(file, names, dialect)
            return
        except pa.ArrowInvalid as error:
            dialect = _other_dialect(dialect, str(error))
            if dialect is None:
                raise _not_csv(file, error) from error
            yield Restart()


def _csv_batches(file: File, names: Sequence[str], dialect: Dialect) -> Iterator[pa.RecordBatch]:
    with file.open() as stream:
        yield from pa_csv.open_csv(stream, **_options(dialect, names))


def _options(dialect: Dialect, names: Sequence[str], *, skip_bad: bool = False) -> dict[str, object]:
    return {
        "read_options": pa_csv.ReadOptions(block_size=BLOCK_BYTES, encoding=dialect.encoding),
        "parse_options": pa_csv.ParseOptions(
            delimiter=dialect.delimiter,
            newlines_in_values=dialect.newlines_in_values,
            invalid_row_handler=(lambda _: "skip") if skip_bad else None,
        ),
        "convert_options": pa_csv.ConvertOptions(
            include_columns=list(names),
            column_types={name: dialect.types.get(name, pa.string()) for name in names},
            null_values=_MISSING,
            strings_can_be_null=True,
        ),
    }


def _other_dialect(dialect: Dialect, error: str) -> Dialect | None:
    """What else the file may be, judging by what Arrow stumbled over; None when there is nothing left to try."""
    types = {name: one for name, one in dialect.types.items() if f"conversion error to {one}" not in error}
    if len(types) < len(dialect.types):
        return replace(dialect, types=types)
    if "UTF8" in error and dialect.encoding == "utf8":
        return replace(dialect, encoding="latin-1")
    if "columns, got" in error and not dialect.newlines_in_values:
        return replace(dialect, newlines_in_values=True)
    return None


def _head(stream: pa.NativeFile) -> bytes:
    """The whole lines among the first SAMPLE_BYTES; the last line of a file needs no line end."""
    parts: list[bytes] = []
    size = 0
    while size < SAMPLE_BYTES and (part := stream.read(SAMPLE_BYTES - size)):
        parts.append(part)
        size += len(part)
    head = b"".join(parts)
    return head[: head.rindex(b"\n") + 1] if size >= SAMPLE_BYTES and b"\n" in head else head


def _dialect(file: File, head: bytes) -> Dialect:
    if b"\0" in head:
        raise InputError(f"the data must be CSV or Parquet, but {file.name} is binary; save it as one of them")
    if not head.strip():
        raise InputError(f"the data must not be empty, but {file.name} has no line; write the file again")
    text, encoding = _decoded(head)
    first, _, rest = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\n").partition("\n")
    try:
        delimiter, names = max(
            ((one, tuple(next(csv.reader([first], delimiter=one)))) for one in _DELIMITERS),
            key=lambda way: len(way[1]),
        )
    except csv.Error as error:
        raise InputError(f"{file.name} must begin with a line of column names, but it does not ({error})") from error
    if not rest.strip():
        raise InputError(f"the data must have rows below its header, but {file.name} has none; write the file again")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(
            f"every column must have a name of its own, but {file.name} has `{twice[0]}` twice; rename one"
        )
    return Dialect(names, delimiter, encoding)


def _decoded(head: bytes) -> tuple[str, str]:
    try:
        return head.decode("utf-8-sig"), "utf8"
    except UnicodeDecodeError:
        return head.decode("latin-1"), "latin-1"


def _not_csv(file: File, error: pa.ArrowInvalid) -> InputError:
    said = " ".join(str(error).split())[:160]
    return InputError(
        f"every line of a CSV file must have the fields of its header, but in {file.name} Arrow found: {said}; "
        "mend that line, or save the data as Parquet"
    )


def _parquet_sample(file: File, stream: pa.NativeFile) -> pa.Table:
    try:
        opened = pq.ParquetFile(stream)
        batch = next(opened.iter_batches(batch_size=SAMPLE_ROWS), None)
    except (pa.ArrowException, OSError) as error:
        raise _not_parquet(file, error) from error
    if batch is None:
        raise InputError(f"the data must have rows, but {file.name} has none; write the file again")
    return pa.Table.from_batches([batch])


def _parquet_batches(file: File, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with file.open() as stream:
        try:
            yield from pq.ParquetFile(stream).iter_batches(batch_size=BATCH_ROWS, columns=list(names))
        except (pa.ArrowException, OSError) as error:
            raise _not_parquet(file, error) from error


def _not_parquet(file: File, error: BaseException) -> InputError:
    said = " ".join(str(error).split())[:160]
    return InputError(f"{file.name} must be readable as Parquet, but Arrow found: {said}; write the file again")
