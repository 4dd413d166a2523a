"""A whole run against a real `mlflow server` over HTTP, read back with the ordinary MLflow client."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.api import leaderboard_rows, resume, server_rows, sync, tune
from orchestrator.ledger import Ledger
from orchestrator.runs import LEDGER, find_run
from orchestrator.spec import Spec
from orchestrator.tracking.sender import outbox_state
from tests.contract.test_promises import answer, command, recorded, settings, wait_for
from tests.tracking_servers import free_port, mlflow_server

__all__ = ["mlflow_server"]


@pytest.fixture(scope="module")
def tracked(shop_csv: Path, mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("tracked")
    return tune(Spec.from_mapping(settings(shop_csv, runs, engine="local", tracking_uri=mlflow_server), "test")).folder


def server_runs(uri: str, run: Path) -> list[Run]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(Ledger.open(run / LEDGER).meta()["experiment"])
    return list(_pages(client, experiment.experiment_id))


def _pages(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=200, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def agrees(uri: str, run: Path) -> None:
    """Ledger and server hold the same trials, each once, with their parameters and scores, and nothing is RUNNING."""
    ledger = Ledger.open(run / LEDGER)
    trials = {row["trial_uid"]: row for row in ledger.rows("trials")}
    ends = {row["trial_uid"]: row for row in ledger.rows("trial_ends")}
    found = server_runs(uri, run)
    keys = [one.data.tags["orchestrate.key"] for one in found]
    assert len(keys) == len(set(keys))
    assert [one.info.run_name for one in found if one.info.status == "RUNNING"] == []
    shown = {one.data.tags["trial_uid"]: one for one in found if "trial_uid" in one.data.tags}
    assert set(shown) == set(ends)
    for uid, one in shown.items():
        params = {
            name: json.loads(v) if not isinstance(trials[uid]["params"][name], str) else v
            for name, v in one.data.params.items()
        }
        assert params == trials[uid]["params"]
        assert one.data.metrics["score"] == pytest.approx(ends[uid]["score"], abs=1e-12)


def test_every_trial_is_on_the_server(tracked: Path, mlflow_server: str) -> None:
    agrees(mlflow_server, tracked)
    found = server_runs(mlflow_server, tracked)
    by_id = {one.info.run_id: one for one in found}
    results = {(r["trial_uid"], r["fold"]): r for r in Ledger.open(tracked / LEDGER).rows("results")}
    trials = [one for one in found if "trial_uid" in one.data.tags]
    assert len(trials) > 50
    for one in trials:
        tags, metrics = one.data.tags, one.data.metrics
        parent = by_id[tags["mlflow.parentRunId"]]
        assert parent.info.run_name == f"{tags['country']}/{tags['family']}"
        assert {
            "run_id",
            "engine",
            "node",
            "data_fingerprint",
            "split_fingerprint",
            "evaluation_fingerprint",
            "code",
        } <= set(tags)
        for fold in ("0", "1"):
            recorded = results[tags["trial_uid"], fold]["metrics"]["ndcg_at_10"]
            assert metrics[f"fold.{fold}.ndcg_at_10"] == pytest.approx(recorded, abs=1e-12)
        assert {"ndcg_at_10", "map_at_10", "fit_s", "recommend_s", "model_mb", "peak_rss_mb"} <= set(metrics)


def test_finalists_carry_their_test_scores(tracked: Path, mlflow_server: str) -> None:
    tested = [one for one in server_runs(mlflow_server, tracked) if "test.score" in one.data.metrics]
    rows = [row for row in leaderboard_rows(tracked) if row["role"] == "tuned" and row.get("test_score") is not None]
    assert {one.data.tags["trial_uid"] for one in tested} >= {row["trial_uid"] for row in rows}
    assert len(rows) >= 4


def test_the_facts_of_the_data_are_on_the_server(tracked: Path, mlflow_server: str) -> None:
    plan = next(one for one in server_runs(mlflow_server, tracked) if one.info.run_name == "plan")
    assert plan.data.tags["Cimbria/role"] == "pooled"
    assert plan.data.metrics["Aland/users"] == 90
    assert plan.data.tags["Aland/first_time"].startswith("2025-01-01")
    assert [name for name in plan.data.metrics if "dropped" in name] == []
    assert plan.data.params["trials"] == "6"


def test_a_study_shows_its_best_trial(tracked: Path, mlflow_server: str) -> None:
    found = server_runs(mlflow_server, tracked)
    trials = {one.data.tags["trial_uid"]: one for one in found if "trial_uid" in one.data.tags}
    studies = [one for one in found if "best_trial" in one.data.tags]
    assert len(studies) == 15
    for one in studies:
        scores = [
            t.data.metrics["score"] for t in trials.values() if t.data.tags["mlflow.parentRunId"] == one.info.run_id
        ]
        best = trials[one.data.tags["best_trial"]]
        assert one.data.metrics["best_score"] == best.data.metrics["score"] == max(scores)


def test_the_leaderboard_is_the_same_from_the_server(tracked: Path, mlflow_server: str) -> None:
    """But for what a server does not hold exactly: times, and failed trials."""
    experiment = Ledger.open(tracked / LEDGER).meta()["experiment"]
    from_server = server_rows(mlflow_server, experiment)
    assert [_comparable(row) for row in from_server] == [_comparable(row) for row in leaderboard_rows(tracked)]


def _comparable(row: dict[str, object]) -> dict[str, object]:
    return {
        name: round(value, 9) if isinstance(value, float) else value
        for name, value in sorted(row.items())
        if not name.endswith("_s") and name != "model_mb"
    }


def test_a_killed_driver_leaves_nothing_running_and_resumes_to_each_trial_once(
    shop_csv: Path, tracked: Path, mlflow_server: str, tmp_path: Path
) -> None:
    spec = settings(shop_csv, tmp_path / "runs", engine="local", workers=2, tracking_uri=mlflow_server)
    process = subprocess.Popen(command(spec, tmp_path))
    wait_for(tmp_path / "runs", 40, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=45)
    assert not alive, f"left behind: {alive}"
    run = find_run(tmp_path / "runs", None)
    agrees(mlflow_server, run)
    assert recorded(tmp_path / "runs") < len(Ledger.open(tracked / LEDGER).rows("results"))
    resume(run, {})
    agrees(mlflow_server, run)
    assert answer(run) == answer(tracked)


def test_a_run_without_a_server_is_sent_later(shop_csv: Path, mlflow_server: str, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    spec = settings(shop_csv, tmp_path, engine="inline", tracking_uri=nobody, tracking_offline=True)
    result = tune(Spec.from_mapping({**spec, "family": "popularity", "trials": 2}, "test"))
    assert result.outbox.waiting > 0
    assert outbox_state(result.folder).waiting > 0
    assert sync(result.folder, mlflow_server).waiting == 0
    agrees(mlflow_server, result.folder)
