"""The sender's loop: what the ledger has gained goes to the tracker, in order, until it has arrived."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from orchestrator.errors import InputError
from orchestrator.tracking import NotSent, Record, Tracker
from orchestrator.tracking.feed import Feed, Item, Source
from orchestrator.tracking.outbox import Outbox

POLL_S = 0.05
ROWS_AT_ONCE = 256
DRAIN_S, CLOSE_S = 25.0, 5.0
"""After the end of the run: the time to drain, and then to close what is open; 30 s together."""
LONGEST_WAIT_S = 5.0
STUBBORN = 8
"""A record that fails this often with nothing else getting through, while the server answers others, is set aside and tried again later."""
ASIDE_S = 15.0


class Drain:
    """Sends one run to one destination.

    `ending` tells when the run is over (True once, and from then on). `patience_s` is how long the drain goes on
    after that; with `sliding` every success starts it anew.
    """

    def __init__(
        self,
        feed: Feed,
        outbox: Outbox,
        tracker: Tracker,
        ending: Callable[[], bool],
        *,
        patience_s: float,
        sliding: bool,
    ) -> None:
        self._feed = feed
        self._outbox = outbox
        self._tracker = tracker
        self._ending = ending
        self._patience_s = patience_s
        self._sliding = sliding
        self._cursors = outbox.cursors()
        self._deadline: float | None = None
        self._aside_at = 0.0
        self._fruitless = 0

    def run(self) -> bool:
        """Follow the ledger to its end; returns whether everything has arrived. Gives up when patience is over."""
        try:
            self._deliver([] if self._over() else self._feed.reopening(self._cursors))
            while True:
                last = self._over()  # asked first: what was committed before the end is in the pass that follows
                if last:
                    self._feed.recover()
                if self._feed.changed() or last:
                    self._pass()
                self._retry_aside(now=last)
                if last:
                    break
                time.sleep(POLL_S)
            self._close()
        except NotSent:
            return False
        return not self._outbox.aside()

    def _pass(self) -> None:
        while True:
            items, reached = self._feed.after(self._cursors, ROWS_AT_ONCE)
            if not items:  # results of tuning went by: remembered, but not worth a write to the disk
                self._cursors = reached
                return
            refused = self._deliver([item.record for item in items])
            self._outbox.advance(reached, _rows_of(items, refused))
            self._cursors = reached

    def _deliver(self, records: Sequence[Record]) -> dict[str, str]:
        """Send until all have arrived; gives those that the server refuses (key -> reason), raises NotSent at the end."""
        left, refused = list(records), dict[str, str]()
        self._fruitless = 0

        def once() -> None:
            nonlocal left
            before = len(left)
            try:
                self._tracker.send(left)
            except NotSent as failure:
                refused.update({key: why.reason for key, why in failure.refusals.items() if not why.again})
                left = [r for r in left if r.key in failure.refusals and failure.refusals[r.key].again]
                self._fruitless = 0 if len(left) < before else self._fruitless + 1
                if not (left and self._fruitless >= STUBBORN and self._server_answers()):
                    self._raise(failure, left)
                refused.update({record.key: failure.refusals[record.key].reason for record in left})

        if left:
            self._retrying()(once)
            self._outbox.note_error("")
        return refused

    def _raise(self, failure: NotSent, left: Sequence[Record]) -> None:
        if left:
            raise NotSent({record.key: failure.refusals[record.key] for record in left}) from failure

    def _retrying(self) -> Retrying:
        if self._sliding and self._deadline is not None:
            self._deadline = time.monotonic() + self._patience_s
        return Retrying(
            retry=retry_if_exception_type(NotSent),
            wait=lambda _: min(LONGEST_WAIT_S, 0.1 * 2**self._fruitless),
            stop=lambda _: self._over() and time.monotonic() >= (self._deadline or 0.0),
            sleep=self._pause,
            before_sleep=self._note,
            reraise=True,
        )

    def _note(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._outbox.note_error(str(error))

    def _pause(self, wait_s: float) -> None:
        """Sleep, but wake up when the run ends: the server may be back by then."""
        until, ended = time.monotonic() + wait_s, self._over()
        while time.monotonic() < until and self._over() == ended:
            time.sleep(POLL_S)

    def _over(self) -> bool:
        if self._deadline is None and self._ending():
            self._deadline = time.monotonic() + self._patience_s
            if not self._sliding:
                _leave_within(self._patience_s + CLOSE_S)
        return self._deadline is not None

    def _server_answers(self) -> bool:
        try:
            self._tracker.probe()
        except InputError:
            return False
        return True

    def _retry_aside(self, *, now: bool) -> None:
        if not now and time.monotonic() < self._aside_at + ASIDE_S:
            return
        self._aside_at = time.monotonic()
        for source, seq in self._outbox.aside():
            item = self._feed.again(source, seq)
            try:
                self._tracker.send([item.record])
            except NotSent as failure:
                self._outbox.note_error(str(failure))
            else:
                self._outbox.take_back((source, seq))

    def _close(self) -> None:
        self._deadline = time.monotonic() + CLOSE_S
        self._deliver(self._feed.closing(self._cursors))
        self._tracker.settle()


def _rows_of(items: Sequence[Item], refused: Mapping[str, str]) -> dict[tuple[Source, int], str]:
    return {(item.source, item.seq): refused[item.record.key] for item in items if item.record.key in refused}


def _leave_within(limit_s: float) -> None:
    """End the process at its limit, whatever a server does to it: what it has not sent is in the ledger."""
    timer = threading.Timer(limit_s, os._exit, (3,))
    timer.daemon = True
    timer.start()
