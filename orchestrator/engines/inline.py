"""Tasks in this very process, one a poll, so that `breakpoint()` in a task stops in the debugger."""

import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController

from orchestrator.engines import EngineOptions
from orchestrator.engines.attempt import failure, run_attempt, thread_environment, told
from orchestrator.engines.backlog import Backlog, Waiting
from orchestrator.trial import Event, Failed, Kind, Started, State, Task

_CPU: frozenset[Kind] = frozenset({"cpu"})


class InlineEngine:
    """Runs each task inside `poll`. Nothing can be stopped: a time-out is told after the fact, and the result dropped.

    Ctrl-C passes through to the caller. What a task prints goes where the driver prints.
    """

    def __init__(self, options: EngineOptions) -> None:
        self._limits = _ThreadLimits(options.threads)
        self._node = socket.gethostname()
        self._backlog = Backlog()
        self._events: list[Event] = []

    def slots(self) -> Mapping[Kind, int]:
        """One: this process."""
        return {"cpu": 1}

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._backlog.add(task, _CPU)

    def poll(self, timeout_s: float) -> Sequence[Event]:
        """Run the next task to its end; with none, wait."""
        if self._backlog:
            self._run(self._backlog.take(""))
        elif not self._events:
            time.sleep(timeout_s)
        events, self._events = self._events, []
        return events

    def cancel(self, task_id: str, *, grace_s: float) -> None:  # noqa: ARG002 - nothing runs between two polls
        """Withdraw a queued task."""
        if task := self._backlog.remove(task_id):
            self._events.append(Failed(task.task_id, task.attempt, State.CANCELLED, "cancelled before it started"))

    def close(self) -> None:
        """Forget what is queued."""
        self._backlog.clear()

    def _run(self, waiting: Waiting) -> None:
        task, start = waiting.task, time.monotonic()
        self._events.append(Started(task.task_id, task.attempt, self._node, time.time()))
        with self._limits.held():
            reply = run_attempt(waiting.request)
        took_s = time.monotonic() - start
        if task.timeout_s is not None and took_s > task.timeout_s:
            reply = failure(State.TIMEOUT, f"took {took_s:.3g} s, more than its limit of {task.timeout_s:g} s")
        self._events.append(told(task, reply, self._node))


class _ThreadLimits:
    """Gives a task in this process the number of threads that it has in a worker, so that results agree to the bit."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._environment = thread_environment(threads)
        numba_threads = self._environment.pop("NUMBA_NUM_THREADS")
        if "numba" not in sys.modules:  # numba refuses to see this changed later, so it is set once and stays
            os.environ.setdefault("NUMBA_NUM_THREADS", numba_threads)
        self._modules = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Limit what is loaded, and through the environment what the task is about to load."""
        before = {name: os.environ.get(name) for name in self._environment}
        os.environ.update(self._environment)
        try:
            with self._controller().limit(limits=self._threads):
                self._limit_numba()
                yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def _controller(self) -> ThreadpoolController:
        if len(sys.modules) != self._modules:  # looking for thread pools takes milliseconds: only after imports
            self._modules = len(sys.modules)
            self._found = ThreadpoolController()
        return self._found

    def _limit_numba(self) -> None:
        numba = sys.modules.get("numba")
        if numba is not None:
            numba.set_num_threads(min(self._threads, numba.config.NUMBA_NUM_THREADS))
