"""Tasks on the cores of this machine: long-lived worker processes, each running one attempt at a time."""

import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from orchestrator.engines import EngineOptions
from orchestrator.engines.attempt import search_path, told
from orchestrator.engines.backlog import Backlog
from orchestrator.engines.process import HEARTBEAT_S, WorkerProcess, close_all
from orchestrator.trial import Event, Failed, Kind, Started, State, Task

_CPU: frozenset[Kind] = frozenset({"cpu"})


@dataclass
class _Slot:
    """A place for one worker process: a killed one is replaced when there is work for it."""

    log: Path
    worker: WorkerProcess | None = None
    task: Task | None = None
    locality: str = ""


class LocalEngine:
    """Runs tasks in worker processes that start when work comes, and die with the driver.

    Call it from one thread, and keep that thread: on Linux the workers die with the thread that started them.
    Time-outs are held by `poll`. Ending an attempt kills its process group, so what a task forks ends with it.
    """

    def __init__(self, options: EngineOptions) -> None:
        self._threads = options.threads
        self._path = search_path()
        self._node = socket.gethostname()
        self._slots = [_Slot(options.log_dir.absolute() / f"worker-{slot}.log") for slot in range(options.workers)]
        self._backlog = Backlog()
        self._events: list[Event] = []
        self._closed = False

    def slots(self) -> Mapping[Kind, int]:
        """The workers asked for."""
        return {"cpu": len(self._slots)}

    def submit(self, task: Task) -> None:
        """Queue a task, and start it if a worker is idle; RuntimeError after `close`."""
        if self._closed:
            raise RuntimeError("the engine is closed")
        self._backlog.add(task, _CPU)
        self._dispatch()

    def poll(self, timeout_s: float) -> Sequence[Event]:
        """Hold the deadlines, hand out work, and tell what happened."""
        until = time.monotonic() + timeout_s
        self._advance()
        while not self._events and (left := until - time.monotonic()) > 0:
            self._sleep(left)
            self._advance()
        events, self._events = self._events, []
        return events

    def cancel(self, task_id: str, *, grace_s: float) -> None:
        """End a task, told by a later `poll`; nothing happens to one that is unknown or has ended."""
        if task := self._backlog.remove(task_id):
            self._events.append(Failed(task.task_id, task.attempt, State.CANCELLED, "cancelled before it started"))
        for slot in self._slots:
            if slot.worker and slot.task and slot.task.task_id == task_id:
                slot.worker.end(State.CANCELLED, "cancelled", grace_s)

    def close(self) -> None:
        """End every worker; what was under way is not told. Safe to call again, also from a signal handler."""
        self._closed = True
        self._backlog.clear()
        close_all([slot.worker for slot in self._slots if slot.worker])

    def _sleep(self, at_most_s: float) -> None:
        workers = [slot.worker for slot in self._slots if slot.worker]
        wakeup_at = min((worker.wakeup_at() for worker in workers), default=time.monotonic() + HEARTBEAT_S)
        timeout_s = max(0.0, min(at_most_s, wakeup_at - time.monotonic()))
        wait([worker.connection for worker in workers if not worker.hung_up], timeout_s)

    def _advance(self) -> None:
        for slot in self._slots:
            if slot.worker:
                self._step(slot, slot.worker)
        self._dispatch()

    def _step(self, slot: _Slot, worker: WorkerProcess) -> None:
        reply = worker.step()
        if worker.gone:
            slot.worker, slot.locality = None, ""
        if reply is not None and slot.task:
            self._events.append(told(slot.task, reply, self._node))
            slot.task = None

    def _dispatch(self) -> None:
        coming = 0
        for slot in self._slots:
            if slot.worker is None and len(self._backlog) > coming and not self._closed:
                slot.worker = WorkerProcess(slot.log, threads=self._threads, path=self._path)
            if slot.worker and slot.worker.idle and self._backlog:
                self._start(slot, slot.worker)
            coming += bool(slot.worker and not slot.worker.ready)

    def _start(self, slot: _Slot, worker: WorkerProcess) -> None:
        waiting = self._backlog.take(slot.locality)
        try:
            worker.start(waiting.request, waiting.task.timeout_s)
        except OSError:  # it died while it was idle: its successor takes the task
            self._backlog.put_back(waiting)
            return
        slot.task, slot.locality = waiting.task, waiting.task.locality
        self._events.append(Started(waiting.task.task_id, waiting.task.attempt, self._node, time.time()))
