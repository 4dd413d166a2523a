"""From a trial to the tasks that an engine runs, and the names by which their results are known again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.execute import RUN_TASK, FoldRef, ModelRef, ScoreRef
from orchestrator.fold import fold_names, scope_code
from orchestrator.plan import Plan
from orchestrator.spec import GLOBAL, Spec
from orchestrator.study import Asked
from orchestrator.trial import StudyKey, Task, digest
from scoring.split import Split

RUNG = 0
"""The only rung: a trial that has had its whole budget."""
DEVICE = "cpu"


@dataclass(frozen=True, eq=False)
class Material:
    """What all tasks of a run are cut from."""

    spec: Spec
    plan: Plan
    split: Split
    store: Path
    data: str
    """The fingerprint of the data, and its key in the store."""
    country_names: tuple[str, ...]
    code: Mapping[str, str]
    """family -> the fingerprint of the code that fits and scores it."""

    @property
    def folds(self) -> tuple[str, ...]:
        """The validation folds."""
        return fold_names(self.split.folds)

    def trial_uid(self, study: StudyKey, asked: Asked) -> str:
        """The name of a configuration: equal on every machine, engine and resume, different where anything differs."""
        return digest(
            {
                "study": str(study),
                "params": dict(asked.params),
                "seed": self.spec.seed,
                "device": DEVICE,
                "threads": self.spec.threads,
                "data": self.data,
                "split": self.split.fingerprint,
                "evaluation": self.plan.evaluation,
                "code": self.code[study.family],
            }
        )

    def task(self, study: StudyKey, uid: str, params: Mapping[str, Any], fold: str, attempt: int = 1) -> Task:
        """One attempt at one fold of a trial."""
        payload = {
            "fold": asdict(self._fold_ref(study.scope, fold)),
            "model": asdict(ModelRef(study.family, dict(params), self.spec.seed, self.spec.threads)),
            "score": asdict(ScoreRef(self.spec.cutoffs, dict(self.spec.scorer.weights), self._reported(study.scope))),
        }
        return Task(
            task_id=task_id(uid, fold),
            call=RUN_TASK,
            payload=payload,
            cores=self.spec.threads,
            timeout_s=self.spec.trial_timeout_s,
            locality=study.scope,
            attempt=attempt,
        )

    def _fold_ref(self, scope: str, fold: str) -> FoldRef:
        return FoldRef(
            store=str(self.store),
            data=self.data,
            split=self.split.fingerprint,
            method=self.split.method,
            folds=self.split.folds,
            rolling=self.split.rolling,
            scope=scope_code(scope, self.country_names),
            fold=fold,
            **asdict(self.plan.rules),
        )

    def _reported(self, scope: str) -> tuple[tuple[int, str], ...]:
        if scope != GLOBAL:
            return ()
        return tuple((self.country_names.index(name), name) for name in self.plan.countries_of(scope))


def task_id(uid: str, fold: str) -> str:
    """The name of a task: (trial, rung, fold)."""
    return f"{uid}/{RUNG}/{fold}"
