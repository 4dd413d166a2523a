"""Reading a large file takes little more memory than its result."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent / "benchmarks" / "read_csv.py"


@pytest.mark.slow
def test_peak_memory_stays_under_three_times_the_arrays(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    rows = 6_000_000
    generate = f"import read_csv, pathlib; read_csv.generate(pathlib.Path({str(path)!r}), {rows})"
    subprocess.run([sys.executable, "-c", generate], check=True, cwd=BENCHMARK.parent)
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--only", "ours", str(path)], check=True, capture_output=True
    )
    result = json.loads(done.stdout)
    path.unlink()
    assert result["rows"] == rows
    assert result["array_bytes"] == rows * 26
    assert result["ratio"] < 3.0
