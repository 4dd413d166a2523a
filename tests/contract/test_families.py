"""What every family promises, whatever its maths: one suite, run for each name in FAMILIES."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from pydantic import ValidationError
from scipy.sparse import csr_array

from recommenders import FAMILIES, load_family
from recommenders.protocol import FamilyConfig, FamilyNotInstalled, Interactions, Recommender, TopK
from search_spaces import SPACES, load_space
from search_spaces.space import Choice, Float, Int

from . import checkerboard as boards
from .checkerboard import N_USERS, checkerboard, colour_share, digest, fitted, interactions

EVERYONE = np.arange(N_USERS)
UNPERSONAL = {"popularity", "repeat"}
"""Families that learn nothing from other users' taste."""


@pytest.fixture(params=sorted(FAMILIES))
def name(request: pytest.FixtureRequest) -> str:
    installed(request.param)
    return str(request.param)


@pytest.fixture
def family(name: str) -> Any:
    return load_family(name)


def installed(name: str) -> Any:
    """The class of a family; the test is skipped where its library is missing."""
    try:
        return load_family(name)
    except FamilyNotInstalled as error:
        pytest.skip(str(error))


def same(one: TopK, other: TopK) -> None:
    for field in fields(TopK):
        assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def well_formed(lists: TopK, n: int, k: int, eligible: Any) -> None:
    """Shapes and types, distinct items, pads only where too few are eligible, scores that fall, ties by item code."""
    assert (lists.items.dtype, lists.scores.dtype, lists.fallback.dtype) == (np.int32, np.float32, np.bool_)
    assert (lists.items.shape, lists.scores.shape, lists.fallback.shape) == ((n, k), (n, k), (n,))
    for items, scores, count in zip(lists.items, lists.scores, np.broadcast_to(eligible, n), strict=True):
        kept = min(k, int(count))
        assert len(set(items[:kept].tolist())) == kept
        assert (items[:kept] >= 0).all()
        assert np.isfinite(scores[:kept]).all()
        assert (items[kept:] == -1).all()
        assert np.isneginf(scores[kept:]).all()
        steps = np.diff(scores[:kept])
        assert (steps <= 0).all()
        assert (np.diff(items[:kept])[steps == 0] > 0).all()


# What is learned


def test_a_family_is_a_recommender_and_fit_returns_it(family: Any) -> None:
    model = family(family.config_type(), seed=1, threads=1)
    assert isinstance(model, Recommender)
    assert model.fit(checkerboard()) is model


def test_the_libraries_of_a_family_are_installed_distributions(family: Any) -> None:
    assert isinstance(family.libraries, tuple)
    assert all(version(library) for library in family.libraries)


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - UNPERSONAL))
def test_the_board_is_found(name: str) -> None:
    board = checkerboard()
    lists = fitted(installed(name), board).recommend(EVERYONE, 5, exclude_seen=True)
    assert colour_share(board, lists, EVERYONE) > 0.95
    assert not lists.fallback.any()


def test_popularity_shows_everyone_the_same() -> None:
    lists = fitted(installed("popularity"), checkerboard()).recommend(EVERYONE, 5, exclude_seen=False)
    assert (lists.items == lists.items[0]).all()


def test_repeat_shows_what_the_user_had_first() -> None:
    board = checkerboard()
    lists = fitted(installed("repeat"), board).recommend(EVERYONE, 10, exclude_seen=False)
    assert all(board.matrix[[user], :][:, lists.items[user]].nnz == 10 for user in EVERYONE)


# The same answer


def test_the_same_seed_gives_the_same_bits(family: Any) -> None:
    one, other = (fitted(family, checkerboard()).recommend(EVERYONE, 10, exclude_seen=True) for _ in range(2))
    same(one, other)


def test_a_model_recommends_the_same_twice(family: Any) -> None:
    model = fitted(family, checkerboard())
    same(*(model.recommend(EVERYONE, 10, exclude_seen=True) for _ in range(2)))


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, str]:
    """The digests of all families as another process computes them, with another order of hashing."""
    script = Path(__file__).with_name("checkerboard.py")
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    digests: dict[str, str] = json.loads(done.stdout)
    return digests


def test_another_process_gives_the_same_bits(name: str, elsewhere: dict[str, str]) -> None:
    assert boards.family_digest(name) == elsewhere[name]


