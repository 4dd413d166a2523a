"""Finds the files behind a path, a folder or a URI, and opens them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import fsspec
import pyarrow as pa
from fsspec.core import url_to_fs

from orchestrator.errors import InputError

FileKind = Literal["csv", "csv.gz", "parquet"]

FOLDER_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".pq")
_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class File:
    """One file to read, wherever it lies."""

    filesystem: fsspec.AbstractFileSystem
    path: str
    kind: FileKind

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name

    @contextmanager
    def open(self) -> Iterator[pa.NativeFile]:
        """The bytes of the file as a seekable Arrow file, or as a stream where they were compressed.

        What goes wrong with the bytes inside the `with` (a broken gzip, a disk that gives up) leaves it as InputError.
        """
        try:
            with _open_native(self.filesystem, self.path) as raw:
                yield pa.CompressedInputStream(raw, "gzip") if self.kind == "csv.gz" else raw
        except OSError as error:
            raise InputError(
                f"{self.name} must be readable to its end, but it is not ({_one_line(error)}); "
                "fetch or write the file again"
            ) from error


def find_files(source: str) -> list[File]:
    """The file at `source`, or the CSV and Parquet files of the folder at `source` in the order of their names."""
    filesystem, path = _filesystem(source)
    try:
        if filesystem.isdir(path):
            return _folder(source, filesystem, path)
        if not filesystem.exists(path):
            raise InputError(f"the data must exist, but there is nothing at {source}; check the path")
        return [_file(filesystem, path)]
    except OSError as error:
        raise InputError(f"the data must be readable, but {source} is not ({_one_line(error)})") from error


def _filesystem(source: str) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        filesystem, path = url_to_fs(source)
    except ImportError as error:
        raise InputError(
            f"reading {source} must have the driver of its protocol, but that is not installed: {_one_line(error)}"
        ) from error
    except (ValueError, OSError) as error:
        raise InputError(
            f"the data must be a path or a URI that fsspec can open, but {source} is not ({_one_line(error)})"
        ) from error
    return filesystem, path


def _folder(source: str, filesystem: fsspec.AbstractFileSystem, path: str) -> list[File]:
    found = filesystem.ls(path, detail=False)
    paths = sorted(one for one in found if _wanted(PurePosixPath(one).name) and filesystem.isfile(one))
    if not paths:
        raise InputError(
            f"a folder must hold files that end in {', '.join(FOLDER_SUFFIXES)}, but {source} holds none; "
            "give the folder that holds them, or one file"
        )
    return [_file(filesystem, one) for one in paths]


def _wanted(name: str) -> bool:
    return name.lower().endswith(FOLDER_SUFFIXES) and not name.startswith((".", "_"))


def _file(filesystem: fsspec.AbstractFileSystem, path: str) -> File:
    with filesystem.open(path, "rb") as opened:
        head = opened.read(4)
    name = PurePosixPath(path).name
    if not head:
        raise InputError(f"the data must not be empty, but {name} has no bytes; write the file again")
    if head == _ZIP_MAGIC:
        raise InputError(
            f"the data must be CSV or Parquet, but {name} is a zip archive or a workbook; save it as CSV and give that"
        )
    return File(filesystem, path, _kind(name, head))


def _kind(name: str, head: bytes) -> FileKind:
    if head == _PARQUET_MAGIC:
        return "parquet"
    if name.lower().endswith((".parquet", ".pq")):
        raise InputError(f"a Parquet file must begin with PAR1, but {name} does not; it is broken, or it is no Parquet")
    if head.startswith(_GZIP_MAGIC):
        return "csv.gz"
    if name.lower().endswith(".gz"):
        raise InputError(f"a gzip file must begin with the bytes 1f 8b, but {name} does not; fetch or write it again")
    return "csv"


def _open_native(filesystem: fsspec.AbstractFileSystem, path: str) -> pa.NativeFile:
    if "file" in _protocols(filesystem):
        return pa.OSFile(path, "rb")
    return pa.PythonFile(filesystem.open(path, "rb"), mode="r")


def _protocols(filesystem: fsspec.AbstractFileSystem) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
