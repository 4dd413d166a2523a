"""Ray Tune doing nothing: the same space, the same sampler and as many slots as in `trial_overhead.py`."""

import logging
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # only the old output of Tune can be silenced

import no_op
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

SPACE = {"rate": tune.loguniform(1e-3, 1.0), "size": tune.randint(1, 101), "kind": tune.choice(["a", "b", "c"])}


class NoOpTrainable(tune.Trainable):
    """As lean as Tune allows: a class, which needs no thread, that reports once and saves nothing."""

    def step(self) -> dict[str, Any]:
        return {"score": no_op.score_of(self.config), "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        return None

    def load_checkpoint(self, checkpoint: object) -> None:
        return None


class Ends(tune.Callback):
    """When Tune's trials ended, on the driver's clock."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.at.append(time.perf_counter())


def run(trials: int, workers: int, folder: Path, *, reuse_actors: bool) -> tuple[float, float]:
    """Seconds until the first trial of an experiment on a Ray of its own has ended, then milliseconds a trial."""
    begun, ends = time.perf_counter(), Ends()
    quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    ray.init(address="local", num_cpus=workers, **quiet)
    try:
        results = tuner(trials, workers, folder, ends, reuse_actors=reuse_actors).fit()
    finally:
        ray.shutdown()
    if results.num_errors or len(ends.at) != trials:
        raise RuntimeError(f"Ray Tune must complete {trials} trials, but {len(ends.at)} did")
    return ends.at[0] - begun, 1e3 * (ends.at[-1] - ends.at[0]) / (trials - 1)


def tuner(trials: int, workers: int, folder: Path, ends: Ends, *, reuse_actors: bool) -> tune.Tuner:
    """Tune's own settings but for what is compared: search, space, trials, slots, reuse of actors."""
    config = tune.TuneConfig(
        metric="score",
        mode="max",
        search_alg=OptunaSearch(seed=0),
        num_samples=trials,
        max_concurrent_trials=workers,
        reuse_actors=reuse_actors,
    )
    kept = tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=[ends])
    return tune.Tuner(NoOpTrainable, param_space=SPACE, tune_config=config, run_config=kept)
