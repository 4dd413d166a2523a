"""Trials in a file that the ordinary `mlflow ui --backend-store-uri sqlite:///…` opens, without a server."""

import importlib
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InputError
from orchestrator.tracking import Capabilities, Query, Record
from orchestrator.tracking.book import RunBook

if TYPE_CHECKING:
    from orchestrator.tracking.mlflow_store import MlflowStore

MAGIC = b"SQLite format 3\x00"


class EmbeddedTracker:
    """A tracker for one experiment in one SQLite file.

    Its server-run ids follow from the keys, so it needs no book. mlflow is imported when something is first sent or
    searched, which is in the sender's process or a reader's, never in a run's.
    """

    def __init__(self, uri: str, experiment: str, book: RunBook | None = None) -> None:  # noqa: ARG002
        self._path = Path(uri.removeprefix("sqlite:///"))
        self._experiment = experiment
        self._opened: MlflowStore | None = None

    def probe(self) -> Capabilities:
        """See Tracker; asks only whether the file can be written, and is a database."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab"), self._path.open("rb") as file:
                start = file.read(len(MAGIC))
            if self._path.stat().st_size == 0:
                self._path.unlink()
        except OSError as error:
            raise InputError(
                f"the tracking store must be writable, but {self._path} is not ({error.strerror}); give another --tracking-uri"
            ) from error
        if start not in (b"", MAGIC):
            raise InputError(
                f"the tracking store must be an SQLite file, but {self._path} is not; give another --tracking-uri"
            )
        return Capabilities("embedded", sqlite3.sqlite_version)

    def send(self, records: Sequence[Record]) -> None:
        """See Tracker."""
        self._store().send(records)

    def settle(self) -> None:
        """See Tracker; nothing can be left behind here."""

    def search(self, query: Query) -> Sequence[Mapping[str, Any]]:
        """See Tracker; asking makes no file."""
        return self._store().search(query) if self._path.is_file() else []

    def close(self) -> None:
        """See Tracker."""
        if self._opened is not None:
            self._opened.close()

    def _store(self) -> "MlflowStore":
        if self._opened is None:
            module = importlib.import_module("orchestrator.tracking.mlflow_store")
            self._opened = module.MlflowStore(self._path, self._experiment)
        return self._opened
