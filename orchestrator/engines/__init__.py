"""Where tasks run. An engine knows nothing of samplers, tracking servers or what a country is."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orchestrator.trial import Event, Kind, Task

ENGINES: dict[str, str] = {
    "inline": "orchestrator.engines.inline:InlineEngine",
    "local": "orchestrator.engines.local:LocalEngine",
    "ray": "orchestrator.engines.ray:RayEngine",
}
"""engine -> "module:class"."""


@dataclass(frozen=True)
class EngineOptions:
    """What an engine is built with."""

    workers: int
    """Slots of kind `cpu` to open; an engine that joins a cluster may take fewer when the cluster has fewer."""
    threads: int
    """Threads of each worker (BLAS, OpenMP, numba)."""
    log_dir: Path
    """Workers write what their tasks print to files in this folder."""
    address: str | None = None
    """A cluster to join; None starts one on this machine."""


class Engine(Protocol):
    """Runs tasks on slots, and tells what became of each; built as `Engine(options)`."""

    def slots(self) -> Mapping[Kind, int]:
        """How many tasks of each kind run at once."""
        ...

    def submit(self, task: Task) -> None:
        """Queue a task; never blocks. Tasks of a kind start in the order of submission, but for a bounded preference for locality."""
        ...

    def poll(self, timeout_s: float) -> Sequence[Event]:
        """What happened since the last call; waits up to `timeout_s` for the first event.

        Each attempt gives at most one Started, then exactly one Done, Failed or Lost.
        """
        ...

    def cancel(self, task_id: str, *, grace_s: float) -> None:
        """End a task: it is told as Failed(CANCELLED), killed after `grace_s` if it has not stopped."""
        ...

    def close(self) -> None:
        """End every worker, and leave no process behind; may be called twice."""
        ...


def open_engine(name: str, options: EngineOptions) -> Engine:
    """The engine of that name; KeyError for an unknown one."""
    module, _, attribute = ENGINES[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), attribute)(options)
    return engine
