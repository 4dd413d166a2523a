"""Drops the rows that are no purchase of a product by a known user, says why, and codes what is left."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from orchestrator.data.cancel import reversed_sales
from orchestrator.data.facts import Counts, country_facts
from orchestrator.data.features import indicators
from orchestrator.data.ids import Renaming, fold_case, non_products, tidy
from orchestrator.data.model import REASONS, Data
from orchestrator.data.order import sort_rows
from orchestrator.data.table import Table
from orchestrator.data.users import code_users
from orchestrator.data.values import NO_TIME
from orchestrator.errors import InputError

RESERVED = ("all", "global")
NO_COUNTRY = "(none)"
"""The country of rows whose country is missing."""
CLOCK_SLACK_S = 86_400
"""Dates up to a day ahead are no future dates: they are of another time zone."""
_NO_COUNTRIES = (
    *("unspecified", "unknown", "other", "others", "none", "null", "undefined", "n/a", "-", "?", NO_COUNTRY),
    *("international", "worldwide", "rest of world", "rest of the world", "row", "emea", "apac"),
    *("europe", "eu", "european community", "european union"),
)


def clean(table: Table, *, now: float) -> Data:
    """The interactions of a table, which is used up on the way. Raises InputError where nothing is left.

    `now` is in seconds since the epoch; later dates are dropped. See `REASONS` for all that is.
    """
    country_names = _name_countries(table)
    is_product = _name_items(table)
    _name(table, "user", tidy(table.words["user"]))
    counts = Counts(len(country_names), table.columns["country"])
    _drop(table, counts, _single_row_reasons(table, is_product, now))
    user_ids = code_users(table)
    duplicates = sort_rows(table)
    _drop(table, counts, np.where(duplicates, _code("duplicate"), 0).astype(np.uint8))
    _drop(table, counts, _cancelled(table))
    _refuse_nothing_left(table, counts)
    user_ids = _compact(table, "user", user_ids)
    item_ids = _compact(table, "item", table.words["item"])
    _refuse_no_repetition(table, len(user_ids), len(item_ids))
    _note_shared_users(table, user_ids)
    return _data(table, counts, country_names, user_ids, item_ids)


def _data(table: Table, counts: Counts, country_names: tuple[str, ...], user_ids: pa.Array, item_ids: pa.Array) -> Data:
    columns = table.columns
    features = {role: indicators(table, role, n) for role, n in (("user", len(user_ids)), ("item", len(item_ids)))}
    weights = columns["weight"] if "weight" in columns else np.ones(len(table), dtype=np.float32)
    return Data(
        users=columns["user"],
        items=columns["item"],
        countries=columns["country"],
        times=columns.get("time"),
        weights=weights,
        spend=_spend(table),
        ratings=columns.get("rating"),
        given=columns.get("given"),
        country_names=country_names,
        user_ids=user_ids,
        item_ids=item_ids,
        user_features=features["user"],
        item_features=features["item"],
        reading=dict(table.reading),
        facts=country_facts(table, counts, country_names),
        notes=tuple(table.notes),
    )


def _code(reason: str) -> int:
    return REASONS.index(reason) + 1


def _name(table: Table, role: str, renaming: Renaming) -> None:
    table.columns[role] = renaming(table.columns[role])
    table.words[role] = renaming.words


def _name_countries(table: Table) -> tuple[str, ...]:
    """Sort the countries, give rows without one to NO_COUNTRY, and look at the names."""
    words = table.words["country"]
    missing = -1 in table.columns["country"] or pc.any(pc.equal(pc.utf8_trim_whitespace(words), "")).as_py()
    if missing:
        table.columns["country"][table.columns["country"] < 0] = len(words)
        words = pa.concat_arrays([words, pa.array([NO_COUNTRY])])
        words = pc.if_else(pc.equal(pc.utf8_trim_whitespace(words), ""), NO_COUNTRY, words)
    renaming = tidy(words)
    table.columns["country"] = renaming.codes.astype(np.int16)[table.columns["country"]]
    names = tuple(renaming.words.to_pylist())
    reserved = [name for name in names if name in RESERVED]
    if reserved:
        raise InputError(
            f"`all` and `global` must not be countries, for they name scopes, but the country column holds "
            f"`{reserved[0]}`; rename that value"
        )
    odd = [name for name in names if name.casefold() in _NO_COUNTRIES]
    if odd:
        table.notes.append(f"no country by their looks, though kept as such: {', '.join(odd)}")
    return names


def _name_items(table: Table) -> NDArray[np.bool_]:
    """Tidy the item codes, merge those that differ only in case, and tell for each whether it is a product."""
    _name(table, "item", tidy(table.words["item"]))
    items = table.columns["item"]
    n_before = len(table.words["item"])
    renaming = fold_case(table.words["item"], np.bincount(items + 1, minlength=n_before + 1)[1:])
    if renaming is not None:
        _name(table, "item", renaming)
        n_merged = n_before - len(renaming.words)
        table.notes.append(f"{n_merged:,} item codes that differed from others only in case were merged with them")
    others = non_products(table.words["item"])
    if others.any():
        names = table.words["item"].filter(pa.array(others)).to_pylist()
        shown = ", ".join(names[:20]) + (" and more" if len(names) > 20 else "")
        table.notes.append(f"{len(names):,} item codes look like no product and are left out: {shown}")
    return ~others


def _single_row_reasons(table: Table, is_product: NDArray[np.bool_], now: float) -> NDArray[np.uint8]:
    """(n,) 0 or the code of the first reason for which a row falls by itself."""
    columns = table.columns
    reasons = np.zeros(len(table), dtype=np.uint8)

    def give(reason: str, rows: NDArray[np.bool_]) -> None:
        reasons[rows & (reasons == 0)] = _code(reason)

    give("no_user", columns["user"] < 0)
    give("no_item", columns["item"] < 0)
    if "time" in columns:
        give("unparsable_date", columns["time"] == NO_TIME)
        give("future_date", columns["time"] > now + CLOCK_SLACK_S)
    if not is_product.all():
        give("non_product", ~is_product[columns["item"]])
    if "quantity" in columns:
        give("non_positive_quantity", ~(columns["quantity"] > 0) & ~_cancellations(table))
    if "price" in columns:
        give("non_positive_price", ~(columns["price"] > 0))  # not "<= 0": a missing number is not positive either
    if "spend" in columns:
        give("non_positive_price", ~(columns["spend"] > 0) & ~_cancellations(table))
    if "weight" in columns:
        give("non_positive_weight", ~(columns["weight"] > 0))
    return reasons


def _cancellations(table: Table) -> NDArray[np.bool_]:
    """Rows of an invoice whose number is a C before digits, with a negative quantity."""
    if "order" not in table.columns or "quantity" not in table.columns:
        return np.zeros(len(table), dtype=np.bool_)
    marked = pc.match_substring_regex(table.words["order"], r"^\s*[Cc]\d+\s*$").to_numpy(zero_copy_only=False)
    return np.asarray(
        np.append(marked, False)[table.columns["order"]] & (table.columns["quantity"] < 0), dtype=np.bool_
    )


def _cancelled(table: Table) -> NDArray[np.uint8]:
    """(n,) the codes of cancellations and of the sales that they reverse, else 0."""
    reasons = np.zeros(len(table), dtype=np.uint8)
    cancels = _cancellations(table)
    if not cancels.any():
        return reasons
    columns = table.columns
    touched = np.zeros(int(columns["user"].max()) + 1, dtype=np.bool_)
    touched[columns["user"][cancels]] = True
    rows = np.flatnonzero(touched[columns["user"]])
    keys = [columns["user"][rows], columns["item"][rows], np.abs(columns["quantity"][rows])]
    keys += [columns["price"][rows]] if "price" in columns else []
    times = columns["time"][rows] if "time" in columns else np.zeros(len(rows), dtype=np.int64)
    reasons[cancels] = _code("cancellation")
    reasons[rows[reversed_sales(keys, times, cancels[rows])]] = _code("reversed_sale")
    return reasons


def _drop(table: Table, counts: Counts, reasons: NDArray[np.uint8]) -> None:
    if reasons.any():
        counts.add(table.columns["country"], reasons)
        table.keep(reasons == 0)


def _compact(table: Table, role: str, words: pa.Array) -> pa.Array:
    """Leave only names that have rows; codes keep their order."""
    present = np.zeros(len(words), dtype=np.bool_)
    present[table.columns[role]] = True
    if present.all():
        return words
    table.columns[role] = (np.cumsum(present, dtype=np.int32) - np.int32(1))[table.columns[role]]
    return words.filter(pa.array(present))


def _spend(table: Table) -> NDArray[np.float32] | None:
    price, quantity = table.columns.get("price"), table.columns.get("quantity")
    if price is None or "spend" in table.columns:
        return table.columns.get("spend")
    return np.asarray(price if quantity is None else price * quantity, dtype=np.float32)


def _refuse_nothing_left(table: Table, counts: Counts) -> None:
    if len(table):
        return
    totals = counts.dropped.sum(axis=0)
    if totals[REASONS.index("unparsable_date")] == totals.sum():
        raise InputError(
            f"dates must be readable, but none of the {totals.sum():,} in `{table.reading['time']}` is; "
            "write them as 2024-12-31 23:59:59, or leave the column out with `--column time=`"
        )
    why = ", ".join(f"{total:,} {reason}" for reason, total in zip(REASONS, totals, strict=True) if total)
    raise InputError(f"cleaning must leave rows, but it dropped all {totals.sum():,} ({why}); check the columns' roles")


def _refuse_no_repetition(table: Table, n_users: int, n_items: int) -> None:
    if len(table) >= 100 and min(n_users, n_items) > 0.95 * len(table):
        raise InputError(
            f"users and items must occur in several rows, but the {len(table):,} rows have {n_users:,} users and "
            f"{n_items:,} items; say which columns they are with `--column user=NAME` and `--column item=NAME`"
        )


def _note_shared_users(table: Table, user_ids: pa.Array) -> None:
    n_shared = pc.sum(pc.greater(pc.value_counts(user_ids).field("counts"), 1)).as_py()
    if n_shared:
        table.notes.append(
            f"{n_shared:,} user ids occur in more than one country; each counts as a user of every one of them"
        )
