"""Asks the studies for trials, feeds the engine, commits results to the ledger, and tells the studies.

The single writer of a run. Three phases: the defaults of all studies, which show whether the pipeline makes sense;
the tuning; the finalists on the test set. A resumed run walks the same way, and finds most of it recorded.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from orchestrator.coordinator.finals import finalists
from orchestrator.coordinator.progress import Progress, ScopeProgress
from orchestrator.coordinator.record import Record
from orchestrator.coordinator.search import Search, TrialRun
from orchestrator.coordinator.work import RUNG, Material
from orchestrator.engines import Engine
from orchestrator.errors import OrchestrateError
from orchestrator.ledger import Ledger
from orchestrator.study import Study
from orchestrator.trial import TEST_FOLD, Done, Failed, Lost, Started, State, Task

MAX_ATTEMPTS = 3
"""Tries of a task whose worker keeps vanishing."""
POLL_S = 0.2
"""The longest wait between two looks at the clock."""
COMMIT_S = 0.05
"""The shortest time between two commits while there is work: a commit waits for the disk, so a burst shares one."""
SHOW_S = 0.5
"""The shortest time between two looks at the progress, which cost some milliseconds."""
RESERVE, RESERVE_S = 0.2, 10.0
"""What is kept of a budget for the finalists and the leaderboard: this share, or so many seconds up to half of it."""
GRACE_S = 1.0
"""What a cancelled task gets to stop by itself."""


@dataclass(frozen=True, eq=False)
class Pending:
    """A task that the engine has, and whom its result concerns; a finalist's test concerns no search."""

    task: Task
    uid: str
    fold: str
    search: Search | None = None
    trial: TrialRun | None = None


