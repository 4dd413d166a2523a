"""The command line: flags become a spec, errors become a sentence and an exit code. It imports nothing heavy at its top."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.errors import BudgetLeftCountries, InputError, Interrupted, NotAllSent, OrchestrateError
from orchestrator.installation import check_packages

if TYPE_CHECKING:
    from orchestrator.api import RunResult
    from orchestrator.leaderboard import View
    from orchestrator.spec import Spec
    from orchestrator.terminal import TerminalReporter
    from orchestrator.tracking.sender import OutboxState

app = typer.Typer(
    help="Find, for every country, the recommender to ship.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(help="Look at the data before anything is trained.", no_args_is_help=True)
app.add_typer(data_app, name="data")

RUNS = Path("orchestrate-runs")
INTERRUPTED = 130

DataOption = Annotated[
    str | None, typer.Option(help="A file, folder or URI of CSV or Parquet; else a generated marketplace.")
]
ConfigOption = Annotated[Path | None, typer.Option(help="A YAML file with any of these settings; flags overrule it.")]
ColumnOption = Annotated[
    list[str] | None, typer.Option("--column", metavar="ROLE=NAME", help="Overrule how a column is read; repeatable.")
]
CountryOption = Annotated[str | None, typer.Option(help="Countries, separated by commas, or all.")]
SplitOption = Annotated[str | None, typer.Option(help="temporal, last, random, given, or auto.")]
FoldsOption = Annotated[int | None, typer.Option(help="Validation folds.")]
WindowOption = Annotated[
    float | None, typer.Option(help="Share of the rows in each validation window and the test set.")
]
LastOption = Annotated[
    int | None, typer.Option(help="Rows of a user in each fold and in the test set, for --split last.")
]
SeenOption = Annotated[str | None, typer.Option(help="May items be recommended again: allow, exclude, or auto.")]
ColdUsersOption = Annotated[str | None, typer.Option(help="Users without training rows: fallback or exclude.")]
ColdItemsOption = Annotated[str | None, typer.Option(help="Items without training rows: exclude or miss.")]
MinUsersOption = Annotated[int | None, typer.Option(help="Evaluated users in every fold for a country to be tuned.")]
RunsOption = Annotated[Path | None, typer.Option(help="The folder that holds the run folders [orchestrate-runs].")]
RunOption = Annotated[
    str | None, typer.Option("--run", help="A run's id, the start of it, or its folder; else the newest.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def tune(
    country: CountryOption = None,
    data: DataOption = None,
    family: Annotated[str | None, typer.Option(help="Families, separated by commas, or all.")] = None,
    trials: Annotated[int | None, typer.Option(help="The most configurations tried in a study.")] = None,
    budget: Annotated[str | None, typer.Option(help="Limit of the whole run, such as 30m.")] = None,
    trial_timeout: Annotated[str | None, typer.Option(help="Limit of one trial over all folds, such as 90s.")] = None,
    engine: Annotated[str | None, typer.Option(help="inline, local or ray.")] = None,
    workers: Annotated[int | None, typer.Option(help="Tasks that run at once; else one a core.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of each task.")] = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster to join; else one is started here.")] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="An MLflow-API server; else an embedded store.")] = None,
    tracking_offline: Annotated[
        bool | None, typer.Option("--tracking-offline", help="Ask no server at the start; send later with sync.")
    ] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with a run that stopped.")] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random follows from it.")] = None,
    composite: Annotated[
        str | None, typer.Option(help='Weights of the score, such as "map@10=0.5,ndcg@10=0.5".')
    ] = None,
    split: SplitOption = None,
    folds: FoldsOption = None,
    window: WindowOption = None,
    n_last: LastOption = None,
    seen: SeenOption = None,
    cold_users: ColdUsersOption = None,
    cold_items: ColdItemsOption = None,
    column: ColumnOption = None,
    min_users: MinUsersOption = None,
    finalists: Annotated[int | None, typer.Option(help="Families of each country that go to the test set.")] = None,
    name: Annotated[str | None, typer.Option(help="What the run is called on the tracking server.")] = None,
    config: ConfigOption = None,
    runs: RunsOption = None,
) -> None:
    """Tune every family in every country, and print the leaderboard."""
    from orchestrator import api
    from orchestrator.runs import find_run

    flags = {
        "country": country, "family": family, "trials": trials, "budget": budget, "trial_timeout": trial_timeout,
        "engine": engine, "workers": workers, "threads": threads, "address": address, "tracking_uri": tracking_uri,
        "tracking_offline": tracking_offline, "seed": seed, "composite": _weights(composite), "finalists": finalists, "name": name,
        **_data_flags(data, column, split, folds, window, n_last, seen, cold_users, cold_items, min_users),
    }  # fmt: skip
    if resume is None:
        spec = _spec(config, {**flags, "runs": None if runs is None else str(runs)})
        _finish(_run(lambda reporter: api.tune(spec, reporter)))
        return
    if config is not None:
        raise InputError("--resume takes its settings from the run, but --config was given too; leave one of them out")
    given = {key: value for key, value in flags.items() if value not in (None, {})}
    folder = runs or RUNS
    _finish(_run(lambda reporter: api.resume(find_run(folder, resume), given, reporter)))


@app.command()
def leaderboard(
    country: Annotated[str | None, typer.Option(help="One country.")] = None,
    family: Annotated[str | None, typer.Option(help="One family.")] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Rows of each country [3 in a table, else all].")] = None,
    sort: Annotated[str | None, typer.Option(help="A metric such as ndcg@10, or a column.")] = None,
    where: Annotated[
        str | None, typer.Option(help='An SQL condition over the columns, such as "model_mb < 50".')
    ] = None,
    run: RunOption = None,
    runs: RunsOption = None,
    tracking_uri: Annotated[str | None, typer.Option(help="Read from this server, not from the ledger.")] = None,
    experiment: Annotated[str | None, typer.Option(help="The run's name on that server.")] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show which model to ship in each country, best first."""
    from orchestrator import api
    from orchestrator.runs import find_run
    from orchestrator.terminal import print_leaderboard

    view: View = {"country": country, "family": family, "sort": sort, "where": where}
    view["top"] = top if as_json or as_csv else top or 3
    if tracking_uri is not None or experiment is not None:
        if tracking_uri is None or experiment is None:
            raise InputError(
                "--tracking-uri and --experiment must be given together, but only one was; name the server and the run"
            )
        rows = api.server_rows(tracking_uri, experiment, **view)
    else:
        rows = api.leaderboard_rows(find_run(runs or RUNS, run), **view)
    print_leaderboard(rows, "json" if as_json else "csv" if as_csv else "table")