def test_company_does_not_change_a_users_scores(family: Any) -> None:
    model = fitted(family, checkerboard())
    alone, among = (
        model.recommend(users, 10, exclude_seen=True) for users in (np.array([3]), np.array([5, 3, -1, 3, 3]))
    )
    for row in (1, 3, 4):
        np.testing.assert_allclose(among.scores[row], alone.scores[0], rtol=1e-4, atol=1e-6)


def test_more_threads_are_accepted(family: Any) -> None:
    lists = fitted(family, checkerboard(), threads=2).recommend(EVERYONE, 5, exclude_seen=False)
    well_formed(lists, N_USERS, 5, boards.N_ITEMS)


# Size


def test_equal_models_are_of_equal_size(family: Any, tmp_path: Path) -> None:
    one, other = (fitted(family, checkerboard()) for _ in range(2))
    assert one.size_mb() == other.size_mb() > 0
    one.save(tmp_path)
    assert family.load(tmp_path).size_mb() == one.size_mb()


# Saving


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_a_saved_model_recommends_the_same(family: Any, tmp_path: Path, exclude_seen: bool) -> None:
    model = fitted(family, checkerboard())
    model.save(tmp_path / "not" / "there")
    loaded = family.load(tmp_path / "not" / "there")
    users = np.arange(-1, N_USERS)
    same(*(each.recommend(users, 10, exclude_seen=exclude_seen) for each in (model, loaded)))


def test_only_arrays_and_json_are_saved(family: Any, tmp_path: Path) -> None:
    fitted(family, checkerboard()).save(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".npy", ".json"}
    for path in files:
        np.load(path, allow_pickle=False) if path.suffix == ".npy" else json.loads(path.read_text())


# The lists


def test_cold_users_get_popular_items(name: str, family: Any) -> None:
    lists = fitted(family, checkerboard()).recommend(np.array([-1, 0, -1]), 10, exclude_seen=True)
    well_formed(lists, 3, 10, boards.N_ITEMS)
    assert lists.fallback[[0, 2]].all()
    assert_array_equal(lists.items[0], lists.items[2])
    if name not in {*UNPERSONAL, "trending"}:  # these may weigh rows, and recent ones more
        assert_array_equal(lists.items[0], np.arange(10))


def test_seen_items_are_excluded(family: Any) -> None:
    board = checkerboard()
    lists = fitted(family, board).recommend(EVERYONE, boards.N_ITEMS, exclude_seen=True)
    had = np.diff(board.matrix.indptr)
    well_formed(lists, N_USERS, boards.N_ITEMS, boards.N_ITEMS - had)
    for user in EVERYONE:
        assert not set(lists.items[user].tolist()) & set(board.matrix[[user], :].indices.tolist())


def test_seen_items_are_kept_when_they_may_be_shown(family: Any) -> None:
    lists = fitted(family, checkerboard()).recommend(EVERYONE, boards.N_ITEMS, exclude_seen=False)
    well_formed(lists, N_USERS, boards.N_ITEMS, boards.N_ITEMS)


def test_more_than_there_are_is_padded(family: Any) -> None:
    k = boards.N_ITEMS + 3
    lists = fitted(family, checkerboard()).recommend(np.arange(-1, 4), k, exclude_seen=False)
    well_formed(lists, 5, k, boards.N_ITEMS)


def test_no_users_get_no_lists(family: Any) -> None:
    lists = fitted(family, checkerboard()).recommend(np.array([], dtype=np.intp), 10, exclude_seen=True)
    well_formed(lists, 0, 10, 0)


@pytest.mark.parametrize(
    ("users", "items"),
    [([0], [0]), ([0, 0, 0], [0, 1, 2]), ([0, 1, 2], [0, 0, 0]), ([0, 0, 1], [0, 0, 1])],
    ids=["one of each", "one user", "one item", "two strangers"],
)
def test_tiny_data(family: Any, users: list[int], items: list[int]) -> None:
    tiny = interactions(users, items)
    model = fitted(family, tiny)
    asked = np.arange(-1, tiny.n_users)
    well_formed(model.recommend(asked, 4, exclude_seen=False), len(asked), 4, tiny.n_items)
    left = tiny.n_items - np.concatenate([[0], np.diff(tiny.matrix.indptr)])
    well_formed(model.recommend(asked, 4, exclude_seen=True), len(asked), 4, left)


# The inputs


