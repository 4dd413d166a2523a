"""One study at work: its open generation, what came back, and when it may ask again."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.coordinator.record import Record
from orchestrator.coordinator.work import RUNG, Material
from orchestrator.errors import OrchestrateError
from orchestrator.study import Asked, Study
from orchestrator.trial import Done, State, Task


@dataclass(eq=False)
class TrialRun:
    """A trial of the open generation."""

    asked: Asked
    uid: str
    waiting: set[str] = field(default_factory=set)
    """Folds without a result."""
    used_s: float = 0.0


class Search:
    """Drives one study: hands out tasks, takes results, closes trials, and tells the study in trial order."""

    def __init__(self, study: Study, material: Material, record: Record) -> None:
        self.study = study
        self.key = study.key
        self.generation: list[TrialRun] = []
        self.finished = False
        self.failed = 0
        self.best: Mapping[str, Any] | None = None
        """The row of the trial end with the best score so far."""
        self._material = material
        self._record = record
        if str(self.key) not in record.studies:
            facts = {"device": "cpu", "threads": material.spec.threads, "code": material.code[self.key.family]}
            row = {"study": str(self.key), "scope": self.key.scope, "family": self.key.family, "facts": facts}
            record.note("studies", {**row, "opened_at": time.time()})

    @property
    def closed(self) -> bool:
        """Whether the study has ended."""
        return str(self.key) in self._record.closed

    @property
    def trials_over(self) -> int:
        """Trials that have ended."""
        return self.study.asked - sum(not self.over(trial) for trial in self.generation)

    @property
    def trials_planned(self) -> int:
        """The most trials that it will have had."""
        return self.study.asked if self.finished else self._material.spec.trials

    def settle(self) -> bool:
        """Tell the generation, in trial order, if all of it is over; returns whether none is open now."""
        if not all(self.over(trial) for trial in self.generation):
            return False
        for trial in self.generation:
            end = self._record.ends[trial.uid]
            self.study.tell(trial.asked.number, end["score"])
            self.failed += end["score"] is None and end["state"] != State.CANCELLED
            if end["score"] is not None and (self.best is None or end["score"] > self.best["score"]):
                self.best = {**end, "params": trial.asked.params}
        self.generation = []
        return True

    def ask(self) -> list[tuple[Task, TrialRun, str]]:
        """Open the next generation: its tasks, each with its trial and fold; closes the study when nothing is left.

        What the ledger already holds is not run again: this is how a run is resumed.
        """
        asked = self.study.ask(self._material.spec.generation)
        if self.closed and any((str(self.key), one.number) not in self._record.trials for one in asked):
            self.finished = True  # a budget stopped it here
            return []
        self.generation = [self._open(one) for one in asked]
        self.finished = not asked
        if self.finished and not self.closed:
            tried = f"nothing new to try after {self.study.asked} configurations" if self.study.exhausted else ""
            self.close("EXHAUSTED" if tried else "FINISHED", tried)
        return [item for trial in self.generation for item in self._tasks(trial)]

    def take(self, trial: TrialRun, fold: str, event: Done) -> None:
        """Record a result; the trial is over with its last fold, or when its folds together exceed the trial's limit."""
        self._record.note_result(trial.uid, fold, RUNG, event)
        trial.waiting.discard(fold)
        trial.used_s += event.ended_at - event.started_at
        limit = self._material.spec.trial_timeout_s
        if limit is not None and trial.used_s > limit:
            self.end(trial, State.TIMEOUT, f"its folds took {trial.used_s:.1f} s, more than the limit of {limit:g} s")
        elif not trial.waiting:
            self.end(trial, State.COMPLETE, "")

    def end(self, trial: TrialRun, state: State, reason: str) -> None:
        """Record how a trial ended, once."""
        if trial.uid in self._record.ends:
            return
        means = self._means(trial) if state is State.COMPLETE else {}
        row = {"trial_uid": trial.uid, "state": str(state), "score": means.get("score"), "metrics": means}
        self._record.note("trial_ends", {**row, "reason": reason, "ended_at": time.time()})

    def close(self, state: str, reason: str) -> None:
        """Record that the study is over."""
        row = {"study": str(self.key), "state": state, "reason": reason, "ended_at": time.time()}
        self._record.note("study_ends", row)

    def stop(self, reason: str) -> None:
        """Cancel what is open, and close the study."""
        for trial in self.generation:
            self.end(trial, State.CANCELLED, reason)
        self.settle()
        if not self.closed:
            self.close("STOPPED", reason)

    def over(self, trial: TrialRun) -> bool:
        """Whether a trial has ended."""
        return trial.uid in self._record.ends

    def _open(self, asked: Asked) -> TrialRun:
        uid = self._material.trial_uid(self.key, asked)
        recorded = self._record.trials.get((str(self.key), asked.number))
        if recorded is None:
            row = {"trial_uid": uid, "study": str(self.key), "number": asked.number, "origin": asked.origin}
            seed = self._material.spec.seed
            self._record.note("trials", {**row, "params": dict(asked.params), "seed": seed, "asked_at": time.time()})
        elif recorded["trial_uid"] != uid:
            raise OrchestrateError(
                f"a resumed run must ask what the ledger holds, but trial {asked.number} of {self.key} differs "
                f"(asked {dict(asked.params)}, recorded {recorded['params']}); "
                "the code or a library has changed since: start a new run"
            )
        waiting = {fold for fold in self._material.folds if (uid, fold) not in self._record.results}
        return TrialRun(asked, uid, waiting)

    def _tasks(self, trial: TrialRun) -> list[tuple[Task, TrialRun, str]]:
        if self.over(trial):
            return []
        if not trial.waiting:  # the ledger held every fold, but not the end
            self.end(trial, State.COMPLETE, "")
        return [
            (self._material.task(self.key, trial.uid, trial.asked.params, fold), trial, fold)
            for fold in self._material.folds
            if fold in trial.waiting
        ]

    def _means(self, trial: TrialRun) -> dict[str, float]:
        """Equal-weight means over the folds, also of each reported country that has users in a fold."""
        results = [self._record.results[trial.uid, fold]["metrics"] for fold in self._material.folds]
        flat = [_flatten(metrics) for metrics in results]
        names = sorted({name for metrics in flat for name in metrics})
        return {name: _mean([metrics[name] for metrics in flat if name in metrics]) for name in names}


def _flatten(metrics: Mapping[str, Any]) -> dict[str, float]:
    plain = {name: value for name, value in metrics.items() if name != "countries" and value is not None}
    for country, parts in metrics["countries"].items():
        plain |= {f"country.{country}.{part}": value for part, value in parts.items()}
    return plain


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
