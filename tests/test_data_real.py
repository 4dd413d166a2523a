"""The two real files: counted here a second time, with pandas and the words of their README."""

from pathlib import Path

import pandas as pd
import pytest

from orchestrator.data import Data, read_data

FOLDER = Path(__file__).parents[1].parent / "shared" / "data"
RETAIL = FOLDER / "online_retail_2010_2011.csv.gz"
XMREC = FOLDER / "xmrec_electronics.csv.gz"
NOW = 1_700_000_000.0

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the real data is not at {FOLDER}")

OTHERS = ["POST", "DOT", "M", "C2", "D", "S", "B", "BANK CHARGES", "AMAZONFEE", "PADS", "CRUK", "DCGSSBOY", "DCGSSGIRL"]


@pytest.fixture(scope="module")
def retail() -> Data:
    return read_data(str(RETAIL), now=NOW)


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    return pd.read_csv(RETAIL, dtype={"InvoiceNo": str, "StockCode": str, "CustomerID": str})


def totals(data: Data) -> dict[str, int]:
    return {reason: sum(facts.dropped[reason] for facts in data.facts) for reason in data.facts[0].dropped}


def test_online_retail_is_read_as_it_is_meant(retail: Data) -> None:
    assert len(retail.country_names) == 38
    assert sum(facts.rows_kept > 0 for facts in retail.facts) == 37
    assert sum(facts.users >= 5 for facts in retail.facts) == 19
    assert retail.reading["user"] == "CustomerID"
    assert "17850" in retail.user_ids.to_pylist()
    notes = "\n".join(retail.notes)
    assert "European Community, Unspecified" in notes
    assert "112 item codes" in notes
    assert "8 user ids" in notes
    assert all(f" {code}" in notes for code in OTHERS)


def test_online_retail_adds_up_to_its_readme(retail: Data, raw: pd.DataFrame) -> None:
    """396,337 rows, 4,334 customers, 3,659 items before duplicates and the sales that were cancelled are dropped."""
    products = raw[raw.CustomerID.notna() & ~raw.StockCode.str.upper().isin(OTHERS)]
    sales = products[~products.InvoiceNo.str.startswith("C") & (products.Quantity > 0) & (products.UnitPrice > 0)]
    assert len(sales) == 396_337
    assert (sales.CustomerID.nunique(), sales.StockCode.str.upper().nunique()) == (4_334, 3_659)
    counts = totals(retail)
    assert counts["no_user"] == raw.CustomerID.isna().sum() == 135_080
    cancelled = products.InvoiceNo.str.startswith("C")
    assert counts["cancellation"] == products[cancelled].drop(columns="Description").drop_duplicates().shape[0]
    kept_duplicates = sales.drop(columns="Description").duplicated().sum()
    assert len(retail.users) == len(sales) - kept_duplicates - counts["reversed_sale"]


def test_online_retail_reversed_sales(retail: Data, raw: pd.DataFrame) -> None:
    """The pairs of sale and cancellation, found one by one."""
    rows = raw[raw.CustomerID.notna() & ~raw.StockCode.str.upper().isin(OTHERS) & (raw.UnitPrice > 0)].copy()
    rows = rows.drop(columns="Description").drop_duplicates()
    rows["item"], rows["size"] = rows.StockCode.str.upper(), rows.Quantity.abs()
    rows = rows[rows.Quantity.gt(0) | rows.InvoiceNo.str.startswith("C")]
    rows = rows.sort_values(["InvoiceDate", "Quantity"], ascending=[True, False])
    waiting: dict[tuple[object, ...], int] = {}
    n_reversed = 0
    keys = zip(rows.Country, rows.CustomerID, rows["item"], rows["size"], rows.UnitPrice, strict=True)
    for key, is_sale in zip(keys, rows.Quantity > 0, strict=True):
        if is_sale:
            waiting[key] = waiting.get(key, 0) + 1
        elif waiting.get(key, 0):
            waiting[key] -= 1
            n_reversed += 1
    assert totals(retail)["reversed_sale"] == n_reversed


def test_xmrec_loses_only_duplicates() -> None:
    data = read_data(str(XMREC), now=NOW)
    raw = pd.read_csv(XMREC, keep_default_na=False)
    assert data.country_names == ("ca", "de", "fr", "in", "jp", "mx", "uk")
    assert totals(data)["duplicate"] == raw.duplicated().sum() == sum(totals(data).values())
    assert {facts.country: facts.rows_read for facts in data.facts} == raw.market.value_counts().to_dict()
    assert data.n_users == raw.groupby("market").userId.nunique().sum()
    assert data.n_items == raw.itemId.nunique()
    assert data.weights.max() == 1
    assert data.ratings is not None
    assert data.ratings.max() == 5
