"""How much an old event still counts: the half-life that `popularity`, `repeat` and `sar` share."""

import numpy as np
from numpy.typing import NDArray

DAY_S = 86_400
"""Seconds in a day."""


def half_life_decay(ages_s: NDArray[np.int64], half_life_days: float | None) -> NDArray[np.float64]:
    """The factor 0.5 ** (age / half-life) of each age in seconds; 1 everywhere where there is no half-life."""
    if half_life_days is None:
        return np.ones(len(ages_s))
    return np.power(0.5, ages_s / (half_life_days * DAY_S))
