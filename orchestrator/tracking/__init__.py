"""Where trials are shown to the team: any server that speaks the MLflow API, or an embedded store.

The sender, a process of its own, turns rows of the ledger into records and hands them to a tracker; nothing in a run
waits for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

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


@dataclass(frozen=True)
class Capabilities:
    """What a server said of itself when it was asked."""

    kind: Literal["mlflow", "fasttrackml", "embedded", "unknown"]
    version: str


@dataclass(frozen=True)
class Query:
    """Which trials to read back."""

    experiment: str
    country: str | None = None
    family: str | None = None


class Tracker(Protocol):
    """A place that keeps runs; built for one experiment, the run's name."""

    def probe(self) -> Capabilities:
        """Ask who answers, within 5 s; raises `orchestrator.errors.InputError` where nobody does."""
        ...

    def send(self, records: Sequence[Record]) -> None:
        """Make the server agree with the records; sending twice changes nothing."""
        ...

    def search(self, query: Query) -> Sequence[Mapping[str, Any]]:
        """The finished trials of an experiment: params, metrics and tags of each."""
        ...
