"""The command line as a user meets it: help, exit codes, one sentence for every mistake."""

import fcntl
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.cli import main
from orchestrator.session import _without_secrets

Orchestrate = Callable[..., "Result"]

HEAVY = (
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "ray",
    "mlflow",
    "optuna",
    "implicit",
    "numba",
    "torch",
    "pyspark",
    "pydantic",
)


@dataclass
class Result:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def orchestrate(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """The console script, called in this process, in an empty folder."""

    def call(*arguments: str) -> Result:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["orchestrate", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return Result(int(ended.value.code or 0), written.out, written.err)

    return call


def refused(result: Result, *words: str) -> None:
    """Exit code 2 and one sentence with these words."""
    assert result.returncode == 2, result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def nothing_written(folder: Path, *known: str) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(known)


def test_help_lists_the_commands_and_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['orchestrate', '--help']\n"
        "from orchestrator.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    began = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    print(f"orchestrate --help took {time.perf_counter() - began:.2f} s")
    assert result.stdout.strip().endswith("HEAVY []")
    for command in ("tune", "leaderboard", "data", "runs", "families", "sync"):
        assert command in result.stdout


def test_a_missing_file(orchestrate: Orchestrate, tmp_path: Path) -> None:
    refused(orchestrate("tune", "--data", "nowhere.csv"), "nowhere.csv")
    nothing_written(tmp_path)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


ROWS = "".join(f"u{n % 7},i{n % 5},2025-01-{n % 28 + 1:02d},FR\n" for n in range(60))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["empty"]),
        ("user_id,item_id,event_time,country\n", ["row"]),
        ("when,what\n1,2\n", ["column"]),
        ("user_id,item_id,event_time,country\n" + ROWS.replace("2025-01-", "soon-"), ["time"]),
        ("user_id,item_id,event_time,country\n" + ",i1,2025-01-01,FR\n" * 9, ["no_user"]),
    ],
    ids=["empty", "header only", "missing column", "unparsable dates", "all rows dropped"],
)
def test_a_file_that_cannot_be_used(
    orchestrate: Orchestrate, tmp_path: Path, content: str, words: Sequence[str]
) -> None:
    write(tmp_path / "sales.csv", content)
    refused(orchestrate("tune", "--data", "sales.csv"), *words)
    refused(orchestrate("data", "check", "sales.csv"), *words)
    nothing_written(tmp_path, "sales.csv")


