"""scoring.topk: exact, ties by lower column, pads only where too few are eligible."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

import scoring.topk
from scoring.topk import top_k

# Few distinct values make many ties; the width of 32 bits leaves the rest to chance.
LEVELS = st.sampled_from([-np.inf, -2.5, -1.0, -0.0, 0.0, 1e-30, 1.0, 3.0, np.inf])
ANY = st.floats(width=32, allow_nan=False)


def naive(scores: NDArray[np.float32], k: int) -> tuple[list[list[int]], list[list[float]]]:
    items, best = [], []
    for row in scores.tolist():
        order = sorted((column for column, score in enumerate(row) if score != -np.inf), key=lambda c: (-row[c], c))[:k]
        items.append(order + [-1] * (k - len(order)))
        best.append([row[column] for column in order] + [-np.inf] * (k - len(order)))
    return items, best


@settings(max_examples=150, deadline=None)
@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=70), elements=LEVELS | ANY), st.integers(1, 20))
def test_equals_a_naive_sort(scores: NDArray[np.float32], k: int) -> None:
    items, best = top_k(scores, k)
    assert (items.tolist(), best.tolist()) == naive(scores, k)
    assert [items.dtype.name, best.dtype.name] == ["int32", "float32"]


@pytest.mark.parametrize("k", [1, 10, 100, 2000])
@pytest.mark.parametrize("levels", [2, 30, None])
def test_equals_a_stable_sort_on_wide_rows(k: int, levels: int | None) -> None:
    rng = np.random.default_rng(k)
    scores = rng.standard_normal((40, 1500)).astype(np.float32)
    if levels is not None:
        scores = rng.integers(0, levels, scores.shape).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    scores[0] = -np.inf
    items, best = top_k(scores, k)
    assert (items.tolist(), best.tolist()) == naive(scores, k)


@pytest.mark.parametrize("direction", [1, -1])
def test_rows_in_order_of_score(direction: int) -> None:
    scores = np.arange(5000, dtype=np.float32)[None, ::direction]
    items, _ = top_k(scores, 50)
    assert items[0].tolist() == (list(range(4999, 4949, -1)) if direction == 1 else list(range(50)))


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_empty(shape: tuple[int, int]) -> None:
    items, best = top_k(np.empty(shape, dtype=np.float32), 4)
    assert items.shape == best.shape == (shape[0], 4)
    assert (items == -1).all()
    assert (best == -np.inf).all()


def test_leaves_its_input_alone_and_takes_a_read_only_one() -> None:
    scores = np.random.default_rng(0).standard_normal((5, 30)).astype(np.float32)
    before = scores.copy()
    scores.setflags(write=False)
    top_k(scores, 3)
    np.testing.assert_array_equal(scores, before)


@pytest.mark.parametrize("column", [0, 31, 299])
def test_nan_is_refused_with_its_row(column: int) -> None:
    scores = np.zeros((3, 300), dtype=np.float32)
    scores[:, :50] = 7
    scores[1, column] = np.nan
    with pytest.raises(ValueError, match="row 1 holds NaN"):
        top_k(scores, 5)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        top_k(np.zeros((2, 3), dtype=np.float32), 0)
    with pytest.raises(ValueError, match="2 dimensions"):
        top_k(np.zeros(3, dtype=np.float32), 1)


@pytest.mark.parametrize("writable", [True, False])
def test_works_whether_or_not_code_can_be_kept_on_disk(tmp_path: Path, writable: bool) -> None:
    package = tmp_path / "scoring"
    package.mkdir()
    shutil.copy(Path(scoring.topk.__file__), package / "topk.py")
    (package / "__init__.py").touch()
    if not writable:
        (package / "__pycache__").touch()  # a file where the folder would be: this stops root too
    program = (
        "import numpy as np; from scoring import topk; print(topk.__file__, topk.top_k(np.eye(3, dtype='f'), 1)[0].T)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA")}
    environment |= {"XDG_CACHE_HOME": "/dev/null/none", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{package / 'topk.py'} [[0 1 2]]"
    assert (package / "__pycache__").is_dir() == writable
