"""Run folders: how they are named, found and listed."""

import getpass
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError
from orchestrator.ledger import Ledger

LEDGER = "ledger.db"


@dataclass(frozen=True)
class RunName:
    """A run's name on this machine and on the tracking server."""

    run_id: str
    experiment: str
    owner: str


def new_name(name: str) -> RunName:
    """A name that no other run has: the time and four random hex digits; on the server also name and owner."""
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    owner = _slug(getpass.getuser())
    return RunName(run_id, f"{_slug(name)}-{owner}-{run_id}", owner)


def find_run(runs: Path, run: str | None) -> Path:
    """The folder of a run: by its id, the start of it, or its path; None is the newest. InputError where there is none."""
    if run is not None and (Path(run) / LEDGER).is_file():
        return Path(run)
    found = [folder for folder in run_folders(runs) if run is None or folder.name.startswith(run)]
    if not found:
        wanted = "a run" if run is None else f"run {run}"
        raise InputError(
            f"{wanted} must exist in {runs}, but there is none; `orchestrate runs` lists them, --runs names the folder"
        )
    if run is not None and len(found) > 1 and found[-1].name != run:
        raise InputError(
            f"{run!r} must name one run, but {len(found)} begin so: {', '.join(folder.name for folder in found)}"
        )
    return found[-1]


def run_folders(runs: Path) -> Sequence[Path]:
    """The run folders, oldest first."""
    return sorted(path.parent for path in runs.glob(f"*/{LEDGER}"))


def describe_runs(runs: Path) -> list[dict[str, Any]]:
    """Each run with its name on the server, its data, its state and how many trials are over."""
    described = []
    for folder in run_folders(runs):
        ledger = Ledger.open(folder / LEDGER)
        meta = ledger.meta()
        over = ledger.select("SELECT COUNT(*) AS n FROM trial_ends")[0]["n"]
        state = state_of(ledger)
        ledger.close()
        data = meta["spec"]["data"] or "generated marketplace"
        described.append(
            {"run": folder.name, "experiment": meta["experiment"], "data": data, "state": state, "trials": over}
        )
    return described


def state_of(ledger: Ledger) -> str:
    """`finished`, `interrupted`, or `open`: at work, or its process was killed."""
    sessions = ledger.rows("sessions")
    if not sessions or sessions[-1]["event"] != "end":
        return "open"
    return "finished" if sessions[-1]["exit_code"] in (0, 3, 4) else "interrupted"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-") or "run"
