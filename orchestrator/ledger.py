"""The run's append-only SQLite file: the local truth, written by the coordinator alone, read by anyone.

Every table only grows, and every row has a `seq` that rises in the order of commits, so that a reader (the sender, a
leaderboard, `--resume`) needs no more than "what came after seq n". A transaction is on the disk when it returns.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from orchestrator.errors import InputError
from orchestrator.trial import canonical_json

SCHEMA_VERSION = 1

Table = Literal["countries", "studies", "trials", "results", "attempts", "trial_ends", "study_ends", "sessions"]

COLUMNS: Mapping[Table, str] = {
    # one a country value of the data: role is tuned, pooled or skipped; facts is the line of `data check`
    "countries": "country TEXT UNIQUE, role TEXT, reason TEXT, facts JSON",
    # one a search; study is "scope/family"; facts are the device, the threads and the fingerprint of the code
    "studies": "study TEXT UNIQUE, scope TEXT, family TEXT, facts JSON, opened_at REAL",
    # one a configuration asked; origin is default or sampler
    "trials": "trial_uid TEXT UNIQUE, study TEXT, number INTEGER, origin TEXT, params JSON, seed INTEGER, asked_at REAL",
    # one a (trial, rung, fold), of the attempt that succeeded; metrics decide, measured never do
    "results": "trial_uid TEXT, rung INTEGER, fold TEXT, attempt INTEGER, metrics JSON, measured JSON, node TEXT,"
    " started_at REAL, ended_at REAL, UNIQUE (trial_uid, rung, fold)",
    # one an attempt that did not give a result
    "attempts": "trial_uid TEXT, rung INTEGER, fold TEXT, attempt INTEGER, state TEXT, reason TEXT, log TEXT,"
    " node TEXT, at REAL, UNIQUE (trial_uid, rung, fold, attempt, at)",
    # one a trial that is over; score and metrics are means over folds, null unless COMPLETE
    "trial_ends": "trial_uid TEXT UNIQUE, state TEXT, score REAL, metrics JSON, reason TEXT, ended_at REAL",
    # one a study that is over; state is FINISHED, EXHAUSTED or STOPPED (by a budget)
    "study_ends": "study TEXT UNIQUE, state TEXT, reason TEXT, ended_at REAL",
    # one a process that worked on the run (tune, resume), and one more row with its exit_code when it ended
    "sessions": "session TEXT, event TEXT, engine TEXT, workers INTEGER, exit_code INTEGER, at REAL",
}
JSON_COLUMNS = frozenset({"facts", "params", "metrics", "measured"})

Row = dict[str, Any]


class Ledger:
    """One run's ledger; open it with `create` or `open`, the latter also read-only from other processes."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._db = connection
        self._db.row_factory = sqlite3.Row

    @classmethod
    def create(cls, path: Path, meta: Mapping[str, Any]) -> Self:
        """A new ledger with its facts of the run: run_id, name, owner, spec, fingerprints and so on.

        Raises InputError where the file cannot be written, or is there already.
        """
        if path.exists():
            raise InputError(f"a ledger must not exist yet, but {path} does; give --resume to continue that run")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            ledger = cls(_connect(path, read_only=False), path)
            with ledger.transaction():
                ledger._db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT)")
                for table, columns in COLUMNS.items():
                    ledger._db.execute(f"CREATE TABLE {table} (seq INTEGER PRIMARY KEY, {columns})")
                ledger._db.execute("CREATE INDEX trials_of_study ON trials (study, number)")
                rows = [
                    (key, canonical_json(value)) for key, value in {**meta, "schema_version": SCHEMA_VERSION}.items()
                ]
                ledger._db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"the ledger must be writable, but {path} is not ({error}); free space or give another --runs"
            ) from error
        return ledger

    @classmethod
    def open(cls, path: Path, *, read_only: bool = True) -> Self:
        """The ledger of a run that exists; InputError where there is none, or one of another schema version."""
        if not path.is_file():
            raise InputError(
                f"a run must have a ledger, but there is no {path}; `orchestrate runs` lists what there is"
            )
        try:
            ledger = cls(_connect(path, read_only=read_only), path)
            found = ledger.meta().get("schema_version")
        except sqlite3.Error as error:
            raise InputError(f"{path} must be a run's ledger, but SQLite says: {error}") from error
        if found != SCHEMA_VERSION:
            raise InputError(
                f"the ledger must have schema version {SCHEMA_VERSION}, but {path} has {found}; "
                "read it with the version of orchestrate that wrote it"
            )
        return ledger

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything appended inside is on the disk together when it ends, or not at all; InputError on a full disk."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._undo()
            raise InputError(
                f"the ledger must be writable, but {self.path} is not ({error}); "
                "nothing recorded is lost: free space, then go on with --resume"
            ) from error
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        if self._db.in_transaction:  # SQLite undoes some failures itself
            self._db.execute("ROLLBACK")

    def append(self, table: Table, row: Mapping[str, Any]) -> None:
        """Add a row; a second row of the same key is a fault of the caller and raises sqlite3.IntegrityError."""
        values = {
            key: canonical_json(value) if key in JSON_COLUMNS and value is not None else value
            for key, value in row.items()
        }
        marks = ", ".join("?" * len(values))
        self._db.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))

    def meta(self) -> dict[str, Any]:
        """The facts of the run that were given to `create`."""
        return {row["key"]: json.loads(row["value"]) for row in self._db.execute("SELECT key, value FROM meta")}

    def rows(self, table: Table, *, after: int = 0, limit: int = -1) -> list[Row]:
        """Rows with seq > after, in order of seq, JSON columns decoded."""
        query = f"SELECT * FROM {table} WHERE seq > ? ORDER BY seq LIMIT ?"
        return list(decode(self._db.execute(query, (after, limit))))

    def select(self, query: str, values: tuple[Any, ...] = ()) -> list[Row]:
        """Rows of any read-only query, JSON columns decoded."""
        return list(decode(self._db.execute(query, values)))

    def close(self) -> None:
        """Close the file; the ledger cannot be used after."""
        self._db.close()


def decode(rows: Iterable[sqlite3.Row]) -> Iterator[Row]:
    """Rows as dictionaries, with their JSON columns read."""
    for row in rows:
        yield {
            key: json.loads(row[key]) if key in JSON_COLUMNS and isinstance(row[key], str) else row[key]
            for key in row.keys()  # noqa: SIM118 - sqlite3.Row iterates over values
        }


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30.0)
    if not read_only:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    return connection
