"""What a person sees: progress, tables and sentences, in colour on a terminal and as plain lines elsewhere."""

import csv
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.coordinator.progress import Progress, ScopeProgress
from orchestrator.leaderboard import columns_of
from orchestrator.prepare import Prepared
from orchestrator.session import certificate
from orchestrator.tracking.sender import OutboxState

LEAST_SETTINGS, PADDING = 12, 3
"""Columns of the screen that a configuration gets at least, and that a column of figures takes besides its text."""
PLAIN_S = 5.0
"""Seconds between two reports where there is no terminal."""


class TerminalReporter:
    """Shows a run on a console while it is entered as a context."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._told = 0.0
        self._lines: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Print a sentence above the progress."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a sentence that must not be missed."""
        self.console.print(Text(f"! {text}", style="yellow"), soft_wrap=True)

    def progress(self, progress: Progress, outbox: OutboxState) -> None:
        """Redraw the table, or where there is no terminal print what changed, every few seconds."""
        if self.console.is_terminal:
            self._live.update(progress_table(progress, outbox), refresh=True)
        elif time.monotonic() - self._told >= PLAIN_S or progress.phase == "done":
            self._told = time.monotonic()
            self._print_changes(progress)

    def _print_changes(self, progress: Progress) -> None:
        for scope in progress.scopes:
            line = plain_line(scope)
            if self._lines.get(scope.scope) != line:
                self._lines[scope.scope] = line
                self.console.print(
                    f"[{clock(progress.elapsed_s)}] {line}", highlight=False, markup=False, soft_wrap=True
                )


def progress_table(progress: Progress, outbox: OutboxState) -> Group:
    """One line per country: trials done, best family, best score, time left; below, what was sent."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Country", no_wrap=True)
    table.add_column("Trials", justify="right")
    table.add_column("", width=20)
    table.add_column("Best family", no_wrap=True)
    table.add_column("Best score", justify="right")
    table.add_column("Left", justify="right")
    for scope in progress.scopes:
        bar = ProgressBar(total=max(1, scope.total), completed=scope.done, width=20)
        failed = f" ({scope.failed} failed)" if scope.failed else ""
        best = "" if scope.best_score is None else f"{scope.best_score:.4f}"
        table.add_row(
            escape(scope.scope),
            f"{scope.done}/{scope.total}{failed}",
            bar,
            scope.best_family or "",
            best,
            clock(scope.left_s),
        )
    oldest = f", the oldest for {outbox.oldest_s:.0f} s" if outbox.waiting and outbox.oldest_s else ""
    trouble = f" - {outbox.error}" if outbox.error else ""
    sent = f"{progress.phase} {clock(progress.elapsed_s)} · tracking: {outbox.sent} sent, {outbox.waiting} waiting{oldest}{trouble}"
    return Group(table, Text(sent, style="dim"))


def plain_line(scope: ScopeProgress) -> str:
    """The line of one country."""
    best = "no score yet" if scope.best_score is None else f"best {scope.best_family} {scope.best_score:.4f}"
    left = f", {clock(scope.left_s)} left" if scope.left_s else ""
    failed = f", {scope.failed} failed" if scope.failed else ""
    return f"{scope.scope}: {scope.done}/{scope.total} trials{failed}, {best}{left}"


def clock(seconds: float | None) -> str:
    """Minutes and seconds; nothing where it is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


def reading_line(reading: Mapping[str, str]) -> str:
    """How the columns were understood."""
    return "reading " + ", ".join(f"{role} = {column}" for role, column in reading.items())


