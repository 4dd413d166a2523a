"""What the machinery costs: milliseconds a trial where a trial does nothing, beside Ray Tune doing the same.

Ours is the real thing but for the task: coordinator, studies (Optuna TPE), ledger on the disk (a transaction is synced
when it returns), engine. Its figure is the whole of `Coordinator.run`, opening the studies and testing the finalists
included, over its trials; only the start of the engine is left out. Ray Tune has OptunaSearch (the same TPE, the same
space) and as many slots; its figure is the time from its first to its last trial's end, so that its start is left out.
Everybody takes turns, and nobody's task does any work. Run it: `python tests/benchmarks/trial_overhead.py`.
"""

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tune_no_op
from rich import box
from rich.console import Console
from rich.table import Table

from orchestrator.coordinator import Coordinator
from orchestrator.coordinator.work import Material
from orchestrator.engines import Engine, EngineOptions, open_engine
from orchestrator.fold import Rules
from orchestrator.ledger import Ledger
from orchestrator.plan import Plan
from orchestrator.spec import Spec
from orchestrator.study import Study
from orchestrator.trial import Started, StudyKey, Task
from scoring.split import Split
from search_spaces.space import Choice, Float, Int, Space

BOUND_MS = 5.0
"""What a trial may cost on `local` and `ray`."""
FAMILY = "no_op"
SPACE: Space = {"rate": Float(1e-3, 1.0, log=True), "size": Int(1, 100), "kind": Choice(("a", "b", "c"))}
DEFAULTS = {"rate": 0.1, "size": 10, "kind": "a"}
PARTS = ("ask", "tell", "cut tasks", "submit", "poll", "commit", "progress")


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    studies: int
    trials: int
    tune_trials: int
    tune_default_trials: int
    workers: int
    rounds: int

    @property
    def ours(self) -> int:
        """Trials in one round of ours."""
        return self.studies * self.trials


