"""From a spec and the cleaned data to the studies of a run: which countries are tuned, pooled or skipped, and why.

Everything here is a pure function of its arguments.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.fold import Arrays, Rules, cut, fold_names, scope_code
from orchestrator.spec import GLOBAL, Spec
from orchestrator.trial import StudyKey, digest
from scoring.metrics import METRIC_DEFINITIONS
from scoring.split import Split

Role = Literal["tuned", "pooled", "skipped"]

BASELINES = ("popularity", "repeat")
"""Families that a tuned model has to beat to be worth its keep."""


@dataclass(frozen=True)
class CountryPlan:
    """What is done for a country, and why."""

    country: str
    role: Role
    reason: str
    users: tuple[int, ...]
    """Evaluated users in each validation fold."""


@dataclass(frozen=True)
class Plan:
    """The countries and studies of a run, in the order in which they are worked on."""

    countries: tuple[CountryPlan, ...]
    studies: tuple[StudyKey, ...]
    rules: Rules
    evaluation: str
    """The fingerprint of the evaluation."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that are trained, in order."""
        return tuple(dict.fromkeys(study.scope for study in self.studies))

    def countries_of(self, scope: str) -> tuple[str, ...]:
        """The countries that a scope answers for."""
        if scope != GLOBAL:
            return (scope,)
        return tuple(plan.country for plan in self.countries if plan.role == "pooled")


def make_plan(
    spec: Spec, families: Sequence[str], country_names: tuple[str, ...], arrays: Arrays, split: Split, rules: Rules
) -> Plan:
    """The studies that a spec asks for on this data; `families` are those that are installed and wanted."""
    wanted = country_names if "all" in spec.country else spec.country
    own = {name: _users(arrays, split, scope_code(name, country_names), rules) for name in wanted}
    tuned = {name for name, users in own.items() if min(_per_fold(users)) >= spec.min_users}
    pooled_users = _users(arrays, split, None, rules) if len(tuned) < len(wanted) else ()
    countries = []
    for name in wanted:
        pooled = tuple(fold.get(country_names.index(name), 0) for fold in pooled_users)
        countries.append(_role(name, name in tuned, _per_fold(own[name]), pooled, spec.min_users))
    rows = {name: _rows(arrays, scope_code(name, country_names)) for name in wanted}
    scopes = sorted(tuned, key=lambda name: (-rows[name], name))
    if any(plan.role == "pooled" for plan in countries):
        scopes.insert(0, GLOBAL)
    studies = tuple(StudyKey(scope, family) for scope in scopes for family in families)
    return Plan(tuple(countries), studies, rules, evaluation_fingerprint(spec, split, rules))


def evaluation_fingerprint(spec: Spec, split: Split, rules: Rules) -> str:
    """A hash of all that a score depends on besides the model: rows, candidates, seen items, cut-offs, definitions."""
    return digest(
        {
            "split": split.fingerprint,
            "candidates": "items with a training row in the scope",
            "rules": [rules.exclude_seen, rules.cold_users, rules.cold_items],
            "cutoffs": spec.cutoffs,
            "composite": spec.scorer.canonical(),
            "metrics": METRIC_DEFINITIONS,
        }
    )


def _users(arrays: Arrays, split: Split, scope: int | None, rules: Rules) -> tuple[Mapping[int, int], ...]:
    """For each validation fold: country code -> evaluated users."""
    folds = (cut(arrays, split, scope, fold, rules) for fold in fold_names(split.folds))
    return tuple(Counter(fold.countries.tolist()) for fold in folds)


def _per_fold(users: tuple[Mapping[int, int], ...]) -> tuple[int, ...]:
    return tuple(sum(fold.values()) for fold in users)


def _rows(arrays: Arrays, scope: int | None) -> int:
    return int((arrays["countries"] == scope).sum())


def _role(name: str, tuned: bool, own: tuple[int, ...], pooled: tuple[int, ...], least: int) -> CountryPlan:
    if tuned:
        return CountryPlan(name, "tuned", f"{min(own)} evaluated users or more in every fold", own)
    if any(pooled):
        reason = f"{min(own)} evaluated users in a fold, {least} needed: served by {GLOBAL}"
        return CountryPlan(name, "pooled", reason, pooled)
    return CountryPlan(name, "skipped", "no evaluated user in any fold", pooled)
