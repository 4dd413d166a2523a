"""Run one task on a worker: load the fold, fit, recommend, evaluate. The only code of ours that workers enter."""

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.fold import Fold, Rules, cut
from orchestrator.store import Store
from recommenders import load_family
from recommenders.protocol import TopK
from scoring.composite import Composite
from scoring.evaluate import Evaluation, evaluate
from scoring.metrics import expected_at_random
from scoring.split import Split

RUN_TASK = "orchestrator.execute:run_task"
"""What an engine is told to call."""


@dataclass(frozen=True)
class FoldRef:
    """Where a worker finds a fold: entries of the store, and how to cut them."""

    store: str
    data: str
    split: str
    method: str
    folds: int
    rolling: bool
    scope: int | None
    fold: str
    exclude_seen: bool
    cold_users: str
    cold_items: str


@dataclass(frozen=True)
class ModelRef:
    """What is fitted."""

    family: str
    params: Mapping[str, Any]
    seed: int
    threads: int


@dataclass(frozen=True)
class ScoreRef:
    """How lists are scored; `countries` are those to report on their own, as [code, name]."""

    cutoffs: tuple[int, ...]
    composite: Mapping[str, float]
    countries: tuple[tuple[int, str], ...] = ()


def run_task(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Score one configuration on one fold; the payload holds a FoldRef, a ModelRef and a ScoreRef as plain values.

    Returns `metrics`, which decide; `countries`, the same for each country asked for; `counts` of rows and users;
    `random`, what blind guessing would score; and `measured` (seconds, MB), which never decides.
    """
    model_ref, score_ref = ModelRef(**payload["model"]), ScoreRef(**payload["score"])
    fold = load_fold(FoldRef(**payload["fold"]))
    composite = Composite(score_ref.composite)
    family = load_family(model_ref.family)
    began = time.perf_counter()
    model = family(family.config_type(**model_ref.params), seed=model_ref.seed, threads=model_ref.threads)
    model.fit(fold.train)
    fitted = time.perf_counter()
    k = max(score_ref.cutoffs)
    lists: TopK = model.recommend(fold.users, k, exclude_seen=payload["fold"]["exclude_seen"])
    recommended = time.perf_counter()
    evaluation = _evaluate(fold, lists, score_ref)
    return {
        "metrics": {**evaluation.overall, "score": composite.score(evaluation.overall)},
        "countries": _by_country(fold, evaluation, composite, score_ref),
        "counts": {**fold.counts, "users_fallback": int(lists.fallback.sum())},
        "random": random_score(fold, composite),
        "measured": {
            "fit_s": fitted - began,
            "recommend_s": recommended - fitted,
            "evaluate_s": time.perf_counter() - recommended,
            "model_mb": model.size_mb(),
            "peak_rss_mb": _peak_rss_mb(),
        },
    }


@lru_cache(maxsize=6)
def load_fold(ref: FoldRef) -> Fold:
    """The fold that a reference names; a worker keeps the last few."""
    rules = Rules(ref.exclude_seen, ref.cold_users, ref.cold_items)
    part = _entry(ref.store, ref.split)["part"]
    split = Split(method=ref.method, part=part, folds=ref.folds, rolling=ref.rolling, fingerprint=ref.split)
    return cut(_entry(ref.store, ref.data), split, ref.scope, ref.fold, rules)


def random_score(fold: Fold, composite: Composite) -> float | None:
    """The composite that blind guessing is expected to reach; None where a part has no such formula."""
    n_relevant = np.diff(fold.truth.indptr)
    try:
        parts = {
            name: expected_at_random(metric, int(k), n_relevant, fold.n_candidates)
            for name in composite.weights
            for metric, _, k in [name.rpartition("_at_")]
        }
    except ValueError:
        return None
    return composite.score(parts)


@lru_cache(maxsize=4)
def _entry(store: str, key: str) -> Mapping[str, Any]:
    return Store(Path(store)).get(key)


def _evaluate(fold: Fold, lists: TopK, ref: ScoreRef) -> Evaluation:
    return evaluate(
        lists.items,
        fold.truth,
        cutoffs=tuple(ref.cutoffs),
        n_items=fold.train.n_items,
        item_counts=fold.item_counts,
    )


def _by_country(fold: Fold, evaluation: Evaluation, composite: Composite, ref: ScoreRef) -> dict[str, dict[str, float]]:
    """The per-user parts of the composite, averaged over the users of each country asked for."""
    found = {}
    for code, name in ref.countries:
        inside = fold.countries == code
        if not inside.any():
            continue
        parts = {
            part: float(evaluation.per_user[part][inside].mean()) if part in evaluation.per_user else overall
            for part, overall in evaluation.overall.items()
            if part in composite.weights
        }
        found[name] = {**parts, "score": composite.score(parts), "users": int(inside.sum())}
    return found


def _peak_rss_mb() -> float:
    """The most memory this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
