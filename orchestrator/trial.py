"""The facts that travel: which study, which trial, which task, and what became of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

Kind = Literal["cpu", "gpu", "spark"]
"""What a slot is, and what a task needs."""

TEST_FOLD = "test"
"""The fold of the finalists: trained on train + validation, scored on the test set."""


class State(StrEnum):
    """How a trial ended."""

    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    RACED_OUT = "RACED_OUT"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    OOM = "OOM"
    LOST = "LOST"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, order=True)
class StudyKey:
    """One search: a scope (a country, or `global`) and a family."""

    scope: str
    family: str

    def __str__(self) -> str:
        return f"{self.scope}/{self.family}"


@dataclass(frozen=True)
class Task:
    """The unit that an engine runs: one call of one function with a payload of plain values.

    `call` is "module:function"; the function takes the payload and returns a mapping. Both are JSON, so that a task
    reads the same in a log, on a pipe and on another node. An engine looks at nothing else.
    """

    task_id: str
    call: str
    payload: Mapping[str, Any]
    kind: Kind = "cpu"
    cores: int = 1
    mem_gb: float = 0.0
    timeout_s: float | None = None
    locality: str = ""
    """Tasks with the same opaque word profit from the same worker."""
    attempt: int = 1


@dataclass(frozen=True)
class Started:
    """A worker has begun an attempt."""

    task_id: str
    attempt: int
    node: str
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class Done:
    """An attempt returned."""

    task_id: str
    attempt: int
    result: Mapping[str, Any]
    node: str
    started_at: float
    ended_at: float


@dataclass(frozen=True)
class Failed:
    """An attempt ended without a result, for a reason that another attempt would meet again."""

    task_id: str
    attempt: int
    state: State
    """FAILED (it raised, or its process died of its own doing), TIMEOUT, OOM or CANCELLED."""
    reason: str
    """One line."""
    log: str = ""
    """The last lines that the attempt wrote, the traceback included."""
    node: str = ""


@dataclass(frozen=True)
class Lost:
    """The worker of an attempt vanished (killed from outside, its node gone): the task may be tried again."""

    task_id: str
    attempt: int
    reason: str
    node: str = ""


Event = Started | Done | Failed | Lost


def canonical_json(value: Any) -> str:
    """The one spelling of a JSON value: sorted keys, no spaces; floats as Python writes them."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """A short content hash (16 hex digits of BLAKE2b) of a JSON value."""
    return hashlib.blake2b(canonical_json(value).encode(), digest_size=8).hexdigest()
