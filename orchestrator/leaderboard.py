"""From trials to ranked rows: which family to ship in each country, on evidence that can be compared.

Rows come from a ledger or from a tracking server, and look the same. Measured columns (seconds) end in `_s` and never rank.
"""

import difflib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, Unpack

from orchestrator.errors import InputError
from orchestrator.ledger import Ledger
from orchestrator.spec import GLOBAL
from orchestrator.tracking.limits import country_slug
from orchestrator.trial import TEST_FOLD, State
from scoring.composite import metric_name

Row = dict[str, Any]

MEASURED = ("fit_s", "recommend_s")
CERTIFICATE = (
    "split",
    "seen",
    "cold_users",
    "cold_items",
    "data_fingerprint",
    "split_fingerprint",
    "evaluation_fingerprint",
)
"""What stands on every row besides the code's fingerprint; rows are compared only where it is equal."""


@dataclass(frozen=True)
class CountryRow:
    """What was planned for a country."""

    country: str
    role: str
    reason: str


@dataclass(frozen=True)
class TrialRow:
    """A trial that is over."""

    scope: str
    family: str
    uid: str
    state: str
    score: float | None
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    test: Mapping[str, float] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    certificate: Mapping[str, Any] = field(default_factory=dict)
    """The settings and fingerprints that must be equal for rows to be ranked together."""


def from_ledger(ledger: Ledger) -> tuple[list[CountryRow], list[TrialRow]]:
    """The countries and the ended trials of a run."""
    countries = [CountryRow(row["country"], row["role"], row["reason"]) for row in ledger.rows("countries")]
    certificate = ledger.meta()["certificate"]
    code = {row["study"]: row["facts"]["code"] for row in ledger.rows("studies")}
    results: dict[str, list[Row]] = {}
    for row in ledger.rows("results"):
        results.setdefault(row["trial_uid"], []).append(row)
    ended = ledger.select(
        "SELECT t.trial_uid, t.study, s.scope, s.family, t.params, e.state, e.score, e.metrics FROM trials t"
        " JOIN trial_ends e USING (trial_uid) JOIN studies s USING (study) ORDER BY t.study, t.number"
    )
    trials = [
        _trial(row, results.get(row["trial_uid"], []), {**certificate, "code": code[row["study"]]}) for row in ended
    ]
    return countries, trials


def from_server(
    plan: Mapping[str, Any], trials: Iterable[Mapping[str, Any]]
) -> tuple[list[CountryRow], list[TrialRow]]:
    """The countries and the complete trials of a run, from the rows that a tracker's search gives.

    A server keeps no order of its own: trials come back in the order in which their study asked them.
    """
    tags = plan["tags"]
    countries = [
        CountryRow(tags[name], tags[name.replace("/country", "/role")], tags[name.replace("/country", "/reason")])
        for name in sorted(tags)
        if name.endswith("/country")
    ]
    ordered = sorted(trials, key=lambda row: (row["tags"]["study"], int(row["tags"]["number"])))
    return countries, [_server_trial(row, [country.country for country in countries]) for row in ordered]


def rank(countries: Iterable[CountryRow], trials: Sequence[TrialRow]) -> list[Row]:
    """The best trial of each family for each country, best first; one row with the reason for a country without any.

    A pooled country is answered by the `global` trials: they are ranked by their score over all countries, and shown
    with the country's own figures.
    """
    _check_alike(trials)
    best = _best(trials)
    ended = [trial for trial in trials if trial.state != State.CANCELLED]
    done = Counter((trial.scope, trial.family) for trial in ended)
    failed = Counter((trial.scope, trial.family) for trial in ended if trial.score is None)
    rows: list[Row] = []
    for country in countries:
        scope = GLOBAL if country.role == "pooled" else country.country
        inside = sorted((t for (s, _), t in best.items() if s == scope), key=lambda t: (-(t.score or 0.0), t.family))
        if country.role == "skipped" or not inside:
            rows.append(_empty_row(country))
            continue
        for place, trial in enumerate(inside, start=1):
            counts = {"trials": done[scope, trial.family], "failed": failed[scope, trial.family]}
            rows.append(_row(country, place, trial, counts))
    return rows