def leaderboard_table(rows: Sequence[Mapping[str, Any]], width: int) -> Table:
    """The ranked rows for people; countries without a row of their own say why.

    On a screen of few columns the configuration alone is cut.
    """
    certificate = next((row for row in rows if row.get("split")), {})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=_certificate_line(certificate), caption_justify="left")
    for name, justify in (("Country", "left"), ("", "left"), ("#", "right"), ("Family", "left")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    parts = _parts(rows)
    for name in ("Score", *(part.replace("_at_", "@").upper() for part in parts), "Test score", "Users", "Trials"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Configuration, or why there is none", overflow="ellipsis", no_wrap=True, style="dim")
    for before, row in zip([None, *rows], rows, strict=False):
        first = before is None or before["country"] != row["country"]
        table.add_row(escape(row["country"]) if first else "", row["role"] if first else "", *_cells(row, parts))
    *figures, settings = table.columns
    for column in figures:
        column.min_width = max(Text.from_markup(str(text)).cell_len for text in (column.header, *column.cells))
    settings.max_width = max(LEAST_SETTINGS, width - sum((column.min_width or 0) + PADDING for column in figures) - 2)
    return table


def facts_table(facts: Iterable[Any], roles: Mapping[str, tuple[str, str]]) -> Table:
    """What `data check` says of each country."""
    facts = list(facts)
    dropped = [
        kind
        for kind in dict.fromkeys(kind for one in facts for kind in one.dropped)
        if any(one.dropped.get(kind) for one in facts)
    ]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Country", no_wrap=True)
    for name in (
        "Read",
        *(kind.replace("_", " ") for kind in dropped),
        "Kept",
        "Users",
        "Items",
        "Density",
        "Period",
        "Repeats",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Role", no_wrap=True)
    table.add_column("Why")
    for one in facts:
        period = "" if one.first_time is None else f"{_day(one.first_time)} to {_day(one.last_time)}"
        counts = (f"{one.dropped.get(kind, 0):,}" for kind in dropped)
        role, reason = roles.get(one.country, ("", "not asked for"))
        table.add_row(
            escape(one.country), f"{one.rows_read:,}", *counts, f"{one.rows_kept:,}", f"{one.users:,}", f"{one.items:,}",
            f"{one.density:.2%}", period, "" if one.repeat_share is None else f"{one.repeat_share:.1%}", role, escape(reason),
        )  # fmt: skip
    return table


def print_leaderboard(rows: Sequence[dict[str, Any]], form: str) -> None:
    """Ranked rows as a table for people, or as `json` or `csv` for machines."""
    if form == "json":
        _print_json(rows)
    elif form == "csv":
        columns = columns_of(rows)
        writer = csv.DictWriter(sys.stdout, columns)
        writer.writeheader()
        writer.writerows({name: _plain(row.get(name)) for name in columns} for row in rows)
    else:
        screen = console()
        screen.print(leaderboard_table(rows, screen.width))


def print_records(records: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Records with the same keys, as a table or as JSON."""
    if as_json:
        _print_json(records)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in records[0] if records else ():
        table.add_column(name.replace("_", " ").capitalize(), overflow="fold")
    for record in records:
        table.add_row(*(escape(str(_plain(value))) for value in record.values()))
    console().print(table if records else "none")


def print_data_report(prepared: Prepared, *, as_json: bool) -> None:
    """What `data check` found: the reading, the notes, and a row per country."""
    roles = {plan.country: (plan.role, plan.reason) for plan in prepared.plan.countries}
    if as_json:
        rows = [
            {
                **one.as_dict(),
                "role": roles.get(one.country, ("", ""))[0],
                "reason": roles.get(one.country, ("", ""))[1],
            }
            for one in prepared.data.facts
        ]
        _print_json(
            {
                "reading": dict(prepared.data.reading),
                "notes": list(prepared.data.notes),
                **certificate(prepared),
                "countries": rows,
            }
        )
        return
    screen = console()
    screen.print(reading_line(prepared.data.reading), highlight=False, markup=False, soft_wrap=True)
    for note in prepared.data.notes:
        screen.print(Text(f"! {note}", style="yellow"), soft_wrap=True)
    screen.print(facts_table(prepared.data.facts, roles))
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in certificate(prepared).items())
    screen.print(facts, style="dim", highlight=False, soft_wrap=True)


def console() -> Console:
    """Standard output; wide enough for tables where it is no terminal."""
    screen = Console()
    return screen if screen.is_terminal else Console(width=400)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)


def _parts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    known = dict.fromkeys(name for row in rows for name in row)
    return [name for name in ("map_at_10", "ndcg_at_10") if name in known]


def _cells(row: Mapping[str, Any], parts: Sequence[str]) -> list[str]:
    if row["rank"] is None:
        return ["", "", "", *("" for _ in parts), "", "", "", escape(row["reason"])]
    numbers = (_number(row.get(name)) for name in ("score", *parts, "test_score"))
    users = "" if row.get("users") is None else f"{row['users']:.0f}"
    settings = ", ".join(f"{name}={_setting(value)}" for name, value in row["params"].items())
    return [str(row["rank"]), row["family"], *numbers, users, str(row["trials"]), escape(settings)]


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _setting(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _certificate_line(row: Mapping[str, Any]) -> str:
    if not row:
        return ""
    return (
        f"split {row['split']}, seen items: {row['seen']}, cold users: {row['cold_users']}, cold items: {row['cold_items']}; "
        f"evaluation {row['evaluation_fingerprint']}; users are means over the folds"
    )
