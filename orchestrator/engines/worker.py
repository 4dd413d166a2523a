"""The process that runs attempts, one after the other, for the process that started it: `python -m` this module.

It dies with its driver, whatever becomes of the driver: the kernel is asked to kill it (Linux), and a thread watches.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

from orchestrator.engines.attempt import LogFile, run_attempt

_PR_SET_PDEATHSIG = 1
_WATCH_S = 0.5


def die_with(driver: int) -> None:
    """Have this process killed when its parent, `driver`, is gone, even if it died before this call."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(driver,), daemon=True).start()


def _watch(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(_WATCH_S)
    os.killpg(os.getpid(), signal.SIGKILL)


def serve(connection: Connection, log: LogFile) -> None:
    """Greet, then answer requests until the driver hangs up."""
    process = os.getpid()
    connection.send_bytes(b"{}")
    while True:
        try:
            request = connection.recv_bytes()
        except EOFError:
            return
        _restore_signals()
        reply = run_attempt(request, log)
        if os.getpid() != process:  # a task forked and its child came back here: only the parent may answer
            os._exit(0)
        connection.send_bytes(reply)


def _restore_signals() -> None:
    """SIGTERM ends an attempt, whatever the driver or an earlier task did to it; Ctrl-C is the driver's business."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def main(descriptor: str, driver: str, log: str) -> None:
    """Serve the socket of that file descriptor for the driver of that process id."""
    _restore_signals()
    os.set_inheritable(int(descriptor), False)
    die_with(int(driver))
    serve(Connection(int(descriptor)), LogFile(Path(log)))


if __name__ == "__main__":
    main(*sys.argv[1:])
