"""Everything before the first task: data, split, rules, families, plan; shared by `tune`, `--resume` and `data check`."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.coordinator.work import Material
from orchestrator.data import Data, generate_marketplace, read_data
from orchestrator.errors import InputError
from orchestrator.fingerprints import code_fingerprint
from orchestrator.fold import Rules, data_arrays
from orchestrator.plan import Plan, make_plan
from orchestrator.spec import Spec
from orchestrator.store import Store, default_root
from recommenders import FAMILIES, load_family
from recommenders.protocol import FamilyNotInstalled
from scoring import split as splits
from scoring.split import Split

REPEATS = 0.05
"""Share of repeat purchases from which `seen: auto` lets items be recommended again."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a run starts from."""

    data: Data
    split: Split
    plan: Plan
    missing: Mapping[str, str]
    """family -> why it is not installed, and what to do."""


def load_data(spec: Spec) -> Data:
    """The cleaned data of a spec, read or generated."""
    if spec.data is None:
        return generate_marketplace(spec.seed)
    return read_data(spec.data, columns=spec.columns)


def prepare(spec: Spec) -> Prepared:
    """Read, split and plan; InputError where the spec does not fit the data or this installation."""
    families, missing = choose_families(spec.family)
    data = load_data(spec)
    check_countries(spec, data)
    check_composite(spec, data)
    split = make_split(spec, data)
    plan = make_plan(spec, families, data.country_names, data_arrays(data), split, resolve_rules(spec, data))
    return Prepared(data, split, plan, missing)


def make_material(spec: Spec, prepared: Prepared) -> Material:
    """Put the arrays where the workers find them, and say what all tasks are cut from."""
    store = Store(default_root())
    store.put(prepared.data.fingerprint, data_arrays(prepared.data))
    store.put(prepared.split.fingerprint, {"part": prepared.split.part})
    store.prune()
    return Material(
        spec=spec,
        plan=prepared.plan,
        split=prepared.split,
        store=store.root,
        data=prepared.data.fingerprint,
        country_names=prepared.data.country_names,
        code={family: code_fingerprint(family) for family in {study.family for study in prepared.plan.studies}},
    )


def choose_families(wanted: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The families to try, in the table's order, and those of `all` that are not installed, with the reason.

    Raises InputError for an unknown family, and for one that was asked for by name but is not installed.
    """
    for name in wanted:
        if name != "all" and name not in FAMILIES:
            raise InputError(
                f"a family must be one of {', '.join(FAMILIES)}, but got {name!r}{_nearest(name, FAMILIES)}"
            )
    asked = tuple(FAMILIES) if "all" in wanted else tuple(name for name in FAMILIES if name in wanted)
    missing = {name: reason for name in asked if (reason := why_missing(name))}
    for name, reason in missing.items():
        if name in wanted:
            raise InputError(f"family {name} must be installed, but it is not: {reason}")
    return tuple(name for name in asked if name not in missing), missing


def describe_families() -> list[dict[str, str]]:
    """Each family with what it is, and whether it is installed or how to install it."""
    described = []
    for name in FAMILIES:
        reason = why_missing(name)
        about = "" if reason else (load_family(name).__doc__ or "").strip().splitlines()[0]
        described.append(
            {"family": name, "status": "installed" if reason is None else "not installed", "about": reason or about}
        )
    return described


def why_missing(family: str) -> str | None:
    """Why a family is not installed, and what to do; None where it is."""
    try:
        load_family(family)
    except FamilyNotInstalled as error:
        return str(error)
    return None


def check_countries(spec: Spec, data: Data) -> None:
    """Refuse a country that the data does not have, naming the nearest."""
    for name in spec.country:
        if name != "all" and name not in data.country_names:
            known = ", ".join(data.country_names[:10]) + (", …" if len(data.country_names) > 10 else "")
            raise InputError(
                f"--country must name countries of the data ({known}), but got {name!r}{_nearest(name, data.country_names)}"
            )


def check_composite(spec: Spec, data: Data) -> None:
    """Refuse a composite whose parts this data cannot give."""
    asked = [name for name in spec.scorer.weights if name.startswith("revenue_at_")]
    if asked and data.spend is None:
        raise InputError(
            f"a composite with {asked[0]} needs a price column, but none was found; give --column price=NAME"
        )


def resolve_rules(spec: Spec, data: Data) -> Rules:
    """The evaluation's settings with `auto` decided by the data."""
    seen = spec.evaluation.seen
    exclude = bool(seen == "exclude" or (seen == "auto" and repeat_share(data) < REPEATS))
    return Rules(exclude_seen=exclude, cold_users=spec.evaluation.cold_users, cold_items=spec.evaluation.cold_items)


def repeat_share(data: Data) -> float:
    """Share of all rows whose user had bought the item at an earlier time."""
    rows = sum(facts.rows_kept for facts in data.facts)
    return sum((facts.repeat_share or 0.0) * facts.rows_kept for facts in data.facts) / rows if rows else 0.0


def make_split(spec: Spec, data: Data) -> Split:
    """The split that a spec asks for; InputError where the data does not allow it."""
    method = resolve_method(spec, data)
    if method in ("temporal", "last") and data.times is None:
        raise InputError(
            f"--split {method} needs a time column, but none was found; give --column time=NAME or --split random"
        )
    try:
        return _split(spec, data, method)
    except ValueError as error:
        raise InputError(f"--split {method}: {error}") from error


def resolve_method(spec: Spec, data: Data) -> str:
    """The split's method with `auto` decided by the data."""
    if spec.split.method != "auto":
        return spec.split.method
    if data.given is not None:
        return "given"
    return "random" if data.times is None else "temporal"


def _split(spec: Spec, data: Data, method: str) -> Split:
    folds, window, times = spec.split.folds, spec.split.window, data.times
    if method == "temporal" and times is not None:
        return splits.temporal(times, folds=folds, window=window)
    if method == "last" and times is not None:
        return splits.leave_last(data.users, times, n=spec.split.n_last, folds=folds)
    if method == "random":
        return splits.random(data.users, folds=folds, window=window, seed=spec.seed)
    if data.given is None:
        raise ValueError("files named train*, valid* and test*, or a column `split`, must say which rows are which")
    return splits.given(np.asarray(data.given), data.users, folds=folds, window=window, seed=spec.seed)


def _nearest(name: str, known: Sequence[str] | Mapping[str, str]) -> str:
    folded = {one.casefold(): one for one in known}
    nearest = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return f"; did you mean {folded[nearest[0]]!r}?" if nearest else ""
