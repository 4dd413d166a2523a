"""A run that is cut anywhere and resumed leaves the ledger that an uninterrupted run leaves (hypothesis).

The coordinator, the studies and the ledger are the real ones; the engine answers from memory, one event a poll.
"""

import hashlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.coordinator import Coordinator
from orchestrator.coordinator.work import Material
from orchestrator.errors import InputError
from orchestrator.fold import Rules
from orchestrator.ledger import Ledger
from orchestrator.plan import CountryPlan, Plan
from orchestrator.spec import Spec
from orchestrator.study import Study
from orchestrator.trial import Done, Event, Failed, Kind, Lost, State, StudyKey, Task
from scoring.split import Split
from search_spaces.space import Choice, Float, Int

KEYS = tuple(StudyKey(scope, family) for scope in ("global", "FR") for family in ("popularity", "ease"))
SPACE = {"k": Int(1, 50), "decay": Float(0.0, 1.0), "kind": Choice(("a", "b"))}
DEFAULTS = {"k": 5, "decay": 0.5, "kind": "a"}
TABLES = {
    "trials": ("trial_uid", "study", "number", "origin", "params"),
    "results": ("trial_uid", "rung", "fold", "metrics"),
    "trial_ends": ("trial_uid", "state", "score", "metrics"),
    "study_ends": ("study", "state"),
}


class Cut(Exception):
    """The process dies here."""


class MemoryEngine:
    """Answers each task from a hash of it: mostly a result, sometimes a failure, sometimes a lost worker first."""

    def __init__(self, events: int | None) -> None:
        self._left = events
        self._queue: list[Task] = []
        self._told: list[Event] = []

    def slots(self) -> Mapping[Kind, int]:
        return {"cpu": 1}

    def submit(self, task: Task) -> None:
        self._queue.append(task)

    def poll(self, timeout_s: float) -> Sequence[Event]:
        if self._left == 0:
            raise Cut
        if self._left is not None:
            self._left -= 1
        if self._told:
            return [self._told.pop()]
        return [answer(self._queue.pop(0))] if self._queue else []

    def cancel(self, task_id: str, *, grace_s: float) -> None:
        """A task that has not begun is told as cancelled, like any other attempt, once."""
        for task in [task for task in self._queue if task.task_id == task_id]:
            self._queue.remove(task)
            self._told.append(Failed(task_id, task.attempt, State.CANCELLED, "cancelled"))

    def close(self) -> None:
        pass


def answer(task: Task) -> Event:
    chance = int(hashlib.blake2b(task.task_id.encode(), digest_size=4).hexdigest(), 16) % 100
    if chance < 5 and not task.task_id.endswith("test"):
        return Failed(task.task_id, task.attempt, State.FAILED, "ValueError: diverged")
    if chance < 15 and task.attempt == 1:
        return Lost(task.task_id, task.attempt, "killed")
    metrics = {"score": chance / 100, "ndcg_at_10": chance / 100}
    result = {"metrics": metrics, "countries": {}, "counts": {"users": 9}, "random": 0.001, "measured": {"fit_s": 0.1}}
    return Done(task.task_id, task.attempt, result, "node", 1.0, 2.0)


def material(seed: int, trials: int) -> Material:
    spec = Spec.from_mapping({"trials": trials, "generation": 4, "seed": seed}, "test")
    countries = (CountryPlan("FR", "tuned", "", (30, 30)), CountryPlan("MT", "pooled", "", (3, 3)))
    plan = Plan(countries, KEYS, Rules(False, "fallback", "exclude"), "evaluation")
    split = Split(method="temporal", part=np.zeros(1, dtype=np.int8), folds=2, rolling=True, fingerprint="split")
    return Material(spec, plan, split, Path("store"), "data", ("FR", "MT"), {"popularity": "c1", "ease": "c2"})


def session(
    path: Path, seed: int, events: int | None, *, trials: int = 9, budget_s: float | None = None, max_pages: int = 2**30
) -> None:
    ledger = Ledger.open(path, read_only=False) if path.exists() else Ledger.create(path, {})
    ledger.select(f"PRAGMA max_page_count = {max_pages}")
    whole = material(seed, trials)
    deadline = None if budget_s is None else time.time() + budget_s
    studies = [Study(key, SPACE, DEFAULTS, seed=seed, trials=whole.spec.trials) for key in KEYS]
    engine = MemoryEngine(events)
    coordinator = Coordinator(
        whole, studies, ledger, engine, deadline=deadline, show=lambda _: None, warn=lambda _: None
    )
    try:
        coordinator.run()
    finally:
        ledger.close()


def state(path: Path) -> dict[str, list[Any]]:
    """What the ledger says, but for times and for tries that gave nothing."""
    ledger = Ledger.open(path)
    facts = {
        table: sorted(str([row[name] for name in names]) for row in ledger.rows(table))  # type: ignore[arg-type]
        for table, names in TABLES.items()
    }
    ledger.close()
    return facts


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 60), max_size=4))
def test_a_run_cut_anywhere_and_resumed_ends_in_the_same_state(seed: int, cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Path(folder) / "whole.db", Path(folder) / "cut.db"
        session(whole, seed, None)
        for events in cuts:
            try:
                session(cut, seed, events)
            except Cut:
                continue
        session(cut, seed, None)
        results = state(cut)["results"]
        assert len(results) == len(set(results))
        assert state(cut) == state(whole)


def test_a_budget_ends_the_tuning_and_keeps_what_is_over() -> None:
    """Half a second for more trials than that is enough for."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        session(path, 0, None, trials=100_000, budget_s=0.5)
        ends = {row["state"] for row in Ledger.open(path).rows("trial_ends")}
        assert {"COMPLETE", "CANCELLED"} <= ends <= {"COMPLETE", "CANCELLED", "FAILED"}
        assert {row["state"] for row in Ledger.open(path).rows("study_ends")} == {"STOPPED"}
        before = state(path)
        session(path, 0, None, trials=100_000)
        assert state(path)["trials"] == before["trials"]


def test_a_budget_that_is_over_asks_for_nothing_but_the_defaults() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        session(path, 0, None, budget_s=0.0)
        assert {row["number"] for row in Ledger.open(path).rows("trials")} == {0}


def test_a_disk_that_fills_up_in_a_run_is_a_sentence_and_the_run_goes_on_later() -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole, full = Path(folder) / "whole.db", Path(folder) / "full.db"
        session(whole, 0, None, trials=60)
        with pytest.raises(InputError, match="the ledger must be writable"):
            session(full, 0, None, trials=60, max_pages=30)
        session(full, 0, None, trials=60)
        assert state(full) == state(whole)
