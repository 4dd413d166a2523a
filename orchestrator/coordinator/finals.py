"""Who goes to the test set, once all tuning is over."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.plan import BASELINES
from orchestrator.trial import StudyKey

Best = Mapping[str, Any]
"""A trial end with its params."""


def finalists(best: Mapping[StudyKey, Best], scopes: Sequence[str], most: int) -> list[tuple[StudyKey, Best]]:
    """Of each scope, the best trials of the `most` best families, and the best baseline; in order of scope and score.

    Equal scores stand in order of family name.
    """
    chosen: list[tuple[StudyKey, Best]] = []
    for scope in scopes:
        inside = [key for key in best if key.scope == scope]
        ranked = sorted(inside, key=lambda key: (-best[key]["score"], key.family))
        baselines = [key for key in ranked if key.family in BASELINES]
        picked = dict.fromkeys([*ranked[:most], *baselines[:1]])
        chosen += [(key, best[key]) for key in picked]
    return chosen
