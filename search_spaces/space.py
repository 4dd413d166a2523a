"""The words in which a search space is written: bounds as data, without a sampler."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Int:
    """Whole numbers from low to high, both included; `log` draws them evenly over the magnitudes."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True)
class Float:
    """Real numbers from low to high, both included."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[str | int | float | bool | None, ...]


Space = Mapping[str, Int | Float | Choice]
"""hyperparameter -> where to look; one that is not named keeps its default."""
