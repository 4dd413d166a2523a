"""What a cluster runs on a node for each slot: it minds one worker process, and answers for it."""

import platform
import socket
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import wait
from pathlib import Path

from orchestrator.engines.attempt import search_path
from orchestrator.engines.process import GRACE_S, WorkerProcess
from orchestrator.trial import State

_DISTRIBUTION = "orchestrate-recsys"
_LOOK_S = 0.05
"""How soon a cancellation, which comes on another thread, is seen to."""


def versions() -> dict[str, str]:
    """What must be equal on the driver and on every node."""
    try:
        ours = version(_DISTRIBUTION)
    except PackageNotFoundError:
        ours = "not installed"
    return {_DISTRIBUTION: ours, "python": ".".join(platform.python_version_tuple()[:2])}


class Minder:
    """Runs attempts in a worker process, one at a time; `cancel` and `close` may come on a second thread."""

    def __init__(self, log: str, threads: int, path: list[str]) -> None:
        self._log = Path(log)
        self._threads = threads
        self._path = list(dict.fromkeys([*path, *search_path()]))
        self._worker: WorkerProcess | None = None
        self._running = 0
        self._cancelled = 0

    def greet(self) -> dict[str, str]:
        """Start the worker, and say which node and which versions this is."""
        self._ready_worker()
        return {"node": socket.gethostname(), **versions()}

    def run(self, number: int, request: bytes, timeout_s: float | None) -> bytes:
        """Run an attempt to its reply."""
        worker = self._start(request, timeout_s)
        self._running = number
        if self._cancelled == number:  # it was cancelled before it began
            worker.end(State.CANCELLED, "cancelled", GRACE_S)
        while (reply := worker.step()) is None:
            wait([] if worker.hung_up else [worker.connection], _LOOK_S)
        self._running = 0
        return reply

    def cancel(self, number: int, grace_s: float) -> None:
        """End that attempt, now or when it begins; its reply says so."""
        self._cancelled = number
        if self._running == number and self._worker:
            self._worker.end(State.CANCELLED, "cancelled", grace_s)

    def close(self) -> None:
        """End the worker process."""
        if self._worker:
            self._worker.close()

    def _start(self, request: bytes, timeout_s: float | None) -> WorkerProcess:
        while True:
            worker = self._ready_worker()
            try:
                worker.start(request, timeout_s)
            except OSError:  # it died while it was idle
                continue
            return worker

    def _ready_worker(self) -> WorkerProcess:
        while True:
            if self._worker is None or self._worker.gone:
                self._worker = WorkerProcess(self._log, threads=self._threads, path=self._path)
            self._worker.step()
            if self._worker.idle:
                return self._worker
            if not self._worker.hung_up:
                wait([self._worker.connection], _LOOK_S)
