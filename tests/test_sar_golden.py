"""`sar` against Microsoft's own implementation; the golden values come from tests/golden/make_sar_golden.py."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recommenders.protocol import Interactions
from recommenders.sar import LAST, SAR, VANISHING, SARConfig

GOLDEN = Path(__file__).parent / "golden"
XMREC = Path(__file__).parents[2] / "shared" / "data" / "xmrec_electronics.csv.gz"
CACHE = Path.home() / ".cache" / "orchestrate-tests"
SIMILARITIES = SARConfig.model_fields["similarity"].annotation.__args__
GENERATED = [f"{name}|{decay}|{threshold}" for name in SIMILARITIES for decay in ("none", "30") for threshold in (1, 4)]


def check(golden, case):
    similarity, half_life, threshold = case.split("|")
    theirs = golden[case]
    config = SARConfig(
        similarity=similarity,
        half_life_days=None if half_life == "none" else float(half_life),
        threshold=int(threshold),
    )
    users, items, times, weights = (golden[name] for name in ("users", "items", "times", "weights"))
    n_users, n_items = theirs.shape
    rows = Interactions(
        users.astype(np.int32),
        items.astype(np.int32),
        times.astype(np.int64),
        weights.astype(np.float32),
        n_users,
        n_items,
    )
    model = SAR(config, seed=0, threads=1).fit(rows)
    top = model.recommend(np.arange(n_users), n_items, exclude_seen=False)
    ours = np.empty((n_users, n_items))
    np.put_along_axis(ours, top.items.astype(np.intp), top.scores.astype(np.float64), axis=1)

    finite = np.isfinite(theirs)
    known = finite.any(axis=1)
    np.testing.assert_array_equal(top.fallback, ~known)
    theirs, ours, finite = theirs[known], ours[known], finite[known]
    np.testing.assert_array_equal(ours == LAST, ~finite)
    scale = np.abs(theirs).max(axis=1, keepdims=True, where=finite, initial=0)
    given = np.where(scale < VANISHING, scale, 1)
    error = np.abs(ours * given - theirs, where=finite, out=np.zeros_like(ours)) / scale
    assert error.max() <= 1e-6


@pytest.mark.parametrize("case", GENERATED)
def test_generated_rows(case):
    with np.load(GOLDEN / "sar_generated.npz") as golden:
        check(golden, case)


def test_the_golden_file_holds_these_cases_and_no_others():
    with np.load(GOLDEN / "sar_generated.npz") as golden:
        assert set(golden.files) == {"users", "items", "times", "weights", *GENERATED}


@pytest.fixture(scope="module")
def their_python():
    """Python of the environment that the script's docstring describes, built once and kept."""
    python = CACHE / "sar-1.2.1" / "bin" / "python"
    if not (CACHE / "sar-1.2.1" / "complete").exists():
        shutil.rmtree(CACHE / "sar-1.2.1", ignore_errors=True)
        script = (GOLDEN / "make_sar_golden.py").read_text()
        pins = [word for word in script.split('"""')[1].split() if "==" in word]
        try:
            build(CACHE / "sar-1.2.1", ["--no-deps", *pins])
        except subprocess.CalledProcessError as error:
            pytest.skip(f"Microsoft's package cannot be installed here: {error.stderr[-200:]!r}")
        (CACHE / "sar-1.2.1" / "complete").touch()
    return python


def build(folder, packages):
    uv = shutil.which("uv")
    if uv:
        commands = [[uv, "venv", folder], [uv, "pip", "install", "--python", folder / "bin" / "python", *packages]]
    else:
        commands = [
            [sys.executable, "-m", "venv", folder],
            [folder / "bin" / "python", "-m", "pip", "install", *packages],
        ]
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def xmrec(their_python, tmp_path_factory):
    out = tmp_path_factory.mktemp("golden")
    script = GOLDEN / "make_sar_golden.py"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [their_python, script, "--xmrec", XMREC, "--markets", "jp,in", "--out", out]
    subprocess.run(command, check=True, env=environment)
    return out


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not XMREC.exists(), reason=f"XMRec is not at {XMREC}")
@pytest.mark.parametrize("market", ["jp", "in"])
@pytest.mark.parametrize("decay", ["none", "30"])
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_xmrec(xmrec, market, decay, similarity):
    with np.load(xmrec / f"sar_xmrec_{market}.npz") as golden:
        check(golden, f"{similarity}|{decay}|1")
