"""One suite for every tracker, read back with the unmodified mlflow client."""

import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.errors import InputError
from orchestrator.tracking import KEY_TAG, KIND_TAG, Metric, NotSent, Query, Record, Tracker, checked_uri, open_tracker
from orchestrator.tracking.limits import CUT
from tests.tracking_servers import Mischief, fasttrackml_server, mlflow_server, proxy

__all__ = ["fasttrackml_server", "mlflow_server"]  # fixtures
AT = 1_700_000_000_000


class Place:
    """A tracker that is tested, and an ordinary client that looks at what it did."""

    def __init__(self, uri: str, kind: str) -> None:
        self.uri = uri
        self.kind = kind
        self.experiment = f"contract-{uuid.uuid4().hex[:8]}"
        self.tracker = self.open()
        self._client = MlflowClient(uri)

    def open(self) -> Tracker:
        return open_tracker(self.uri, self.experiment)

    def runs(self, filter_string: str = "") -> list[Run]:
        experiment = self._client.get_experiment_by_name(self.experiment)
        assert experiment is not None
        return list(self._client.search_runs([experiment.experiment_id], filter_string, max_results=5000))

    def run(self, key: str) -> Run:
        (found,) = [run for run in self.runs() if run.data.tags[KEY_TAG] == key]
        return found

    def history(self, key: str, metric: str) -> list[tuple[int, int, float]]:
        history = self._client.get_metric_history(self.run(key).info.run_id, metric)
        return [(one.step, one.timestamp, one.value) for one in history]


