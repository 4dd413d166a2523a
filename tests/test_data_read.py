"""Sources, formats, encodings, and what is one sentence of an error instead of a traceback."""

import contextlib
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.data import Data, batches, read_data
from orchestrator.errors import InputError

NOW = 1_700_000_000.0
HEADER = "user_id,item_id,event_time,country,price,quantity"
ROWS = (
    "u1,i1,2020-01-01 10:00:00,FR,2.5,2",
    "u1,i2,2020-01-02 10:00:00,FR,1.0,1",
    "u2,i1,2020-01-03 10:00:00,DE,2.5,4",
    "u1,i1,2020-01-04 10:00:00,FR,2.5,1",
    "u3,i3,2020-01-05 10:00:00,DE,9.99,3",
)
SALES = "\n".join((HEADER, *ROWS)) + "\n"


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def sales_table() -> pa.Table:
    return pa_csv.read_csv(pa.BufferReader(SALES.encode()))


def assert_same(one: Data, other: Data) -> None:
    assert one.fingerprint == other.fingerprint
    assert one.user_ids.to_pylist() == other.user_ids.to_pylist()
    for name in ("users", "items", "countries", "times", "weights", "spend"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.fixture
def expected(tmp_path: Path) -> Data:
    return read_data(write(tmp_path / "expected.csv", SALES), now=NOW)


def test_rows_are_coded_and_ordered(expected: Data) -> None:
    assert expected.country_names == ("DE", "FR")
    assert expected.user_ids.to_pylist() == ["u2", "u3", "u1"]
    assert expected.item_ids.to_pylist() == ["i1", "i2", "i3"]
    assert expected.users.tolist() == [0, 1, 2, 2, 2]
    assert expected.items.tolist() == [0, 2, 0, 1, 0]
    assert expected.times is not None
    assert expected.times[0] == 1_578_045_600
    assert expected.spend is not None
    np.testing.assert_allclose(expected.spend, [10.0, 29.97, 5.0, 1.0, 2.5], rtol=1e-6)
    assert expected.weights.tolist() == [1.0] * 5
    assert expected.rows_of("FR") == slice(2, 5)
    types = [values.dtype for values in (expected.users, expected.items, expected.countries, expected.times)]
    assert types == [np.int32, np.int32, np.int16, np.int64]


def test_reading_is_shown(expected: Data) -> None:
    assert expected.reading == {
        "user": "user_id",
        "item": "item_id",
        "time": "event_time",
        "country": "country",
        "price": "price",
        "quantity": "quantity",
    }


def test_facts_of_a_country(expected: Data) -> None:
    france = expected.facts[1].as_dict()
    assert json.loads(json.dumps(france)) == france
    assert sum(france.pop("dropped").values()) == 0
    assert france == {
        "country": "FR",
        "rows_read": 3,
        "rows_kept": 3,
        "users": 1,
        "items": 2,
        "density": 1.0,
        "first_time": "2020-01-01T10:00:00Z",
        "last_time": "2020-01-04T10:00:00Z",
        "repeat_share": pytest.approx(1 / 3),
    }


FORMATS: dict[str, Callable[[Path], str]] = {
    "gzip": lambda folder: write(folder / "s.csv.gz", gzip.compress(SALES.encode())),
    "gzip without its suffix": lambda folder: write(folder / "s.csv", gzip.compress(SALES.encode())),
    "semicolons": lambda folder: write(folder / "s.csv", SALES.replace(",", ";")),
    "tabs": lambda folder: write(folder / "s.tsv", SALES.replace(",", "\t")),
    "byte order mark": lambda folder: write(folder / "s.csv", b"\xef\xbb\xbf" + SALES.encode()),
    "windows line ends": lambda folder: write(folder / "s.csv", SALES.replace("\n", "\r\n")),
    "other row order": lambda folder: write(folder / "s.csv", "\n".join((HEADER, *reversed(ROWS)))),
    "other column order": lambda folder: _parquet(folder, sales_table().select([5, 3, 1, 0, 4, 2])),
    "parquet": lambda folder: _parquet(folder, sales_table()),
    "parquet of dictionaries": lambda folder: _parquet(
        folder, sales_table().set_column(0, "user_id", sales_table()["user_id"].dictionary_encode())
    ),
    "folder of csv and parquet": lambda folder: _folder(folder),
    "file uri": lambda folder: (folder / "s.csv").as_uri() if write(folder / "s.csv", SALES) else "",
    "memory uri": lambda folder: _memory("memory://brief/s.csv"),
    "memory folder": lambda folder: _memory("memory://folder/s.csv").rsplit("/", 1)[0],
}


def _parquet(folder: Path, table: pa.Table) -> str:
    pq.write_table(table, folder / "s.parquet")
    return str(folder / "s.parquet")


def _folder(folder: Path) -> str:
    (folder / "parts").mkdir()
    write(folder / "parts" / "part-0.csv", "\n".join((HEADER, *ROWS[:2])))
    pq.write_table(sales_table().slice(2), folder / "parts" / "part-1.parquet")
    write(folder / "parts" / "_SUCCESS", "")
    return str(folder / "parts")


def _memory(uri: str) -> str:
    with fsspec.open(uri, "wb") as out:
        out.write(SALES.encode())
    return uri


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_gives_the_same_data(form: str, tmp_path: Path, expected: Data) -> None:
    assert_same(read_data(FORMATS[form](tmp_path), now=NOW), expected)


def test_blocks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lines = [
        f"u{user},i{item},2020-01-{day:02d} 10:00:00,{'FR' if user % 3 else 'DE'},{1 + item},{1 + user % 4}"
        for user, item, day in zip(
            rng.integers(0, 900, 5_000), rng.integers(0, 400, 5_000), rng.integers(1, 29, 5_000), strict=True
        )
    ]
    path = write(tmp_path / "s.csv", "\n".join((HEADER, *lines)))
    whole = read_data(path, now=NOW)
    monkeypatch.setattr(batches, "BLOCK_BYTES", 4_096)
    monkeypatch.setattr("orchestrator.data.vocabulary._FIRST_CAPACITY", 64)
    monkeypatch.setattr("orchestrator.data.vocabulary._WAITING_BYTES", 1_000)
    assert_same(read_data(path, now=NOW), whole)
    assert sum(facts.rows_read for facts in whole.facts) == 5_000


def test_latin_1_far_behind_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SAMPLE_BYTES", 200)
    monkeypatch.setattr(batches, "BLOCK_BYTES", 512)
    lines = [f"u{number % 50},i{number % 7},c" for number in range(500)] + ["u1,é1,c"]
    data = read_data(write(tmp_path / "s.csv", ("user_id,item_id,country\n" + "\n".join(lines)).encode("latin-1")))
    assert data.item_ids.to_pylist()[-1] == "é1"
    assert data.facts[0].rows_read == 501


def test_what_was_read_in_the_wrong_encoding_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SAMPLE_BYTES", 200)
    monkeypatch.setattr(batches, "BLOCK_BYTES", 512)
    lines = [f"u{number % 50},i{number % 7}," for number in range(500)]
    content = (
        b"user_id,item_id,country\n" + "\n".join(line + "Réunion" for line in lines).encode() + b"\nu1,i1,R\xe9union"
    )
    data = read_data(write(tmp_path / "s.csv", content))
    assert data.country_names == ("RÃ©union", "Réunion")
    assert [facts.rows_read for facts in data.facts] == [500, 1]


@pytest.mark.parametrize("odd", ["u1,é1,2020-01-05,3", 'u1,i1,2020-01-05,"1,000.5"', "u1,i1,05/01/2020,3"])
def test_an_odd_row_far_behind_the_others_is_read_as_in_front(
    odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "SAMPLE_BYTES", 200)
    monkeypatch.setattr(batches, "BLOCK_BYTES", 512)
    lines = [f"u{number % 50},i{number % 7},2020-01-{1 + number % 28:02d},{number}.1" for number in range(500)]
    head = "user_id,item_id,date,price"
    behind = read_data(write(tmp_path / "b.csv", "\n".join((head, *lines, odd)).encode("latin-1")), now=NOW)
    ahead = read_data(
        write(tmp_path / "a.csv", "\n".join((head, *lines[:1], odd, *lines[1:])).encode("latin-1")), now=NOW
    )
    assert_same(behind, ahead)
    assert behind.facts[0].rows_read == 501


def test_a_column_of_two_roles_is_read_for_each(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", "user_id,item_id,code\nu1,i1,07\nu2,i1,1e2\n")
    data = read_data(path, columns={"item": "code", "weight": "code"})
    assert data.item_ids.to_pylist() == ["07", "1e2"]
    assert data.weights.tolist() == [7, 100]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)),
    head=st.sampled_from([b"", b"user_id,item_id,date,price\n", b"PAR1", b"\x1f\x8b"]),
)
def test_any_bytes_are_read_or_refused(content: bytes, head: bytes, tmp_path: Path) -> None:
    with contextlib.suppress(InputError):
        assert len(read_data(write(tmp_path / "s.csv", head + content)).users) > 0


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.binary(), pa.decimal128(12, 2), pa.int8()])
def test_ids_of_any_parquet_type(kind: pa.DataType, tmp_path: Path) -> None:
    table = pa.table({"user_id": pa.array(["1", "2", None]).cast(pa.int64())}).append_column(
        "item_id", [["a", "b", "c"]]
    )
    ids = table["user_id"].cast(pa.string() if kind != pa.decimal128(12, 2) else pa.decimal128(21, 2)).cast(kind)
    assert read_data(_parquet(tmp_path, table.set_column(0, "user_id", ids))).user_ids.to_pylist() == ["1", "2"]


