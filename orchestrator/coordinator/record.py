"""What the coordinator knows to be recorded, and the rows that wait for the next commit."""

import time
from collections.abc import Mapping
from typing import Any

from orchestrator.ledger import Ledger, Row, Table
from orchestrator.trial import Done, Failed, Lost, State


class Record:
    """The memory of a run: rows are noted, then committed together; a resumed run begins with what the ledger holds."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[tuple[Table, Mapping[str, Any]]] = []
        self.trials: dict[tuple[str, int], Row] = {(row["study"], row["number"]): row for row in ledger.rows("trials")}
        self.results: dict[tuple[str, str], Mapping[str, Any]] = {
            (row["trial_uid"], row["fold"]): row for row in ledger.rows("results")
        }
        self.ends: dict[str, Mapping[str, Any]] = {row["trial_uid"]: row for row in ledger.rows("trial_ends")}
        self.studies = {row["study"] for row in ledger.rows("studies")}
        self.closed = {row["study"] for row in ledger.rows("study_ends")}

    @property
    def waiting(self) -> bool:
        """Whether anything is noted but not committed."""
        return bool(self._waiting)

    def note(self, table: Table, row: Mapping[str, Any]) -> None:
        """Add a row to the next commit."""
        self._waiting.append((table, row))
        if table == "results":
            self.results[row["trial_uid"], row["fold"]] = row
        elif table == "trial_ends":
            self.ends[row["trial_uid"]] = row
        elif table == "study_ends":
            self.closed.add(row["study"])

    def note_result(self, uid: str, fold: str, rung: int, event: Done) -> None:
        """Add what an attempt gave."""
        result = event.result
        row = {"trial_uid": uid, "rung": rung, "fold": fold, "attempt": event.attempt, "node": event.node}
        metrics = {**result["metrics"], "random": result["random"], "countries": result["countries"]}
        measured = {**result["measured"], **result["counts"]}
        times = {"started_at": event.started_at, "ended_at": event.ended_at}
        self.note("results", {**row, "metrics": metrics, "measured": measured, **times})

    def note_attempt(self, uid: str, fold: str, rung: int, state: State, event: Failed | Lost) -> None:
        """Add an attempt that gave nothing, and why."""
        row = {"trial_uid": uid, "rung": rung, "fold": fold, "attempt": event.attempt, "state": str(state)}
        log = event.log if isinstance(event, Failed) else ""
        self.note("attempts", {**row, "reason": event.reason, "log": log, "node": event.node, "at": time.time()})

    def commit(self) -> None:
        """Put the waiting rows on the disk, all or none; InputError where the disk does not take them."""
        if not self._waiting:
            return
        with self._ledger.transaction():
            for table, row in self._waiting:
                self._ledger.append(table, row)
        self._waiting.clear()
