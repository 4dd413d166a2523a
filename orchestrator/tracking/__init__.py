"""Where trials are shown to the team: any server that speaks the MLflow API, or an embedded store.

The sender, a process of its own, turns rows of the ledger into records and hands them to a tracker; nothing in a run
waits for it.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from orchestrator.errors import InputError
from orchestrator.tracking.book import RunBook

TRACKERS: dict[str, str] = {
    "http": "orchestrator.tracking.http:HttpTracker",
    "https": "orchestrator.tracking.http:HttpTracker",
    "sqlite": "orchestrator.tracking.embedded:EmbeddedTracker",
}
"""scheme of a tracking URI -> "module:class"."""

KEY_TAG = "orchestrate.key"
"""The tag that holds a record's key on the server."""
KIND_TAG = "orchestrate.kind"
"""The tag that says what a server run is: plan, study or trial."""

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Metric:
    """One measured value; timestamp and step are pinned when it happened, so that sending it twice changes nothing."""

    key: str
    value: float
    timestamp_ms: int
    step: int = 0


@dataclass(frozen=True)
class Record:
    """What is known of one server run: made when its key is new, else added to."""

    key: str
    """Unique on the server, kept in the tag `orchestrate.key`: "<run_id>/<study>" or "<run_id>/<trial_uid>"."""
    name: str
    parent: str | None
    """The key of the parent record, which was sent before."""
    start_ms: int
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    status: Status = "RUNNING"
    end_ms: int | None = None
    """Given with every status but RUNNING, each time: FastTrackML forgets it otherwise."""


@dataclass(frozen=True)
class Capabilities:
    """What a server said of itself when it was asked."""

    kind: Literal["mlflow", "fasttrackml", "embedded", "unknown"]
    version: str


@dataclass(frozen=True)
class Query:
    """Which trials to read back; kind `plan` gives the one server run with the settings and the countries."""

    experiment: str
    country: str | None = None
    family: str | None = None
    kind: Literal["trial", "plan"] = "trial"


@dataclass(frozen=True)
class Refusal:
    """Why one record is not on the server."""

    reason: str
    """One line."""
    again: bool
    """Whether the same record may be taken later (the server was away, busy or failing), or never."""


class NotSent(Exception):
    """Some records did not arrive; those that are not named here did."""

    def __init__(self, refusals: Mapping[str, Refusal]) -> None:
        self.refusals = refusals
        """Record key -> why."""
        super().__init__(next(iter(refusals.values())).reason if refusals else "")


class Tracker(Protocol):
    """A place that keeps runs; built for one experiment, the run's name."""

    def probe(self) -> Capabilities:
        """Ask who answers, within 5 s; raises `orchestrator.errors.InputError` where nobody does."""
        ...

    def send(self, records: Sequence[Record]) -> None:
        """Make the server agree with the records; sending twice changes nothing.

        Raises NotSent naming those that did not arrive; every other one did.
        """
        ...

    def settle(self) -> None:
        """Remove what lost answers have left behind, once everything was sent; raises NotSent where it cannot."""
        ...

    def search(self, query: Query) -> Sequence[Mapping[str, Any]]:
        """The finished trials of an experiment: params, metrics and tags of each."""
        ...

    def close(self) -> None:
        """Close connections; the tracker cannot be used after."""
        ...


def checked_uri(text: str) -> str:
    """The tracking URI in one spelling; InputError where it is none, or holds a password."""
    parts = urlsplit(text.strip())
    if parts.scheme not in TRACKERS:
        raise InputError(
            "a tracking URI must be http://HOST:PORT, https://HOST or sqlite:///FILE, "
            f"but got {_without_userinfo(text)!r}; give one of these, or none for the store beside the ledger"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError(
            f"a tracking URI must hold no credentials and no query, but the one for {parts.hostname} does; set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, and leave them out"
        )
    if not (parts.path.strip("/") if parts.scheme == "sqlite" else parts.hostname):
        raise InputError(
            f"a tracking URI must name a {'file' if parts.scheme == 'sqlite' else 'host'}, but got {text!r}"
        )
    return text.strip().rstrip("/")


def open_tracker(uri: str, experiment: str, book: RunBook | None = None) -> Tracker:
    """The tracker for a URI; InputError where there is none for it.

    Opens nothing yet. Without a book the tracker asks the server what is there, and remembers it while it lives.
    """
    uri = checked_uri(uri)
    module, _, attribute = TRACKERS[urlsplit(uri).scheme].partition(":")
    tracker: Tracker = getattr(importlib.import_module(module), attribute)(uri, experiment, book)
    return tracker


def _without_userinfo(text: str) -> str:
    head, at, tail = text.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at else text