def test_a_corrupt_gzip(orchestrate: Orchestrate, tmp_path: Path) -> None:
    whole = gzip.compress(("user_id,item_id,event_time,country\n" + ROWS * 50).encode())
    (tmp_path / "sales.csv.gz").write_bytes(whole[: len(whole) // 2])
    refused(orchestrate("tune", "--data", "sales.csv.gz"), "sales.csv.gz")
    nothing_written(tmp_path, "sales.csv.gz")


def test_a_country_that_does_not_exist_suggests_the_nearest(
    orchestrate: Orchestrate, tmp_path: Path, shop_csv: Path
) -> None:
    result = orchestrate("tune", "--data", str(shop_csv), "--country", "bordura")
    refused(result, "'bordura'", "did you mean 'Borduria'?")
    nothing_written(tmp_path)


def test_a_yaml_typo(orchestrate: Orchestrate, tmp_path: Path) -> None:
    write(tmp_path / "run.yaml", "evaluation:\n  sean: allow\n")
    refused(orchestrate("tune", "--config", "run.yaml"), "evaluation.sean", "did you mean seen?")
    nothing_written(tmp_path, "run.yaml")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--family", "alss"], ["alss", "did you mean 'als'?"]),
        (["--engine", "spork"], ["--engine", "spork"]),
        (["--budget", "soon"], ["budget", "30m"]),
        (["--composite", "map@10"], ["METRIC=WEIGHT"]),
        (["--composite", "map@ten=1"], ["composite"]),
        (["--column", "user"], ["ROLE=NAME"]),
        (["--column", "user=nobody"], ["nobody"]),
        (["--composite", "ndcg@5000=1"], ["cut-off", "1000"]),
        (["--split", "sideways"], ["split.method", "sideways"]),
        (["--split", "given"], ["given"]),
        (["--trials", "0"], ["trials"]),
        (["--tracking-uri", "ftp://x"], ["tracking URI", "ftp://x"]),
        (["--resume", "nothing"], ["run nothing"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_flag_that_cannot_be_used(
    orchestrate: Orchestrate, tmp_path: Path, shop_csv: Path, flags: list[str], words: list[str]
) -> None:
    data = [] if "--resume" in flags else ["--data", str(shop_csv)]
    refused(orchestrate("tune", *data, *flags), *words)
    nothing_written(tmp_path)


def test_a_tracking_server_that_nobody_answers_for(orchestrate: Orchestrate, tmp_path: Path, shop_csv: Path) -> None:
    began = time.perf_counter()
    result = orchestrate("tune", "--data", str(shop_csv), "--tracking-uri", "http://127.0.0.1:9")
    print(f"refused after {time.perf_counter() - began:.1f} s")
    refused(result, "127.0.0.1:9", "--tracking-offline")
    nothing_written(tmp_path)


def test_a_ledger_on_a_full_disk(orchestrate: Orchestrate, tmp_path: Path, shop_csv: Path) -> None:
    """/dev/full takes no byte: the folder of the runs cannot even be made below it."""
    refused(orchestrate("tune", "--data", str(shop_csv), "--runs", "/dev/full/runs"), "/dev/full")
    nothing_written(tmp_path)


def test_a_leaderboard_without_a_run(orchestrate: Orchestrate, tmp_path: Path) -> None:
    refused(orchestrate("leaderboard"), "a run must exist in orchestrate-runs")


def test_data_check_tells_what_will_be_done(orchestrate: Orchestrate, tmp_path: Path, shop_csv: Path) -> None:
    result = orchestrate("data", "check", str(shop_csv), "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["reading"]["user"] == "user_id"
    assert [(c["country"], c["role"]) for c in report["countries"]] == [
        ("Aland", "tuned"), ("Borduria", "tuned"), ("Cimbria", "pooled"),
    ]  # fmt: skip
    people = orchestrate("data", "check", str(shop_csv))
    assert "reading user = user_id, item = item_id" in people.stdout
    assert "served by global" in people.stdout
    nothing_written(tmp_path)


def test_families_are_listed_with_how_to_install_them(orchestrate: Orchestrate, tmp_path: Path) -> None:
    listed = json.loads(orchestrate("families", "--json").stdout)
    assert {one["status"] for one in listed} <= {"installed", "not installed"}
    assert [one["family"] for one in listed][:3] == ["popularity", "repeat", "trending"]


def test_a_foreign_package_of_our_name_is_refused_with_how_to_mend_it(tmp_path: Path) -> None:
    foreign = tmp_path / "recommenders"
    foreign.mkdir()
    write(foreign / "__init__.py", "__version__ = '1.2.1'\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['orchestrate', 'families']\nfrom orchestrator.cli import main\nmain()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    refused(Result(result.returncode, result.stdout, result.stderr), "`recommenders`", "pip uninstall -y recommenders")


def test_a_composite_that_the_data_cannot_give(orchestrate: Orchestrate, tmp_path: Path) -> None:
    write(tmp_path / "sales.csv", "user_id,item_id,event_time,country\n" + ROWS)
    refused(orchestrate("tune", "--data", "sales.csv", "--composite", "revenue@10=1"), "revenue_at_10", "price column")
    nothing_written(tmp_path, "sales.csv")


def small_run(orchestrate: Orchestrate, data: Path, *flags: str) -> Result:
    few = ("--family", "popularity", "--trials", "1", "--folds", "1", "--engine", "inline", "--tracking-offline")
    return orchestrate("tune", "--data", str(data), *few, "--min-users", "1", *flags)


def test_names_that_look_like_markup_are_shown_as_they_are(orchestrate: Orchestrate, tmp_path: Path) -> None:
    data = write(tmp_path / "sales.csv", "user_id,item_id,event_time,country\n" + ROWS.replace("FR", "[/x] [red]"))
    assert "[/x] [red]" in orchestrate("data", "check", str(data)).stdout
    assert "[/x] [red]" in small_run(orchestrate, data).stdout


def test_a_leaderboard_of_nobody_is_refused(orchestrate: Orchestrate, tmp_path: Path, shop_csv: Path) -> None:
    twice = small_run(orchestrate, shop_csv, "--country", "Aland,Aland")
    assert twice.returncode == 3, twice.stderr  # offline: all waits for `sync`
    assert "orchestrate sync" in twice.stderr
    refused(orchestrate("leaderboard", "--country", "Alland"), "did you mean 'Aland'?")
    refused(orchestrate("leaderboard", "--family", "als"), "popularity")
    refused(orchestrate("leaderboard", "--sort", "params"), "--sort")
    refused(orchestrate("leaderboard", "--tracking-uri", "http://127.0.0.1:9"), "--experiment")
    listed = json.loads(orchestrate("leaderboard", "--json").stdout)
    assert [row["country"] for row in listed] == ["Aland"]


def test_a_run_is_worked_on_by_one_process(orchestrate: Orchestrate, tmp_path: Path, shop_csv: Path) -> None:
    small_run(orchestrate, shop_csv)
    run = next((tmp_path / "orchestrate-runs").glob("2*"))
    with (run / "run.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(orchestrate("tune", "--resume", run.name), "worked on by one process")


def test_no_secret_of_a_uri_is_recorded() -> None:
    assert _without_secrets("https://me:pw@host/sales.csv?sig=SECRET") == "https://host/sales.csv"
    assert _without_secrets("s3://bucket/sales.csv") == "s3://bucket/sales.csv"
    assert _without_secrets("sales #1?.csv") == "sales #1?.csv"
