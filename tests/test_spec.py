from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.spec import Spec, load_settings, merge, parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5m", 90)]
)
def test_durations_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "30 m", "m30", "5x", "-3s"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration must read like"):
        parse_seconds(text)


def test_a_typo_in_yaml_names_the_key_and_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("trails: 5\n")
    with pytest.raises(InputError, match=r"run.yaml: .*got trails; did you mean trials\?"):
        Spec.from_mapping(load_settings(path), str(path))


def test_a_typo_in_a_section_names_its_path() -> None:
    with pytest.raises(InputError, match=r"got split.fold; did you mean folds\?"):
        Spec.from_mapping({"split": {"fold": 3}}, "x.yaml")


def test_a_wrong_value_is_told_with_its_key() -> None:
    with pytest.raises(InputError, match=r"trials: .*greater than or equal to 1.*got 0"):
        Spec.from_mapping({"trials": 0}, "x.yaml")


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(InputError, match="composite"):
        Spec.from_mapping({"composite": {"mapp@10": 1.0}}, "x.yaml")


@pytest.mark.parametrize("content", ["just text", "- a\n- b", "a: [1", ""])
def test_yaml_that_holds_no_settings_is_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match="must") as caught:
        load_settings(path)
    assert "\n" not in str(caught.value)


def test_flags_overrule_the_file_and_leave_the_rest() -> None:
    settings = {"trials": 5, "split": {"folds": 2, "window": 0.2}}
    spec = Spec.from_mapping(merge(settings, {"trials": 7, "seed": None, "split": {"folds": 4}}), "x")
    assert (spec.trials, spec.seed, spec.split.folds, spec.split.window) == (7, 0, 4, 0.2)


def test_a_spec_survives_the_ledger() -> None:
    spec = Spec.from_mapping({"budget": "30m", "composite": {"ndcg@5": 3, "map@10": 1}, "family": "als,sar"}, "x")
    assert Spec.from_mapping(spec.model_dump(mode="json", by_alias=True), "ledger") == spec
    assert spec.cutoffs == (5, 10, 20)
