"""Trials on any server that speaks the MLflow API, each exactly once, whatever happens to the requests.

A server chooses the ids of its runs and would make two for a create that was sent twice. So a create is written into
the book before it is sent, one whose answer was lost is looked up by the tag `orchestrate.key` before it is repeated,
and `settle` looks again at the end, when a server that was merely slow has caught up. Metrics carry their own time
and step, params and tags their values: sending those twice changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import InputError
from orchestrator.tracking import KEY_TAG, Capabilities, Metric, NotSent, Query, Record, Refusal
from orchestrator.tracking.book import MemoryBook, RunBook
from orchestrator.tracking.limits import TAGS_PER_BATCH, Batch, batches, fitted
from orchestrator.tracking.query import filter_string, with_key
from orchestrator.tracking.rest import CONNECTIONS, Away, Refused, RestClient

PARENT_TAG, USER_TAG = "mlflow.parentRunId", "mlflow.user"
PARAM_LENGTH = {"mlflow": 6000}
PARAM_LENGTH_ELSEWHERE = 500
"""FastTrackML on PostgreSQL answers 500 to a longer one."""


@dataclass(frozen=True)
class _Outcome:
    """What became of one record."""

    run_id: str | None
    refusal: Refusal | None = None
    suspect: bool = False


class HttpTracker:
    """A tracker for one experiment on one server."""

    def __init__(self, uri: str, experiment: str, book: RunBook | None = None) -> None:
        self._client = RestClient(uri)
        self._experiment = experiment
        self._book: RunBook = book or MemoryBook()
        self._pool = ThreadPoolExecutor(CONNECTIONS, "tracking")
        self._param_length: int | None = None
        self._silence: str | None = None

    def probe(self) -> Capabilities:
        """See Tracker."""
        return self._client.probe()

    def send(self, records: Sequence[Record]) -> None:
        """See Tracker."""
        try:
            length, experiment_id = self._open()
        except (Away, Refused) as error:
            refusal = Refusal(str(error), again=isinstance(error, Away))
            raise NotSent({record.key: refusal for record in records}) from None
        refusals: dict[str, Refusal] = {}
        self._silence = None
        for wave in waves([fitted(record, param_length=length) for record in records]):
            self._send_wave(experiment_id, wave, refusals)
        if refusals:
            raise NotSent(refusals)

    def settle(self) -> None:
        """See Tracker."""
        for key in self._book.suspects():
            try:
                self._remove_ghosts(key)
            except (Away, Refused) as error:
                raise NotSent({key: Refusal(str(error), again=isinstance(error, Away))}) from None
            self._book.clear(key)

    def search(self, query: Query) -> Sequence[Mapping[str, Any]]:
        """See Tracker; raises InputError where the server cannot be asked."""
        try:
            experiment_id = self._find_experiment(query.experiment)
            if experiment_id is None:
                return []
            return [_row(run) for run in self._client.search_runs(experiment_id, filter_string(query))]
        except (Away, Refused) as error:
            raise InputError(
                f"the tracking server must answer a search, but it says: {error}; ask the run's own folder instead"
            ) from error

    def close(self) -> None:
        """See Tracker."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _open(self) -> tuple[int, str]:
        if self._param_length is None:
            self._param_length = PARAM_LENGTH.get(self._client.capabilities().kind, PARAM_LENGTH_ELSEWHERE)
        experiment_id = self._book.experiment_id()
        if experiment_id is None:
            experiment_id = self._find_experiment(self._experiment) or self._create_experiment()
            self._book.open_experiment(experiment_id, dict(self._keys_there(experiment_id)))
        return self._param_length, experiment_id

    def _find_experiment(self, name: str) -> str | None:
        try:
            found = self._client.get("experiments/get-by-name", {"experiment_name": name})["experiment"]
        except Refused as error:
            if error.code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        if found.get("lifecycle_stage") == "deleted":
            raise Refused("DELETED", f"the experiment {name!r} was deleted on the server; restore it there")
        return str(found["experiment_id"])

    def _create_experiment(self) -> str:
        try:
            return str(self._client.post("experiments/create", {"name": self._experiment})["experiment_id"])
        except Refused as error:
            found = self._find_experiment(self._experiment)  # somebody was faster
            if found is None:
                raise error
            return found

    def _keys_there(self, experiment_id: str) -> Iterator[tuple[str, str]]:
        for run in self._client.search_runs(experiment_id, ""):
            key = _pairs(run["data"].get("tags", [])).get(KEY_TAG)
            if key:
                yield key, _run_id(run)

    def _send_wave(self, experiment_id: str, wave: Sequence[Record], refusals: dict[str, Refusal]) -> None:
        ready = [record for record in wave if self._may_go(record, refusals)]
        doubtful = {record.key for record in ready if self._book.in_doubt(record.key)}
        self._book.intend([record.key for record in ready if self._book.run_id(record.key) is None])
        known = [self._book.run_id(record.key) for record in ready]
        parents = [self._book.run_id(record.parent) if record.parent else None for record in ready]
        outcomes = list(
            self._pool.map(
                lambda record, run_id, parent: self._deliver(
                    experiment_id, record, run_id, parent, doubtful=record.key in doubtful
                ),
                ready,
                known,
                parents,
            )
        )
        pairs = list(zip((record.key for record in ready), outcomes, strict=True))
        self._book.remember({key: outcome.run_id for key, outcome in pairs if outcome.run_id})
        self._book.suspect([key for key, outcome in pairs if outcome.suspect])
        refusals.update({key: outcome.refusal for key, outcome in pairs if outcome.refusal})

    def _may_go(self, record: Record, refusals: dict[str, Refusal]) -> bool:
        """Whether what must come before the record has arrived: its own earlier part, and its parent."""
        if record.key in refusals:
            return False
        if record.parent is None or (record.parent not in refusals and self._book.run_id(record.parent)):
            return True
        before = refusals.get(record.parent, Refusal("", again=False))
        refusals[record.key] = Refusal(f"its parent {record.parent} has not arrived", again=before.again)
        return False

    def _deliver(
        self, experiment_id: str, record: Record, known: str | None, parent_id: str | None, *, doubtful: bool
    ) -> _Outcome:
        """Runs on a thread of the pool, so it leaves the book alone."""
        if self._silence:  # no use in letting every record find out for itself, each a time-out later
            return _Outcome(known, Refusal(self._silence, again=True))
        run_id, tags = known, dict(record.tags)
        try:
            if run_id is None and doubtful:
                run_id = next(iter(self._runs_of(experiment_id, record.key)), None)
            fresh = run_id is None
            if run_id is None:
                run_id, tags = self._create(experiment_id, record, parent_id)
            for batch in batches(record.metrics, record.params, tags):
                self._client.post("runs/log-batch", _batch(run_id, batch))
            if record.status != "RUNNING" or not fresh:
                self._client.post("runs/update", _update(run_id, record))
        except Away as error:
            self._silence = str(error) if error.silent else self._silence
            return _Outcome(run_id, Refusal(str(error), again=True), suspect=run_id is None and error.lost)
        except Refused as error:
            return _Outcome(run_id, Refusal(str(error), again=False))
        return _Outcome(run_id)

    def _create(self, experiment_id: str, record: Record, parent_id: str | None) -> tuple[str, dict[str, str]]:
        """Make a server run with its key; gives its id, and the tags that did not go with it."""
        items = list(record.tags.items())
        own = {KEY_TAG: record.key} | ({PARENT_TAG: parent_id} if parent_id else {}) | dict(items[:TAGS_PER_BATCH])
        body = {
            "experiment_id": experiment_id,
            "run_name": record.name,
            "start_time": record.start_ms,
            "tags": _listed(own),
        }
        if USER_TAG in record.tags:
            body["user_id"] = record.tags[USER_TAG]
        return _run_id(self._client.post("runs/create", body)["run"]), dict(items[TAGS_PER_BATCH:])

    def _runs_of(self, experiment_id: str, key: str) -> list[str]:
        """The server runs with a key, in the order in which a ghost is told from the run: by id."""
        found = self._client.search_runs(experiment_id, with_key(key))
        return sorted(_run_id(run) for run in found)

    def _remove_ghosts(self, key: str) -> None:
        """Two server runs of one key: the one that was filled stays, the empty one is moved to the server's bin."""
        experiment_id, kept = self._book.experiment_id(), self._book.run_id(key)
        if experiment_id is None or kept is None:
            return
        for run_id in self._runs_of(experiment_id, key):
            if run_id != kept:
                self._client.post("runs/delete", {"run_id": run_id})