def columns(board: Interactions) -> dict[str, Any]:
    """Every array of the interactions, the matrix's included."""
    found = {field.name: getattr(board, field.name) for field in fields(Interactions)}
    sparse = {"matrix": board.matrix} | {name: value for name, value in found.items() if isinstance(value, csr_array)}
    arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    parts = ("data", "indices", "indptr")
    return arrays | {f"{name}.{part}": getattr(value, part) for name, value in sparse.items() for part in parts}


def with_features() -> Interactions:
    board = checkerboard()
    return replace(board, user_features=boards.features(board.n_users), item_features=boards.features(board.n_items))


@pytest.mark.parametrize("make", [checkerboard, with_features], ids=["bare", "features"])
@pytest.mark.parametrize("writable", [True, False], ids=["writable", "read-only"])
def test_inputs_may_be_read_only_and_stay_as_they_are(
    family: Any, make: Callable[[], Interactions], writable: bool
) -> None:
    board = make()
    before = {name: array.copy() for name, array in columns(board).items()}
    users = np.arange(-1, N_USERS)
    for array in (users, *columns(board).values()):
        array.setflags(write=writable)
    lists = fitted(family, board).recommend(users, 5, exclude_seen=True)
    well_formed(lists, N_USERS + 1, 5, boards.N_ITEMS - 14)
    assert_array_equal(users, np.arange(-1, N_USERS))
    for name, array in columns(board).items():
        assert_array_equal(array, before[name])


def test_memory_mapped_inputs_give_the_same(family: Any, tmp_path: Path) -> None:
    board = checkerboard()
    mapped = {}
    for column in ("users", "items", "times", "weights"):
        np.save(tmp_path / f"{column}.npy", getattr(board, column))
        mapped[column] = np.load(tmp_path / f"{column}.npy", mmap_mode="r")
    lists = (
        fitted(family, each).recommend(EVERYONE, 5, exclude_seen=True) for each in (board, replace(board, **mapped))
    )
    same(*lists)


# The configuration and its space


def test_defaults_build_and_are_frozen(family: Any) -> None:
    config = family.config_type()
    assert isinstance(config, FamilyConfig)
    assert family.config_type(**json.loads(json.dumps(config.model_dump()))) == config
    for field in type(config).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(config, field, getattr(config, field))


def test_unknown_keys_are_refused(family: Any) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        family.config_type(no_such_key=1)


def test_every_family_has_a_space() -> None:
    assert set(SPACES) == set(FAMILIES)


def inside(value: Any, domain: Int | Float | Choice) -> bool:
    if isinstance(domain, Choice):
        return value in domain.values
    return domain.low <= value <= domain.high


def test_a_space_names_fields_and_holds_the_defaults(name: str, family: Any) -> None:
    defaults = family.config_type().model_dump()
    for key, domain in load_space(name).items():
        assert key in defaults
        assert inside(defaults[key], domain), f"the default {key} = {defaults[key]} must lie in {domain}"
        if not isinstance(domain, Choice):
            assert domain.low < domain.high
            assert domain.low > 0 or not domain.log


def draws(domain: Int | Float | Choice) -> st.SearchStrategy[Any]:
    """Values of a domain, its ends among them."""
    if isinstance(domain, Choice):
        return st.sampled_from(domain.values)
    return st.integers(domain.low, domain.high) if isinstance(domain, Int) else st.floats(domain.low, domain.high)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_sampled_configurations_build(name: str, data: st.DataObject) -> None:
    space = load_space(name)
    sampled = data.draw(st.fixed_dictionaries({key: draws(domain) for key, domain in space.items()}))
    config = installed(name).config_type(**sampled)
    assert all(getattr(config, key) == value for key, value in sampled.items())
    assert all(inside(getattr(config, key), domain) for key, domain in space.items())


@settings(max_examples=5, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_sampled_configurations_fit_or_say_that_they_diverged(name: str, data: st.DataObject) -> None:
    sampled = data.draw(st.fixed_dictionaries({key: draws(domain) for key, domain in load_space(name).items()}))
    try:
        model = fitted(installed(name), checkerboard(), **sampled)
    except ValueError as error:
        assert "diverged" in str(error)  # noqa: PT017 - either end is right
        return
    well_formed(model.recommend(np.arange(-1, N_USERS), 5, exclude_seen=True), N_USERS + 1, 5, boards.N_ITEMS - 14)


def test_digests_tell_lists_apart(family: Any) -> None:
    model = fitted(family, checkerboard())
    one, other = (digest(model.recommend(EVERYONE, 5, exclude_seen=flag)) for flag in (False, True))
    assert one != other
