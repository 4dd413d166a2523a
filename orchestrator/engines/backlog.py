"""The tasks that wait for a slot: in the order of submission, but for a bounded preference for locality."""

from dataclasses import dataclass
from itertools import islice

from orchestrator.engines.attempt import request_of
from orchestrator.errors import InputError
from orchestrator.trial import Kind, Task

_WINDOW = 64
"""How far down the queue a worker looks for the locality that it ran last."""
_PATIENCE = 16
"""How often the head of the queue may be passed over in a row: a worker is never idle, and no task starves."""


@dataclass(frozen=True)
class Waiting:
    """A task and the request that a worker is sent for it."""

    task: Task
    request: bytes


class Backlog:
    """A queue from which a worker takes the first task of the locality that it ran last, else the head."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._passed_over = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, task: Task, kinds: frozenset[Kind]) -> None:
        """Queue a task at the end; InputError for a kind that the engine has no slot of."""
        if task.kind not in kinds:
            raise InputError(
                f"a task's kind must be one that the engine has slots of ({', '.join(sorted(kinds))}), "
                f"but got {task.kind!r} ({task.task_id}); choose another engine for it"
            )
        if task.task_id in self._waiting:
            raise ValueError(f"task {task.task_id} is already queued")
        self._waiting[task.task_id] = Waiting(task, request_of(task))

    def take(self, locality: str) -> Waiting:
        """Take the task that suits a worker that last ran `locality`; the backlog must not be empty."""
        head = next(iter(self._waiting.values()))
        prefer = locality and self._passed_over < _PATIENCE
        chosen = (self._of_locality(locality) if prefer else None) or head
        self._passed_over = 0 if chosen is head else self._passed_over + 1
        return self._waiting.pop(chosen.task.task_id)

    def put_back(self, waiting: Waiting) -> None:
        """Return a task that could not be started to the head."""
        self._waiting = {waiting.task.task_id: waiting, **self._waiting}

    def remove(self, task_id: str) -> Task | None:
        """Withdraw a task; None when it does not wait here."""
        waiting = self._waiting.pop(task_id, None)
        return waiting.task if waiting else None

    def clear(self) -> None:
        """Forget every task."""
        self._waiting.clear()

    def _of_locality(self, locality: str) -> Waiting | None:
        window = islice(self._waiting.values(), _WINDOW)
        return next((waiting for waiting in window if waiting.task.locality == locality), None)