def test_ids_that_are_no_names_are_refused(tmp_path: Path) -> None:
    table = pa.table({"user_id": [[1], [2]], "item_id": ["a", "b"]})
    with pytest.raises(InputError, match="must hold text or numbers"):
        read_data(_parquet(tmp_path, table))


def test_line_breaks_inside_quotes(tmp_path: Path) -> None:
    data = read_data(write(tmp_path / "s.csv", 'user_id,item_id,text\nu1,i1,"two\nlines"\nu2,i1,one\n'))
    assert data.user_ids.to_pylist() == ["u1", "u2"]


def test_no_country_column_is_one_country(tmp_path: Path) -> None:
    data = read_data(write(tmp_path / "s.csv", "user_id,item_id\nu1,i1\nu2,i1\n"))
    assert data.country_names == ("market",)
    assert data.times is None
    assert data.facts[0].repeat_share is None
    assert any("no country column" in note for note in data.notes)


def test_float_ids_become_whole_numbers(tmp_path: Path) -> None:
    text = "CustomerID,StockCode\n17850.0,1\n12.0,2\n,3\n"
    from_csv = read_data(write(tmp_path / "s.csv", text))
    assert from_csv.user_ids.to_pylist() == ["12", "17850"]
    table = pa.table({"CustomerID": [17850.0, 12.0, None], "StockCode": [1, 2, 3]})
    assert read_data(_parquet(tmp_path, table)).fingerprint == from_csv.fingerprint


def test_files_named_for_their_part_give_the_split(tmp_path: Path) -> None:
    for name, user in (("train", "u1"), ("valid", "u2"), ("test", "u3")):
        write(tmp_path / f"{name}.csv", f"user_id,item_id\n{user},i1\n")
    given = read_data(str(tmp_path)).given
    assert given is not None
    assert given.tolist() == [0, 1, 2]


def test_a_split_column_gives_the_split(tmp_path: Path) -> None:
    text = "user_id,item_id,split\nu1,i1,train\nu2,i1,Test\nu3,i1,validation\n"
    given = read_data(write(tmp_path / "s.csv", text)).given
    assert given is not None
    assert given.tolist() == [0, 2, 1]


def test_features_are_indicators(tmp_path: Path) -> None:
    text = "user_id,item_id,gender,category\nu1,i1,f,toys\nu1,i2,f,books\nu2,i1,m,toys\nu3,i3,,toys\n"
    data = read_data(write(tmp_path / "s.csv", text))
    assert data.user_features is not None
    assert data.item_features is not None
    assert data.user_features.toarray().tolist() == [[1, 0], [0, 1], [0, 0]]
    assert data.item_features.toarray().tolist() == [[0, 1], [1, 0], [0, 1]]


def test_a_weight_is_used_only_when_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", "user_id,item_id,rating\nu1,i1,4\nu2,i1,0\nu3,i2,\n")
    rated = read_data(path)
    assert rated.weights.tolist() == [1, 1, 1]
    assert rated.ratings is not None
    assert np.isnan(rated.ratings[2])
    weighted = read_data(path, columns={"weight": "rating"})
    assert weighted.weights.tolist() == [4]
    assert weighted.facts[0].dropped["non_positive_weight"] == 2


def _truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


_LONG = gzip.compress((SALES + "\n".join(ROWS * 20_000)).encode())

BAD: dict[str, tuple[str, str | bytes, str]] = {
    "empty file": ("s.csv", "", "no bytes"),
    "only blank lines": ("s.csv", "\n\n", "no line"),
    "header only": ("s.csv", HEADER + "\n", "rows below its header"),
    "no user": ("s.csv", "who,item_id\na,b\n", "--column user=NAME"),
    "two users": ("s.csv", "user_id,customer_id,item_id\na,b,c\n", "`user_id`, `customer_id` could all be it"),
    "no item": ("s.csv", "user_id,what\na,b\n", "the columns are `user_id`, `what`"),
    "one name twice": ("s.csv", "user_id,item_id,item_id\na,b,c\n", "`item_id` twice"),
    "no dates": ("s.csv", "user_id,item_id,date\na,b,soon\nc,b,later\n", "none of the 2 in `date`"),
    "all dropped": ("s.csv", "user_id,item_id,quantity\na,b,0\n,b,1\n", "1 no_user, 1 non_positive_quantity"),
    "broken gzip": ("s.csv.gz", _flipped(_LONG), "readable to its end"),
    "truncated gzip": ("s.csv.gz", _truncated(_LONG), "readable to its end"),
    "gzip in name only": ("s.csv.gz", SALES, "1f 8b"),
    "binary": ("s.csv", b"\x7fELF\0\0\0\1\0", "binary"),
    "workbook": ("s.xlsx", b"PK\x03\x04rest", "workbook"),
    "ragged": ("s.csv", SALES + "a,b\n", "fields of its header"),
    "no parquet": ("s.parquet", SALES, "begin with PAR1"),
    "broken parquet": ("s.parquet", b"PAR1" + b"x" * 100, "readable as Parquet"),
    "reserved country": ("s.csv", "user_id,item_id,country\na,b,all\n", "rename that value"),
    "nothing repeats": (
        "s.csv",
        "user_id,item_id\n" + "\n".join(f"u{n},i{n}" for n in range(200)),
        "must occur in several rows",
    ),
    "unknown part": ("s.csv", "user_id,item_id,split\n" + "a,b,train\n" * 20_000 + "a,b,later\n", "`later`"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SAMPLE_BYTES", 1 << 12)
    name, content, says = BAD[case]
    with pytest.raises(InputError) as caught:
        read_data(write(tmp_path / name, content), now=NOW)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


SOURCES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda folder: folder / "nowhere.csv", "nothing at"),
    "folder without files": (lambda folder: folder, "holds none"),
    "unknown protocol": (lambda folder: "nonsense://x/s.csv", "fsspec can open"),
    "missing driver": (lambda folder: "gcs://bucket/s.csv", "gcsfs"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_bad_sources(case: str, tmp_path: Path) -> None:
    make, says = SOURCES[case]
    with pytest.raises(InputError, match=says):
        read_data(str(make(tmp_path)))


def test_mixed_schemas_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "user_id,item_id\na,b\n")
    write(tmp_path / "b.csv", "user_id,item_id,price\na,b,1\n")
    with pytest.raises(InputError, match=r"a\.csv and b\.csv differ in `price`"):
        read_data(str(tmp_path))


def test_a_file_of_no_part_beside_train_and_test(tmp_path: Path) -> None:
    for name in ("train", "test", "more"):
        write(tmp_path / f"{name}.csv", "user_id,item_id\na,b\n")
    with pytest.raises(InputError, match=r"more\.csv"):
        read_data(str(tmp_path))


def test_a_future_date_is_of_the_clock(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", SALES)
    before_the_last = 1_578_045_600.0
    assert read_data(path, now=before_the_last).facts[0].dropped["future_date"] == 1
