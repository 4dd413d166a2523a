"""Which server run belongs to which record: what a tracker over HTTP must remember to send everything once."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class RunBook(Protocol):
    """What a tracker must not forget between two processes: which server run belongs to which key.

    A server neither takes run ids chosen by a client nor refuses a second run of one key, so that a create whose
    answer was lost has to be looked up before it is repeated. A book remembers what was about to be created.
    It is used by one thread.
    """

    def experiment_id(self) -> str | None:
        """The server's id of the experiment; None until `open_experiment`."""
        ...

    def open_experiment(self, experiment_id: str, run_ids: Mapping[str, str]) -> None:
        """Remember the experiment, and the server runs that it had already (key -> run id)."""
        ...

    def run_id(self, key: str) -> str | None:
        """The server run of a key; None where none is known."""
        ...

    def in_doubt(self, key: str) -> bool:
        """Whether a create of this key was intended and its answer is not known."""
        ...

    def intend(self, keys: Sequence[str]) -> None:
        """Remember, before the creates are sent, that they will be."""
        ...

    def remember(self, run_ids: Mapping[str, str]) -> None:
        """Keep the server runs that were made or found (key -> run id)."""
        ...

    def suspect(self, keys: Sequence[str]) -> None:
        """Remember that a create of these keys had no answer, and may yet make a second server run."""
        ...

    def suspects(self) -> Sequence[str]:
        """The keys of `suspect` that were not yet cleared."""
        ...

    def clear(self, key: str) -> None:
        """A suspect was looked into."""
        ...


class MemoryBook:
    """A book that lasts as long as its process: whoever opens the next one asks the server."""

    def __init__(self) -> None:
        self._experiment_id: str | None = None
        self._run_ids: dict[str, str] = {}
        self._intended: set[str] = set()
        self._suspects: set[str] = set()

    def experiment_id(self) -> str | None:
        """See RunBook."""
        return self._experiment_id

    def open_experiment(self, experiment_id: str, run_ids: Mapping[str, str]) -> None:
        """See RunBook."""
        self._experiment_id = experiment_id
        self.remember(run_ids)

    def run_id(self, key: str) -> str | None:
        """See RunBook."""
        return self._run_ids.get(key)

    def in_doubt(self, key: str) -> bool:
        """See RunBook."""
        return key in self._intended

    def intend(self, keys: Sequence[str]) -> None:
        """See RunBook."""
        self._intended.update(keys)

    def remember(self, run_ids: Mapping[str, str]) -> None:
        """See RunBook."""
        self._run_ids.update(run_ids)
        self._intended.difference_update(run_ids)

    def suspect(self, keys: Sequence[str]) -> None:
        """See RunBook."""
        self._suspects.update(keys)

    def suspects(self) -> Sequence[str]:
        """See RunBook."""
        return sorted(self._suspects)

    def clear(self, key: str) -> None:
        """See RunBook."""
        self._suspects.discard(key)
