"""The public calls: `tune`, `resume`, `leaderboard`, `sync`. The command line is a thin coat over them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from orchestrator.engines import ENGINES
from orchestrator.errors import InputError
from orchestrator.leaderboard import Row, View, choose, columns_of, from_ledger, from_server, rank
from orchestrator.ledger import Ledger
from orchestrator.prepare import Prepared, make_material, prepare
from orchestrator.reporting import Reporter, Silent
from orchestrator.runs import LEDGER, new_name
from orchestrator.session import certificate, country_rows, make_studies, opened_engine, run_facts, work
from orchestrator.spec import Spec
from orchestrator.tracking import Query, checked_uri, open_tracker
from orchestrator.tracking.sender import OutboxState
from orchestrator.tracking.sender import sync as drain

if TYPE_CHECKING:
    import pandas as pd

REPLACEABLE = frozenset({"data", "engine", "workers", "address", "tracking_uri", "tracking_offline", "budget"})
"""The settings that a resumed run may change: none of them changes an answer, and the data must be the same."""


@dataclass(frozen=True)
class RunResult:
    """What a run left behind."""

    folder: Path
    experiment: str
    tracking_uri: str
    outbox: OutboxState
    rows: Sequence[Row]
    """The leaderboard, as `leaderboard_rows` gives it."""

    @property
    def unanswered(self) -> list[str]:
        """The countries that were to have a score and have none."""
        return [row["country"] for row in self.rows if row["role"] != "skipped" and row["rank"] is None]


def tune(spec: Spec, reporter: Reporter | None = None) -> RunResult:
    """Find the best recommender of every country; returns when the leaderboard stands.

    Raises InputError for what cannot be used, before anything is written, and KeyboardInterrupt on Ctrl-C, when what
    is recorded is safe.
    """
    reporter = reporter or Silent()
    uri = tracking_uri(spec)
    _check_engine(spec)
    _probe(spec, uri)
    prepared = prepare(spec)
    _tell(prepared, reporter)
    name = new_name(spec.name or _stem(spec.data))
    folder = spec.runs / name.run_id
    material = make_material(spec, prepared)
    studies = make_studies(spec, prepared.plan)
    with opened_engine(spec, folder) as engine:
        ledger = Ledger.create(folder / LEDGER, run_facts(spec, name, prepared, material, uri))
        with ledger.transaction():
            for row in country_rows(prepared):
                ledger.append("countries", row)
        reporter.say(f"run {name.run_id}, tracked as {name.experiment} on {uri}")
        outbox = work(folder, ledger, engine, material, studies, uri, reporter)
    return RunResult(folder, name.experiment, uri, outbox, leaderboard_rows(folder))


def resume(run: Path, changes: Mapping[str, Any], reporter: Reporter | None = None) -> RunResult:
    """Go on with a run where it stopped; `changes` are settings that change no answer (engine, workers, budget, …).

    Raises InputError where the data, the split or the evaluation is no longer what the ledger says.
    """
    reporter = reporter or Silent()
    refused = sorted(set(changes) - REPLACEABLE)
    if refused:
        raise InputError(
            f"--resume may change {', '.join(sorted(REPLACEABLE))} only, but got {', '.join(refused)}; start a new run for that"
        )
    ledger = Ledger.open(run / LEDGER, read_only=False)
    meta = ledger.meta()
    online = {"tracking_offline": False} if "tracking_uri" in changes else {}
    spec = Spec.from_mapping({**meta["spec"], **online, **changes}, "--resume")
    _check_engine(spec)
    prepared = prepare(spec)
    for name, found in certificate(prepared).items():
        if meta["certificate"][name] != found:
            recorded = meta["certificate"][name]
            raise InputError(f"{name} must be as the run began with, {recorded}, but is {found} now; start a new run")
    uri = changes.get("tracking_uri") or meta["tracking_uri"]
    _probe(spec, uri)
    reporter.say(f"resuming run {meta['run_id']}, tracked as {meta['experiment']} on {uri}")
    studies = make_studies(spec, prepared.plan)
    with opened_engine(spec, run) as engine:
        outbox = work(run, ledger, engine, make_material(spec, prepared), studies, uri, reporter)
    return RunResult(run, meta["experiment"], uri, outbox, leaderboard_rows(run))


def leaderboard(run: Path, **view: Unpack[View]) -> "pd.DataFrame":
    """The ranked rows of a run as a DataFrame; `country`, `family`, `where`, `sort` and `top` as on the command line."""
    import pandas as pd

    rows = leaderboard_rows(run, **view)
    return pd.DataFrame(rows, columns=columns_of(rows))


def leaderboard_rows(run: Path, **view: Unpack[View]) -> list[Row]:
    """The ranked rows of a run, from its ledger: for each country the best trial of each family."""
    ledger = Ledger.open(run / LEDGER)
    try:
        countries, trials = from_ledger(ledger)
    finally:
        ledger.close()
    return choose(rank(countries, trials), **view)


def server_rows(uri: str, experiment: str, **view: Unpack[View]) -> list[Row]:
    """The ranked rows of a run from a tracking server, where the run's name is an experiment.

    A server is asked for complete trials only, so `failed` is 0 there.
    """
    tracker = open_tracker(uri, experiment)
    try:
        plan = tracker.search(Query(experiment, kind="plan"))
        if not plan:
            raise InputError(f"--experiment must name a run on {uri}, but {experiment!r} is none; its page lists them")
        countries, trials = from_server(plan[0], tracker.search(Query(experiment)))
    finally:
        tracker.close()
    return choose(rank(countries, trials), **view)


def sync(run: Path, uri: str | None = None) -> OutboxState:
    """Send what a run's tracking server has not got yet, or all of it to another server."""
    ledger = Ledger.open(run / LEDGER)
    meta = ledger.meta()
    ledger.close()
    return drain(run, uri or meta["tracking_uri"])


def tracking_uri(spec: Spec) -> str:
    """Where trials are sent: the spec's server, $MLFLOW_TRACKING_URI, or the embedded store beside the run folders."""
    return checked_uri(spec.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _embedded(spec))


def _embedded(spec: Spec) -> str:
    return f"sqlite:///{(spec.runs / 'mlflow.db').resolve()}"


def _probe(spec: Spec, uri: str) -> None:
    """Refuse, before anything is written, a server that nobody answers for; the embedded store is made by the run."""
    tracker = open_tracker(uri, "orchestrate")
    if not spec.tracking_offline and uri != _embedded(spec):
        try:
            tracker.probe()
        finally:
            tracker.close()


def _check_engine(spec: Spec) -> None:
    if spec.engine not in ENGINES:
        raise InputError(f"--engine must be one of {', '.join(ENGINES)}, but got {spec.engine!r}")


def _tell(prepared: Prepared, reporter: Reporter) -> None:
    reading = ", ".join(f"{role} = {column}" for role, column in prepared.data.reading.items())
    reporter.say(f"reading {reading}")
    for note in prepared.data.notes:
        reporter.warn(note)
    for family, reason in prepared.missing.items():
        reporter.warn(f"{family} is not installed: {reason}")


def _stem(data: str | None) -> str:
    return Path(data.rstrip("/")).name.split(".")[0] if data else "marketplace"
