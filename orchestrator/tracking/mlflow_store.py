"""MLflow's own SQLite store, written in bulk: the leaf that imports mlflow.

The store's `log_batch` takes four transactions for each server run. Here its tables (mlflow's own models of them) are
filled for many server runs in one, with ids that follow from the keys, so that a row sent twice is the same row.
"""

import logging
import math
import os
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import Connection, func, text, tuple_
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.errors import InputError
from orchestrator.tracking import KEY_TAG, Metric, NotSent, Query, Record, Refusal
from orchestrator.tracking.limits import fitted
from orchestrator.tracking.query import filter_string

PARAM_LENGTH = 6000
PAGE = 1000
Values = dict[str, Any]


class MlflowStore:
    """One experiment in one file."""

    def __init__(self, path: Path, experiment: str) -> None:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._name = experiment
        self._artifacts = path.resolve().parent / "mlartifacts"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if not path.exists():
                self._make(path)
            self._store: Any = self._open(path)
        except (MlflowException, SQLAlchemyError) as error:
            raise InputError(
                f"the tracking store must be one of this MLflow's, but {path} is not ({str(error).splitlines()[0]}); "
                "give another --tracking-uri, or run `mlflow db upgrade`"
            ) from error
        self._engine = self._store.engine
        with self._engine.connect() as connection:
            connection.execute(text("PRAGMA journal_mode=WAL"))  # `mlflow ui` may read while this writes
        self._experiment_id: str | None = None

    def send(self, records: Sequence[Record]) -> None:
        """See Tracker: all of them in one transaction."""
        whole = [fitted(record, param_length=PARAM_LENGTH) for record in records]
        try:
            experiment_id = self._experiment()
            with self._engine.begin() as connection:
                self._write(connection, int(experiment_id), whole)
        except (SQLAlchemyError, MlflowException) as error:
            reason = str(error).splitlines()[0]
            raise NotSent({record.key: Refusal(reason, again=True) for record in records}) from error

    def search(self, query: Query) -> Sequence[Mapping[str, Any]]:
        """See Tracker."""
        found = self._store.get_experiment_by_name(query.experiment)
        if found is None:
            return []
        rows: list[Mapping[str, Any]] = []
        token: str | None = None
        while True:
            page = self._store.search_runs(
                [found.experiment_id],
                filter_string(query),
                ViewType.ACTIVE_ONLY,
                PAGE,
                ["attributes.start_time"],
                token,
            )
            rows += [_row(run) for run in page]
            token = page.token
            if not token:
                return rows

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def _open(self, path: Path) -> Any:
        return SqlAlchemyStore(f"sqlite:///{path}", str(self._artifacts))  # type: ignore[no-untyped-call]

    def _make(self, path: Path) -> None:
        """A new file, which appears whole: mlflow cannot go on with tables that a killed process made half of."""
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            self._open(draft).engine.dispose()
            with suppress(FileExistsError):  # somebody was faster
                os.link(draft, path)

    def _experiment(self) -> str:
        if self._experiment_id is None:
            found = self._store.get_experiment_by_name(self._name)
            if found is None:
                try:
                    self._experiment_id = str(self._store.create_experiment(self._name))
                except MlflowException:  # somebody was faster
                    found = self._store.get_experiment_by_name(self._name)
            if found is not None:
                self._experiment_id = str(found.experiment_id)
        if self._experiment_id is None:
            raise MlflowException(f"the experiment {self._name!r} could not be made")
        return self._experiment_id

    def _write(self, connection: Connection, experiment_id: int, records: Sequence[Record]) -> None:
        ids = {record.key: run_id(self._name, record.key) for record in records}
        for record in records:
            self._write_run(connection, experiment_id, ids[record.key], record)
        _ignoring(connection, SqlParam, [_pair(ids[r.key], k, v) for r in records for k, v in r.params.items()])
        metrics = [_metric(ids[r.key], metric) for r in records for metric in r.metrics]
        _ignoring(connection, SqlMetric, metrics)
        _keep_latest(connection, metrics)
        _write_tags(connection, [_pair(ids[r.key], k, v) for r in records for k, v in self._tags(r).items()])

    def _write_run(self, connection: Connection, experiment_id: int, run_uuid: str, record: Record) -> None:
        whole: Values = {
            "run_uuid": run_uuid,
            "name": record.name,
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "source_version": "",
            "user_id": record.tags.get("mlflow.user", ""),
            "status": record.status,
            "start_time": record.start_ms,
            "end_time": record.end_ms,
            "lifecycle_stage": "active",
            "artifact_uri": f"{self._artifacts}/{experiment_id}/{run_uuid}/artifacts",
            "experiment_id": experiment_id,
        }
        known = {"status": record.status, "end_time": func.coalesce(record.end_ms, SqlRun.end_time)}
        statement = insert(SqlRun).values(whole).on_conflict_do_update(index_elements=["run_uuid"], set_=known)
        connection.execute(statement)

    def _tags(self, record: Record) -> dict[str, str]:
        parent = {"mlflow.parentRunId": run_id(self._name, record.parent)} if record.parent else {}
        return {**record.tags, "mlflow.runName": record.name, KEY_TAG: record.key, **parent}


def run_id(experiment: str, key: str) -> str:
    """The id of a server run: the same for the same key, whoever sends it."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"orchestrate:{experiment}:{key}").hex


def _ignoring(connection: Connection, model: Any, rows: Sequence[Values]) -> None:
    if rows:
        connection.execute(insert(model).on_conflict_do_nothing(), rows)


def _write_tags(connection: Connection, rows: Sequence[Values]) -> None:
    if rows:
        statement = insert(SqlTag)
        newest = {"value": statement.excluded.value}
        connection.execute(statement.on_conflict_do_update(index_elements=["run_uuid", "key"], set_=newest), rows)


def _keep_latest(connection: Connection, rows: Sequence[Values]) -> None:
    """The value of the latest step of each metric, as the store keeps it beside the history."""
    if not rows:
        return
    statement = insert(SqlLatestMetric)
    new = statement.excluded
    newest = {name: getattr(new, name) for name in ("value", "timestamp", "step", "is_nan")}
    later = tuple_(new.step, new.timestamp, new.value) > tuple_(
        SqlLatestMetric.step, SqlLatestMetric.timestamp, SqlLatestMetric.value
    )
    connection.execute(
        statement.on_conflict_do_update(index_elements=["run_uuid", "key"], set_=newest, where=later), rows
    )


def _pair(run_uuid: str, key: str, value: str) -> Values:
    return {"run_uuid": run_uuid, "key": key, "value": value}


def _metric(run_uuid: str, metric: Metric) -> Values:
    is_nan = math.isnan(metric.value)
    return {
        "run_uuid": run_uuid,
        "key": metric.key,
        "value": 0.0 if is_nan else metric.value,
        "timestamp": metric.timestamp_ms,
        "step": metric.step,
        "is_nan": is_nan,
    }


def _row(run: Run) -> Values:
    return {
        "key": run.data.tags.get(KEY_TAG, ""),
        "name": run.info.run_name,
        "status": run.info.status,
        "start_ms": run.info.start_time,
        "end_ms": run.info.end_time or 0,
        "params": dict(run.data.params),
        "metrics": dict(run.data.metrics),
        "tags": dict(run.data.tags),
    }