@dataclass
class Clock:
    """Seconds and calls by part."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    calls: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def running(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - start
            self.calls[part] += 1

    def watch(self, subject: object, **parts: str) -> None:
        """Time methods of an object: `method="part"`."""
        for name, part in parts.items():
            setattr(subject, name, self._timed(getattr(subject, name), part))

    def _timed(self, method: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            with self.running(part):
                return method(*arguments, **named)

        return timed


@dataclass(frozen=True)
class Figure:
    """One round of one contestant."""

    start_s: float
    ms: float
    cpu_ms: float = 0.0
    """Time of the driver on a core, a trial."""
    clock: Clock = field(default_factory=Clock)


class TimedLedger(Ledger):
    """A ledger that knows how long its transactions take, rows included."""

    clock = Clock()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.clock.running("commit"), super().transaction():
            yield


@dataclass(frozen=True, eq=False)
class NoOpMaterial(Material):
    """Cuts tasks as ever, but for what they call."""

    clock: Clock

    def task(self, study: StudyKey, uid: str, params: Mapping[str, Any], fold: str, attempt: int = 1) -> Task:
        with self.clock.running("cut tasks"):
            return replace(super().task(study, uid, params, fold, attempt), call="no_op:score")


def material(size: Size, clock: Clock) -> NoOpMaterial:
    """A plan of that many studies, each of one scope, with one fold a trial."""
    scopes = tuple(f"C{number}" for number in range(size.studies))
    spec = Spec.from_mapping({"trials": size.trials, "split": {"folds": 1}}, "benchmark")
    keys = tuple(StudyKey(scope, FAMILY) for scope in scopes)
    plan = Plan((), keys, Rules(exclude_seen=True, cold_users="fallback", cold_items="exclude"), "0" * 16)
    split = Split("random", np.zeros(0, np.int8), 1, rolling=False, fingerprint="0" * 16)
    return NoOpMaterial(spec, plan, split, Path("store"), "0" * 16, scopes, {FAMILY: "0" * 16}, clock)


def ours(name: str, size: Size, folder: Path) -> Figure:
    """One run on the engine of that name; its ledger stays in the folder."""
    begun = time.perf_counter()
    engine = open_engine(name, EngineOptions(size.workers, 1, folder / "logs"))
    try:
        warm_up(engine, folder / "workers")
        start_s = time.perf_counter() - begun
        return replace(run(engine, size, folder / "ledger.db"), start_s=start_s)
    finally:
        engine.close()


def warm_up(engine: Engine, folder: Path) -> None:
    """Let every worker run a task."""
    folder.mkdir(parents=True)
    workers = engine.slots()["cpu"]
    for number in range(workers):
        engine.submit(Task(f"warm-up {number}", "no_op:meet", {"folder": str(folder), "workers": workers}))
    ended = 0
    while ended < workers:
        ended += sum(not isinstance(event, Started) for event in engine.poll(1.0))
    if len(list(folder.iterdir())) != workers:
        raise RuntimeError("a worker did not start")


def run(engine: Engine, size: Size, path: Path) -> Figure:
    """Work on a run of no-op trials to its end."""
    ledger, clock = TimedLedger.create(path, {"benchmark": "trial_overhead"}), Clock()
    ledger.clock = clock
    clock.watch(engine, submit="submit", poll="poll")
    gc.collect()
    began, cpu = time.perf_counter(), time.process_time()
    coordinate(engine, size, ledger, clock)
    ms, cpu_ms = (1e3 * each / size.ours for each in (time.perf_counter() - began, time.process_time() - cpu))
    complete = ledger.select("SELECT COUNT(*) AS n FROM trial_ends WHERE state = 'COMPLETE'")[0]["n"]
    ledger.close()
    if complete != size.ours:
        raise RuntimeError(f"{size.ours} trials must be in the ledger, but it has {complete}")
    return Figure(0.0, ms, cpu_ms, clock)


def coordinate(engine: Engine, size: Size, ledger: Ledger, clock: Clock) -> None:
    """What `orchestrate tune` does between the start of the engine and the leaderboard."""
    what = material(size, clock)
    studies = [Study(key, SPACE, DEFAULTS, seed=0, trials=size.trials) for key in what.plan.studies]
    for study in studies:
        clock.watch(study, ask="ask", tell="tell")
    coordinator = Coordinator(what, studies, ledger, engine, deadline=None, show=lambda _: None, warn=_refuse)
    clock.watch(coordinator, progress="progress")
    coordinator.run()


def _refuse(sentence: str) -> None:
    raise RuntimeError(sentence)


def theirs(trials: int, size: Size, folder: Path, *, reuse_actors: bool) -> Figure:
    """One experiment of Ray Tune."""
    gc.collect()
    return Figure(*tune_no_op.run(trials, size.workers, folder, reuse_actors=reuse_actors))


Contestant = Callable[[Path], Figure]


def contestants(size: Size) -> dict[str, Contestant]:
    """Who takes part: name -> one round in a folder of its own."""
    return {
        "inline": lambda folder: ours("inline", size, folder),
        "local": lambda folder: ours("local", size, folder),
        "ray": lambda folder: ours("ray", size, folder),
        "Ray Tune, reuse_actors": lambda folder: theirs(size.tune_trials, size, folder, reuse_actors=True),
        "Ray Tune, defaults": lambda folder: theirs(size.tune_default_trials, size, folder, reuse_actors=False),
    }


def measure(size: Size, folder: Path, console: Console) -> dict[str, list[Figure]]:
    """All rounds; in each everybody takes a turn, so that a busy spell of the machine hits all."""
    figures: dict[str, list[Figure]] = {name: [] for name in contestants(size)}
    ours("inline", replace(size, studies=1, trials=20), folder / "warm-up")  # Optuna imports much when it first asks
    for number in range(size.rounds):
        for name, take_turn in contestants(size).items():
            before = os.getloadavg()[0]
            figures[name].append(take_turn(folder / f"{name.replace(', ', '-').replace(' ', '-')}-{number}"))
            console.print(f"round {number + 1} {name}: {figures[name][-1].ms:.2f} ms a trial, load {before:.1f}")
    return figures


def overhead_table(figures: Mapping[str, Sequence[Figure]]) -> Table:
    """Who costs what, and how many times what ours cost on the same footing."""
    table = Table(box=box.SIMPLE_HEAD, title="ms a trial", title_justify="left")
    table.add_column("")
    for name in ("start s", "least", "median", "most", "x local", "x ray"):
        table.add_column(name, justify="right")
    medians = {name: statistics.median(one.ms for one in rounds) for name, rounds in figures.items()}
    for name, rounds in figures.items():
        ms = [one.ms for one in rounds]
        start_s = statistics.median(one.start_s for one in rounds)
        numbers = (min(ms), medians[name], max(ms), medians[name] / medians["local"], medians[name] / medians["ray"])
        table.add_row(name, f"{start_s:.1f}", *(f"{number:.2f}" for number in numbers))
    return table


def parts_table(figures: Mapping[str, Sequence[Figure]], trials: int) -> Table:
    """Where the quickest round of ours went, with the calls a trial; `poll` holds the waiting for workers."""
    quickest = {name: min(rounds, key=lambda one: one.ms) for name, rounds in figures.items() if rounds[0].cpu_ms}
    table = Table(box=box.SIMPLE_HEAD, title="where it goes: ms a trial (calls a trial)", title_justify="left")
    table.add_column("")
    for name in quickest:
        table.add_column(name, justify="right")
    for part in PARTS:
        cells = (
            f"{1e3 * one.clock.seconds[part] / trials:.2f} ({one.clock.calls[part] / trials:.1f})"
            for one in quickest.values()
        )
        table.add_row(part, *cells)
    rests = (one.ms - 1e3 * sum(one.clock.seconds.values()) / trials for one in quickest.values())
    table.add_row("rest", *(f"{rest:.2f}" for rest in rests), end_section=True)
    table.add_row("all", *(f"{one.ms:.2f}" for one in quickest.values()))
    table.add_row("driver on a core", *(f"{one.cpu_ms:.2f}" for one in quickest.values()))
    return table


def verdict(figures: Mapping[str, Sequence[Figure]]) -> str:
    """Whether the bound held."""
    medians = {name: statistics.median(one.ms for one in figures[name]) for name in ("local", "ray")}
    held = all(ms <= BOUND_MS for ms in medians.values())
    said = ", ".join(f"{name} {ms:.2f}" for name, ms in medians.items())
    return f"bound {BOUND_MS:g} ms a trial: {'held' if held else 'NOT held'} by the medians ({said})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=8)
    parser.add_argument("--trials", type=int, default=60, help="of each study")
    parser.add_argument("--tune-trials", type=int, default=150, help="of Ray Tune with reuse_actors")
    parser.add_argument("--tune-default-trials", type=int, default=8, help="of Ray Tune as it comes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where ledgers and logs are written and kept; else they go")
    given = vars(parser.parse_args())
    kept = given.pop("folder")
    with tempfile.TemporaryDirectory() as temporary:
        report(Size(**given), (kept or Path(temporary)).absolute(), Console(width=120))


def report(size: Size, folder: Path, console: Console) -> None:
    """Measure and print."""
    console.print(
        f"{size.rounds} rounds: ours {size.studies} studies x {size.trials} trials, Ray Tune {size.tune_trials} and "
        f"{size.tune_default_trials} trials; {size.workers} workers (inline: 1), {os.cpu_count()} cores"
    )
    figures = measure(size, folder, console)
    console.print(overhead_table(figures))
    console.print(parts_table(figures, size.ours))
    console.print(verdict(figures), f"· load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
