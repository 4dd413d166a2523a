"""Recognises which column plays which role, by its name and by what stands in it."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.data.values import is_dated, share_of_numbers, share_of_times
from orchestrator.errors import InputError


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "user": _words(
            "user customer visitor client member account shopper buyer consumer reviewer person subscriber "
            "userid customerid visitorid clientid memberid accountid shopperid buyerid consumerid reviewerid "
            "personid subscriberid custid uid usercode customercode customerno customernumber userno "
            "usernumber customerkey userkey customeruniqueid amazonuserid memberno householdkey householdid "
            "profileid"
        ),
        "item": _words(
            "item product article sku asin stockcode isbn itemid productid articleid skuid stockid movieid "
            "bookid songid trackid gameid materialid offerid itemcode productcode articlecode itemno "
            "itemnumber productno productnumber articleno articlenumber productkey itemkey stockno materialno "
            "material iid upc ean gtin"
        ),
        "time": _words(
            "timestamp time datetime eventtime eventtimestamp invoicedate orderdate purchasedate "
            "transactiondate transactiondt transactiontime ordertime purchasetime ordertimestamp "
            "orderpurchasetimestamp invoicetime invoicedatetime reviewtime unixreviewtime unixtime "
            "unixtimestamp eventdate createdat createdon ts tdat ordereddat orderedat purchasedat date "
            "saledate salesdate"
        ),
        "country": _words(
            "country market countrycode countryname marketid marketcode marketname countryid marketplace "
            "locale countryregion shipcountry billingcountry shippingcountry customercountry usercountry "
            "nation territory region"
        ),
        "price": _words("unitprice price salesprice saleprice itemprice productprice priceperunit unitcost listprice"),
        "spend": _words(
            "linetotal lineamount totalprice totalamount total spend spending revenue sales salesamount "
            "amount purchaseamount gmv turnover netsales salesvalue"
        ),
        "quantity": _words("quantity qty units unitssold quantitysold itemquantity orderquantity purchasequantity"),
        "order": _words(
            "invoiceno invoice invoiceid invoicenumber orderid order orderno ordernumber transactionid "
            "transactionno transaction basketid receiptid receiptno receipt cartid purchaseid billno"
        ),
        "rating": _words("rating rate ratings stars overall score reviewrating starrating reviewscore"),
        "split": _words("split subset fold"),
        "user_features": _words(
            "gender sex agegroup ageband segment customersegment usersegment customertype membership "
            "clubmemberstatus occupation"
        ),
        "item_features": _words(
            "category categoryid categorycode productcategory itemcategory department departmentname brand "
            "brandname genre producttype producttypename productgroup productgroupname productsubclass colour "
            "color colourgroupname"
        ),
    }
)
"""role -> names of columns without case, spaces and marks; of optional roles the first name that is there is taken."""

ROLES: tuple[str, ...] = (*NAMES, "weight")
"""`weight` has no names: what counts as the strength of an event is the user's decision."""

_WITHOUT_ID = _words(
    "user customer visitor client member account shopper buyer consumer reviewer person subscriber item product article"
)
"""Names that are the id only where no other column says so: beside `ProductID`, `Product` is its title."""

FEATURE_ROLES = ("user_features", "item_features")
SPLIT_LABELS: Mapping[str, int] = MappingProxyType(
    {"train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2, "testing": 2}
)

Reading = Mapping[str, tuple[str, ...]]
"""role -> its columns: one, or for features several."""


def recognise(sample: pa.Table, overrides: Mapping[str, str] | None) -> Reading:
    """Which column of the sample plays which role; what the user said (role -> column, "" for none) goes first.

    `user` and `item` must be there, and must be told when several columns could be one of them. Raises InputError.
    """
    found = _told(sample.column_names, overrides or {})
    taken = {name for columns in found.values() for name in columns}
    for role in NAMES:
        if role not in found:
            free = [name for name in sample.column_names if name not in taken]
            found[role] = _by_name(role, free, sample)
            taken.update(found[role])
    if not found["time"] and "time" not in (overrides or {}):
        found["time"] = _by_type(sample, taken)
    if found["price"] and "spend" not in (overrides or {}):
        found["spend"] = ()  # price x quantity is the spend
    return {role: columns for role, columns in found.items() if columns}


def _told(names: Sequence[str], overrides: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    told = {}
    for role, value in overrides.items():
        if role not in ROLES:
            raise InputError(f"a column must be given for one of {', '.join(ROLES)}, but got `{role}={value}`")
        told[role] = _columns_of(role, value, names)
        missing = [name for name in told[role] if name not in names]
        if missing:
            raise InputError(
                f"the column for {role} must be one of the data's, but there is no `{missing[0]}`; "
                f"{_listed(names)}; say which it is with `--column {role}=NAME`"
            )
        if role in ("user", "item") and not told[role]:
            raise InputError(f"every row must have a {role}, but `{role}=` names no column; {_listed(names)}")
    return told


def _columns_of(role: str, value: str, names: Sequence[str]) -> tuple[str, ...]:
    if value in names:
        return (value,)
    several = value.split(",") if role in FEATURE_ROLES else [value]
    return tuple(name.strip() for name in several if name.strip())


def _by_name(role: str, names: Sequence[str], sample: pa.Table) -> tuple[str, ...]:
    known = {name: position for position, name in enumerate(NAMES[role])}
    matches = sorted((known[_bare(name)], name) for name in names if _bare(name) in known)
    candidates = [name for _, name in matches]
    if role in FEATURE_ROLES:
        return tuple(sorted(candidates))
    if role in ("user", "item"):
        ids = [name for name in candidates if _bare(name) not in _WITHOUT_ID]
        return _only(role, ids or candidates, sample.column_names)
    fitting = [name for name in candidates if _fits(role, sample.column(name))]
    if role == "time":  # dates of which none can be read are reported as such, not passed over
        fitting = fitting or candidates
    return tuple(fitting[:1])


def _only(role: str, candidates: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    if len(candidates) == 1:
        return (candidates[0],)
    came = f"{_quoted(candidates)} could all be it" if candidates else "no column has a name that says so"
    raise InputError(
        f"one column must be the {role}, but {came}; {_listed(names)}; say which with `--column {role}=NAME`"
    )


def _fits(role: str, column: pa.ChunkedArray) -> bool:
    values = column.combine_chunks()
    if role == "time":
        return share_of_times(values) > 0.5
    if role in ("price", "spend", "quantity", "rating"):
        return share_of_numbers(values) > 0.5
    if role == "split":
        words = pc.utf8_lower(values.drop_null().unique().cast(pa.string())).to_pylist()
        return bool(words) and all(word in SPLIT_LABELS for word in words)
    return True


def _by_type(sample: pa.Table, taken: set[str]) -> tuple[str, ...]:
    free = [name for name in sample.column_names if name not in taken]
    dated = [name for name in free if is_dated(sample.column(name).combine_chunks())]
    return tuple(dated) if len(dated) == 1 else ()


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _listed(names: Sequence[str]) -> str:
    return f"the columns are {_quoted(names[:30])}{' and more' if len(names) > 30 else ''}"