class Coordinator:
    """One session's work on a run."""

    def __init__(
        self,
        material: Material,
        studies: Sequence[Study],
        ledger: Ledger,
        engine: Engine,
        *,
        deadline: float | None,
        show: Callable[[Progress], None],
        warn: Callable[[str], None],
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        """`deadline` is on the clock of time.time(); `show` is called twice a second, `warn` with one sentence.

        `interrupted` is asked after each step whether to stop here.
        """
        self._material = material
        self._engine = engine
        self._record = Record(ledger)
        self._searches = [Search(study, material, self._record) for study in studies]
        self._inside: dict[str, list[Search]] = {scope: [] for scope in material.plan.scopes}
        for search in self._searches:
            self._inside[search.key.scope].append(search)
        self._began = time.time()
        self._deadline = deadline
        self._show = show
        self._warn = warn
        self._interrupted = interrupted
        self._pending: dict[str, Pending] = {}
        self._started: set[str] = set()
        self._fresh: dict[str, int] = {}
        self._phase = "defaults"
        self._commit_at = self._show_at = 0.0

    def run(self) -> None:
        """Work until every study is closed and its finalists are tested, or the budget ends.

        Raises OrchestrateError where no family gives a score at all, and KeyboardInterrupt where it was interrupted:
        what was recorded until then is committed.
        """
        enough = None if self._deadline is None else self._deadline - _reserve(self._deadline - self._began)
        try:
            self._tune(enough, defaults=True)
            if not _passed(enough):
                self._check_defaults()
                self._phase = "tuning"
                self._tune(enough, defaults=False)
            for search in self._searches:
                search.stop("the budget ended")
            self._phase = "finalists"
            self._test(self._deadline)
            self._phase = "done"
        finally:
            self._record.commit()

    def _tune(self, limit: float | None, *, defaults: bool) -> None:
        """Let the searches ask until nothing is left (of `defaults`: one trial each), or the limit has passed.

        The defaults go family by family, the quickest first, so that every country has an answer soon.
        """
        ready: Iterable[Search] = self._searches
        if defaults:
            families = list(dict.fromkeys(search.key.family for search in self._searches))
            ready = sorted(self._searches, key=lambda search: families.index(search.key.family))
        while True:
            for search in ready:
                while search.settle() and not search.finished and not (defaults and search.study.asked):
                    for task, trial, fold in search.ask():
                        self._submit(Pending(task, trial.uid, fold, search, trial))
            if not self._step():
                return
            if _passed(limit):
                self._cancel_all()
                return
            ready = self._poll(limit)

    def _test(self, limit: float | None) -> None:
        """Refit the finalists on train and validation, and score them once on the test set."""
        best = {search.key: search.best for search in self._searches if search.best is not None}
        for key, end in finalists(best, self._material.plan.scopes, self._material.spec.finalists):
            uid = end["trial_uid"]
            if (uid, TEST_FOLD) not in self._record.results:
                task = self._material.task(key, uid, end["params"], TEST_FOLD)
                self._submit(Pending(task, uid, TEST_FOLD))
        while self._step():
            if _passed(limit):
                self._cancel_all()
                return
            self._poll(limit)

    def _check_defaults(self) -> None:
        """Say, before any tuning, where a default gives nonsense; stop where all of them do."""
        failures = [end["reason"] for end in self._record.ends.values() if end["state"] != State.CANCELLED]
        if failures and not any(search.best for search in self._searches):
            reason = failures[0]
            raise OrchestrateError(f"no family gave a score with its defaults, so nothing is tuned: {reason}")
        for search in self._searches:
            if search.best is None:
                self._warn(f"{search.key}: the default gave no score")
                continue
            score, random = search.best["score"], search.best["metrics"].get("random")
            if random is not None and score <= random:
                self._warn(
                    f"{search.key}: the default scores {score:.4f}, no better than blind guessing ({random:.4f})"
                )

    def _submit(self, pending: Pending) -> None:
        self._pending[pending.task.task_id] = pending
        self._engine.submit(pending.task)

    def _step(self) -> bool:
        """Commit and show, if it is time; returns whether the engine has something. The one place of interruption."""
        if not self._pending or time.monotonic() >= self._commit_at:
            self._record.commit()
            self._commit_at = time.monotonic() + COMMIT_S
        if time.monotonic() >= self._show_at:
            self._show(self.progress())
            self._show_at = time.monotonic() + SHOW_S
        if self._interrupted():
            raise KeyboardInterrupt
        return bool(self._pending)

    def _poll(self, limit: float | None) -> list[Search]:
        """Take what the engine tells; returns the searches that may go on."""
        wait_s = COMMIT_S if self._record.waiting else POLL_S
        if limit is not None:
            wait_s = max(0.0, min(wait_s, limit - time.time()))
        touched: dict[int, Search] = {}
        for event in self._engine.poll(wait_s):
            pending = self._pending.get(event.task_id)
            if pending is None or event.attempt != pending.task.attempt:
                continue
            match event:
                case Started():
                    self._started.add(event.task_id)
                    continue
                case Done():
                    self._take(pending, event)
                case Failed():
                    self._fail(pending, event.state, event.reason, event)
                case Lost():
                    self._retry(pending, event)
            if pending.search is not None:
                touched[id(pending.search)] = pending.search
        return list(touched.values())

    def _take(self, pending: Pending, event: Done) -> None:
        self._forget(pending)
        if pending.search is None or pending.trial is None:
            self._record.note_result(pending.uid, pending.fold, RUNG, event)
            return
        if pending.search.over(pending.trial):
            return
        pending.search.take(pending.trial, pending.fold, event)
        if pending.search.over(pending.trial):
            self._drop(pending.trial)
            self._count(pending)

    def _fail(self, pending: Pending, state: State, reason: str, event: Failed | Lost) -> None:
        self._forget(pending)
        self._record.note_attempt(pending.uid, pending.fold, RUNG, state, event)
        if pending.search is None or pending.trial is None:
            self._warn(f"a finalist of {pending.task.locality} could not be tested: {reason}")
        elif not pending.search.over(pending.trial):
            pending.search.end(pending.trial, state, reason)
            self._drop(pending.trial)
            self._count(pending)

    def _retry(self, pending: Pending, event: Lost) -> None:
        if event.attempt >= MAX_ATTEMPTS:
            self._fail(pending, State.LOST, f"its worker vanished {event.attempt} times: {event.reason}", event)
            return
        self._record.note_attempt(pending.uid, pending.fold, RUNG, State.LOST, event)
        self._forget(pending)
        self._submit(replace(pending, task=replace(pending.task, attempt=event.attempt + 1)))

    def _drop(self, trial: TrialRun) -> None:
        """Take back the folds of a trial that is over; those at work are ended too where its time is."""
        out_of_time = self._record.ends[trial.uid]["state"] == State.TIMEOUT
        for task_id in [key for key, other in self._pending.items() if other.trial is trial]:
            if out_of_time or task_id not in self._started:
                self._engine.cancel(task_id, grace_s=0.0)

    def _cancel_all(self) -> None:
        """End what the engine has, and wait for its word."""
        for task_id in self._pending:
            self._engine.cancel(task_id, grace_s=GRACE_S)
        patience = time.time() + 3 * GRACE_S
        while self._pending and not _passed(patience):
            self._poll(patience)
        self._pending.clear()

    def _forget(self, pending: Pending) -> None:
        self._pending.pop(pending.task.task_id, None)
        self._started.discard(pending.task.task_id)

    def _count(self, pending: Pending) -> None:
        if pending.search is not None:
            scope = pending.search.key.scope
            self._fresh[scope] = self._fresh.get(scope, 0) + 1

    def progress(self) -> Progress:
        """How far the run is."""
        scopes = tuple(self._scope_progress(scope, inside) for scope, inside in self._inside.items())
        return Progress(self._phase, time.time() - self._began, scopes)

    def _scope_progress(self, scope: str, inside: Sequence[Search]) -> ScopeProgress:
        done = sum(search.trials_over for search in inside)
        total = sum(search.trials_planned for search in inside)
        best = max((s for s in inside if s.best), key=lambda s: s.best["score"] if s.best else 0.0, default=None)
        fresh = self._fresh.get(scope, 0)
        return ScopeProgress(
            scope=scope,
            done=done,
            total=total,
            failed=sum(search.failed for search in inside),
            best_family=best.key.family if best else None,
            best_score=best.best["score"] if best and best.best else None,
            left_s=(time.time() - self._began) * (total - done) / fresh if fresh else None,
        )


def _reserve(budget_s: float) -> float:
    return min(max(RESERVE * budget_s, RESERVE_S), budget_s / 2)


def _passed(limit: float | None) -> bool:
    return limit is not None and time.time() >= limit
