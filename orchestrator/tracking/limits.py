"""What tracking servers accept: names, lengths and sizes of batches. Pure.

The limits are those of MLflow (mlflow/utils/validation.py), which its database columns and FastTrackML share where
they have any; a value that is too long is cut, so that no record is refused for it.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.tracking import Metric, Record
from orchestrator.trial import digest

METRICS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
TAGS_PER_BATCH = 50
"""The server takes 100, but no request may be longer than a megabyte."""
ENTITIES_PER_BATCH = 1000
NAME_LENGTH = 250
TAG_LENGTH = 5000
"""MLflow took 5,000 characters before version 3 and 8,000 since."""
CUT = "…[cut]"
LARGEST = 1.7976931348623157e308


def server_name(text: str) -> str:
    """A name that servers accept for a metric, param or tag: `ndcg@10` becomes `ndcg_at_10`, `é` becomes `_`.

    MLflow reads names as paths, so empty and dotted parts are refused there and dropped here.
    """
    spelled = re.sub(r"[^A-Za-z0-9_\-. :/]", "_", text.replace("@", "_at_"))
    parts = [part for part in spelled.split("/") if part not in ("", ".", "..")]
    return ("/".join(parts) or "_")[:NAME_LENGTH]


def country_slug(country: str) -> str:
    """A country's name as part of a metric's or tag's name; one that must be respelled gets a hash, to stay unique."""
    spelled = server_name(country.replace("/", "_"))
    return spelled if spelled == country else f"{spelled}-{digest(country)[:6]}"


def cut(text: str, length: int) -> str:
    """The text within a length, with a mark at its end where something is missing."""
    return text if len(text) <= length else text[: length - len(CUT)] + CUT


def cut_head(text: str, length: int) -> str:
    """The end of a text within a length, with a mark at its start: what matters in a log stands last."""
    return text if len(text) <= length else CUT + text[len(text) - length + len(CUT) :]


def fitted(record: Record, *, param_length: int) -> Record:
    """The record as a server takes it: names spelled, long values cut, metrics finite or NaN and each only once."""
    metrics = {(metric.key, metric.timestamp_ms, metric.step): metric for metric in map(_fitted_metric, record.metrics)}
    return replace(
        record,
        name=cut(record.name, NAME_LENGTH),
        params={server_name(key): cut(value, param_length) for key, value in record.params.items()},
        tags={server_name(key): cut(value, TAG_LENGTH) for key, value in record.tags.items()},
        metrics=tuple(metrics.values()),
    )


def _fitted_metric(metric: Metric) -> Metric:
    value = math.copysign(LARGEST, metric.value) if math.isinf(metric.value) else float(metric.value)
    return replace(metric, key=server_name(metric.key), value=value)


@dataclass(frozen=True)
class Batch:
    """What goes into one log-batch request."""

    metrics: Sequence[Metric]
    params: Mapping[str, str]
    tags: Mapping[str, str]


def batches(metrics: Sequence[Metric], params: Mapping[str, str], tags: Mapping[str, str]) -> Iterator[Batch]:
    """Cut what is known of one server run into requests that keep to the limits, in order."""
    param_items, tag_items = list(params.items()), list(tags.items())
    while metrics or param_items or tag_items:
        some_params, param_items = param_items[:PARAMS_PER_BATCH], param_items[PARAMS_PER_BATCH:]
        some_tags, tag_items = tag_items[:TAGS_PER_BATCH], tag_items[TAGS_PER_BATCH:]
        room = min(METRICS_PER_BATCH, ENTITIES_PER_BATCH - len(some_params) - len(some_tags))
        some_metrics, metrics = metrics[:room], metrics[room:]
        yield Batch(some_metrics, dict(some_params), dict(some_tags))
