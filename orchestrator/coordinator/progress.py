"""How far a run is, as plain values for whoever shows it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ScopeProgress:
    """How far the studies of one scope are."""

    scope: str
    done: int
    total: int
    failed: int
    best_family: str | None
    best_score: float | None
    left_s: float | None
    """Seconds until its last trial, estimated; None before the first."""


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    phase: str
    """`defaults`, `tuning`, `finalists` or `done`."""
    elapsed_s: float
    scopes: tuple[ScopeProgress, ...]
