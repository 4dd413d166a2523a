"""Tasks on a Ray cluster: one long-lived actor per slot, each minding one worker process of the kind that `local` has.

The task runs in that process, not in the actor, so that threads, time-outs, crashes and kills mean the same as on
`local`; a lost actor is a lost node. Only Ray core is used, and all that passes is JSON.
"""

import itertools
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEPT_TOKEN = Path.home() / ".ray" / "auth_token"
HAS_TOKEN = KEPT_TOKEN.is_file() or bool({"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ))
if HAS_TOKEN and "ray" not in sys.modules:
    # Ray 2.60 starts clusters with token authentication, but joins them without, unless this is set when it is imported.
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray
from ray.exceptions import RayError, RayTaskError

from orchestrator.engines import EngineOptions
from orchestrator.engines.attempt import search_path, told
from orchestrator.engines.backlog import Backlog
from orchestrator.engines.minder import Minder, versions
from orchestrator.errors import InputError, OrchestrateError
from orchestrator.trial import Event, Failed, Kind, Lost, Started, State, Task

_CPU: frozenset[Kind] = frozenset({"cpu"})
_LOOK_S = 0.5
"""How long the driver waits at a time, so that signals are seen."""
_CONNECT_S = 5.0
_FIRST_SLOT_S = 60.0
_SILENCE_S = 10.0
"""A node that has not held a deadline this long after it is given up."""
_STORE_BYTES = 128 * 2**20
"""Only small texts pass; Ray's own default is a third of the memory."""
_STARTS = 3
"""How many actors in a row may die before they greet."""


@dataclass
class _Attempt:
    number: int
    """Of all that this engine has started: what a cancellation names, so that it hits no later one."""
    task: Task
    give_up_at: float
    cancelled: bool = False

    def without_answer(self, reason: str, node: str) -> Event:
        """What it means that the actor is gone."""
        task = self.task
        if self.cancelled:
            return Failed(task.task_id, task.attempt, State.CANCELLED, "cancelled", node=node)
        if time.monotonic() > self.give_up_at:
            limit = f"ran past its limit of {task.timeout_s:g} s, and its node did not answer"
            return Failed(task.task_id, task.attempt, State.TIMEOUT, limit, node=node)
        return Lost(task.task_id, task.attempt, f"its node is gone: {reason}", node)


@dataclass
class _Slot:
    """A place for one actor. It owes one answer at a time: the greeting first, then the reply to each attempt."""

    log: str
    actor: Any = None
    answer: Any = None
    greeted: bool = False
    node: str = ""
    attempt: _Attempt | None = None
    locality: str = ""


class RayEngine:
    """Runs tasks on the slots of a cluster; without an address, on a Ray started here that ends with `close`."""

    def __init__(self, options: EngineOptions) -> None:
        self._threads = options.threads
        self._backlog = Backlog()
        self._events: list[Event] = []
        self._slots: list[_Slot] = []
        self._numbers = itertools.count(1)
        self._failed_starts = 0
        self._closed = False
        self._joined_here = not ray.is_initialized()
        if self._joined_here:
            _join(options)
        try:
            self._open(options)
        except BaseException:
            self.close()
            raise

    def slots(self) -> Mapping[Kind, int]:
        """What fits in the cluster of the workers asked for."""
        return {"cpu": len(self._slots)}

    def submit(self, task: Task) -> None:
        """Queue a task, and start it if a slot is idle; RuntimeError after `close`."""
        if self._closed:
            raise RuntimeError("the engine is closed")
        self._backlog.add(task, _CPU)
        self._dispatch()

    def poll(self, timeout_s: float) -> Sequence[Event]:
        """Hand out work, and tell what happened; InputError when a node that joins runs other versions."""
        until = time.monotonic() + timeout_s
        self._advance(0)
        while not self._events and (left := until - time.monotonic()) > 0:
            self._advance(min(left, _LOOK_S))
        events, self._events = self._events, []
        return events

    def cancel(self, task_id: str, *, grace_s: float) -> None:
        """End a task, told by a later `poll`; nothing happens to one that is unknown or has ended."""
        if task := self._backlog.remove(task_id):
            self._events.append(Failed(task.task_id, task.attempt, State.CANCELLED, "cancelled before it started"))
        for slot in self._slots:
            if slot.attempt and slot.attempt.task.task_id == task_id:
                slot.actor.cancel.remote(slot.attempt.number, grace_s)
                slot.attempt.cancelled = True
                slot.attempt.give_up_at = min(slot.attempt.give_up_at, time.monotonic() + grace_s + _SILENCE_S)

    def close(self) -> None:
        """End every worker, and leave Ray where it was joined here; what was under way is not told."""
        if self._closed:
            return
        self._closed = True
        self._backlog.clear()
        farewells = [slot.actor.close.remote() for slot in self._slots if slot.greeted]
        if farewells:
            ray.wait(farewells, num_returns=len(farewells), timeout=_CONNECT_S)
        for slot in self._slots:
            if slot.actor:
                ray.kill(slot.actor)
        if self._joined_here:
            ray.shutdown()

    def _open(self, options: EngineOptions) -> None:
        for number in range(_fitting_slots(options)):
            self._slots.append(_Slot(str(options.log_dir.absolute() / f"worker-{number}.log")))
            self._start_actor(self._slots[-1])
        until = time.monotonic() + _FIRST_SLOT_S
        while not any(slot.greeted for slot in self._slots):
            if time.monotonic() > until:
                raise InputError(
                    f"the cluster must have {self._threads} free CPU for a slot, but none came free within "
                    f"{_FIRST_SLOT_S:g} s; wait for other jobs to end, or choose another cluster"
                )
            self._advance(_LOOK_S)

    def _start_actor(self, slot: _Slot) -> None:
        actor = ray.remote(Minder).options(  # the second thread is there for `cancel`
            num_cpus=self._threads, max_restarts=0, max_task_retries=0, max_concurrency=2
        )
        slot.actor = actor.remote(slot.log, self._threads, search_path())
        slot.answer = slot.actor.greet.remote()
        slot.greeted, slot.attempt, slot.locality = False, None, ""

    def _advance(self, wait_s: float) -> None:
        owing = {slot.answer: slot for slot in self._slots if slot.answer is not None}
        for answer in _answered(list(owing), wait_s):
            self._settle(owing[answer])
        for slot in self._slots:
            if slot.attempt and time.monotonic() > slot.attempt.give_up_at:
                ray.kill(slot.actor)
                self._replace(slot, "it does not answer")
        self._dispatch()

    def _settle(self, slot: _Slot) -> None:
        answer, slot.answer = slot.answer, None
        try:
            said = ray.get(answer)
        except RayTaskError as error:
            raise InputError(_cannot_start(error)) from error
        except RayError as error:
            self._replace(slot, str(error).partition("\n")[0])
            return
        if slot.attempt:
            self._events.append(told(slot.attempt.task, said, slot.node))
            slot.attempt = None
        else:
            self._greet(slot, said)

    def _greet(self, slot: _Slot, said: dict[str, str]) -> None:
        node, here = said.pop("node"), versions()
        if said != here:
            raise InputError(f"every node must run what the driver runs, {here}, but {node} runs {said}; install that")
        slot.greeted, slot.node = True, node
        self._failed_starts = 0

    def _replace(self, slot: _Slot, reason: str) -> None:
        self._failed_starts += not slot.greeted
        if self._failed_starts >= _STARTS:
            raise OrchestrateError(f"a Ray actor must start, but {_STARTS} in a row died at once: {reason}")
        if slot.attempt:
            self._events.append(slot.attempt.without_answer(reason, slot.node))
        self._start_actor(slot)

    def _dispatch(self) -> None:
        for slot in self._slots:
            if slot.greeted and not slot.attempt and self._backlog and not self._closed:
                self._start(slot)

    def _start(self, slot: _Slot) -> None:
        waiting = self._backlog.take(slot.locality)
        task = waiting.task
        limit_s = math.inf if task.timeout_s is None else task.timeout_s + _SILENCE_S
        slot.attempt = _Attempt(next(self._numbers), task, time.monotonic() + limit_s)
        slot.locality = task.locality
        slot.answer = slot.actor.run.remote(slot.attempt.number, waiting.request, task.timeout_s)
        self._events.append(Started(task.task_id, task.attempt, slot.node, time.time()))


def _answered(answers: list[Any], wait_s: float) -> list[Any]:
    """Those that have come, waiting for the first."""
    if not answers:
        time.sleep(wait_s)
        return []
    first, others = ray.wait(answers, num_returns=1, timeout=wait_s)
    if first and others:
        more, _ = ray.wait(others, num_returns=len(others), timeout=0)
        return [*first, *more]
    return list(first)


def _join(options: EngineOptions) -> None:
    """Start Ray on this machine, or join the cluster at the address; InputError when nobody answers there."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _own_sigterm(), _python_path():
        if options.address is None:
            ray.init(
                address="local",
                num_cpus=options.workers * options.threads,
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
            return
        try:
            _knock(options.address)
            ray.init(address=options.address, **quiet)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"a Ray cluster must answer at {options.address!r}, but {error}; give the host:port of its head node"
            ) from error


def _knock(address: str) -> None:
    """See that somebody listens there: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()


@contextmanager
def _python_path() -> Iterator[None]:
    """Let the Ray that is started meanwhile find our code; a `runtime_env` would do it too, but takes seconds."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(search_path())
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the caller's handler of SIGTERM, which `ray.init` replaces by its own."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _fitting_slots(options: EngineOptions) -> int:
    """How many of the slots asked for fit on the nodes; InputError for none, which Ray would wait for without end."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    cpus = [node["Resources"].get("CPU", 0) for node in nodes if node["Alive"]]
    fitting = sum(int(cpu // options.threads) for cpu in cpus)
    if not fitting:
        raise InputError(
            f"a node of the cluster must have {options.threads} CPU for a slot, but the nodes have {cpus}; "
            "ask for fewer threads, or choose another cluster"
        )
    return min(options.workers, fitting)


def _cannot_start(error: RayTaskError) -> str:
    cause = " ".join(str(error.cause or error).split())[-500:]
    return (
        "every node must be able to start a worker, which needs the same orchestrate-recsys installed there, "
        f"but one answered: {cause}"
    )
