"""Questions to a tracking server in MLflow's filter language. Pure."""

from orchestrator.tracking import KEY_TAG, KIND_TAG, Query


def filter_string(query: Query) -> str:
    """The trials (finished ones), or the plan, that a query asks for."""
    asked = {KIND_TAG: query.kind, "country": query.country, "family": query.family}
    tags = [_is(key, value) for key, value in asked.items() if value is not None]
    return " and ".join([*(["attributes.status = 'FINISHED'"] if query.kind == "trial" else []), *tags])


def with_key(key: str) -> str:
    """The server runs of one record: one, or none."""
    return _is(KEY_TAG, key)


def _is(tag: str, value: str) -> str:
    mark = '"' if "'" in value else "'"
    return f"tags.`{tag}` = {mark}{value}{mark}"
