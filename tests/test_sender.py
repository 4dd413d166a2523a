"""The sender against real servers: whatever is killed or goes away, every trial arrives exactly once."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from orchestrator.errors import InputError
from orchestrator.ledger import Ledger
from orchestrator.runs import LEDGER
from orchestrator.tracking import KEY_TAG, KIND_TAG
from orchestrator.tracking.limits import country_slug
from orchestrator.tracking.outbox import try_lock
from orchestrator.tracking.sender import OutboxState, SenderHandle, outbox_state, start_sender, sync
from tests.tracking_servers import Mischief, free_port, mlflow_server, proxy

__all__ = ["mlflow_server"]  # a fixture
STUDIES = ("FR/als", "Côte d'Ivoire/ease")
DRIVER = """
import sys, time
from pathlib import Path
from orchestrator.tracking.sender import start_sender
print(start_sender(Path(sys.argv[1]), sys.argv[2]).pid, flush=True)
time.sleep(600)
"""


class Run:
    """A run's folder, filled as a coordinator would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.experiment = f"sender-{uuid.uuid4().hex[:8]}"
        meta = {
            "run_id": "r",
            "experiment": self.experiment,
            "owner": "someone",
            "started_at": time.time(),
            "spec": {"seed": 3, "data": "s3://key:secret@bucket/x.csv", "split": {"folds": 3}},
            "certificate": {"split": "temporal", "data_fingerprint": "d1"},
        }
        self.ledger = Ledger.create(folder / LEDGER, meta)
        self.trials = 0
        for country, role in (("FR", "tuned"), ("Côte d'Ivoire", "pooled")):
            row = {"country": country, "role": role, "reason": "enough users", "facts": {"users": 12, "density": 0.1}}
            self.append("countries", row)
        self.append("sessions", {"session": "1", "event": "start", "engine": "inline", "workers": 1, "at": time.time()})
        for study in STUDIES:
            scope, family = study.split("/")
            facts = {"code": "c1", "threads": 1}
            row = {"study": study, "scope": scope, "family": family, "facts": facts, "opened_at": time.time()}
            self.append("studies", row)

    def append(self, table: Any, row: Mapping[str, Any]) -> None:
        with self.ledger.transaction():
            self.ledger.append(table, row)

    def try_configurations(self, number: int) -> None:
        for _ in range(number):
            self.end_trial("FAILED" if self.trials % 7 == 3 else "COMPLETE")

    def end_trial(self, state: str) -> None:
        uid, study, at = f"t{self.trials}", STUDIES[self.trials % 2], time.time()
        asked = {"trial_uid": uid, "study": study, "number": self.trials // 2, "origin": "sampler", "seed": 5}
        ended = {"trial_uid": uid, "state": state, "ended_at": at}
        with self.ledger.transaction():
            self.ledger.append("trials", asked | {"params": {"factors": self.trials, "mode": "x"}, "asked_at": at})
            if state == "COMPLETE":
                for fold in ("0", "1"):
                    self.ledger.append("results", self.result(uid, fold, at))
                metrics = {"ndcg_at_10": 0.5, "country.FR.ndcg_at_10": 0.4}
                self.ledger.append("trial_ends", ended | {"score": 0.25, "metrics": metrics})
            else:
                attempt = {
                    "trial_uid": uid,
                    "rung": 0,
                    "fold": "0",
                    "attempt": 1,
                    "state": state,
                    "node": "n1",
                    "at": at,
                }
                self.ledger.append("attempts", attempt | {"reason": "it raised", "log": "Traceback\nValueError"})
                self.ledger.append("trial_ends", ended | {"reason": "it raised"})
        self.trials += 1

    def result(self, uid: str, fold: str, at: float) -> dict[str, Any]:
        metrics = {"ndcg_at_10": 0.5, "countries": {"FR": {"ndcg_at_10": 0.4}}}
        measured = {"fit_s": 1.0 + (fold == "1"), "model_mb": 2.0 + (fold == "1")}
        times = {"started_at": at - 1, "ended_at": at}
        where = {"trial_uid": uid, "rung": 0, "fold": fold, "attempt": 1, "node": "n1"}
        return where | {"metrics": metrics, "measured": measured} | times

    def end(self) -> None:
        self.append("results", self.result("t0", "test", time.time()))
        for study in STUDIES:
            self.append("study_ends", {"study": study, "state": "FINISHED", "reason": "", "ended_at": time.time()})


class Server:
    """What an unmodified mlflow client sees of a run."""

    def __init__(self, uri: str, run: Run) -> None:
        self._client, self._run = MlflowClient(uri), run

    def runs(self) -> list[Any]:
        experiment = self._client.get_experiment_by_name(self._run.experiment)
        return list(self._client.search_runs([experiment.experiment_id], max_results=5000)) if experiment else []

    def check(self, parents: str) -> dict[str, Any]:
        """Every trial of the ledger exactly once, in its state; the studies and the plan in the one given."""
        runs = self.runs()
        assert Counter(run.data.tags[KEY_TAG] for run in runs) == Counter(
            [f"r/t{number}" for number in range(self._run.trials)] + [f"r/{study}" for study in STUDIES] + ["r/plan"]
        )
        by_key = {run.data.tags[KEY_TAG]: run for run in runs}
        for row in self._run.ledger.rows("trial_ends"):
            expected = "FINISHED" if row["state"] == "COMPLETE" else "FAILED"
            assert by_key[f"r/{row['trial_uid']}"].info.status == expected
        assert {run.info.status for run in runs if run.data.tags[KIND_TAG] != "trial"} == {parents}
        return by_key


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


def wait_for(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.05)


def all_sent(run: Run) -> Callable[[], bool]:
    return lambda: outbox_state(run.folder).waiting == 0


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(params=["embedded", "http"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "embedded":
        return f"sqlite:///{tmp_path}/mlflow.db"
    return str(request.getfixturevalue("mlflow_server"))


def test_a_growing_ledger_is_followed_to_its_end(run: Run, uri: str) -> None:
    sender = start_sender(run.folder, uri)
    for _ in range(5):
        run.try_configurations(10)
        time.sleep(0.1)
    wait_for(all_sent(run))
    run.end()
    state = sender.finish(60.0)
    assert state == OutboxState(sent=2 + 50 + 2, waiting=0, oldest_s=0.0)
    by_key = Server(uri, run).check("FINISHED")
    trial = by_key["r/t0"]
    parent = by_key[f"r/{STUDIES[0]}"]
    assert trial.data.params == {"factors": "0", "mode": "x"}
    assert trial.data.metrics == {
        "score": 0.25,
        "ndcg_at_10": 0.5,
        "country.FR.ndcg_at_10": 0.4,
        "fold.0.ndcg_at_10": 0.5,
        "fold.1.ndcg_at_10": 0.5,
        "fit_s": 1.5,
        "model_mb": 3.0,
        "test.ndcg_at_10": 0.5,
        "test.country.FR.ndcg_at_10": 0.4,
        "test.fit_s": 1.0,
        "test.model_mb": 2.0,
    }
    expected = {
        "country": "FR",
        "family": "als",
        "state": "COMPLETE",
        "engine": "inline",
        "node": "n1",
        "origin": "sampler",
    }
    expected |= {"data_fingerprint": "d1", "code": "c1", "run_id": "r", "trial_uid": "t0", "number": "0", "seed": "5"}
    assert expected.items() <= trial.data.tags.items()
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
    failed = by_key["r/t3"].data.tags
    assert (failed["reason"], failed["log"]) == ("it raised", "Traceback\nValueError")
    plan = by_key["r/plan"].data
    assert plan.params == {"seed": "3", "data": "s3://bucket/x.csv", "split.folds": "3"}
    assert plan.metrics["FR/users"] == 12
    ivory_coast = "Côte d'Ivoire"
    assert plan.tags[country_slug(ivory_coast) + "/country"] == ivory_coast


def test_a_killed_sender_is_started_again(run: Run, uri: str) -> None:
    sender = start_sender(run.folder, uri)
    run.try_configurations(60)
    for part in (10, 40):
        wait_for(lambda: len(Server(uri, run).runs()) >= part or all_sent(run)())  # noqa: B023
        pid = sender.pid
        kill(pid)
        run.try_configurations(10)
        wait_for(lambda: sender.pid != pid)  # noqa: B023
    run.end()
    assert sender.finish(60.0).waiting == 0
    Server(uri, run).check("FINISHED")


def test_when_the_run_is_killed_the_sender_drains_closes_and_ends(run: Run, uri: str) -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(run.folder), uri], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    sender = psutil.Process(int(driver.stdout.readline()))
    run.try_configurations(20)
    wait_for(lambda: outbox_state(run.folder).sent > 0)
    run.try_configurations(20)
    driver.kill()
    driver.wait()
    driver.stdout.close()
    psutil.wait_procs([sender], timeout=40)
    assert not sender.is_running() or sender.status() == psutil.STATUS_ZOMBIE
    Server(uri, run).check("KILLED")
    resumed = start_sender(run.folder, uri)
    run.try_configurations(1)
    wait_for(all_sent(run))
    Server(uri, run).check("RUNNING")
    run.end()
    resumed.finish(60.0)
    Server(uri, run).check("FINISHED")


def test_an_interrupted_run_leaves_nothing_running(run: Run, uri: str) -> None:
    sender = start_sender(run.folder, uri)
    run.try_configurations(5)
    sender.finish(0.0)
    wait_for(lambda: not psutil.pid_exists(sender.pid) or psutil.Process(sender.pid).status() == "zombie")
    Server(uri, run).check("KILLED")


def test_a_server_that_comes_late(run: Run, mlflow_server: str) -> None:
    port = free_port()
    sender = start_sender(run.folder, f"http://127.0.0.1:{port}")
    run.try_configurations(20)
    wait_for(lambda: outbox_state(run.folder).error != "")
    late = outbox_state(run.folder)
    assert (late.sent, late.waiting) == (0, 22)
    assert late.oldest_s > 0
    with proxy(mlflow_server, lambda: "", port=port):
        wait_for(all_sent(run))
        run.end()
        assert sender.finish(60.0) == OutboxState(2 + 20 + 2, 0, 0.0)
    Server(mlflow_server, run).check("FINISHED")


def test_a_server_that_fails_hangs_drops_and_forgets(run: Run, mlflow_server: str) -> None:
    mischief = Mischief(seed=1, fail=0.1, hang=0.01, drop=0.08, forget=0.12)
    with proxy(mlflow_server, mischief.next, hang_s=1.0) as uri:
        sender = start_sender(run.folder, uri)
        run.try_configurations(30)
        wait_for(all_sent(run), 120)
        run.end()
        sender.finish(60.0)
    assert min(mischief.done["fail"], mischief.done["drop"], mischief.done["forget"]) > 0
    Server(mlflow_server, run).check("FINISHED")


def test_sync_finishes_the_job_and_sends_to_another_server(run: Run, mlflow_server: str, tmp_path: Path) -> None:
    run.try_configurations(12)
    run.end()
    assert outbox_state(run.folder).waiting == 2 + 12 + 1 + 2
    with pytest.raises(InputError, match="must answer"):
        sync(run.folder, "http://127.0.0.1:9")
    for uri in (mlflow_server, f"sqlite:///{tmp_path}/other.db", mlflow_server):
        assert sync(run.folder, uri) == OutboxState(2 + 12 + 2, 0, 0.0)
        Server(uri, run).check("FINISHED")


def test_the_outbox_may_be_deleted(run: Run, mlflow_server: str) -> None:
    run.try_configurations(12)
    run.end()
    sync(run.folder, mlflow_server)
    for file in run.folder.glob("outbox.*"):
        file.unlink()
    assert sync(run.folder, mlflow_server).waiting == 0
    Server(mlflow_server, run).check("FINISHED")


def test_a_refused_trial_is_told_and_holds_up_nothing(run: Run, mlflow_server: str) -> None:
    run.try_configurations(5)
    sync(run.folder, mlflow_server)
    client = MlflowClient(mlflow_server)
    gone = next(one for one in Server(mlflow_server, run).runs() if one.data.tags[KEY_TAG] == "r/t0")
    client.delete_run(gone.info.run_id)
    run.try_configurations(5)
    run.end()
    state = sync(run.folder, mlflow_server)
    assert state.waiting == 1
    assert "active" in state.error
    client.restore_run(gone.info.run_id)
    assert sync(run.folder, mlflow_server).waiting == 0
    Server(mlflow_server, run).check("FINISHED")


def test_one_sender_at_a_time(run: Run) -> None:
    with try_lock(run.folder) as lock:
        assert lock is not None
        assert try_lock(run.folder) is None
    with try_lock(run.folder) as again:
        assert again is not None


def test_the_sender_over_http_imports_no_mlflow(run: Run, mlflow_server: str) -> None:
    run.try_configurations(1)
    run.end()
    code = (
        "import json, sys; from pathlib import Path; from orchestrator.tracking.sender import sync;"
        f"sync(Path({str(run.folder)!r}), {mlflow_server!r}); print(json.dumps(sorted(sys.modules)))"
    )
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert "httpx" in loaded
    assert not {"mlflow", "pandas", "sqlalchemy"} & set(loaded)


def test_credentials_come_from_the_environment_and_stay_there(
    run: Run, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "someone")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cr3t")
    seen: list[str] = []
    run.try_configurations(1)
    run.end()
    with proxy(mlflow_server, lambda: "", seen=seen) as uri:
        handle: SenderHandle = start_sender(run.folder, uri)
        assert handle.finish(60.0).waiting == 0
    assert set(seen) == {"Basic c29tZW9uZTpzM2NyM3Q="}
    for file in run.folder.iterdir():
        assert b"s3cr3t" not in file.read_bytes()
        assert b"c29tZW9uZTpzM2NyM3Q" not in file.read_bytes()
