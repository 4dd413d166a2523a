"""The factor families: their maths, their weights and features, and what they do when a fit diverges."""

import importlib
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import implicit.utils
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from recommenders import load_family
from recommenders.als import ALS, ALSConfig
from recommenders.bpr import BPR, BPRConfig
from recommenders.implicit_factors import writable_csr
from recommenders.lmf import LMF, LMFConfig
from recommenders.protocol import FamilyNotInstalled, Interactions

FAMILIES: list[tuple[Any, Any]] = [(ALS, ALSConfig), (BPR, BPRConfig), (LMF, LMFConfig)]


@pytest.fixture
def taste() -> Interactions:
    """40 users and 30 items of three tastes; weights 1 to 4."""
    rng = np.random.default_rng(3)
    users, items = np.nonzero(rng.random((40, 30)) < np.where(np.add.outer(np.arange(40), np.arange(30)) % 3, 0.1, 0.7))
    code = np.argsort(np.argsort(-np.bincount(items, minlength=30), kind="stable"))
    weights = rng.integers(1, 5, len(users)).astype(np.float32)
    columns = users.astype(np.int32), code[items].astype(np.int32), np.zeros(len(users), np.int64), weights
    return Interactions(*columns, n_users=40, n_items=30)


@pytest.fixture
def lightfm() -> Any:
    """The module of the family, or a skip with the reason."""
    try:
        return importlib.import_module("recommenders.lightfm_family")
    except FamilyNotInstalled as error:
        pytest.skip(str(error))


def heavier(board: Interactions, times: float) -> Interactions:
    return replace(board, weights=board.weights * np.float32(times))


def factors(model: Any) -> NDArray[np.float32]:
    return np.concatenate([model.user_factors, model.item_factors])


# als


def test_als_ends_where_its_normal_equations_hold(taste: Interactions) -> None:
    """Hu et al. 2008, equation 4, written densely: (Y'C_u Y + lambda I) x_u = Y'C_u p_u."""
    config = ALSConfig(factors=4, regularization=0.5, alpha=3.0, iterations=300)
    model = ALS(config, seed=1, threads=1).fit(taste)
    seen = taste.matrix.toarray()
    Y = model.user_factors.astype(float)
    for item in range(taste.n_items):  # the last sweep solves for items
        C = np.diag(np.where(seen[:, item] > 0, config.alpha * seen[:, item], 1.0))
        A = Y.T @ C @ Y + config.regularization * np.eye(4)
        expected = np.linalg.solve(A, Y.T @ C @ (seen[:, item] > 0))
        np.testing.assert_allclose(model.item_factors[item], expected, atol=2e-3)


def test_als_is_the_same_at_any_number_of_threads(taste: Interactions) -> None:
    one, two = (ALS(ALSConfig(), seed=1, threads=threads).fit(taste) for threads in (1, 2))
    np.testing.assert_array_equal(factors(one), factors(two))


def test_als_multiplies_weights_by_alpha(taste: Interactions) -> None:
    one = ALS(ALSConfig(alpha=2.0), seed=1, threads=1).fit(taste)
    other = ALS(ALSConfig(alpha=1.0), seed=1, threads=1).fit(heavier(taste, 2))
    np.testing.assert_array_equal(factors(one), factors(other))


# bpr, lmf


def test_bpr_does_not_see_weights_and_lmf_does(taste: Interactions) -> None:
    for family, config, seen in ((BPR, BPRConfig(), False), (LMF, LMFConfig(), True)):
        one, other = (family(config, seed=1, threads=1).fit(data) for data in (taste, heavier(taste, 2)))
        assert np.array_equal(factors(one), factors(other)) is not seen


@pytest.mark.parametrize(("family", "config"), FAMILIES)
def test_another_seed_gives_another_model(taste: Interactions, family: Any, config: Any) -> None:
    one, other = (family(config(), seed=seed, threads=1).fit(taste) for seed in (1, 2))
    assert not np.array_equal(factors(one), factors(other))


@pytest.mark.parametrize(("family", "config"), FAMILIES)
def test_scores_are_those_of_implicit(taste: Interactions, family: Any, config: Any) -> None:
    own = family(config(), seed=5, threads=1).fit(taste)
    theirs = family.model_type(**config().model_dump(), num_threads=1, random_state=5)
    matrix = csr_matrix(taste.matrix)
    with threadpool_limits(1, "blas"):
        theirs.fit(matrix, show_progress=False)
    users = np.arange(taste.n_users)
    lists = own.recommend(users, 5, exclude_seen=True)
    _, scores = theirs.recommend(users, matrix, N=5)
    np.testing.assert_allclose(lists.scores, scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("family", "config"), FAMILIES)
