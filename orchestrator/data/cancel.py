"""Finds the sale that a cancellation reverses."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def reversed_sales(
    keys: Sequence[NDArray[Any]], times: NDArray[np.int64], cancels: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Positions of the sales that are reversed.

    A cancellation reverses the latest sale with the same `keys` (user, item, quantity, price; each (n,)) that is not
    later than itself and not reversed yet. Seen in the order of time this is the matching of brackets, a sale
    opening and a cancellation closing: what opens at a depth is closed by the next that closes at that depth.
    """
    order = np.lexsort((cancels, times, *keys))
    closes = cancels[order]
    starts = np.zeros(len(order), dtype=np.bool_)
    for key in keys:
        starts[1:] |= key[order][1:] != key[order][:-1]
    group = np.cumsum(starts, dtype=np.intp)
    matched = np.flatnonzero(~_unopened(closes, group))
    order, closes, group = order[matched], closes[matched], group[matched]
    running = np.cumsum(_steps(closes))
    depth = running - _base(running, group) + closes  # of a pair alike: after it opens, before it closes
    pairs = np.lexsort((np.arange(len(order)), depth, group))
    opens_before_close = ~closes[pairs[:-1]] & closes[pairs[1:]]
    same = (group[pairs[:-1]] == group[pairs[1:]]) & (depth[pairs[:-1]] == depth[pairs[1:]])
    sales: NDArray[np.intp] = order[pairs[:-1][opens_before_close & same]]
    return sales


def _unopened(closes: NDArray[np.bool_], group: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Cancellations with no sale left to reverse: there the depth of their group falls to a new low below zero."""
    running = np.cumsum(_steps(closes))
    depth = running - _base(running, group)
    far = len(closes) + 1
    lows = np.minimum.accumulate(np.minimum(depth, 0) - group * far) + group * far  # a low of one group ends with it
    before = np.zeros_like(lows)
    before[1:] = np.where(group[1:] == group[:-1], lows[:-1], 0)
    return np.asarray(closes & (lows < before), dtype=np.bool_)


def _steps(closes: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.where(closes, -1, 1)


def _base(running: NDArray[np.intp], group: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each position the running sum before its group began."""
    first = np.flatnonzero(np.diff(group, prepend=-1))
    before: NDArray[np.intp] = np.where(first > 0, running[first - 1], 0)
    lengths = np.diff(np.append(first, len(group)))
    return np.repeat(before, lengths)
