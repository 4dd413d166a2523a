"""Arrays, content-addressed and memory-mapped: written once a machine, read by every worker without a copy."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import InputError

MAX_BYTES = 20 * 1024**3
"""What the store keeps before it forgets the entries that were used longest ago."""


DRAFT_S = 86_400.0
"""The age at which an entry that was never finished is left over from a process that died."""


def default_root() -> Path:
    """$ORCHESTRATE_STORE, or a folder in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("ORCHESTRATE_STORE") or cache / "orchestrate" / "store")


class Store:
    """A folder of entries; an entry is a folder of .npy files under a key that is a hash of what it holds."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write an entry, unless it is there; others see all of it or nothing.

        Raises InputError where the disk is full or the folder cannot be written.
        """
        folder = self.root / key
        if folder.exists():
            _touch(folder)
            return
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.root))
            try:
                for name, array in arrays.items():
                    np.save(draft / f"{name}.npy", array, allow_pickle=False)
                draft.chmod(0o755)
                _rename(draft, folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        except OSError as error:
            raise InputError(
                f"the store must be writable, but {self.root} is not ({error.strerror}); free space or set ORCHESTRATE_STORE"
            ) from error

    def get(self, key: str) -> dict[str, NDArray[Any]]:
        """The arrays of an entry, mapped copy-on-write: writing to one changes no file. KeyError without an entry."""
        folder = self.root / key
        if not folder.is_dir():
            raise KeyError(f"no entry {key} in the store {self.root}")
        _touch(folder)
        return {path.stem: np.load(path, mmap_mode="c", allow_pickle=False) for path in sorted(folder.glob("*.npy"))}

    @contextmanager
    def pinned(self, *keys: str) -> Iterator[None]:
        """While inside, `prune` of any process leaves these entries alone."""
        with ExitStack() as stack:
            for key in keys:
                with suppress(PermissionError):  # an entry of somebody else's, whose `prune` is not ours
                    lock = stack.enter_context((self.root / key / ".pin").open("a"))
                    fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def prune(self, max_bytes: int = MAX_BYTES) -> None:
        """Forget the entries used longest ago, until the rest is within `max_bytes`; pinned ones stay."""
        for draft in self.root.glob(".draft-*"):
            if time.time() - draft.stat().st_mtime > DRAFT_S:
                shutil.rmtree(draft, ignore_errors=True)
        entries = sorted(
            (path for path in self.root.glob("[!.]*") if path.is_dir()), key=lambda path: path.stat().st_mtime
        )
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in entries}
        excess = sum(sizes.values()) - max_bytes
        for path in entries:
            if excess <= 0:
                return
            if _remove_unpinned(path):
                excess -= sizes[path]


def _touch(folder: Path) -> None:
    """Say that an entry was used; a store that others own cannot be told."""
    with suppress(PermissionError):
        os.utime(folder)


def _rename(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        if not folder.exists():  # another process was first, with the same content: that is as good
            raise


def _remove_unpinned(folder: Path) -> bool:
    try:
        lock = (folder / ".pin").open("a")
    except PermissionError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(folder, ignore_errors=True)
        return True
