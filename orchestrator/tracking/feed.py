"""What the ledger holds for the tracking server: which rows come after a cursor, as records and in a safe order.

Five sources, each a table of the ledger (or a part of one) read by `seq`. The rows that close or add are read before
those that must precede them, so that a record never overtakes its own parent or trial.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.ledger import Ledger, Row
from orchestrator.tracking import Record, Status
from orchestrator.tracking.records import (
    RunFacts,
    TrialFacts,
    plan_record,
    study_end_record,
    study_record,
    study_status,
    test_record,
    trial_record,
)

Source = Literal["countries", "studies", "trial_ends", "tests", "study_ends"]

SELECT: Mapping[Source, str] = {
    "countries": "SELECT MAX(seq) AS seq, MIN(seq) AS first FROM countries WHERE seq > ? HAVING MAX(seq) LIMIT ?",
    "studies": "SELECT *, opened_at AS at FROM studies WHERE seq > ? ORDER BY seq LIMIT ?",
    "trial_ends": "SELECT *, ended_at AS at FROM trial_ends WHERE seq > ? ORDER BY seq LIMIT ?",
    "tests": "SELECT *, ended_at AS at FROM results WHERE fold = 'test' AND seq > ? ORDER BY seq LIMIT ?",
    "study_ends": "SELECT *, ended_at AS at FROM study_ends WHERE seq > ? ORDER BY seq LIMIT ?",
}
WAITING = (
    "SELECT COUNT(*) AS waiting, MIN(at) AS oldest FROM ("
    "SELECT opened_at AS at FROM studies WHERE seq > ? UNION ALL SELECT ended_at FROM trial_ends WHERE seq > ?"
    " UNION ALL SELECT ended_at FROM results WHERE fold = 'test' AND seq > ?"
    " UNION ALL SELECT ended_at FROM study_ends WHERE seq > ?)"
)
LATE: Sequence[Source] = ("study_ends", "tests")
EARLY: Sequence[Source] = ("trial_ends", "studies", "countries")


@dataclass(frozen=True)
class Item:
    """A row of the ledger, and the record that it makes."""

    source: Source
    seq: int
    record: Record


@dataclass(frozen=True)
class Backlog:
    """How much of a ledger a destination has."""

    sent: int
    waiting: int
    oldest_s: float
    """How long the first of those that wait has waited; 0 when nothing waits."""


class Feed:
    """Reads one run's ledger for the sender."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.run = RunFacts.from_meta(ledger.meta())
        self._version: object = None

    def recover(self) -> None:
        """Open the ledger anew, once its writer is gone.

        A writer that was killed may have put a commit on the disk without telling the other connections (SQLite's
        wal-index comes after the log); it is seen by whoever opens the file when nobody has it open.
        """
        self._ledger.close()
        self._ledger = Ledger.open(self._ledger.path)

    def changed(self) -> bool:
        """Whether anyone has written to the ledger since the last call; costs microseconds."""
        version = self._ledger.select("PRAGMA data_version")[0]["data_version"]
        before, self._version = self._version, version
        return bool(version != before)

    def after(self, cursors: Mapping[str, int], limit: int) -> tuple[list[Item], dict[str, int]]:
        """What comes next, parents before children, at most `limit` rows of each source; and the cursors after it."""
        tested = self._ledger.select("SELECT COALESCE(MAX(seq), 0) AS seq FROM results")[0]["seq"]
        rows = {source: self._rows(source, cursors, limit) for source in (*LATE, *EARLY)}
        if len(rows["studies"]) == limit:
            rows["trial_ends"] = []
        if limit in (len(rows["studies"]), len(rows["trial_ends"])):
            rows |= {source: [] for source in LATE}
            tested = cursors.get("tests", 0)
        items = [self._item(source, row) for source in (*reversed(EARLY), *reversed(LATE)) for row in rows[source]]
        reached = dict(cursors) | {source: found[-1]["seq"] for source, found in rows.items() if found}
        if len(rows["tests"]) < limit:  # results of tuning lie between; none of them is looked at twice
            reached["tests"] = max(tested, reached.get("tests", 0))
        return items, reached

    def again(self, source: Source, seq: int) -> Item:
        """A row that was read before."""
        return self._item(source, self._rows(source, {source: seq - 1}, 1)[0])

    def reopening(self, cursors: Mapping[str, int]) -> list[Record]:
        """What says that a run which was closed half-way goes on."""
        opened = [study for study in self._open_studies() if study["seq"] <= cursors.get("studies", 0)]
        records = [study_status(self.run, study, "RUNNING", None) for study in opened]
        return [self._plan("RUNNING", None), *records] if cursors.get("countries") else records

    def closing(self, cursors: Mapping[str, int]) -> list[Record]:
        """What ends every server run of this run that is still open on the server."""
        latest = self._ledger.select(
            "SELECT MAX(at) AS at FROM (SELECT MAX(ended_at) AS at FROM results"
            " UNION ALL SELECT MAX(opened_at) FROM studies UNION ALL SELECT MAX(at) FROM sessions)"
        )[0]["at"]
        last_ms = int((latest or time.time()) * 1000)
        cut_short = [study for study in self._open_studies() if study["seq"] <= cursors.get("studies", 0)]
        records = [study_status(self.run, study, "KILLED", last_ms) for study in cut_short]
        if not cursors.get("countries"):
            return records
        ends = self._ledger.select("SELECT COUNT(*) AS ends, MAX(ended_at) AS at FROM study_ends")[0]
        if self._open_studies() or not ends["ends"]:
            return [*records, self._plan("KILLED", last_ms)]
        return [*records, self._plan("FINISHED", int(ends["at"] * 1000))]

    def _rows(self, source: Source, cursors: Mapping[str, int], limit: int) -> list[Row]:
        return self._ledger.select(SELECT[source], (cursors.get(source, 0), limit))

    def _item(self, source: Source, row: Row) -> Item:
        return Item(source, row["seq"], self._record(source, row))

    def _record(self, source: Source, row: Row) -> Record:
        match source:
            case "countries":
                return self._plan("RUNNING", None)
            case "studies":
                return study_record(self.run, row)
            case "trial_ends":
                return trial_record(self.run, self._trial(row))
            case "tests":
                return test_record(self.run, self._trial(self._end(row["trial_uid"])), row)
            case "study_ends":
                return study_end_record(self.run, self._study(row["study"]), row, self._best(row["study"]))

    def _plan(self, status: Status, end_ms: int | None) -> Record:
        return plan_record(self.run, self._ledger.rows("countries"), status, end_ms)

    def _trial(self, end: Row) -> TrialFacts:
        uid = (end["trial_uid"],)
        trial = self._ledger.select("SELECT * FROM trials WHERE trial_uid = ?", uid)[0]
        return TrialFacts(
            study=self._study(trial["study"]),
            trial=trial,
            results=self._ledger.select("SELECT * FROM results WHERE trial_uid = ? ORDER BY seq", uid),
            attempts=self._ledger.select("SELECT * FROM attempts WHERE trial_uid = ? ORDER BY seq", uid),
            end=end,
            engine=self._engine(end["ended_at"]),
        )

    def _end(self, trial_uid: str) -> Row:
        return self._ledger.select("SELECT * FROM trial_ends WHERE trial_uid = ?", (trial_uid,))[0]

    def _study(self, study: str) -> Row:
        return self._ledger.select("SELECT * FROM studies WHERE study = ?", (study,))[0]

    def _best(self, study: str) -> Row | None:
        query = (
            "SELECT trial_uid, score FROM trial_ends JOIN trials USING (trial_uid)"
            " WHERE study = ? AND score IS NOT NULL ORDER BY score DESC, number LIMIT 1"
        )
        return next(iter(self._ledger.select(query, (study,))), None)

    def _engine(self, at: float) -> str:
        query = "SELECT engine FROM sessions WHERE at <= ? ORDER BY seq DESC LIMIT 1"
        rows = self._ledger.select(query, (at,))
        return rows[0]["engine"] or "" if rows else ""

    def _open_studies(self) -> list[Row]:
        return self._ledger.select(
            "SELECT * FROM studies WHERE study NOT IN (SELECT study FROM study_ends) ORDER BY seq"
        )


def backlog(ledger: Ledger, cursors: Mapping[str, int]) -> Backlog:
    """How much of the ledger lies before and after the cursors: studies, their ends, trials, and test results to come."""
    seqs = tuple(cursors.get(source, 0) for source in ("studies", "trial_ends", "tests", "study_ends"))
    row = ledger.select(WAITING, seqs)[0]
    sent = sum(cursors.get(source, 0) for source in ("studies", "trial_ends", "study_ends"))
    return Backlog(sent, row["waiting"], max(0.0, time.time() - row["oldest"]) if row["waiting"] else 0.0)
