import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.session import make_study
from orchestrator.study import Asked, Study
from orchestrator.trial import StudyKey
from recommenders import FAMILIES, load_family
from recommenders.protocol import FamilyNotInstalled
from search_spaces import load_space
from search_spaces.space import Choice, Float, Int, Space

SPACE: Space = {"k": Int(1, 100, log=True), "decay": Float(0.1, 10.0), "kind": Choice(("a", "b", None))}
DEFAULTS = {"k": 10, "decay": 1.0, "kind": "a", "fixed": True}


def study(seed: int = 0, trials: int = 30, space: Space = SPACE, defaults: Mapping[str, Any] = DEFAULTS) -> Study:
    return Study(StudyKey("FR", "toy"), space, defaults, seed=seed, trials=trials)


def score(asked: Asked) -> float:
    return -((math.log(asked.params["k"]) - 3) ** 2) - asked.params["decay"]


def run(one: Study, rounds: int) -> list[Mapping[str, Any]]:
    params = []
    for _ in range(rounds):
        for asked in one.ask(8):
            params.append(asked.params)
            one.tell(asked.number, None if asked.number % 7 == 3 else score(asked))
    return params


def test_the_default_is_asked_first_and_alone() -> None:
    first = study().ask(8)
    assert [(asked.params, asked.origin, asked.number) for asked in first] == [(DEFAULTS, "default", 0)]


def test_no_configuration_is_asked_twice_and_the_ceiling_holds() -> None:
    one = study(trials=20)
    params = run(one, 10)
    assert len(params) == 20
    assert len({str(sorted(p.items(), key=str)) for p in params}) == 20
    assert one.ask(8) == []


def test_a_small_space_is_exhausted() -> None:
    one = study(space={"kind": Choice(("a", "b", None))})
    assert len(run(one, 10)) == 3
    assert one.exhausted


def test_a_family_without_hyperparameters_has_one_trial() -> None:
    one = study(space={})
    assert len(run(one, 3)) == 1
    assert one.exhausted


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), cut=st.integers(0, 4))
def test_replaying_the_tells_gives_the_same_asks(seed: int, cut: int) -> None:
    whole = run(study(seed), 5)
    again = study(seed)
    assert run(again, cut) + run(again, 5 - cut) == whole


def test_studies_and_seeds_differ() -> None:
    other = Study(StudyKey("DE", "toy"), SPACE, DEFAULTS, seed=0, trials=30)
    assert run(study(0), 3) != run(study(1), 3)
    assert run(study(0), 3) != run(other, 3)


def test_learning_pays() -> None:
    """TPE's later trials score better than its random start, on average."""
    scores = [score(Asked(0, p, "")) for p in run(study(3, trials=60), 20)]
    assert sum(scores[-20:]) / 20 > sum(scores[1:11]) / 10


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
@pytest.mark.parametrize("family", FAMILIES)
def test_sampled_configurations_lie_in_their_space_and_build_their_family(family: str, seed: int) -> None:
    try:
        kind = load_family(family)
    except FamilyNotInstalled as error:
        pytest.skip(str(error))
    one = make_study(StudyKey("FR", family), seed=seed, trials=12)
    for asked in (*one.ask(8), *one.ask(8)):
        kind(kind.config_type(**asked.params), seed=0, threads=1)
        for name, bounds in load_space(family).items():
            value = asked.params[name]
            assert value in bounds.values if isinstance(bounds, Choice) else bounds.low <= value <= bounds.high
        if not one.over and asked.number == 0:
            one.tell(0, 1.0)
