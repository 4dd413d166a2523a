"""Budgets hold: what is over is kept, what is not is cancelled, and the exit code says whether somebody went without."""

import json
import sys
import time
from pathlib import Path

import psutil
import pytest

from orchestrator.api import leaderboard_rows, tune
from orchestrator.cli import main
from orchestrator.errors import OrchestrateError
from orchestrator.ledger import Ledger
from orchestrator.runs import LEDGER, find_run
from orchestrator.spec import Spec
from tests.contract.test_promises import settings


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget counts from the start of the process, which for a test is now."""
    began = time.time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: began)


def test_a_budget_too_small_for_an_answer_is_exit_code_4(
    shop_csv: Path, tmp_path: Path, clock: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(json.dumps({**settings(shop_csv, tmp_path / "runs"), "budget": "0.01s"}))
    monkeypatch.setattr(sys, "argv", ["orchestrate", "tune", "--config", str(config)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 4
    written = capsys.readouterr()
    assert "the budget left no answer for Aland, Borduria, Cimbria" in written.err
    assert {row["reason"].split(" (")[0] for row in leaderboard_rows(find_run(tmp_path / "runs", None))} == {
        "no trial gave a score"
    }


def test_a_trial_past_its_limit_is_a_timeout_and_no_score(shop_csv: Path, tmp_path: Path) -> None:
    spec = {
        **settings(shop_csv, tmp_path),
        "family": "ease",
        "trials": 2,
        "trial_timeout": "0.0001s",
        "engine": "inline",
    }
    with pytest.raises(OrchestrateError, match="no family gave a score with its defaults"):
        tune(Spec.from_mapping(spec, "test"))
    ends = Ledger.open(find_run(tmp_path, None) / LEDGER).rows("trial_ends")
    assert {(row["state"], row["score"]) for row in ends} == {("TIMEOUT", None)}
