"""The K best of each row of scores: exact, deterministic, and fast on one thread."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])

GROUPS_PER_CHOICE = 3
"""Groups of columns per item wanted: the more, the tighter the bound, and the dearer to find."""


def top_k(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The k best columns of each row, best first; equal scores stand in order of column.

    `scores` is (b, n) float32, where -inf marks a column that may not be chosen. Returns items (b, k) int32 and
    scores (b, k) float32; only a row with fewer than k eligible columns is padded, with -1 and -inf. Raises ValueError
    for a NaN.

    A row's columns are dealt out to groups. The k-th best of the groups' maxima is a bound that at least k columns
    reach and few surpass, so two passes at the speed of a comparison leave little more than k columns to sort.
    """
    if scores.ndim != 2 or k < 1:
        raise ValueError(f"scores must have 2 dimensions and k must be at least 1, but got {scores.ndim} and k = {k}")
    dense = np.ascontiguousarray(scores, dtype=np.float32).view()
    dense.setflags(write=False)  # the kernels are compiled once, for a read-only type, whatever comes
    items = np.full((len(dense), k), -1, dtype=np.int32)
    best = np.full((len(dense), k), -np.inf, dtype=np.float32)
    row = _fill(dense, dense.view(np.uint32), GROUPS_PER_CHOICE * k, items, best)
    if row >= 0:
        raise ValueError(f"every score must be a number or -inf, but row {row} holds NaN: the model has diverged")
    return items, best


def compiled(function: Function) -> Function:
    """Machine code, kept on disk for the next process; where no folder can be written, made anew in each process."""
    try:
        return cast(Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        return cast(Function, numba.njit(nogil=True)(function))


@compiled
def _fill(
    scores: NDArray[np.float32],
    bits: NDArray[np.uint32],
    groups: int,
    items: NDArray[np.int32],
    best: NDArray[np.float32],
) -> int:
    """Fill every row of items and best; returns the first row with a NaN, or -1."""
    k = items.shape[1]
    maxima = np.empty(groups, dtype=np.float32)
    keys = np.empty(scores.shape[1], dtype=np.uint64)
    for row in range(scores.shape[0]):
        if _maxima(scores[row], maxima):
            return row
        bound = _kth_best(maxima.copy(), k)
        found = _reach(scores[row], bits[row], maxima, bound, k, keys)
        chosen = np.sort(keys[:found])[:k]
        for place in range(chosen.size):
            item = np.int32(chosen[place] & np.uint64(0xFFFFFFFF))
            items[row, place] = item
            best[row, place] = scores[row, item]
    return -1


@compiled
def _maxima(scores: NDArray[np.float32], maxima: NDArray[np.float32]) -> bool:
    """The maximum of each group, where column c belongs to group c modulo their number; True if there is a NaN.

    Dealt out like that, neighbours, which are of like popularity, fall into different groups.
    """
    maxima[:] = -np.inf
    nan = False
    for start in range(0, scores.size, maxima.size):
        strip = scores[start : start + maxima.size]
        for group in range(strip.size):
            score = strip[group]
            nan |= score != score
            maxima[group] = score if score > maxima[group] else maxima[group]
    return nan


@compiled
def _kth_best(values: NDArray[np.float32], k: int) -> np.float32:
    """The k-th largest of `values`, which are reordered (Hoare's FIND; np.partition takes 4 s to compile)."""
    place = values.size - k
    low, high = 0, values.size - 1
    while low < high:
        pivot, left, right = values[place], low, high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left, right = left + 1, right - 1
        low = left if right < place else low
        high = right if left > place else high
    found: np.float32 = values[place]
    return found


@compiled
def _reach(
    scores: NDArray[np.float32],
    bits: NDArray[np.uint32],
    maxima: NDArray[np.float32],
    bound: np.float32,
    k: int,
    keys: NDArray[np.uint64],
) -> int:
    """Write the keys of all columns above the bound, and of the first that equal it up to k; returns how many."""
    found = 0
    for group in range(maxima.size):
        if maxima[group] > bound:
            for column in range(group, scores.size, maxima.size):
                if scores[column] > bound:
                    keys[found] = _key(bits[column], column)
                    found += 1
    column = 0 if bound > -np.inf else scores.size
    while found < k and column < scores.size:
        if scores[column] == bound:
            keys[found] = _key(bits[column], column)
            found += 1
        column += 1
    return found


@compiled
def _key(bits: np.uint32, column: int) -> np.uint64:
    """A number that is smaller for a better score, and for equal scores (0 and -0 are equal) for a lower column."""
    sign = np.uint32(0x80000000)
    if bits == sign:
        bits = np.uint32(0)
    falling = bits if bits & sign else ~(bits | sign)
    return (np.uint64(falling) << np.uint64(32)) | np.uint64(column)