@pytest.fixture(params=["embedded", "mlflow", pytest.param("fasttrackml", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if request.param == "embedded":
        uri = f"sqlite:///{tmp_path_factory.getbasetemp()}/trackers.db"
    else:
        uri = request.getfixturevalue(f"{request.param}_server")
    place = Place(uri, request.param)
    yield place
    place.tracker.close()


def study(**changes: object) -> Record:
    record = Record("r/FR/als", "FR/als", None, AT, tags={KIND_TAG: "study", "country": "FR", "family": "als"})
    return replace(record, **changes)  # type: ignore[arg-type]


def trial(uid: str = "t1", **changes: object) -> Record:
    record = Record(
        key=f"r/{uid}",
        name=f"FR/als#{uid}",
        parent="r/FR/als",
        start_ms=AT,
        params={"factors": "64", "regularization": "0.01"},
        metrics=(Metric("score", 0.25, AT + 5), Metric("ndcg_at_10", 0.5, AT + 5)),
        tags={KIND_TAG: "trial", "country": "FR", "family": "als", "trial_uid": uid},
        status="FINISHED",
        end_ms=AT + 5,
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def test_probe_says_who_answers(place: Place) -> None:
    found = place.tracker.probe()
    assert found.kind == place.kind
    assert found.version


def test_a_trial_lands_whole(place: Place) -> None:
    place.tracker.send([study(), trial()])
    run = place.run("r/t1")
    assert run.data.params == {"factors": "64", "regularization": "0.01"}
    assert run.data.metrics == {"score": 0.25, "ndcg_at_10": 0.5}
    assert run.data.tags["trial_uid"] == "t1"
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("FINISHED", AT, AT + 5)
    assert run.info.run_name == "FR/als#t1"
    assert run.data.tags["mlflow.parentRunId"] == place.run("r/FR/als").info.run_id
    assert place.run("r/FR/als").info.status == "RUNNING"


def test_sending_twice_changes_nothing(place: Place) -> None:
    records = [study(), *(trial(f"t{number}") for number in range(20)), study(status="FINISHED", end_ms=AT + 9)]
    place.tracker.send(records)
    before = {run.data.tags[KEY_TAG]: run.to_dictionary() for run in place.runs()}
    place.tracker.send(records)
    with_another = place.open()
    with_another.send(records)
    with_another.close()
    assert {run.data.tags[KEY_TAG]: run.to_dictionary() for run in place.runs()} == before
    assert len(place.runs()) == 21
    assert len(place.history("r/t3", "score")) == 1


def test_the_latest_step_is_the_value(place: Place) -> None:
    rungs = [Metric("score", value, AT + step, step) for step, value in ((1, 0.9), (2, 0.1), (3, 0.3))]
    place.tracker.send([study(), trial(metrics=rungs[:1]), trial(metrics=rungs[1:])])
    assert place.run("r/t1").data.metrics["score"] == 0.3
    assert place.history("r/t1", "score") == [(1, AT + 1, 0.9), (2, AT + 2, 0.1), (3, AT + 3, 0.3)]


def test_what_comes_later_is_added(place: Place) -> None:
    place.tracker.send([study(), trial()])
    later = Record(
        "r/t1",
        "FR/als#t1",
        "r/FR/als",
        AT,
        metrics=(Metric("test.score", 0.2, AT + 50),),
        status="FINISHED",
        end_ms=AT + 5,
    )
    place.tracker.send([later])
    run = place.run("r/t1")
    assert run.data.metrics == {"score": 0.25, "ndcg_at_10": 0.5, "test.score": 0.2}
    assert run.info.end_time == AT + 5


def test_a_closed_run_opens_again(place: Place) -> None:
    place.tracker.send([study(), study(status="KILLED", end_ms=AT + 1)])
    assert place.run("r/FR/als").info.status == "KILLED"
    place.tracker.send([study()])
    assert place.run("r/FR/als").info.status == "RUNNING"
    place.tracker.send([study(status="FINISHED", end_ms=AT + 9)])
    assert (place.run("r/FR/als").info.status, place.run("r/FR/als").info.end_time) == ("FINISHED", AT + 9)


def test_numbers_that_are_none(place: Place) -> None:
    odd = (
        Metric("nan", math.nan, AT),
        Metric("up", math.inf, AT),
        Metric("down", -math.inf, AT),
        Metric("zero", 0.0, AT),
    )
    for _ in range(2):
        place.tracker.send([study(), trial(metrics=odd)])
    assert math.isnan(place.history("r/t1", "nan")[0][2])
    metrics = place.run("r/t1").data.metrics
    assert metrics["up"] > 1e300
    assert metrics["down"] < -1e300
    assert metrics["zero"] == 0.0
    assert len(place.history("r/t1", "nan")) == 1


def test_long_values_and_odd_names_are_fitted(place: Place) -> None:
    odd = trial(
        params={"long": "x" * 20_000, "a@b": "é🙂", "../up": "1"},
        metrics=(Metric("ndcg@10", 0.5, AT), Metric("Côte d'Ivoire/users", 3.0, AT)),
        tags={"log": "y" * 20_000, KIND_TAG: "trial", "country": "Côte d'Ivoire"},
    )
    for _ in range(2):
        place.tracker.send([study(), odd])
    run = place.run("r/t1")
    assert run.data.params["long"].endswith(CUT)
    assert run.data.params["a_at_b"] == "é🙂"
    assert run.data.metrics == {"ndcg_at_10": 0.5, "C_te d_Ivoire/users": 3.0}
    assert run.data.tags["country"] == "Côte d'Ivoire"
    (row,) = place.tracker.search(Query(place.experiment, country="Côte d'Ivoire"))
    assert row["key"] == "r/t1"


def test_more_than_a_batch_holds(place: Place) -> None:
    many = trial(
        params={f"p{number}": str(number) for number in range(250)},
        metrics=[Metric(f"m{number}", float(number), AT) for number in range(2300)],
        tags={f"t{number}": str(number) for number in range(250)},
    )
    place.tracker.send([study(), many])
    data = place.run("r/t1").data
    assert (len(data.params), len(data.metrics)) == (250, 2300)
    assert {f"t{number}" for number in range(250)} <= set(data.tags)


def test_search_gives_finished_trials(place: Place) -> None:
    german = {KIND_TAG: "trial", "country": "DE", "family": "ease"}
    plan = Record("r/plan", "plan", None, AT, {"seed": "1"}, tags={KIND_TAG: "plan"})
    failed = trial("t9", status="FAILED")
    place.tracker.send([plan, study(), trial("t1"), trial("t2", tags=german), failed])
    search = place.tracker.search
    assert {row["key"] for row in search(Query(place.experiment))} == {"r/t1", "r/t2"}
    assert {row["key"] for row in search(Query(place.experiment, country="DE"))} == {"r/t2"}
    assert {row["key"] for row in search(Query(place.experiment, "FR", "als"))} == {"r/t1"}
    assert search(Query(place.experiment, "FR", "ease")) == []
    assert [row["params"] for row in search(Query(place.experiment, kind="plan"))] == [{"seed": "1"}]
    assert search(Query("no such experiment")) == []
    (row,) = search(Query(place.experiment, "FR"))
    assert (row["status"], row["start_ms"], row["metrics"]["score"], row["params"]["factors"]) == (
        "FINISHED",
        AT,
        0.25,
        "64",
    )


def send_all(tracker: Tracker, records: Sequence[Record]) -> None:
    """Send again what did not arrive, and nothing else, until all has."""
    left = list(records)

    def send() -> None:
        nonlocal left
        try:
            tracker.send(left)
        except NotSent as failure:
            left = [record for record in left if record.key in failure.refusals]
            raise

    until_it_works(send)


def until_it_works(call: Callable[[], None]) -> None:
    for _ in range(100):
        try:
            return call()
        except NotSent as failure:
            if not all(refusal.again for refusal in failure.refusals.values()):
                raise
    pytest.fail("it never worked")


@pytest.mark.parametrize("seed", range(2))
def test_answers_that_are_lost_make_no_second_run(mlflow_server: str, seed: int) -> None:
    place = Place(mlflow_server, "mlflow")
    mischief = Mischief(seed=seed, fail=0.1, hang=0.02, drop=0.1, forget=0.15)
    records = [study(), *(trial(f"t{number}") for number in range(24)), study(status="FINISHED", end_ms=AT + 9)]
    with proxy(mlflow_server, mischief.next, hang_s=0.1) as uri:
        tracker = open_tracker(uri, place.experiment)
        send_all(tracker, records)
        until_it_works(tracker.settle)
        tracker.close()
    assert mischief.done["forget"] > 0
    assert sorted(run.data.tags[KEY_TAG] for run in place.runs()) == sorted({record.key for record in records})
    assert {run.info.status for run in place.runs()} == {"FINISHED"}
    assert len(place.history("r/t7", "score")) == 1


def test_a_record_that_is_refused_does_not_hold_up_the_others(mlflow_server: str) -> None:
    place = Place(mlflow_server, "mlflow")
    place.tracker.send([study(), trial("t1")])
    with pytest.raises(NotSent) as failure:
        place.tracker.send([trial("t1", params={"factors": "65"}), trial("t2")])
    assert set(failure.value.refusals) == {"r/t1"}
    assert not failure.value.refusals["r/t1"].again
    assert place.run("r/t2").info.status == "FINISHED"


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("runs", "http://HOST:PORT"),
        ("/tmp/runs", "sqlite:///FILE"),
        ("postgresql://u:secret@host/db", "sqlite:///FILE"),
        ("http://u:secret@host:5000", "MLFLOW_TRACKING_USERNAME"),
        ("http://host:5000/?token=secret", "MLFLOW_TRACKING_TOKEN"),
        ("http://", "must name a host"),
        ("sqlite:///", "must name a file"),
    ],
)
def test_a_uri_that_is_none_gets_a_sentence(uri: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        checked_uri(uri)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("trick", ["drop", "fail", "hang"])
def test_a_server_that_does_not_answer_gets_a_sentence(trick: str, mlflow_server: str) -> None:
    with proxy(mlflow_server, lambda: trick, hang_s=20.0) as uri, pytest.raises(InputError, match="--tracking-offline"):
        open_tracker(uri, "x").probe()


def test_nobody_and_another_server_get_a_sentence(mlflow_server: str) -> None:
    with pytest.raises(InputError, match="must answer"):
        open_tracker("http://127.0.0.1:9", "x").probe()
    with pytest.raises(InputError, match="must speak the MLflow API"):
        open_tracker(f"{mlflow_server}/elsewhere", "x").probe()


def test_the_embedded_store_says_what_is_wrong_with_its_file(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("not a database, but long enough to be read as one")
    with pytest.raises(InputError, match="must be an SQLite file"):
        open_tracker(f"sqlite:///{text}", "x").probe()
    with pytest.raises(InputError, match="must be writable"):
        open_tracker(f"sqlite:///{text}/below.db", "x").probe()
