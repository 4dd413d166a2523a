"""Which rows a fold trains on and which it is evaluated on: four ways to cut, one form of result.

Every row gets a part: 0 is always trained on, 1..folds is the validation window of fold part - 1, folds + 1 is the
test window, -1 is left out.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_FOLDS = 100
"""More would not fit into the 8 bits of a part."""
TEST = "test"
"""The name of the fold that is evaluated on the test window."""


@dataclass(frozen=True, eq=False)
class Split:
    """How interactions become train, validation folds and a test set. Made by the functions of this module."""

    method: str
    """temporal, last, random or given."""
    part: NDArray[np.int8]
    """(n,) the part of each row."""
    folds: int
    rolling: bool
    """Whether a fold trains only on the parts before its own; else on every part but its own and the test's."""
    fingerprint: str
    """A hash of method, settings and parts."""

    def rows(self, fold: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The rows that `fold` ("0".."n-1" or "test") trains on and those it is evaluated on, in order of row."""
        names = [*map(str, range(self.folds)), TEST]
        if fold not in names:
            raise ValueError(f"fold must be one of {', '.join(names)}, but got {fold!r}")
        own = names.index(fold) + 1
        last = own - 1 if self.rolling else self.folds
        train = (self.part >= 0) & (self.part <= last) & (self.part != own)
        return np.flatnonzero(train), np.flatnonzero(self.part == own)


def temporal(times: NDArray[np.int64], *, folds: int, window: float) -> Split:
    """Rolling origin on one time line for all: the past is trained on, each window is the near future of the one before.

    `times` (n,) are cut at folds + 1 moments, so that each validation window and the test window hold about `window`
    (a fraction) of the rows. A cut is a time: all rows of one time fall on the same side, and a window is as near to its
    size as that allows. Training never looks ahead, in any country. Raises ValueError when there are too few distinct
    times. Rolling-origin evaluation: Tashman, Int. J. Forecasting 16 (2000).
    """
    _check_windows(folds, window, folds + 1)
    moments, counts = np.unique(times, return_counts=True)
    if len(moments) < folds + 2:
        raise ValueError(
            f"a temporal split into {folds} folds and a test window needs {folds + 2} distinct times, "
            f"but got {len(moments)}; ask for fewer folds or another split"
        )
    cuts = moments[_cuts(np.cumsum(counts), folds, window)]
    part = np.searchsorted(cuts, times, side="right").astype(np.int8)
    return _split("temporal", part, folds, True, {"window": window})


def leave_last(users: NDArray[np.int32], times: NDArray[np.int64], *, n: int, folds: int) -> Split:
    """Each user's newest rows: the last n are the test, the n before them fold folds - 1, and so on back to fold 0.

    Rows of one time keep their order. A user's oldest row is always trained on, so one with too few rows fills the
    windows from the newest on as far as the rows go: the last window reached may hold fewer than n, those before it
    none. The future of one user may be the past of another: `temporal` is the stricter judge (Ji et al., A Critical
    Study on Data Leakage in Recommender System Offline Evaluation, TOIS 41, 2023).
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, but got {n}: it is the number of rows a user gives to each window")
    _check_folds(folds)
    order = np.lexsort((times, users))
    rank, size = _ranks(users[order])
    back = (size - 1 - rank) // n
    part = np.zeros(len(users), dtype=np.int8)
    part[order] = np.where((back > folds) | (rank == 0), 0, folds + 1 - back)
    return _split("last", part, folds, True, {"n": n})


def random(users: NDArray[np.int32], *, folds: int, window: float, seed: int) -> Split:
    """Each user's rows at random: `window` (a fraction) of them to the test and as much to each validation window.

    The windows are disjoint and of one size, so that each fold resembles the test; the rest is always trained on, and a
    fold trains on the other folds' windows too. A user with c rows gives c * window of them to each window, rounded up
    or down by the draw, but always keeps a row to train on.
    """
    _check_windows(folds, window, folds + 1)
    part = _carve(users, [folds + 1, *range(1, folds + 1)], window, seed)
    return _split("random", part, folds, False, {"window": window, "seed": seed})


def given(
    labels: NDArray[np.int8], users: NDArray[np.int32], *, folds: int = 3, window: float = 0.1, seed: int = 0
) -> Split:
    """The user's own split, so that published protocols can be reproduced: label 0 is train, 1 validation, 2 test.

    With validation rows there is one fold. Without, `folds` windows of `window` (a fraction) are drawn from the
    training rows as `random` does; the other settings are for this case alone.
    """
    found = np.unique(labels).tolist()
    if not {0, 2} <= set(found) <= {0, 1, 2}:
        raise ValueError(f"a given split must hold labels 0 (train) and 2 (test), and may hold 1, but got {found}")
    if 1 in found:
        return _split("given", labels.astype(np.int8), 1, True, {})
    _check_windows(folds, window, folds)
    train = labels == 0
    part = np.full(len(labels), folds + 1, dtype=np.int8)
    part[train] = _carve(users[train], range(1, folds + 1), window, seed)
    return _split("given", part, folds, False, {"window": window, "seed": seed})


def _cuts(ends: NDArray[np.int64], folds: int, window: float) -> list[int]:
    """Which distinct times begin a window, rising; `ends` are the rows up to and with each time.

    Each is the nearest to its quantile that leaves a time for every window before and after it.
    """
    rows = int(ends[-1])
    starts = ends[:-1]
    cuts: list[int] = []
    free = len(starts)
    for number in range(folds, -1, -1):
        target = rows * (1 - window * (folds + 1 - number))
        nearest = int(np.argmin(np.abs(starts[number:free] - target))) + number
        cuts.insert(0, nearest + 1)
        free = nearest
    return cuts


def _carve(users: NDArray[np.int32], parts: Sequence[int], window: float, seed: int) -> NDArray[np.int8]:
    """Deal `window` of each user's rows to each of `parts` in turn, and 0 to the rest (systematic sampling).

    A user's rows, shuffled, stand at even distances on a line from 0 to 1, and the line's start is drawn.
    """
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(users)), users))
    rank, size = _ranks(users[order])
    start = rng.random(len(users))[np.arange(len(users)) - rank]
    place = ((rank + start) / size / window).astype(np.int64)
    kept = (place >= len(parts)) | (rank == size - 1)
    part = np.empty(len(users), dtype=np.int8)
    part[order] = np.where(kept, 0, np.asarray(parts)[np.minimum(place, len(parts) - 1)])
    return part


def _ranks(grouped: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For rows that are grouped by user: each row's place in its group, and the size of the group."""
    _, counts = np.unique(grouped, return_counts=True)
    first = np.cumsum(counts) - counts
    return np.arange(len(grouped)) - np.repeat(first, counts), np.repeat(counts, counts)


def _check_windows(folds: int, window: float, windows: int) -> None:
    _check_folds(folds)
    if not 0 < window * windows < 1:
        raise ValueError(
            f"{windows} windows of {window} of the rows must be more than none and leave something to train on; "
            f"give a window between 0 and {1 / windows:.3g}, or fewer folds"
        )


def _check_folds(folds: int) -> None:
    if not 1 <= folds <= MAX_FOLDS:
        raise ValueError(f"folds must be between 1 and {MAX_FOLDS}, but got {folds}")


def _split(method: str, part: NDArray[np.int8], folds: int, rolling: bool, settings: dict[str, Any]) -> Split:
    about = json.dumps({"method": method, "folds": folds, "rolling": rolling, **settings}, sort_keys=True)
    digest = hashlib.blake2b(about.encode() + b"\0" + part.tobytes(), digest_size=16)
    part.setflags(write=False)
    return Split(method, part, folds, rolling, digest.hexdigest())
