"""Who is told how a run goes."""

from typing import Protocol

from orchestrator.coordinator.progress import Progress
from orchestrator.tracking.sender import OutboxState


class Reporter(Protocol):
    """Takes the words of a run; every call returns at once."""

    def say(self, text: str) -> None:
        """A sentence worth reading."""
        ...

    def warn(self, text: str) -> None:
        """A sentence that must not be missed."""
        ...

    def progress(self, progress: Progress, outbox: OutboxState) -> None:
        """How far the run and the sending are; called several times a second."""
        ...


class Silent:
    """Tells nobody: the default of the Python API."""

    def say(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""

    def progress(self, progress: Progress, outbox: OutboxState) -> None:
        """Nothing."""
