"""One attempt at a task, the same on every engine: what goes to a worker, how it is run, and what comes back.

A request and a reply are JSON texts, so that a result has passed the same spelling whether it crossed a process or not:

    request  {"call": "module:function", "payload": {...}}
    reply    {"result": {...}, "started_at": s, "ended_at": s}    it returned
             {"state": "FAILED", "reason": "...", "log": "..."}   it ended without a result
             {"lost": "..."}                                      its worker vanished
"""

import functools
import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.trial import Done, Failed, Lost, State, Task, canonical_json

LOG_LINES = 50
_LOG_BYTES = 32_768
_REASON_CHARACTERS = 300
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def thread_environment(threads: int) -> dict[str, str]:
    """The variables that libraries read once, when they are loaded, to size their thread pools."""
    return dict.fromkeys(_THREAD_VARIABLES, str(threads))


def search_path() -> list[str]:
    """Where this process finds code that its interpreter does not bring along: source trees, folders of scripts."""
    own = (sys.prefix, sys.base_prefix)
    return [str(Path(entry or ".").absolute()) for entry in sys.path if not entry.startswith(own)]


@dataclass(frozen=True)
class LogFile:
    """What a worker's tasks print."""

    path: Path

    def end(self) -> int:
        """Where the next line will stand."""
        return self.path.stat().st_size if self.path.exists() else 0

    def tail(self, start: int) -> str:
        """The last lines from `start` on."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(max(start, self.end() - _LOG_BYTES))
            return last_lines(file.read().decode(errors="replace"))


def last_lines(text: str) -> str:
    """As much of a log as an event carries."""
    return "\n".join(text.splitlines()[-LOG_LINES:])


def request_of(task: Task) -> bytes:
    """What a worker is sent; ValueError or TypeError when the payload is not JSON."""
    return canonical_json({"call": task.call, "payload": task.payload}).encode()


def run_attempt(request: bytes, log: LogFile | None = None) -> bytes:
    """Run a request to its reply. Whatever the task raises becomes a reply, but for KeyboardInterrupt."""
    start = log.end() if log else 0
    started_at = time.time()
    try:
        wanted = json.loads(request)
        result = _checked(_resolve(wanted["call"])(wanted["payload"]))
        return canonical_json({"result": result, "started_at": started_at, "ended_at": time.time()}).encode()
    except (Exception, SystemExit) as error:
        state = State.OOM if isinstance(error, MemoryError) else State.FAILED
        printed = log.tail(start) if log else ""
        return failure(state, _one_line(error), f"{printed}\n{traceback.format_exc()}")


def failure(state: State, reason: str, log: str = "") -> bytes:
    """The reply of an attempt that ended without a result."""
    return canonical_json({"state": state, "reason": reason, "log": last_lines(log)}).encode()


def loss(reason: str) -> bytes:
    """The reply for an attempt whose worker vanished."""
    return canonical_json({"lost": reason}).encode()


def told(task: Task, reply: bytes, node: str) -> Done | Failed | Lost:
    """The event that a reply stands for."""
    said = json.loads(reply)
    if "lost" in said:
        return Lost(task.task_id, task.attempt, said["lost"], node)
    if "result" in said:
        return Done(task.task_id, task.attempt, said["result"], node, said["started_at"], said["ended_at"])
    return Failed(task.task_id, task.attempt, State(said["state"]), said["reason"], said["log"], node)


@functools.cache
def _resolve(call: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    module, _, attribute = call.partition(":")
    function: Callable[[Mapping[str, Any]], Mapping[str, Any]] = getattr(importlib.import_module(module), attribute)
    return function


def _checked(result: object) -> dict[str, Any]:
    if not isinstance(result, Mapping):
        raise TypeError(f"a task must return a mapping of plain values, but got {type(result).__name__}")
    return dict(result)


def _one_line(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return " ".join(text.split())[:_REASON_CHARACTERS]
