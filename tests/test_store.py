import errno
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import InputError
from orchestrator.store import Store


def test_what_is_put_is_got_and_writing_to_it_changes_no_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("key", {"a": np.arange(5), "b.c": np.ones((2, 3), dtype=np.float32)})
    got = store.get("key")
    got["a"][0] = 99
    assert store.get("key")["a"].tolist() == [0, 1, 2, 3, 4]
    assert got["b.c"].dtype == np.float32


def test_a_second_put_leaves_the_entry_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("key", {"a": np.zeros(1)})
    store.put("key", {"a": np.ones(1)})
    assert store.get("key")["a"][0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_an_entry_that_is_not_there_is_a_key_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no entry"):
        Store(tmp_path).get("nothing")


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match="No space left on device"):
        Store(tmp_path).put("key", {"a": np.zeros(1)})
    assert list(tmp_path.iterdir()) == []


def test_prune_forgets_the_oldest_but_not_what_is_pinned(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number, key in enumerate(("old", "pinned", "new")):
        store.put(key, {"a": np.zeros(1000)})
        os.utime(tmp_path / key, (number, number))
    os.utime(tmp_path / "pinned", (-1, -1))
    with store.pinned("pinned"):
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=Store(tmp_path).prune, args=(17_000,))
        process.start()
        process.join()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "pinned"]