def waves(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Cut records into groups that may be sent side by side: never two of one key, nor a parent with its child."""
    wave: list[Record] = []
    keys: set[str] = set()
    for record in records:
        if record.key in keys or record.parent in keys:
            yield wave
            wave, keys = [], set()
        wave.append(record)
        keys.add(record.key)
    if wave:
        yield wave


def _batch(run_id: str, batch: Batch) -> dict[str, Any]:
    metrics = [_metric(metric) for metric in batch.metrics]
    return {"run_id": run_id, "metrics": metrics, "params": _listed(batch.params), "tags": _listed(batch.tags)}


def _metric(metric: Metric) -> dict[str, Any]:
    value = "NaN" if metric.value != metric.value else metric.value  # as JSON spells a protobuf's double
    return {"key": metric.key, "value": value, "timestamp": metric.timestamp_ms, "step": metric.step}


def _update(run_id: str, record: Record) -> dict[str, Any]:
    return {"run_id": run_id, "status": record.status} | ({"end_time": record.end_ms} if record.end_ms else {})


def _listed(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in pairs.items()]


def _pairs(listed: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {item["key"]: item.get("value", "") for item in listed}


def _run_id(run: Mapping[str, Any]) -> str:
    return str(run["info"].get("run_id") or run["info"]["run_uuid"])


def _row(run: Mapping[str, Any]) -> dict[str, Any]:
    data = run["data"]
    metrics = {key: float(value or 0.0) for key, value in _pairs(data.get("metrics", [])).items()}
    info = run["info"]
    return {
        "key": _pairs(data.get("tags", [])).get(KEY_TAG, ""),
        "name": info.get("run_name", ""),
        "status": info["status"],
        "start_ms": int(info.get("start_time") or 0),
        "end_ms": int(info.get("end_time") or 0),
        "params": _pairs(data.get("params", [])),
        "metrics": metrics,
        "tags": _pairs(data.get("tags", [])),
    }
