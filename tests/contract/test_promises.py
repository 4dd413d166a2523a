"""Promises 1 and 2 of the design, held against whole runs: the same answer everywhere, and nothing lost or twice."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.api import leaderboard_rows, resume, tune
from orchestrator.errors import InputError, OrchestrateError
from orchestrator.ledger import Ledger
from orchestrator.runs import LEDGER, find_run
from orchestrator.spec import Spec
from tests.conftest import real_data

FAMILIES = "popularity,repeat,item_knn,ease,als"
ENGINES = [("inline", 1), ("local", 1), ("local", 2), ("ray", 2)]


def settings(data: Path, runs: Path, **more: Any) -> dict[str, Any]:
    store = data.parent / "mlflow.db"  # one for all runs: opening a new one takes seconds
    fixed = {
        "data": str(data),
        "runs": str(runs),
        "tracking_uri": f"sqlite:///{store}",
        "family": FAMILIES,
        "trials": 6,
        "generation": 4,
        "min_users": 15,
    }
    return {**fixed, "split": {"folds": 2}, **more}


def answer(run: Path) -> str:
    """The leaderboard as JSON, but for times."""
    rows = [{name: value for name, value in row.items() if not name.endswith("_s")} for row in leaderboard_rows(run)]
    return json.dumps(rows, indent=1)


def command(spec: dict[str, Any], folder: Path) -> list[str]:
    config = folder / "run.yaml"
    config.write_text(json.dumps(spec))  # JSON is YAML
    return [sys.executable, "-m", "orchestrator.cli", "tune", "--config", str(config)]


def recorded(runs: Path) -> int:
    """Results in the ledger of the only run so far."""
    found = list(runs.glob(f"*/{LEDGER}"))
    if not found:
        return 0
    try:
        with sqlite3.connect(f"file:{found[0]}?mode=ro", uri=True) as database:
            return int(database.execute("SELECT COUNT(*) FROM results").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def wait_for(runs: Path, results: int, process: "subprocess.Popen[bytes]") -> None:
    while recorded(runs) < results:
        assert process.poll() is None, "the run ended before it could be stopped"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def uninterrupted(shop_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tune(Spec.from_mapping(settings(shop_csv, tmp_path_factory.mktemp("whole"), engine="inline"), "test")).folder


@pytest.mark.parametrize(("engine", "workers"), ENGINES[1:])
def test_every_engine_gives_the_same_leaderboard(
    engine: str, workers: int, shop_csv: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    spec = Spec.from_mapping(settings(shop_csv, tmp_path, engine=engine, workers=workers), "test")
    assert answer(tune(spec).folder) == answer(uninterrupted)


def test_a_seed_decides(shop_csv: Path, uninterrupted: Path, tmp_path: Path) -> None:
    spec = Spec.from_mapping(settings(shop_csv, tmp_path, engine="inline", seed=1), "test")
    assert answer(tune(spec).folder) != answer(uninterrupted)


@pytest.mark.parametrize(
    "results", [25, pytest.param(1, marks=pytest.mark.slow), pytest.param(60, marks=pytest.mark.slow)]
)
def test_a_killed_driver_resumes_to_the_same_answer(
    results: int, shop_csv: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(command(settings(shop_csv, tmp_path / "runs", engine="local", workers=2), tmp_path))
    wait_for(tmp_path / "runs", results, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    run = find_run(tmp_path / "runs", None)
    before = recorded(tmp_path / "runs")
    assert before >= results
    resume(run, {})
    assert answer(run) == answer(uninterrupted)
    rows = Ledger.open(run / LEDGER).rows("results")
    assert len({(row["trial_uid"], row["fold"]) for row in rows}) == len(rows)
    _, alive = psutil.wait_procs(children, timeout=40)
    assert not alive, f"left behind: {alive}"


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(shop_csv: Path, uninterrupted: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(settings(shop_csv, tmp_path / "runs", engine="local", workers=2), tmp_path),
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    wait_for(tmp_path / "runs", 10, process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors.decode()
    run = find_run(tmp_path / "runs", None)
    assert f"orchestrate tune --resume {run}" in errors.decode()
    assert "Traceback" not in errors.decode()
    resume(run, {"engine": "inline"})
    assert answer(run) == answer(uninterrupted)


@pytest.mark.parametrize("cut", [0, 1, 7, 40, 90])
def test_a_ledger_cut_anywhere_replays_to_the_same_answer(cut: int, uninterrupted: Path, tmp_path: Path) -> None:
    """Rows are appended in one order: a ledger of any earlier moment is a prefix of the whole one."""
    run = tmp_path / uninterrupted.name
    shutil.copytree(uninterrupted, run)
    cut_after(run / LEDGER, cut)
    resume(run, {"engine": "inline"})
    assert answer(run) == answer(uninterrupted)


def cut_after(ledger: Path, results: int) -> None:
    """Take away all that came after the first `results` results."""
    with sqlite3.connect(ledger) as database:
        times = database.execute("SELECT ended_at FROM results ORDER BY seq").fetchall()
        moment = times[results - 1][0] if results else 0.0
        database.execute("DELETE FROM results WHERE seq > ?", (results,))
        ended = "SELECT trial_uid FROM results GROUP BY trial_uid HAVING COUNT(*) >= 2"
        database.execute(f"DELETE FROM trial_ends WHERE ended_at > ? OR trial_uid NOT IN ({ended})", (moment + 1e-3,))
        database.execute("DELETE FROM study_ends")
        database.execute("DELETE FROM sessions")
        asked = "SELECT trial_uid FROM results UNION SELECT trial_uid FROM trial_ends"
        database.execute(f"DELETE FROM trials WHERE asked_at > ? AND trial_uid NOT IN ({asked})", (moment,))


def test_asks_that_differ_from_the_ledger_are_refused(uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / uninterrupted.name
    shutil.copytree(uninterrupted, run)
    cut_after(run / LEDGER, 40)
    with sqlite3.connect(run / LEDGER) as database:
        database.execute("UPDATE trials SET trial_uid = 'other' WHERE seq = 5")
    with pytest.raises(OrchestrateError, match="must ask what the ledger holds"):
        resume(run, {"engine": "inline"})


def test_other_data_is_refused(shop_csv: Path, tmp_path: Path) -> None:
    data = tmp_path / "shop.csv"
    lines = shop_csv.read_text().splitlines()
    data.write_text("\n".join(lines))
    run = tune(
        Spec.from_mapping(settings(data, tmp_path / "runs", engine="inline", trials=1, family="popularity"), "test")
    )
    data.write_text("\n".join(lines[:-5]))
    with pytest.raises(InputError, match="data_fingerprint must be as the run began with"):
        resume(run.folder, {})


def test_resume_changes_nothing_that_decides(uninterrupted: Path) -> None:
    with pytest.raises(InputError, match=r"--resume may change .* but got trials"):
        resume(uninterrupted, {"trials": 99})


@pytest.mark.slow
def test_every_engine_agrees_on_real_markets(tmp_path: Path) -> None:
    data = real_data("xmrec_electronics.csv.gz")
    answers: dict[str, str] = {}
    for engine, workers in ENGINES:
        more = {"engine": engine, "workers": workers, "country": "jp,in", "family": "all", "trials": 6, "min_users": 20}
        result = tune(Spec.from_mapping({**settings(data, tmp_path / f"{engine}{workers}"), **more}, "test"))
        answers[f"{engine} {workers}"] = answer(result.folder)
    first, *others = answers.values()
    assert [key for key, other in zip(list(answers)[1:], others, strict=True) if other != first] == []
