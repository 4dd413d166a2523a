"""`item_knn`, `rp3beta` and `ease` against dense references of a few lines; `sar` where the golden values do not reach."""

from pathlib import Path

import implicit.nearest_neighbours as published
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix

from recommenders import item_item
from recommenders.base import popularity_scores
from recommenders.ease import EASE, EASEConfig
from recommenders.item_knn import ItemKNN, ItemKNNConfig
from recommenders.protocol import Interactions
from recommenders.rp3beta import RP3beta, RP3betaConfig
from recommenders.sar import SAR, SARConfig

DAY_S = 86_400


def generated(n_users=60, n_items=37, n=900, seed=3):
    """Rows with repeated pairs, weights of 0.5 to 4 and a long tail; a user and an item have none."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, n_items)
    return Interactions(
        rng.integers(0, n_users - 1, n).astype(np.int32),
        rng.choice(n_items - 1, n, p=share / share.sum()).astype(np.int32),
        rng.integers(0, 400 * DAY_S, n),
        rng.uniform(0.5, 4, n).astype(np.float32),
        n_users,
        n_items,
    )


def cut(similarity, k):
    """Each row without all but its k highest cells above 0; the lower column wins ties."""
    order = np.argsort(-similarity, axis=1, kind="stable")
    kept = np.zeros_like(similarity)
    np.put_along_axis(kept, order[:, :k], np.take_along_axis(similarity, order[:, :k], axis=1), axis=1)
    return np.maximum(kept, 0)


def dense_item_knn(X, c):
    if c.weighting == "cosine":
        W = X
    idf = np.log(X.shape[1]) - np.log1p((X > 0).sum(axis=1, keepdims=True))
    if c.weighting == "tfidf":
        W = np.sqrt(X) * idf
    if c.weighting == "bm25":
        length = 1 - c.bm25_b + c.bm25_b * X.sum(axis=0) / X.sum(axis=0).mean()
        W = X * (c.bm25_k1 + 1) / (c.bm25_k1 * length + X) * idf
    norms = np.linalg.norm(W, axis=0)
    lower = 1 if c.weighting == "bm25" else np.outer(norms, norms) + c.shrinkage
    return X @ cut(np.divide(W.T @ W, lower, where=W.T @ W > 0, out=np.zeros((X.shape[1],) * 2)), c.neighbours)


def dense_rp3beta(X, c):
    to_item = X / np.maximum(X.sum(axis=1, keepdims=True), 1e-9)
    buyers = np.maximum((X > 0).sum(axis=0), 1)
    to_user = (X > 0).T / buyers[:, None]
    walk = np.where(to_user > 0, to_user**c.alpha, 0) @ np.where(to_item > 0, to_item**c.alpha, 0)
    W = cut(walk / buyers**c.beta, c.neighbours)
    return X @ (W / np.maximum(W.sum(axis=1, keepdims=True), 1e-9) if c.normalize else W)


def dense_ease(X, c):
    P = np.linalg.inv(X.T @ X + c.l2 * np.eye(X.shape[1]))
    B = np.eye(X.shape[1]) - P / np.diag(P)
    return X @ B


CASES = [
    *((ItemKNN, ItemKNNConfig(weighting=weighting), dense_item_knn) for weighting in ("cosine", "tfidf", "bm25")),
    *((ItemKNN, ItemKNNConfig(weighting=w, neighbours=5), dense_item_knn) for w in ("cosine", "tfidf", "bm25")),
    (ItemKNN, ItemKNNConfig(weighting="cosine", shrinkage=0.0, neighbours=1), dense_item_knn),
    (ItemKNN, ItemKNNConfig(weighting="bm25", bm25_k1=50.0, bm25_b=0.1, neighbours=7), dense_item_knn),
    (RP3beta, RP3betaConfig(), dense_rp3beta),
    (RP3beta, RP3betaConfig(alpha=0.4, beta=0.2, neighbours=6, normalize=True), dense_rp3beta),
    (RP3beta, RP3betaConfig(alpha=1.7, beta=0.0, neighbours=3), dense_rp3beta),
    (RP3beta, RP3betaConfig(alpha=0.7, normalize=True), dense_rp3beta),
    (EASE, EASEConfig(), dense_ease),
    (EASE, EASEConfig(l2=0.5), dense_ease),
]


@pytest.fixture(
    params=[{}, {"n_users": 9, "n_items": 61}, {"n_users": 300, "n_items": 12}], ids=["even", "wide", "tall"]
)
def interactions(request):
    return generated(**request.param)


@pytest.mark.parametrize(("family", "config", "dense"), CASES, ids=lambda value: str(value)[:60])
def test_scores_and_lists_equal_a_dense_reference(family, config, dense, interactions):
    matrix = interactions.matrix.toarray().astype(np.float64)
    reference = dense(matrix, config)
    top = family(config, seed=0, threads=1).fit(interactions).recommend(np.arange(len(matrix)), 10, exclude_seen=False)
    unknown = ~reference.any(axis=1)
    assert_array_equal(top.fallback, unknown)
    reference[unknown] = popularity_scores(len(reference.T))
    scale = np.abs(reference).max(axis=1, keepdims=True)
    expected = np.sort(reference, axis=1)[:, ::-1][:, :10]
    assert_allclose(top.scores / scale, expected / scale, rtol=0, atol=1e-5)
    # The lists, but for neighbours in rank that are nearer to each other than the tolerance.
    listed = np.take_along_axis(reference, top.items.astype(int), axis=1)
    assert_allclose(listed / scale, expected / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dense_from", [0.0, 2.0], ids=["always dense", "always sparse"])
@pytest.mark.parametrize(
    ("family", "config", "dense"), [CASES[4], CASES[9], CASES[11]], ids=lambda value: str(value)[:60]
)
def test_the_way_of_storage_changes_nothing(family, config, dense, dense_from, monkeypatch, tmp_path):
    monkeypatch.setattr(item_item, "DENSE_FROM", dense_from)
    rows = generated()
    model = family(config, seed=0, threads=1).fit(rows)
    assert isinstance(model.similarity, np.ndarray if dense_from == 0 else csr_array)
    model.save(tmp_path)
    users = np.arange(rows.n_users)
    saved, loaded = (m.recommend(users, 5, exclude_seen=True) for m in (model, family.load(tmp_path)))
    assert_array_equal(saved.items, loaded.items)
    assert_array_equal(saved.scores, loaded.scores)
    expected = np.where(rows.matrix.toarray() > 0, -np.inf, dense(rows.matrix.toarray().astype(np.float64), config))
    known = ~saved.fallback
    assert_allclose(saved.scores[known], np.sort(expected, axis=1)[:, :-6:-1][known], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("weighting", "theirs"),
    [
        ("cosine", published.CosineRecommender(K=8, num_threads=1)),
        ("tfidf", published.TFIDFRecommender(K=8, num_threads=1)),
        ("bm25", published.BM25Recommender(K=8, K1=1.2, B=0.75, num_threads=1)),
    ],
)
def test_item_knn_equals_the_published_library(weighting, theirs):
    rows = generated(n_items=36, seed=5)
    rows = Interactions(rows.users, rows.items, rows.times, rows.weights, 59, 35)  # theirs divides by empty columns
    theirs.fit(csr_matrix(rows.matrix), show_progress=False)
    config = ItemKNNConfig(weighting=weighting, neighbours=8, shrinkage=0.0)
    ours = ItemKNN(config, seed=0, threads=1).fit(rows).similarity
    assert_allclose(
        np.asarray(ours.todense() if isinstance(ours, csr_array) else ours), theirs.similarity.toarray(), atol=1e-5
    )


def test_neighbours_that_tie_are_taken_by_lower_code():
    users, items = np.nonzero(np.ones((4, 6)))
    count = len(users)
    rows = Interactions(
        users.astype(np.int32), items.astype(np.int32), np.zeros(count, np.int64), np.ones(count, np.float32), 4, 6
    )
    similarity = ItemKNN(ItemKNNConfig(weighting="cosine", neighbours=2), seed=0, threads=1).fit(rows).similarity
    assert_array_equal(np.nonzero(similarity)[1], [0, 1] * 6)


def test_neighbours_do_not_depend_on_the_block(monkeypatch):
    rows, config = generated(), ItemKNNConfig(neighbours=5)
    whole = ItemKNN(config, seed=0, threads=1).fit(rows).similarity
    monkeypatch.setattr(item_item, "BLOCK_CELLS", 40)
    by_row = ItemKNN(config, seed=0, threads=1).fit(rows).similarity
    assert_array_equal(whole.toarray(), by_row.toarray())
    assert (whole.data > 0).all()


def test_a_users_scores_do_not_depend_on_who_is_scored_along():
    rows = generated()
    for family in (ItemKNN, RP3beta, EASE, SAR):
        model = family(family.config_type(), seed=0, threads=1).fit(rows)
        alone = model.recommend(np.array([7]), 9, exclude_seen=False)
        among = model.recommend(np.arange(rows.n_users), 9, exclude_seen=False)
        assert_array_equal(alone.scores[0], among.scores[7])


def test_sar_keeps_the_order_of_users_who_left_long_ago():
    recent, old = ([(0, 0, 0), (0, 1, 30), (1, 1, 0), (1, 2, 30), (2, 2, last)] for last in (30, 10_000))
    tops = []
    for events in (recent, old):
        users, items, days = np.array(events).T
        rows = Interactions(
            users.astype(np.int32), items.astype(np.int32), days * DAY_S, np.ones(len(days), np.float32), 3, 3
        )
        model = SAR(SARConfig(half_life_days=30.0), seed=0, threads=1).fit(rows)
        tops.append(model.recommend(np.array([0, 1]), 3, exclude_seen=False))
    assert_array_equal(tops[0].items, tops[1].items)
    assert_allclose(tops[0].scores / tops[0].scores[:, :1], tops[1].scores, rtol=1e-6)
    assert not tops[1].fallback.any()


def test_sar_still_recommends_k_items_where_theirs_scores_minus_infinity():
    rows = generated(n=200)
    model = SAR(SARConfig(similarity="mutual information", threshold=3), seed=0, threads=1).fit(rows)
    top = model.recommend(np.arange(rows.n_users), rows.n_items, exclude_seen=False)
    assert (top.items >= 0).all()
    assert np.isfinite(top.scores).all()
    assert 0 < top.fallback.sum() < rows.n_users


def test_nothing_is_saved_as_a_pickle(tmp_path: Path):
    SAR(SARConfig(), seed=0, threads=1).fit(generated()).save(tmp_path)
    for path in tmp_path.glob("*.npy"):
        np.load(path, allow_pickle=False)
    assert {path.suffix for path in tmp_path.iterdir()} == {".npy", ".json"}
