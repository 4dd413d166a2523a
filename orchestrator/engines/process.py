"""A worker process as its driver sees it: started, given attempts one at a time, held to its deadlines, and buried.

`local` drives several of these, a Ray actor drives one, so that time-outs, crashes and kills mean the same on both.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from orchestrator.engines.attempt import LogFile, failure, loss, thread_environment
from orchestrator.errors import OrchestrateError
from orchestrator.trial import State

GRACE_S = 1.0
"""From SIGTERM to SIGKILL, where nobody says otherwise."""
HEARTBEAT_S = 0.5
"""How long a driver may sleep before it looks whether a worker, whose socket a grandchild may hold, still lives."""
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
"""Signals that a process does not die of by its own doing."""


class WorkerProcess:
    """One long-lived process with a session, an environment and a log file of its own."""

    def __init__(self, log: Path, *, threads: int, path: Sequence[str]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = LogFile(log)
        ours, theirs = socket.socketpair()
        with theirs, log.open("ab") as printed:
            self._process = _spawn(theirs.fileno(), log, printed.fileno(), threads, path)
        self.connection = Connection(ours.detach())
        self.ready = False
        self.running = False
        self.gone = False
        self._log_start = 0
        self._hung_up = False
        self._limit_s: float | None = None
        self._deadline: float | None = None
        self._kill_at: float | None = None
        self._verdict: tuple[State, str] | None = None

    @property
    def idle(self) -> bool:
        """Whether it can be given an attempt now."""
        return self.ready and not self.running and self._verdict is None and not self._hung_up

    @property
    def hung_up(self) -> bool:
        """Whether its end of the connection is closed, so that waiting for it is of no use."""
        return self._hung_up

    def start(self, request: bytes, timeout_s: float | None) -> None:
        """Hand over a request; OSError when the process has just died."""
        self._log_start = self._log.end()
        self.connection.send_bytes(request)
        self.running = True
        self._limit_s = timeout_s
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s

    def step(self) -> bytes | None:
        """Take what has happened: the reply that ends the attempt, if it has ended; hold the deadlines."""
        dead = self._process.poll() is not None  # asked before reading: the dead write nothing more
        reply = self._receive()
        if reply is not None and self.running and self._verdict is None:
            self.running, self._deadline = False, None
            return reply
        if dead:
            return self._bury()
        self._hold_deadlines(time.monotonic())
        return None

    def wakeup_at(self) -> float:
        """When `step` must be called again, at the latest, on the monotonic clock."""
        soon = 0.005 if self._hung_up else HEARTBEAT_S
        times = (time.monotonic() + soon, self._deadline, self._kill_at)
        return min(at for at in times if at is not None)

    def end(self, state: State, reason: str, grace_s: float) -> None:
        """Stop the process: SIGTERM now, SIGKILL after the grace; what `state` and `reason` say is the reply."""
        if self.gone:
            return
        self._verdict = self._verdict or (state, reason)
        self._deadline = None
        kill_at = time.monotonic() + grace_s
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)
        self._signal(signal.SIGTERM if grace_s > 0 else signal.SIGKILL)

    def close(self) -> None:
        """End the process and all that it started, and wait for it."""
        close_all([self])

    def _receive(self) -> bytes | None:
        message = None
        while not self._hung_up and message is None:
            try:
                if not self.connection.poll():
                    break
                message = self.connection.recv_bytes()
            except (EOFError, OSError):
                self._hung_up = True
                self._kill_at = self._kill_at or time.monotonic() + GRACE_S
            if message is not None and not self.ready:
                self.ready, message = True, None
        return message

    def _hold_deadlines(self, now: float) -> None:
        if self._deadline is not None and now >= self._deadline:
            self.end(State.TIMEOUT, f"ran past its limit of {self._limit_s:g} s", GRACE_S)
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            self._verdict = self._verdict or (State.FAILED, "its process closed its connection")
            self._signal(signal.SIGKILL)

    def _bury(self) -> bytes | None:
        self._signal(signal.SIGKILL)  # what the attempt has forked lives in the same group
        self.gone = True
        self.connection.close()
        if not self.ready and self._verdict is None and self._process.returncode > 0:
            raise OrchestrateError(
                f"a worker process must start, but it ended with exit code {self._process.returncode}: "
                f"{self._log.tail(0)[-500:]}; see {self._log.path}"
            )
        running, self.running = self.running, False
        return self._obituary() if running else None

    def _obituary(self) -> bytes:
        code = self._process.returncode
        log = self._log.tail(self._log_start)
        if self._verdict:
            return failure(*self._verdict, log)
        if -code in _FROM_OUTSIDE:
            return loss(f"its worker was killed from outside ({signal.Signals(-code).name})")
        end = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return failure(State.FAILED, f"its process {end}", log)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def close_all(workers: Sequence[WorkerProcess]) -> None:
    """End processes at the same time: SIGTERM, SIGKILL after the grace; returns when they are gone."""
    for worker in workers:
        worker.end(State.CANCELLED, "the engine was closed", GRACE_S)
    give_up_at = time.monotonic() + GRACE_S + 5  # only what the kernel holds in a call outlives SIGKILL
    while not all(_stepped(worker) for worker in workers) and time.monotonic() < give_up_at:
        time.sleep(0.005)


def _stepped(worker: WorkerProcess) -> bool:
    if not worker.gone:
        worker.step()
    return worker.gone


def _spawn(socket_fd: int, log: Path, log_fd: int, threads: int, path: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a worker. No shell, no inherited thread settings, and a session of its own, so that Ctrl-C passes by."""
    module = [sys.executable, "-P", "-u", "-X", "faulthandler", "-m", "orchestrator.engines.worker"]
    return subprocess.Popen(
        [*module, str(socket_fd), str(os.getpid()), str(log)],
        stdin=subprocess.DEVNULL,
        stdout=log_fd,
        stderr=log_fd,
        pass_fds=[socket_fd],
        start_new_session=True,
        env=os.environ | thread_environment(threads) | {"PYTHONPATH": os.pathsep.join(path)},
    )
