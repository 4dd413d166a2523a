"""How fast, and in how much memory, a large CSV is read, beside Arrow's bare parser.

    python tests/benchmarks/read_csv.py [--rows 10000000] [--folder /tmp]

Each measurement runs in a process of its own. "Bare" is pyarrow.csv.open_csv over the same file, with Arrow's own
types, every block thrown away. Memory is VmHWM, the peak of the resident set as Linux keeps it for the process, less
what was resident after the imports and the reading of a file of a few rows; it is compared with the bytes of the
arrays of the result (names not counted).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from orchestrator.data import Data, read_data

BLOCK_ROWS = 500_000
ARRAYS = ("users", "items", "countries", "times", "weights", "spend", "ratings", "given")


def generate(path: Path, rows: int, seed: int = 0) -> None:
    """Write rows of user, item, time, country, price, quantity: rows/20 users, 50,000 items, 8 unequal countries."""
    rng = np.random.default_rng(seed)
    names = np.array(["DE", "FR", "ES", "IT", "SE", "PL", "IE", "MT"])
    bounds = np.cumsum(1.0 / np.arange(1, 9)) / np.sum(1.0 / np.arange(1, 9))
    n_users = max(rows // 20, 10)
    with pa.OSFile(str(path), "wb") as out:
        for start in range(0, rows, BLOCK_ROWS):
            n = min(BLOCK_ROWS, rows - start)
            user = rng.integers(0, n_users, n)
            country = np.minimum(np.searchsorted(bounds, (user * 0.618) % 1.0), 7)
            block = pa.table(
                {
                    "user_id": np.char.add("customer-", user.astype(str)),
                    "item_id": (50_000 * rng.random(n) * rng.random(n)).astype(np.int64) + 100_000,
                    "event_time": pa.array(1_700_000_000 + rng.integers(0, 31_536_000, n)).cast(pa.timestamp("s")),
                    "country": names[country],
                    "price": np.round(1 + 99 * rng.random(n), 2),
                    "quantity": rng.integers(1, 10, n),
                }
            )
            pa_csv.write_csv(block, out, pa_csv.WriteOptions(include_header=start == 0, quoting_style="none"))


def bare(path: Path) -> dict[str, float]:
    """Parse the file with Arrow alone."""
    started, cpu = time.perf_counter(), time.process_time()
    rows = sum(len(block) for block in pa_csv.open_csv(str(path)))
    return {"seconds": time.perf_counter() - started, "cpu_s": time.process_time() - cpu, "rows": rows}


def ours(path: Path) -> dict[str, float]:
    """Read the file with `read_data`, and compare its peak of memory with its result."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder) / "few.csv", 1_000)
        read_data(str(Path(folder) / "few.csv"))
    before = memory("VmRSS")
    started, cpu = time.perf_counter(), time.process_time()
    data = read_data(str(path))
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    size, peak = array_bytes(data), memory("VmHWM") - before
    times = {"seconds": seconds, "cpu_s": cpu_s}
    return times | {"rows": len(data.users), "array_bytes": size, "peak_bytes": peak, "ratio": peak / size}


def array_bytes(data: Data) -> int:
    """Bytes of the arrays with a value a row."""
    return sum(values.nbytes for values in (getattr(data, name) for name in ARRAYS) if values is not None)


def memory(key: str) -> int:
    """VmRSS (now) or VmHWM (peak) of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def in_process(what: str, path: Path) -> dict[str, Any]:
    """The result of `bare` or `ours` in a fresh process."""
    done = subprocess.run([sys.executable, __file__, "--only", what, str(path)], check=True, capture_output=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    """Generate, measure, print, delete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", default=None, help="where the file is written, and deleted afterwards")
    parser.add_argument("--only", nargs=2, metavar=("WHAT", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        what, path = arguments.only
        print(json.dumps((bare if what == "bare" else ours)(Path(path))))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "sales.csv"
        generate(path, arguments.rows)
        report(path)


def report(path: Path) -> None:
    """Print the two measurements side by side, the best of two each."""
    parsed = min((in_process("bare", path) for _ in range(2)), key=lambda one: one["seconds"])
    read = min((in_process("ours", path) for _ in range(2)), key=lambda one: one["seconds"])
    print(f"file            {path.stat().st_size / 1e6:10,.0f} MB, {parsed['rows']:,} rows, {read['rows']:,} kept")
    print(f"bare parse      {parsed['seconds']:10.2f} s, {parsed['cpu_s']:.2f} s of CPU")
    times = " and ".join(
        f"{read[key] / parsed[key]:.2f} x its {word}" for key, word in (("seconds", "time"), ("cpu_s", "CPU"))
    )
    print(f"read_data       {read['seconds']:10.2f} s, {read['cpu_s']:.2f} s of CPU: {times}")
    print(f"arrays          {read['array_bytes'] / 1e6:10,.0f} MB")
    print(f"peak above base {read['peak_bytes'] / 1e6:10,.0f} MB = {read['ratio']:.2f} x the arrays (bound: 3)")


if __name__ == "__main__":
    main()
