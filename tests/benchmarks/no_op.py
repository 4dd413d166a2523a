"""What workers run for `trial_overhead.py`: a task that does nothing, and answers as `run_task` does."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_METRICS = ("coverage", "hit_rate", "map", "mrr", "ndcg", "novelty", "precision", "recall", "revenue")
_CUTOFFS = (5, 10, 20)
_MEASURED = ("fit_s", "recommend_s", "evaluate_s", "model_mb", "peak_rss_mb")
_COUNTS = ("train_rows", "train_users", "items", "users", "users_cold", "users_excluded", "users_fallback")


def score_of(params: Mapping[str, Any]) -> float:
    """Something to learn: best at a rate of 0.5 and a size of 50."""
    return 1.0 / (1.0 + abs(params["rate"] - 0.5) + abs(params["size"] - 50) / 100 + (params["kind"] == "b"))


def score(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A result of the same shape and size as a real one of one country."""
    value = score_of(payload["model"]["params"])
    metrics = {f"{metric}_at_{k}": value / k for metric in _METRICS for k in _CUTOFFS}
    return {
        "metrics": {**metrics, "score": value},
        "countries": {},
        "counts": dict.fromkeys(_COUNTS, 1000),
        "random": 0.001,
        "measured": dict.fromkeys(_MEASURED, 0.0012345),
    }


def meet(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return when as many processes as there are workers have come here, so that each of them is warm."""
    folder = Path(payload["folder"])
    (folder / str(os.getpid())).touch()
    until = time.monotonic() + 60
    while len(list(folder.iterdir())) < payload["workers"]:
        if time.monotonic() > until:
            raise TimeoutError(f"only {len(list(folder.iterdir()))} of {payload['workers']} workers came within 60 s")
        time.sleep(0.005)
    return {}
