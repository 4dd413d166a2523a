"""What an engine itself costs: milliseconds per no-op task. Run it: `python tests/benchmarks/engine_throughput.py`."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.engines import ENGINES, Engine, EngineOptions, open_engine
from orchestrator.trial import Started, Task

_CALL = f"{Path(__file__).stem}:nothing"


def nothing(payload: Mapping[str, Any]) -> dict[str, Any]:
    return dict(payload)


def run_tasks(engine: Engine, count: int) -> float:
    """Milliseconds per task, from the first submission to the last end."""
    start = time.perf_counter()
    for number in range(count):
        engine.submit(Task(str(number), _CALL, {"configuration": {"factors": 64, "regularization": 0.01}}))
    ended = 0
    while ended < count:
        ended += sum(not isinstance(event, Started) for event in engine.poll(1.0))
    return (time.perf_counter() - start) / count * 1e3


def measure(name: str, workers: int, count: int, rounds: int) -> tuple[float, float, float]:
    """Seconds until the first task is back; the median and the worst round in milliseconds per task."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        engine = open_engine(name, EngineOptions(workers, 1, Path(folder)))
        try:
            run_tasks(engine, 1)
            first_s = time.perf_counter() - start
            figures = [run_tasks(engine, count) for _ in range(rounds)]
        finally:
            engine.close()
    return first_s, statistics.median(figures), max(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{options.rounds} rounds of {options.tasks} no-op tasks, {options.workers} workers (inline: 1)")
    print(f"{'engine':8} {'first task s':>12} {'ms a task':>10} {'worst':>8}")
    for name in ENGINES:
        first_s, median_ms, worst_ms = measure(name, options.workers, options.tasks, options.rounds)
        print(f"{name:8} {first_s:12.2f} {median_ms:10.3f} {worst_ms:8.3f}")


if __name__ == "__main__":
    main()
