"""What the tasks of the contract suite do: well-behaved, failing and hostile functions, called by name."""

import ctypes
import hashlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def nothing(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"echo": payload.get("number", 0)}


def algebra(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A result whose last bits depend on how many threads BLAS uses."""
    import numpy as np
    import scipy.linalg

    a = np.random.default_rng(payload["seed"]).standard_normal((700, 400)).astype(np.float32)
    gram = a.T @ a + np.eye(400, dtype=np.float32)
    inverse = scipy.linalg.inv(gram)
    text = hashlib.sha256(gram.tobytes() + inverse.tobytes()).hexdigest()
    return {"digest": text, "sum": float(inverse.sum()), "tuple": (1, 2.5), "keys": {1: None}}


def threads(payload: Mapping[str, Any]) -> dict[str, Any]:
    import numba
    import scipy.linalg  # noqa: F401 - its own BLAS
    import threadpoolctl

    return {
        "pools": sorted({pool["num_threads"] for pool in threadpoolctl.threadpool_info()}),
        "numba": numba.get_num_threads(),
    }


def process(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"pid": os.getpid(), "parent": os.getppid()}


def meet(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Returns only if another worker runs its own `meet` at the same time."""
    folder = Path(payload["folder"])
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < payload["parties"]:
        time.sleep(0.01)
    return {}


def value_error(payload: Mapping[str, Any]) -> dict[str, Any]:
    raise ValueError("a first line\nand a second")


def leave(payload: Mapping[str, Any]) -> dict[str, Any]:
    sys.exit("enough")


def no_memory(payload: Mapping[str, Any]) -> dict[str, Any]:
    import numpy as np

    return {"length": len(np.ones(2**50))}


def not_finite(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"score": float("nan")}


def not_json(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"score": {1, 2}}


def not_a_mapping(payload: Mapping[str, Any]) -> Any:
    return [1, 2]


def sleep(payload: Mapping[str, Any]) -> dict[str, Any]:
    time.sleep(payload["seconds"])
    return {}


def stubborn(payload: Mapping[str, Any]) -> dict[str, Any]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass


def segfault(payload: Mapping[str, Any]) -> dict[str, Any]:
    print("the last words", flush=True)
    ctypes.string_at(0)
    return {}


def exit_now(payload: Mapping[str, Any]) -> dict[str, Any]:
    print("before the exit")
    os._exit(3)


def chatter(payload: Mapping[str, Any]) -> dict[str, Any]:
    for line in range(200):
        print(f"line {line}")
    raise RuntimeError("after the chatter")


def announce_and_sleep(payload: Mapping[str, Any]) -> dict[str, Any]:
    Path(payload["file"]).write_text(str(os.getpid()))
    time.sleep(60)
    return {}


def fork_and_sleep(payload: Mapping[str, Any]) -> dict[str, Any]:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
        os._exit(0)
    Path(payload["file"]).write_text(str(child))
    time.sleep(60)
    return {}


def fork_and_return(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The child comes back from the task as well; a worker must not answer twice."""
    return {"child": os.fork() == 0}


def interrupt(payload: Mapping[str, Any]) -> dict[str, Any]:
    raise KeyboardInterrupt
