"""Which column is what."""

import pyarrow as pa
import pytest

from orchestrator.data.columns import ROLES, recognise
from orchestrator.errors import InputError

VALUES = {"time": "2020-01-01", "price": "1.5", "quantity": "2", "rating": "5", "spend": "3"}

KNOWN: dict[str, dict[str, str]] = {
    "Online Retail": {
        "order": "InvoiceNo",
        "item": "StockCode",
        "quantity": "Quantity",
        "time": "InvoiceDate",
        "price": "UnitPrice",
        "user": "CustomerID",
        "country": "Country",
    },
    "Online Retail II": {"order": "Invoice", "item": "StockCode", "price": "Price", "user": "Customer ID"},
    "XMRec": {"user": "userId", "item": "itemId", "rating": "rate", "time": "date", "country": "market"},
    "REES46": {"time": "event_time", "item": "product_id", "price": "price", "user": "user_id"},
    "RetailRocket": {"time": "timestamp", "user": "visitorid", "item": "itemid", "order": "transactionid"},
    "Amazon reviews": {"user": "reviewerID", "item": "asin", "rating": "overall", "time": "unixReviewTime"},
    "H&M": {"time": "t_dat", "user": "customer_id", "item": "article_id", "price": "price"},
    "Amazon-M2": {"user": "user", "item": "item", "country": "locale"},
    "Instacart": {"order": "order_id", "item": "product_id", "user": "user_id"},
    "shop system": {"user": "Client Id", "item": "SKU", "country": "country_code", "spend": "amount"},
    "title beside id": {"user": "CustomerID", "item": "ProductID"},
}
BESIDE = {"title beside id": ["Product", "Customer"], "Amazon reviews": ["reviewText"], "REES46": ["user_session"]}


def sample(columns: dict[str, str]) -> pa.Table:
    return pa.table({name: [value, None] for name, value in columns.items()})


@pytest.mark.parametrize("known", KNOWN)
def test_known_naming_styles(known: str) -> None:
    columns = {name: VALUES.get(role, "x") for role, name in KNOWN[known].items()}
    columns |= dict.fromkeys(BESIDE.get(known, []), "text")
    found = recognise(sample(columns), None)
    assert {role: names[0] for role, names in found.items()} == KNOWN[known]


def test_what_is_said_goes_first() -> None:
    table = sample({"user_id": "a", "buyer": "b", "item_id": "c", "price": "1"})
    found = recognise(table, {"user": "buyer", "price": ""})
    assert found == {"user": ("buyer",), "item": ("item_id",)}


def test_features_are_said_as_a_list() -> None:
    table = sample({"user_id": "a", "item_id": "c", "age": "7", "gender": "f", "brand": "x"})
    found = recognise(table, {"user_features": "age, gender", "item_features": ""})
    assert found["user_features"] == ("age", "gender")
    assert "item_features" not in found


def test_a_time_must_be_one() -> None:
    table = sample({"user_id": "a", "item_id": "c", "timestamp": "no", "date": "2020-01-01"})
    assert recognise(table, None)["time"] == ("date",)


def test_a_lone_column_of_dates_is_the_time() -> None:
    table = sample({"user_id": "a", "item_id": "c", "when it was": "2020-01-01", "count": "3"})
    assert recognise(table, None)["time"] == ("when it was",)
    assert "time" not in recognise(table, {"time": ""})


def test_a_price_must_be_a_number() -> None:
    assert "price" not in recognise(sample({"user_id": "a", "item_id": "c", "price": "cheap"}), None)


def test_a_total_is_not_multiplied() -> None:
    table = sample({"user_id": "a", "item_id": "c", "price": "1", "quantity": "2", "total": "2"})
    assert "spend" not in recognise(table, None)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"user": "nobody"}, "no `nobody`"),
        ({"customer": "user_id"}, "one of user, item"),
        ({"item": ""}, "names no column"),
    ],
)
def test_wrong_words_are_refused(columns: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        recognise(sample({"user_id": "a", "item_id": "c"}), columns)


def test_roles_are_those_that_can_be_said() -> None:
    assert set(ROLES) >= {"user", "item", "time", "country", "price", "quantity", "order", "rating", "weight"}