@app.command("runs")
def list_runs(runs: RunsOption = None, as_json: JsonOption = False) -> None:
    """List the runs of a folder."""
    from orchestrator.runs import describe_runs
    from orchestrator.terminal import print_records

    print_records(describe_runs(runs or RUNS), as_json=as_json)


@app.command()
def families(as_json: JsonOption = False) -> None:
    """List the families, and how to install those that are missing."""
    from orchestrator.prepare import describe_families
    from orchestrator.terminal import print_records

    print_records(describe_families(), as_json=as_json)


@app.command()
def sync(
    run: Annotated[
        str | None, typer.Argument(help="A run's id, the start of it, or its folder; else the newest.")
    ] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="Another server than the run's own.")] = None,
    runs: RunsOption = None,
) -> None:
    """Send what the tracking server of a run has not got yet."""
    from orchestrator import api
    from orchestrator.runs import find_run

    folder = find_run(runs or RUNS, run)
    outbox = api.sync(folder, tracking_uri)
    typer.echo(f"{outbox.sent} sent, {outbox.waiting} waiting")
    _check_sent(outbox, folder)


@data_app.command("check")
def data_check(
    file: Annotated[str | None, typer.Argument(help="A file, folder or URI; else the generated marketplace.")] = None,
    country: CountryOption = None,
    split: SplitOption = None,
    folds: FoldsOption = None,
    window: WindowOption = None,
    n_last: LastOption = None,
    seen: SeenOption = None,
    cold_users: ColdUsersOption = None,
    cold_items: ColdItemsOption = None,
    column: ColumnOption = None,
    min_users: MinUsersOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show, for each country, what is read, dropped and why, and whether it will be tuned, pooled or skipped."""
    from orchestrator.prepare import prepare
    from orchestrator.terminal import print_data_report

    flags = _data_flags(file, column, split, folds, window, n_last, seen, cold_users, cold_items, min_users)
    print_data_report(prepare(_spec(config, {"country": country, **flags})), as_json=as_json)


def main() -> None:
    """The console script: exit codes are those of `orchestrator.errors`."""
    try:
        check_packages()
        app()
    except OrchestrateError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


def _data_flags(
    data: str | None,
    column: list[str] | None,
    split: str | None,
    folds: int | None,
    window: float | None,
    n_last: int | None,
    seen: str | None,
    cold_users: str | None,
    cold_items: str | None,
    min_users: int | None,
) -> dict[str, Any]:
    """The flags that decide what is read and evaluated, in the sections of the spec; None where not given."""
    flags = {
        "data": data,
        "columns": dict(_pair(one, "--column", "ROLE=NAME") for one in column) if column else None,
        "split": {"method": split, "folds": folds, "window": window, "n_last": n_last},
        "evaluation": {"seen": seen, "cold_users": cold_users, "cold_items": cold_items},
        "min_users": min_users,
    }
    sections = {
        key: {k: v for k, v in value.items() if v is not None}
        for key, value in flags.items()
        if isinstance(value, dict)
    }
    return {**flags, **sections}


def _weights(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    pairs = (_pair(one, "--composite", "METRIC=WEIGHT") for one in text.split(","))
    try:
        return {name: float(weight) for name, weight in pairs}
    except ValueError as error:
        raise InputError(f'--composite must read like "map@10=0.5,ndcg@10=0.5", but got {text!r}') from error


def _pair(text: str, flag: str, form: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise InputError(f"{flag} must read like {form}, but got {text!r}")
    return name.strip(), value.strip()


def _spec(config: Path | None, flags: dict[str, Any]) -> "Spec":
    from orchestrator.spec import Spec, load_settings, merge

    settings = load_settings(config) if config else {}
    if config:
        Spec.from_mapping(settings, str(config))
    return Spec.from_mapping(merge(settings, flags), "the settings")


def _run(call: Callable[["TerminalReporter"], "RunResult"]) -> "RunResult":
    from orchestrator.terminal import TerminalReporter, console

    try:
        with TerminalReporter(console()) as reporter:
            return call(reporter)
    except Interrupted as interrupted:
        typer.echo(f"interrupted; go on with: orchestrate tune --resume {_named(interrupted.run)}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except KeyboardInterrupt:
        typer.echo("interrupted before anything was recorded", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _named(run: Path) -> str:
    """A run as a command takes it: its id where that is found without --runs, else its folder."""
    return run.name if run.parent == RUNS else str(run)


def _finish(result: "RunResult") -> None:
    """Print the leaderboard and the last words of a run; the exit code says whether something is missing."""
    from orchestrator.leaderboard import choose
    from orchestrator.terminal import console, leaderboard_table

    screen = console()
    screen.print(leaderboard_table(choose(result.rows, top=3), screen.width))
    typer.echo(f"run {result.folder}, tracked as {result.experiment} on {result.tracking_uri}")
    if result.unanswered:
        raise BudgetLeftCountries(
            f"the budget left no answer for {', '.join(result.unanswered)}; start a new run with a larger --budget"
        )
    _check_sent(result.outbox, result.folder)


def _check_sent(outbox: "OutboxState", run: Path) -> None:
    if outbox.waiting:
        why = f" ({outbox.error})" if outbox.error else ""
        raise NotAllSent(
            f"{outbox.waiting} records wait for the tracking server{why}; send them with: orchestrate sync {_named(run)}"
        )


if __name__ == "__main__":
    main()
