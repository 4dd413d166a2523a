"""One session's work on a run: engine, sender and coordinator opened, minded and closed, whatever happens."""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil

from orchestrator.coordinator import Coordinator
from orchestrator.coordinator.progress import Progress
from orchestrator.coordinator.work import Material
from orchestrator.engines import Engine, EngineOptions, open_engine
from orchestrator.errors import InputError, Interrupted, OrchestrateError
from orchestrator.ledger import Ledger
from orchestrator.plan import Plan
from orchestrator.prepare import Prepared
from orchestrator.reporting import Reporter
from orchestrator.runs import RunName
from orchestrator.spec import Spec
from orchestrator.store import Store
from orchestrator.study import Study
from orchestrator.tracking.sender import OutboxState, outbox_state, start_sender
from orchestrator.trial import StudyKey
from recommenders import load_family
from search_spaces import load_space

DRAIN_S = 30.0
"""How long a finished run waits for the tracking server before it leaves the rest to `orchestrate sync`."""


@contextmanager
def opened_engine(spec: Spec, folder: Path) -> Iterator[Engine]:
    """The engine of a run; opened before anything is written, for a cluster may not answer."""
    engine = open_engine(spec.engine, _engine_options(spec, folder))
    try:
        yield engine
    finally:
        engine.close()


def work(
    folder: Path,
    ledger: Ledger,
    engine: Engine,
    material: Material,
    studies: Sequence[Study],
    uri: str,
    reporter: Reporter,
) -> OutboxState:
    """Work on a run until it is finished; returns how far the sending is.

    KeyboardInterrupt (Ctrl-C, SIGTERM) and errors pass through when the workers are gone and the ledger is safe.
    """
    spec = material.spec
    exit_code = 1
    with ExitStack() as stack:
        stack.callback(ledger.close)
        stack.enter_context(_alone(folder))
        stack.enter_context(Store(material.store).pinned(material.data, material.split.fingerprint))
        _note_session(ledger, spec, "start", None)
        sender = None if spec.tracking_offline else start_sender(folder, uri)
        try:
            with _signals() as interrupted:
                _coordinate(folder, ledger, material, studies, engine, reporter, interrupted)
            exit_code = 0
        except KeyboardInterrupt:
            exit_code = 130
            raise Interrupted(folder) from None
        except OrchestrateError as error:
            exit_code = error.exit_code
            raise
        finally:
            engine.close()
            with suppress(InputError):  # on a full disk the run is told as open
                _note_session(ledger, spec, "end", exit_code)
            if sender is not None:
                outbox = sender.finish(_drain_s(spec) if exit_code == 0 else 0.0)
    return outbox if sender is not None else outbox_state(folder)


def run_facts(spec: Spec, name: RunName, prepared: Prepared, material: Material, uri: str) -> dict[str, Any]:
    """What a ledger says of its run, whoever works on it."""
    return {
        "run_id": name.run_id,
        "experiment": name.experiment,
        "owner": name.owner,
        "started_at": time.time(),
        "spec": {**spec.model_dump(mode="json", by_alias=True), "data": _without_secrets(spec.data)},
        "tracking_uri": uri,
        "certificate": certificate(prepared),
        "code": dict(material.code),
        "reading": dict(prepared.data.reading),
        "notes": list(prepared.data.notes),
    }


def certificate(prepared: Prepared) -> dict[str, Any]:
    """The settings and fingerprints that stand on every row of a leaderboard."""
    rules = prepared.plan.rules
    return {
        "split": prepared.split.method,
        "seen": "exclude" if rules.exclude_seen else "allow",
        "cold_users": rules.cold_users,
        "cold_items": rules.cold_items,
        "data_fingerprint": prepared.data.fingerprint,
        "split_fingerprint": prepared.split.fingerprint,
        "evaluation_fingerprint": prepared.plan.evaluation,
    }


def country_rows(prepared: Prepared) -> list[dict[str, Any]]:
    """The rows of the ledger's table of countries: role, reason, and the facts of the data."""
    facts = {one.country: one.as_dict() for one in prepared.data.facts}
    return [
        {
            "country": plan.country,
            "role": plan.role,
            "reason": plan.reason,
            "facts": {**facts.get(plan.country, {}), "evaluated_users": list(plan.users)},
        }
        for plan in prepared.plan.countries
    ]


def _coordinate(
    folder: Path,
    ledger: Ledger,
    material: Material,
    studies: Sequence[Study],
    engine: Engine,
    reporter: Reporter,
    interrupted: Callable[[], bool],
) -> None:
    spec = material.spec

    def show(progress: Progress) -> None:
        reporter.progress(progress, outbox_state(folder))

    coordinator = Coordinator(
        material,
        studies,
        ledger,
        engine,
        deadline=_deadline(spec),
        show=show,
        warn=reporter.warn,
        interrupted=interrupted,
    )
    coordinator.run()
    show(coordinator.progress())


def make_studies(spec: Spec, plan: Plan) -> list[Study]:
    """A fresh study for each key of the plan."""
    return [make_study(key, seed=spec.seed, trials=spec.trials) for key in plan.studies]


def make_study(key: StudyKey, *, seed: int, trials: int) -> Study:
    """A family's study: its space, and the defaults of its config."""
    defaults = load_family(key.family).config_type().model_dump(mode="json")
    return Study(key, load_space(key.family), defaults, seed=seed, trials=trials)


def _deadline(spec: Spec) -> float | None:
    """When the budget, which counts from the start of the process, is over."""
    return None if spec.budget_s is None else psutil.Process().create_time() + spec.budget_s


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process works on a run at a time; InputError for the second."""
    with (folder / "run.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"a run must be worked on by one process, but another is at work on {folder}; wait for it"
            ) from error
        yield


def _without_secrets(data: str | None) -> str | None:
    """A URI without user, password and query, in which keys and signatures are given."""
    if data is None or "://" not in data:
        return data
    parts = urlsplit(data)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _drain_s(spec: Spec) -> float:
    """How long to wait for the tracking server: a budget holds for this too."""
    deadline = _deadline(spec)
    return DRAIN_S if deadline is None else min(DRAIN_S, max(0.0, deadline - time.time()))


def _engine_options(spec: Spec, folder: Path) -> EngineOptions:
    workers = spec.workers or max(1, (os.cpu_count() or 1) // spec.threads)
    return EngineOptions(workers, spec.threads, folder / "logs", spec.address)


def _note_session(ledger: Ledger, spec: Spec, event: str, exit_code: int | None) -> None:
    row = {"session": str(os.getpid()), "event": event, "engine": spec.engine, "workers": spec.workers}
    with ledger.transaction():
        ledger.append("sessions", {**row, "exit_code": exit_code, "at": time.time()})


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C and SIGTERM are noted, and the coordinator stops between two steps; the second Ctrl-C breaks in.

    A KeyboardInterrupt raised anywhere could fall between a commit and the memory of it.
    """
    noted: list[int] = []

    def note(number: int, _: object) -> None:
        if noted and number == signal.SIGINT:
            raise KeyboardInterrupt
        noted.append(number)

    watched = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in watched}
    try:
        yield lambda: bool(noted)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