class View(TypedDict, total=False):
    """Which rows are wanted, and in what order."""

    country: str | None
    family: str | None
    where: str | None
    """An SQL condition over the columns."""
    sort: str | None
    """A metric or a column."""
    top: int | None
    """The most rows of each country that are left after all else."""


def choose(rows: Sequence[Row], **view: Unpack[View]) -> list[Row]:
    """The rows that were asked for; InputError for a condition or a column that is none."""
    country, family, top = view.get("country"), view.get("family"), view.get("top")
    _check_known("country", country, rows)
    _check_known("family", family, rows)
    kept = [row for row in rows if country in (None, row["country"]) and family in (None, row["family"])]
    if (condition := view.get("where")) is not None:
        kept = _where(kept, condition)
    if (sort := view.get("sort")) is not None:
        kept = _sorted(kept, sort)
    return kept if top is None else _first(kept, top)


def _check_alike(trials: Sequence[TrialRow]) -> None:
    """Refuse to rank trials whose data, split, evaluation or settings differ, or one family's under two codes."""
    for name in CERTIFICATE:
        found = sorted({str(trial.certificate.get(name)) for trial in trials})
        if len(found) > 1:
            raise InputError(f"rows that are ranked together must agree in {name}, but it is {' and '.join(found)}")
    codes: dict[str, set[str]] = {}
    for trial in trials:
        codes.setdefault(trial.family, set()).add(str(trial.certificate.get("code")))
    for family, found_codes in codes.items():
        if len(found_codes) > 1:
            raise InputError(
                f"rows of {family} must come of one code, but there are {len(found_codes)}; start a new run"
            )


def _trial(row: Row, results: Sequence[Row], certificate: Mapping[str, Any]) -> TrialRow:
    folds = [result for result in results if result["fold"] != TEST_FOLD]
    tests = [result["metrics"] for result in results if result["fold"] == TEST_FOLD]
    measured = {
        name: _mean([result["measured"][name] for result in folds])
        for name in (*MEASURED, "model_mb", "users")
        if folds
    }
    return TrialRow(
        scope=row["scope"],
        family=row["family"],
        uid=row["trial_uid"],
        state=row["state"],
        score=row["score"],
        params=row["params"],
        metrics=row["metrics"],
        test=_with_countries(tests[0]) if tests else {},
        measured=measured,
        certificate=certificate,
    )


def _server_trial(row: Mapping[str, Any], countries: Sequence[str]) -> TrialRow:
    tags = row["tags"]
    metrics = _named(row["metrics"], countries)
    tested = {name.removeprefix("test."): value for name, value in metrics.items() if name.startswith("test.")}
    return TrialRow(
        scope=tags["country"],
        family=tags["family"],
        uid=tags["trial_uid"],
        state=tags["state"],
        score=metrics["score"],
        params={name: _unspelled(value) for name, value in row["params"].items()},
        metrics={name: value for name, value in metrics.items() if _decides(name)},
        test={name: value for name, value in tested.items() if _decides(name)},
        measured={name: metrics[name] for name in (*MEASURED, "model_mb", "users") if name in metrics},
        certificate={name: tags[name] for name in (*CERTIFICATE, "code") if name in tags},
    )


def _named(metrics: Mapping[str, float], countries: Sequence[str]) -> dict[str, float]:
    """Metrics with the countries in their names as the data spells them."""
    slugs = {f"country.{country_slug(country)}.": f"country.{country}." for country in countries}
    named = dict(metrics)
    for slug, prefix in slugs.items():
        for name in [name for name in named if slug != prefix and slug in name]:
            named[name.replace(slug, prefix)] = named.pop(name)
    return named


def _decides(name: str) -> bool:
    if name.startswith(("fold.", "test.")):
        return False
    return name in ("score", "random") or "_at_" in name or name.startswith("country.")


