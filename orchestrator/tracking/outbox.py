"""The sender's own file: how far it has read the ledger, and which server run belongs to which record.

One file a run, with rows for every destination it was ever sent to. It can be deleted: the next sender asks the
server what is there, and goes through the ledger once more.
"""

import fcntl
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.tracking.feed import Source

OUTBOX, LOCK = "outbox.db", "outbox.lock"

SCHEMA = """
CREATE TABLE IF NOT EXISTS destinations (uri TEXT PRIMARY KEY, experiment_id TEXT, error TEXT, used_at REAL);
CREATE TABLE IF NOT EXISTS cursors (uri TEXT, source TEXT, seq INTEGER, PRIMARY KEY (uri, source)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (uri TEXT, key TEXT, run_id TEXT, suspect INTEGER DEFAULT 0, PRIMARY KEY (uri, key))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS aside (uri TEXT, source TEXT, seq INTEGER, reason TEXT, PRIMARY KEY (uri, source, seq))
    WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Position:
    """How far a destination is, as another process may read it."""

    cursors: Mapping[str, int]
    aside: int
    error: str


class Outbox:
    """The rows of one destination; also the RunBook of its tracker. A run id of NULL is a create that was intended."""

    def __init__(self, path: Path, uri: str) -> None:
        self._uri = uri
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30.0)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(SCHEMA)
        self._db.execute("INSERT OR IGNORE INTO destinations (uri, error) VALUES (?, '')", (uri,))
        self._db.execute("UPDATE destinations SET used_at = ? WHERE uri = ?", (time.time(), uri))

    def cursors(self) -> dict[str, int]:
        """For each source, the last row of the ledger that was sent or set aside."""
        return dict(self._db.execute("SELECT source, seq FROM cursors WHERE uri = ?", (self._uri,)))

    def advance(self, cursors: Mapping[str, int], aside: Mapping[tuple[Source, int], str]) -> None:
        """Move the cursors; rows that the server refused are kept in mind with the reason."""
        with self._transaction():
            rows = [(self._uri, source, seq) for source, seq in cursors.items()]
            self._db.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", rows)
            kept = [(self._uri, source, seq, reason) for (source, seq), reason in aside.items()]
            self._db.executemany("INSERT OR REPLACE INTO aside VALUES (?, ?, ?, ?)", kept)

    def aside(self) -> list[tuple[Source, int]]:
        """The rows that were set aside, as (source, seq)."""
        return list(self._db.execute("SELECT source, seq FROM aside WHERE uri = ? ORDER BY seq", (self._uri,)))

    def take_back(self, item: tuple[Source, int]) -> None:
        """A row that was set aside has arrived."""
        self._db.execute("DELETE FROM aside WHERE (uri, source, seq) = (?, ?, ?)", (self._uri, *item))

    def note_error(self, error: str) -> None:
        """Say what is wrong at the moment; an empty string when nothing is."""
        self._db.execute("UPDATE destinations SET error = ? WHERE uri = ? AND error != ?", (error, self._uri, error))

    def experiment_id(self) -> str | None:
        """See RunBook."""
        row = self._db.execute("SELECT experiment_id FROM destinations WHERE uri = ?", (self._uri,)).fetchone()
        return None if row[0] is None else str(row[0])

    def open_experiment(self, experiment_id: str, run_ids: Mapping[str, str]) -> None:
        """See RunBook."""
        with self._transaction():
            self._remember(run_ids)
            values = (experiment_id, self._uri)
            self._db.execute("UPDATE destinations SET experiment_id = ? WHERE uri = ?", values)

    def run_id(self, key: str) -> str | None:
        """See RunBook."""
        row = self._run(key)
        return row[0] if row else None

    def in_doubt(self, key: str) -> bool:
        """See RunBook."""
        row = self._run(key)
        return row is not None and row[0] is None

    def intend(self, keys: Sequence[str]) -> None:
        """See RunBook."""
        with self._transaction():
            rows = [(self._uri, key) for key in keys]
            self._db.executemany("INSERT OR IGNORE INTO runs (uri, key) VALUES (?, ?)", rows)

    def remember(self, run_ids: Mapping[str, str]) -> None:
        """See RunBook."""
        with self._transaction():
            self._remember(run_ids)

    def suspect(self, keys: Sequence[str]) -> None:
        """See RunBook."""
        if keys:
            with self._transaction():
                rows = [(self._uri, key) for key in keys]
                self._db.executemany("UPDATE runs SET suspect = 1 WHERE uri = ? AND key = ?", rows)

    def suspects(self) -> Sequence[str]:
        """See RunBook."""
        return [row[0] for row in self._db.execute("SELECT key FROM runs WHERE uri = ? AND suspect", (self._uri,))]

    def clear(self, key: str) -> None:
        """See RunBook."""
        self._db.execute("UPDATE runs SET suspect = 0 WHERE uri = ? AND key = ?", (self._uri, key))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _run(self, key: str) -> tuple[str | None] | None:
        found: tuple[str | None] | None = self._db.execute(
            "SELECT run_id FROM runs WHERE uri = ? AND key = ?", (self._uri, key)
        ).fetchone()
        return found

    def _remember(self, run_ids: Mapping[str, str]) -> None:
        self._db.executemany(
            "INSERT INTO runs (uri, key, run_id) VALUES (?, ?, ?)"
            " ON CONFLICT (uri, key) DO UPDATE SET run_id = excluded.run_id",
            [(self._uri, key, run_id) for key, run_id in run_ids.items()],
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def read_position(folder: Path) -> Position:
    """How far the destination that was used last is; at the beginning where nothing was ever sent."""
    path = folder / OUTBOX
    if not path.is_file():
        return Position({}, 0, "")
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=1.0)
    try:
        uri, error = db.execute("SELECT uri, error FROM destinations ORDER BY used_at DESC LIMIT 1").fetchone()
        cursors = dict(db.execute("SELECT source, seq FROM cursors WHERE uri = ?", (uri,)))
        aside, reason = db.execute("SELECT COUNT(*), MIN(reason) FROM aside WHERE uri = ?", (uri,)).fetchone()
        return Position(cursors, aside, error or reason or "")
    except (sqlite3.Error, TypeError):  # it is being made at this moment
        return Position({}, 0, "")
    finally:
        db.close()


def try_lock(folder: Path) -> IO[bytes] | None:
    """The right to send this run, held until the file is closed or the process ends; None while another has it."""
    lock = (folder / LOCK).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock
