import sqlite3
from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.ledger import Ledger


def test_rows_come_back_in_order_with_their_json(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", {"run_id": "r"})
    with ledger.transaction():
        for number in range(3):
            ledger.append(
                "trials", {"trial_uid": f"t{number}", "study": "s", "number": number, "params": {"k": number}}
            )
    assert [row["params"]["k"] for row in ledger.rows("trials", after=1)] == [1, 2]
    assert Ledger.open(tmp_path / "ledger.db").meta()["run_id"] == "r"


def test_a_transaction_is_whole_or_not_at_all(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", {})
    with pytest.raises(sqlite3.IntegrityError):
        append_both(ledger)
    assert ledger.rows("trials") == []


def append_both(ledger: Ledger) -> None:
    with ledger.transaction():
        ledger.append("trials", {"trial_uid": "t", "study": "s", "number": 0})
        ledger.append("trials", {"trial_uid": "t", "study": "s", "number": 1})


def test_a_result_is_recorded_once(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", {})
    row = {"trial_uid": "t", "rung": 1, "fold": "0"}
    with ledger.transaction():
        ledger.append("results", row)
    with pytest.raises(sqlite3.IntegrityError), ledger.transaction():
        ledger.append("results", row)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    Ledger.create(tmp_path / "ledger.db", {}).close()
    reader = Ledger.open(tmp_path / "ledger.db")
    with pytest.raises(InputError, match="readonly"), reader.transaction():
        reader.append("trials", {"trial_uid": "t"})


def test_a_run_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a run must have a ledger"):
        Ledger.open(tmp_path / "ledger.db")


def test_a_file_that_is_no_ledger_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("not a database, but long enough to be read as one" * 50)
    with pytest.raises(InputError, match="must be a run's ledger"):
        Ledger.open(tmp_path / "ledger.db")


def test_another_schema_version_is_a_sentence(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", {})
    ledger.close()
    with sqlite3.connect(tmp_path / "ledger.db") as raw:
        raw.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(InputError, match=r"schema version 1, but .* has 99"):
        Ledger.open(tmp_path / "ledger.db")


def test_a_ledger_is_never_overwritten(tmp_path: Path) -> None:
    Ledger.create(tmp_path / "ledger.db", {}).close()
    with pytest.raises(InputError, match="must not exist yet"):
        Ledger.create(tmp_path / "ledger.db", {})


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="the ledger must be writable"):
        Ledger.create(tmp_path / "file" / "ledger.db", {})


def test_a_full_disk_is_a_sentence_and_loses_nothing(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.db", {})
    with ledger.transaction():
        ledger.append("trials", {"trial_uid": "kept", "study": "s", "number": 0})
    pages = ledger.select("PRAGMA page_count")[0]["page_count"]
    ledger.select(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(InputError, match=r"the ledger must be writable.*disk is full"):
        append_much(ledger)
    assert [row["trial_uid"] for row in ledger.rows("trials")] == ["kept"]


def append_much(ledger: Ledger) -> None:
    with ledger.transaction():
        for number in range(1000):
            ledger.append("trials", {"trial_uid": f"t{number}", "study": "s" * 100, "number": number})
