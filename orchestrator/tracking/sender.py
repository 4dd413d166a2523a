"""The sender: a process of its own that follows a run's ledger and drains it to the tracking server.

The run never waits for it, and it may be killed at any moment: what it has done stands in the outbox, what it was
about to do too. It ends when the run tells it to, or when the run's process is gone.
"""

import argparse
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import psutil

from orchestrator.errors import InputError
from orchestrator.ledger import Ledger
from orchestrator.runs import LEDGER
from orchestrator.tracking import checked_uri, open_tracker
from orchestrator.tracking.drain import CLOSE_S, DRAIN_S, POLL_S, Drain
from orchestrator.tracking.feed import Feed, backlog
from orchestrator.tracking.outbox import OUTBOX, Outbox, read_position, try_lock

LOCK_S = DRAIN_S + CLOSE_S + 5.0
"""The longest that the sender of a run that was killed still works."""
SYNC_S = 30.0
"""How long `sync` goes on without anything arriving."""
MAY_BE_GONE_S = 0.5
"""How often the sender looks whether the run's process is there."""
RESTART_S = (1.0, 30.0)
FINISH = "finish"


@dataclass(frozen=True)
class OutboxState:
    """How far a run is on its tracking server; counted in trials, studies and ends of studies."""

    sent: int
    waiting: int
    oldest_s: float
    """How long the oldest of those that wait has waited."""
    error: str = ""
    """What is wrong at the moment; empty when nothing is."""


def outbox_state(run_folder: Path) -> OutboxState:
    """How far the sending is; takes about a millisecond, and asks no server."""
    position = read_position(run_folder)
    ledger = Ledger.open(run_folder / LEDGER)
    try:
        found = backlog(ledger, position.cursors)
    finally:
        ledger.close()
    return OutboxState(found.sent - position.aside, found.waiting + position.aside, found.oldest_s, position.error)


class SenderHandle:
    """The run's end of its sender: starts it again when it dies, and tells it when the run is over."""

    def __init__(self, run_folder: Path, tracking_uri: str) -> None:
        self._folder = run_folder.resolve()
        self._uri = tracking_uri
        self._lock = threading.Lock()
        self._finishing = threading.Event()
        self._process = self._spawn()
        threading.Thread(target=self._mind, name="sender", daemon=True).start()

    @property
    def pid(self) -> int:
        """The sender's process."""
        return self._process.pid

    def finish(self, timeout_s: float) -> OutboxState:
        """Say that the run is over, wait up to `timeout_s` until all has arrived, and tell how far it is.

        The sender goes on by itself where the time was too short, for 30 s at most.
        """
        with self._lock:
            self._finishing.set()
            if self._process.poll() is not None:
                self._process = self._spawn()
            _tell(self._process, FINISH)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        state = outbox_state(self._folder)
        if self._process.poll() == 0:
            return state
        return replace(state, waiting=max(state.waiting, 1))  # rows may have arrived, but server runs are still open

    def _spawn(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "orchestrator.tracking.sender", str(self._folder), self._uri]
        with (self._folder / "sender.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "--driver", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                text=True,
                start_new_session=True,  # a Ctrl-C of the terminal is the run's, not the sender's
            )

    def _mind(self) -> None:
        wait_s, longest_s = RESTART_S
        while True:
            self._process.wait()
            if self._finishing.wait(wait_s):
                return
            with self._lock:
                if not self._finishing.is_set():
                    self._process = self._spawn()
            wait_s = min(2 * wait_s, longest_s)


def start_sender(run_folder: Path, tracking_uri: str) -> SenderHandle:
    """Start the sender of a run whose ledger exists; returns at once."""
    return SenderHandle(run_folder, checked_uri(tracking_uri))


def sync(run_folder: Path, tracking_uri: str) -> OutboxState:
    """Send, in this process, what a destination has not got yet of a run that nobody works on.

    Raises InputError where the server does not answer, or a sender is at work on the run.
    """
    uri = checked_uri(tracking_uri)
    tracker = open_tracker(uri, "")
    try:
        tracker.probe()
    finally:
        tracker.close()
    if not _send(run_folder, uri, lambda: True, patience_s=SYNC_S, sliding=True):
        waiting = outbox_state(run_folder)
        return OutboxState(waiting.sent, max(waiting.waiting, 1), waiting.oldest_s, waiting.error)
    return outbox_state(run_folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sender; 0 when everything has arrived, 2 where it cannot be sent there, 3 when something is left."""
    parser = argparse.ArgumentParser(prog="sender", description=__doc__)
    parser.add_argument("run_folder", type=Path)
    parser.add_argument("tracking_uri")
    parser.add_argument("--driver", type=int, required=True, help="the run's process; when it is gone the run is over")
    given = parser.parse_args(arguments)
    ending = Ending(given.driver, sys.stdin)
    try:
        return 0 if _send(given.run_folder, given.tracking_uri, ending, patience_s=DRAIN_S, sliding=False) else 3
    except InputError as error:
        logging.getLogger(__name__).error("%s", error)
        return InputError.exit_code


class Ending:
    """Whether a run is over: its process said so, or is gone."""

    def __init__(self, driver: int, told: IO[str] | None) -> None:
        self._told = told
        self._over = False
        self._looked_at = 0.0
        try:
            self._driver: psutil.Process | None = psutil.Process(driver)
        except psutil.NoSuchProcess:
            self._driver = None

    def __call__(self) -> bool:
        """True once the run is over, and from then on."""
        self._over = self._over or self._was_told() or self._is_alone()
        return self._over

    def _was_told(self) -> bool:
        if self._told is None or not select.select([self._told], [], [], 0)[0]:
            return False
        line = self._told.readline()
        if not line:  # the other end is closed; whether the run's process lives is seen from its id
            self._told = None
        return line.startswith(FINISH)

    def _is_alone(self) -> bool:
        if time.monotonic() - self._looked_at < MAY_BE_GONE_S:
            return False
        self._looked_at = time.monotonic()
        try:
            return (
                self._driver is None or not self._driver.is_running() or self._driver.status() == psutil.STATUS_ZOMBIE
            )
        except psutil.NoSuchProcess:
            return True


def _send(folder: Path, uri: str, ending: Callable[[], bool], *, patience_s: float, sliding: bool) -> bool:
    with ExitStack() as stack:
        stack.enter_context(_lock(folder))
        ledger = Ledger.open(folder / LEDGER)
        stack.callback(ledger.close)
        outbox = Outbox(folder / OUTBOX, uri)
        stack.callback(outbox.close)
        feed = Feed(ledger)
        tracker = open_tracker(uri, feed.run.experiment, outbox)
        stack.callback(tracker.close)
        try:
            return Drain(feed, outbox, tracker, ending, patience_s=patience_s, sliding=sliding).run()
        except InputError as error:
            outbox.note_error(str(error))
            raise


def _lock(folder: Path) -> IO[bytes]:
    """Wait for the sender of a run that was killed to come to its end."""
    until = time.monotonic() + LOCK_S
    while (lock := try_lock(folder)) is None:
        if time.monotonic() > until:
            raise InputError(
                f"a run must have one sender at a time, but {folder} has one at work; wait until the run is over"
            )
        time.sleep(POLL_S)
    return lock


def _tell(process: subprocess.Popen[str], line: str) -> None:
    if process.stdin is None:
        return
    with suppress(BrokenPipeError):  # it has just died; what it has not sent is sent by `sync`
        process.stdin.write(line + "\n")
        process.stdin.close()


if __name__ == "__main__":
    sys.exit(main())
