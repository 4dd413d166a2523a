"""Rows of the ledger as records for a tracking server: what people see of a run there. Pure.

<run_id>/plan         settings, countries and fingerprints of the run
<run_id>/<study>      parent of the study's trials
<run_id>/<trial_uid>  one trial that is over
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from orchestrator.ledger import Row
from orchestrator.tracking import KIND_TAG, Metric, Record, Status
from orchestrator.tracking.limits import TAG_LENGTH, country_slug, cut_head
from orchestrator.trial import TEST_FOLD, State, canonical_json

STATUS: Mapping[State, Status] = {
    State.COMPLETE: "FINISHED",
    State.PRUNED: "KILLED",
    State.RACED_OUT: "KILLED",
    State.CANCELLED: "KILLED",
    State.FAILED: "FAILED",
    State.TIMEOUT: "FAILED",
    State.OOM: "FAILED",
    State.LOST: "FAILED",
}
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
NOTE_TAG = "mlflow.note.content"
"""What MLflow's page shows as the description of a server run, as Markdown."""


@dataclass(frozen=True)
class RunFacts:
    """What every record of a run says."""

    run_id: str
    experiment: str
    owner: str
    started_ms: int
    spec: Mapping[str, Any]
    certificate: Mapping[str, str]
    """Settings and fingerprints that rows must share to be compared."""
    reading: Mapping[str, str]
    """How the data was read, and what was noticed: tags of the plan."""

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Self:
        """From the facts in a ledger."""
        return cls(
            run_id=meta["run_id"],
            experiment=meta["experiment"],
            owner=meta.get("owner", ""),
            started_ms=_ms(meta["started_at"]),
            spec=meta.get("spec", {}),
            certificate={name: spelled(value) for name, value in meta.get("certificate", {}).items()},
            reading={f"reading.{role}": column for role, column in meta.get("reading", {}).items()}
            | {f"note.{number}": note for number, note in enumerate(meta.get("notes", []), start=1)},
        )

    def tags(self, kind: str) -> dict[str, str]:
        """The tags of every server run of this run."""
        whose = {"mlflow.user": self.owner, "mlflow.source.name": "orchestrate tune"}
        return {KIND_TAG: kind, "run_id": self.run_id, **whose, **self.certificate}


@dataclass(frozen=True)
class TrialFacts:
    """The rows of one trial that is over, and of its study."""

    study: Row
    trial: Row
    results: Sequence[Row]
    attempts: Sequence[Row]
    end: Row
    engine: str


def plan_record(
    run: RunFacts, countries: Sequence[Row], status: Status = "RUNNING", end_ms: int | None = None
) -> Record:
    """The settings of the run as params, the facts of its countries as metrics, tags and a table for people.

    A reason for which nothing of a country was dropped is left out.
    """
    metrics: list[Metric] = []
    tags: dict[str, str] = {NOTE_TAG: _table(countries)}
    for row in countries:
        slug = country_slug(row["country"])
        facts = {k: v for k, v in _flat(row["facts"] or {}) if v or not k.startswith("dropped.")}
        tags |= _words(facts, f"{slug}/")
        tags |= {f"{slug}/country": row["country"], f"{slug}/role": row["role"], f"{slug}/reason": row["reason"] or ""}
        metrics += _metrics(_numbers(facts, f"{slug}/"), run.started_ms)
    return Record(
        key=f"{run.run_id}/plan",
        name="plan",
        parent=None,
        start_ms=run.started_ms,
        params={name: spelled(value) for name, value in _flat(run.spec)},
        metrics=metrics,
        tags={**run.tags("plan"), **run.reading, **tags},
        status=status,
        end_ms=end_ms,
    )


def study_record(run: RunFacts, study: Row) -> Record:
    """The parent of a study's trials, open."""
    return Record(
        key=f"{run.run_id}/{study['study']}",
        name=study["study"],
        parent=None,
        start_ms=_ms(study["opened_at"]),
        tags=run.tags("study") | _study_tags(study),
    )


def study_end_record(run: RunFacts, study: Row, end: Row, best: Row | None) -> Record:
    """What closes a study: how it ended and why, and its best trial, by which a page can compare families."""
    ended_ms = _ms(end["ended_at"])
    closed = study_status(run, study, "FINISHED", ended_ms)
    tags = {"state": end["state"]} | ({"reason": end["reason"]} if end["reason"] else {})
    if best is None:
        return replace(closed, tags=tags)
    metrics = _metrics({"best_score": best["score"]}, ended_ms)
    return replace(closed, tags=tags | {"best_trial": best["trial_uid"]}, metrics=metrics)


def study_status(run: RunFacts, study: Row, status: Status, end_ms: int | None) -> Record:
    """A study's server run, opened again or closed."""
    return replace(study_record(run, study), metrics=(), tags={}, status=status, end_ms=end_ms)


def trial_record(run: RunFacts, facts: TrialFacts) -> Record:
    """One trial that is over: its configuration, its scores by fold and rung, and how it ended."""
    validation = [row for row in facts.results if row["fold"] != TEST_FOLD]
    return Record(
        key=f"{run.run_id}/{facts.trial['trial_uid']}",
        name=f"{facts.trial['study']}#{facts.trial['number']}",
        parent=f"{run.run_id}/{facts.trial['study']}",
        start_ms=_start_ms(facts),
        params={name: spelled(value) for name, value in _flat(facts.trial["params"])},
        metrics=[*_fold_metrics(validation), *_end_metrics(facts.end, validation)],
        tags=_trial_tags(run, facts),
        status=STATUS[State(facts.end["state"])],
        end_ms=_ms(facts.end["ended_at"]),
    )


