"""Golden values of `sar`, made with Microsoft's own implementation, in an environment of its own (numpy < 2):

    uv venv --python 3.11 ENV
    uv pip install --python ENV/bin/python --no-deps recommenders==1.2.1 numpy==1.26.4 scipy==1.13.1 pandas==2.3.3 \
        python-dateutil==2.9.0.post0 pytz==2025.2 tzdata==2025.2 six==1.17.0

Then `ENV/bin/python make_sar_golden.py` writes the committed values on generated rows, and
`ENV/bin/python make_sar_golden.py --xmrec FILE --markets jp,in --out FOLDER` writes one file a market of XMRec: its
first 80 % of rows by date, ratings as weights.

A file holds the rows as they are to be fitted (users, items, times, weights) and, for each case, the scores of every
user and item (float64) under "similarity|half-life in days or none|threshold".
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from recommenders.models.sar import SAR

SIMILARITIES = (
    "cooccurrence",
    "cosine",
    "inclusion index",
    "jaccard",
    "lexicographers mutual information",
    "lift",
    "mutual information",
)
DAY_S = 86_400


def generated() -> pd.DataFrame:
    """480 events of 24 users and 16 items of unequal popularity, many pairs more than once, within 300 days."""
    rng = np.random.default_rng(20_240_501)
    share = 1 / np.arange(1, 17)
    rows = pd.DataFrame(
        {
            "user": np.concatenate([np.arange(24), rng.integers(0, 24, 456)]),
            "item": np.concatenate([np.arange(24) % 16, rng.choice(16, 456, p=share / share.sum())]),
            "weight": rng.integers(1, 6, 480).astype(float),
            "time": 1_600_000_000 + rng.integers(0, 300 * DAY_S, 480),
        }
    )
    return summed(rows, ["user", "item", "time"])


def xmrec(file: str, market: str) -> pd.DataFrame:
    """The first 80 % of a market's rows by date, ids coded in sorted order; a whole day falls on one side."""
    rows = pd.read_csv(file).query("market == @market")
    dates = pd.to_datetime(rows["date"])
    rows = rows[dates <= dates.quantile(0.8, interpolation="lower")]
    coded = pd.DataFrame(
        {
            "user": pd.factorize(rows["userId"], sort=True)[0],
            "item": pd.factorize(rows["itemId"], sort=True)[0],
            "weight": rows["rate"].to_numpy(float),
            "time": pd.to_datetime(rows["date"]).to_numpy("datetime64[s]").astype(np.int64),
        }
    )
    return summed(coded, ["user", "item", "time"])


def summed(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One row for equal keys, weights summed: theirs refuses duplicates."""
    return rows.groupby(keys, as_index=False).agg({"weight": "sum"})


def scores(rows: pd.DataFrame, similarity: str, half_life_days: float | None, threshold: int) -> np.ndarray:
    """Their scores of all users and items, (n_users, n_items), in order of code."""
    decay = {} if half_life_days is None else {"timedecay_formula": True, "time_decay_coefficient": half_life_days}
    model = SAR("user", "item", "weight", "time", similarity_type=similarity, threshold=threshold, **decay)
    # Without decay theirs sums no repeated pairs, it only asks that there are none.
    fitted = summed(rows, ["user", "item"]) if half_life_days is None else rows
    model.fit(fitted)
    users = pd.DataFrame({"user": np.arange(rows["user"].max() + 1)})
    items = [model.item2index[item] for item in range(rows["item"].max() + 1)]
    return np.asarray(model.score(users))[:, items]


def write(path: Path, rows: pd.DataFrame, thresholds: tuple[int, ...]) -> None:
    """All cases of one set of rows into one file."""
    cases = {
        f"{similarity}|{half_life_days or 'none'}|{threshold}": scores(rows, similarity, half_life_days, threshold)
        for similarity in SIMILARITIES
        for half_life_days in (None, 30)
        for threshold in thresholds
    }
    columns = {f"{name}s": rows[name].to_numpy() for name in ("user", "item", "time", "weight")}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **columns, **cases)


def main() -> None:
    """Read the flags, write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xmrec", help="XMRec as CSV (gz): userId, itemId, rate, date, market")
    parser.add_argument("--markets", default="jp,in")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    flags = parser.parse_args()
    if flags.xmrec is None:
        write(flags.out / "sar_generated.npz", generated(), (1, 4))
    else:
        for market in flags.markets.split(","):
            write(flags.out / f"sar_xmrec_{market}.npz", xmrec(flags.xmrec, market), (1,))


if __name__ == "__main__":
    main()