def _unspelled(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _with_countries(metrics: Mapping[str, Any]) -> dict[str, float]:
    plain = {name: value for name, value in metrics.items() if isinstance(value, float)}
    for country, parts in metrics["countries"].items():
        plain |= {f"country.{country}.{part}": value for part, value in parts.items()}
    return plain


def _best(trials: Iterable[TrialRow]) -> dict[tuple[str, str], TrialRow]:
    """The best scored trial of each (scope, family); of equal ones the first."""
    best: dict[tuple[str, str], TrialRow] = {}
    for trial in trials:
        key = (trial.scope, trial.family)
        if trial.score is not None and (key not in best or trial.score > (best[key].score or 0.0)):
            best[key] = trial
    return best


def _empty_row(country: CountryRow) -> Row:
    reason = country.reason if country.role == "skipped" else f"no trial gave a score ({country.reason})"
    row = {"country": country.country, "role": country.role, "reason": reason, "rank": None}
    return {**row, "family": None, "score": None, "trials": 0, "failed": 0}


def _row(country: CountryRow, place: int, trial: TrialRow, counts: Mapping[str, int]) -> Row:
    metrics, test = dict(trial.metrics), dict(trial.test)
    users = trial.measured.get("users")
    if country.role == "pooled":
        metrics, test = _own(metrics, country.country), _own(test, country.country)
        users = metrics.get("users")
    shown = {name: value for name, value in metrics.items() if _is_shown(name)}
    tested = {f"test_{name}": value for name, value in test.items() if _is_shown(name)}
    return {
        "country": country.country,
        "role": country.role,
        "reason": country.reason,
        "rank": place,
        "family": trial.family,
        "score": metrics.get("score"),
        "test_score": tested.get("test_score"),
        "users": users,
        **counts,
        **shown,
        **tested,
        **{name: trial.measured.get(name) for name in ("model_mb", *MEASURED)},
        "params": dict(trial.params),
        "trial_uid": trial.uid,
        **trial.certificate,
    }


def _own(metrics: Mapping[str, float], country: str) -> dict[str, float]:
    prefix = f"country.{country}."
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}


def _is_shown(name: str) -> bool:
    return name != "users" and not name.startswith("country.")


def _check_known(column: str, value: str | None, rows: Sequence[Row]) -> None:
    known = sorted({row[column] for row in rows if row[column] is not None})
    if value is not None and value not in known:
        nearest = difflib.get_close_matches(value, known, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise InputError(f"--{column} must be one of {', '.join(known) or 'none yet'}, but got {value!r}{hint}")


def _first(rows: Sequence[Row], top: int) -> list[Row]:
    taken: Counter[str] = Counter()
    kept = []
    for row in rows:
        taken[row["country"]] += 1
        if taken[row["country"]] <= top:
            kept.append(row)
    return kept


def _where(rows: Sequence[Row], condition: str) -> list[Row]:
    """Rows for which an SQL condition holds, judged by SQLite in memory, which may read and nothing else."""
    if not rows:
        return []
    columns = columns_of(rows)
    database = sqlite3.connect(":memory:")
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
    database.execute(f"CREATE TABLE board ({quoted}, place INTEGER)")
    marks = ", ".join("?" * (len(columns) + 1))
    values = [(*(_cell(row.get(name)) for name in columns), place) for place, row in enumerate(rows)]
    database.executemany(f"INSERT INTO board VALUES ({marks})", values)
    reading = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION)
    database.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in reading else sqlite3.SQLITE_DENY)
    try:
        found = database.execute(f"SELECT place FROM board WHERE ({condition}) ORDER BY place").fetchall()
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise InputError(
            f"--where must be an SQL condition over {', '.join(columns)}, but {condition!r} fails: {error}"
        ) from error
    finally:
        database.close()
    return [rows[place] for (place,) in found]


def _cell(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else str(value)


def _sorted(rows: Sequence[Row], sort: str) -> list[Row]:
    columns = columns_of(rows)
    try:
        name = sort if sort in columns else metric_name(sort)
    except ValueError as error:
        raise InputError(f"--sort: {error}") from error
    if rows and (name not in columns or any(isinstance(row.get(name), dict) for row in rows)):
        raise InputError(f"--sort must name a column ({', '.join(columns)}), but got {sort!r}")
    falling = not name.endswith("_s") and name not in ("country", "family", "rank", "model_mb")
    present = [row for row in rows if row.get(name) is not None]
    absent = [row for row in rows if row.get(name) is None]
    return sorted(present, key=lambda row: row[name], reverse=falling) + absent


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Every column of any row, in order of appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