def test_fits_are_silent(
    taste: Interactions, family: Any, config: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(implicit.utils, "_checked_blas_config", False)
    with warnings.catch_warnings(), threadpool_limits(2, "blas"):
        warnings.simplefilter("error")
        family(config(), seed=1, threads=1).fit(taste)
    assert capfd.readouterr() == ("", "")


def test_only_what_is_read_only_is_copied(taste: Interactions) -> None:
    matrix = taste.matrix
    matrix.indices.setflags(write=False)
    given = writable_csr(matrix)
    assert given.indices.flags.writeable
    assert np.shares_memory(given.data, matrix.data)
    assert not np.shares_memory(given.indices, matrix.indices)


# A fit that diverges


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("bpr", {"learning_rate": 1e30}),
        ("lmf", {"learning_rate": 1e30}),
        ("als", {"alpha": 1e38}),
        ("lightfm", {"learning_rate": 1e30}),
    ],
)
def test_a_diverged_fit_is_refused_in_one_sentence(taste: Interactions, name: str, config: dict[str, Any]) -> None:
    try:
        family = load_family(name)
    except FamilyNotInstalled as error:
        pytest.skip(str(error))
    with pytest.raises(
        ValueError, match=r"^the factors must be finite, but the fit of .* diverged; give a smaller"
    ) as e:
        family(family.config_type(**config), seed=1, threads=1).fit(taste)
    assert "\n" not in str(e.value)


def test_finite_factors_with_infinite_scores_are_refused(taste: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = np.full((30, 4), 1e20, dtype=np.float32)
    monkeypatch.setattr(ALS, "_learn", lambda *_: (huge, huge))
    with pytest.raises(ValueError, match="diverged"):
        ALS(ALSConfig(), seed=1, threads=1).fit(taste)


# lightfm


def described(taste: Interactions) -> Interactions:
    """The same rows, with the taste of items and an unscaled feature of users."""
    kind = csr_array(np.eye(3, dtype=np.float32)[taste.items[np.unique(taste.items, return_index=True)[1]] % 3])
    age = csr_array(np.arange(taste.n_users, dtype=np.float32)[:, None])
    return replace(taste, item_features=kind, user_features=age)


@pytest.mark.parametrize("loss", ["warp", "bpr", "logistic"])
def test_lightfm_scores_are_those_of_the_library(taste: Interactions, lightfm: Any, loss: str) -> None:
    data = described(taste)
    config = lightfm.LightFMConfig(loss=loss, no_components=5, epochs=3)
    own = lightfm.LightFMFamily(config, seed=2, threads=1).fit(data)
    users, items = (lightfm.with_identity(*side) for side in ((data.user_features, 40), (data.item_features, 30)))
    theirs = lightfm.LightFM(**config.model_dump(exclude={"epochs"}), random_state=2)
    weights = coo_matrix(data.matrix) / data.matrix.data.mean()
    ones = coo_matrix((np.ones(weights.nnz, np.float32), (weights.row, weights.col)), shape=weights.shape)
    theirs.fit(ones, users, items, sample_weight=weights.astype(np.float32), epochs=3)
    lists = own.recommend(np.arange(40), 30, exclude_seen=False)
    expected = theirs.predict(np.repeat(np.arange(40), 30), lists.items.ravel(), items, users).reshape(40, 30)
    np.testing.assert_allclose(lists.scores, expected, rtol=1e-4, atol=1e-5)


def test_lightfm_features_stand_beside_the_identity(lightfm: Any) -> None:
    assert np.array_equal(lightfm.with_identity(None, 2).toarray(), np.eye(2))
    given = csr_array(np.array([[3.0], [0.0], [-1.0]], dtype=np.float32))
    expected = [[0.25, 0, 0, 0.75], [0, 1, 0, 0], [0, 0, 0.5, -0.5]]
    assert np.array_equal(lightfm.with_identity(given, 3).toarray(), expected)


def test_lightfm_learns_from_features(taste: Interactions, lightfm: Any) -> None:
    """Items that share a feature come to lie closer together than without it."""
    kind = np.arange(taste.n_items) % 2
    data = replace(taste, item_features=csr_array(np.eye(2, dtype=np.float32)[kind]))

    def closeness(board: Interactions) -> float:
        vectors = lightfm.LightFMFamily(lightfm.LightFMConfig(), seed=1, threads=1).fit(board).item_factors[:, :-2]
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return float((unit @ unit.T)[np.equal.outer(kind, kind)].mean())

    assert closeness(data) > closeness(taste) + 0.05


def test_lightfm_loads_without_its_library(
    taste: Interactions, lightfm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lightfm.LightFMFamily(lightfm.LightFMConfig(), seed=1, threads=1).fit(described(taste))
    model.save(tmp_path)
    monkeypatch.setattr(lightfm, "LightFM", None)
    loaded = lightfm.LightFMFamily.load(tmp_path)
    one, other = (each.recommend(np.arange(40), 5, exclude_seen=True) for each in (model, loaded))
    assert np.array_equal(one.items, other.items)
    assert np.array_equal(one.scores, other.scores)


@pytest.fixture
def without_lightfm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "lightfm", None)
    monkeypatch.delitem(sys.modules, "recommenders.lightfm_family", raising=False)
    yield
    sys.modules.pop("recommenders.lightfm_family", None)


@pytest.mark.usefixtures("without_lightfm")
def test_a_missing_library_is_told_with_the_command_that_installs_it() -> None:
    with pytest.raises(
        FamilyNotInstalled, match=r"pip install 'orchestrate-recsys\[lightfm\]' \(it needs a C compiler\)"
    ):
        load_family("lightfm")