def test_record(run: RunFacts, facts: TrialFacts, result: Row) -> Record:
    """What a finalist got on the test set, which comes after its trial was over."""
    step, at = result["rung"], _ms(result["ended_at"])
    numbers = _scores(result["metrics"] or {}, countries=True)
    measured = _numbers(result["measured"] or {}, "")
    values = {f"test.{name}": value for name, value in numbers.items()} | {
        name if name.startswith("latency_") else f"test.{name}": value for name, value in measured.items()
    }
    whole = trial_record(run, facts)
    return Record(
        whole.key,
        whole.name,
        whole.parent,
        whole.start_ms,
        {},
        _metrics(values, at, step),
        {},
        whole.status,
        whole.end_ms,
    )


def spelled(value: Any) -> str:
    """A setting as a server shows it: a string as it is (a password in a URI left out), anything else as JSON."""
    return CREDENTIALS.sub("", value if isinstance(value, str) else canonical_json(value))


def _trial_tags(run: RunFacts, facts: TrialFacts) -> dict[str, str]:
    last = facts.attempts[-1] if facts.attempts else None
    nodes = sorted({row["node"] for row in (*facts.results, *facts.attempts) if row["node"]})
    tags = run.tags("trial") | _study_tags(facts.study)
    tags |= {
        "trial_uid": facts.trial["trial_uid"],
        "number": str(facts.trial["number"]),
        "origin": facts.trial["origin"] or "",
        "seed": str(facts.trial["seed"]),
        "state": facts.end["state"],
        "engine": facts.engine,
        "node": ",".join(nodes),
    }
    if facts.attempts:
        tags["attempts_failed"] = str(len(facts.attempts))
    reason = facts.end["reason"] or (last["reason"] if last and facts.end["state"] != State.COMPLETE else "")
    if reason:
        tags |= {"reason": reason, NOTE_TAG: reason}
    if last and last["log"]:
        tags["log"] = cut_head(last["log"], TAG_LENGTH)
    return tags


def _study_tags(study: Row) -> dict[str, str]:
    facts = {name: spelled(value) for name, value in _flat(study["facts"] or {})}
    return facts | {"study": study["study"], "country": study["scope"], "family": study["family"]}


def _table(countries: Sequence[Row]) -> str:
    """The countries of a run as a Markdown table: what is planned for each, how large it is, and why."""
    names = ("rows_kept", "users", "items", "first_time", "last_time")
    lines = [("country", "role", "rows", "users", "items", "first", "last", "why"), ("---",) * 8]
    for row in countries:
        known = row["facts"] or {}
        facts = [known.get(name) for name in names]
        shown = [f"{fact:,}" if isinstance(fact, int) else (fact or "")[:10] for fact in facts]
        lines.append((row["country"].replace("|", "\\|"), row["role"], *shown, row["reason"] or ""))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _fold_metrics(results: Sequence[Row]) -> Iterator[Metric]:
    for row in results:
        values = _scores(row["metrics"] or {}, countries=False)
        yield from _metrics(
            {f"fold.{row['fold']}.{k}": v for k, v in values.items()}, _ms(row["ended_at"]), row["rung"]
        )


def _end_metrics(end: Row, results: Sequence[Row]) -> list[Metric]:
    rung = max((row["rung"] for row in results), default=0)
    values = _scores(end["metrics"] or {}, countries=True)
    if end["score"] is not None:
        values["score"] = float(end["score"])
    values |= _over_folds([row["measured"] or {} for row in results if row["rung"] == rung])
    return _metrics(values, _ms(end["ended_at"]), rung)


def _over_folds(measured: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Sizes as the largest of the folds, everything else as their mean."""
    gathered: dict[str, list[float]] = {}
    for row in measured:
        for name, value in _numbers(row, "").items():
            gathered.setdefault(name, []).append(value)
    return {
        name: max(values) if name.endswith("_mb") else sum(values) / len(values) for name, values in gathered.items()
    }


def _scores(metrics: Mapping[str, Any], *, countries: bool) -> dict[str, float]:
    """Metrics as numbers; those of each country of a pooled trial as `country.<slug>.<metric>`, if wanted.

    A trial's end holds them flat, as `country.<country>.<metric>`; a fold's result holds them nested.
    """
    scores: dict[str, float] = {}
    for name, value in _numbers({k: v for k, v in metrics.items() if k != "countries"}, "").items():
        if name.startswith("country."):
            country, _, part = name.removeprefix("country.").rpartition(".")
            name = f"country.{country_slug(country)}.{part}"
        scores[name] = value
    parts = metrics.get("countries") or {}
    for country in parts if countries else ():
        scores |= _numbers(parts[country], f"country.{country_slug(country)}.")
    return scores


def _metrics(values: Mapping[str, float], at_ms: int, step: int = 0) -> list[Metric]:
    return [Metric(name, value, at_ms, step) for name, value in values.items()]


def _numbers(values: Mapping[str, Any], prefix: str) -> dict[str, float]:
    flat = _flat(values)
    return {f"{prefix}{k}": float(v) for k, v in flat if isinstance(v, int | float) and not isinstance(v, bool)}


def _words(values: Mapping[str, Any], prefix: str) -> dict[str, str]:
    numbers = _numbers(values, "")
    return {f"{prefix}{k}": spelled(v) for k, v in _flat(values) if v is not None and k not in numbers}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted names; lists stay as they are."""
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _start_ms(facts: TrialFacts) -> int:
    starts = [row["started_at"] for row in facts.results if row["fold"] != TEST_FOLD and row["started_at"]]
    return _ms(min(starts, default=facts.trial["asked_at"]))


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
