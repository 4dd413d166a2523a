"""The benchmarks run, and measure what they say; how fast is for people to read."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.engines import ENGINES
from orchestrator.ledger import Ledger

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.mark.slow
def test_trial_overhead_records_every_trial(tmp_path: Path) -> None:
    sizes = ["--studies=2", "--trials=12", "--tune-trials=3", "--tune-default-trials=2", "--rounds=1"]
    command = [sys.executable, str(BENCHMARKS / "trial_overhead.py"), *sizes, f"--folder={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for engine in ENGINES:
        assert f"round 1 {engine}: " in done.stdout
        ledger = Ledger.open(tmp_path / f"{engine}-0" / "ledger.db")
        trials = {row["trial_uid"] for row in ledger.rows("trials")}
        assert len(trials) == 2 * 12
        assert {row["trial_uid"] for row in ledger.rows("trial_ends") if row["state"] == "COMPLETE"} == trials
        assert {row["trial_uid"] for row in ledger.rows("results") if row["fold"] == "0"} == trials
        assert [row["state"] for row in ledger.rows("study_ends")] == ["FINISHED", "FINISHED"]
        ledger.close()
    assert "Ray Tune, reuse_actors" in done.stdout
    assert "bound 5 ms a trial: " in done.stdout
