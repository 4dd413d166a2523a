"""Small data that every end-to-end test tunes in seconds."""

import csv
import os
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SHOP_COUNTRIES = {"Aland": 90, "Borduria": 45, "Cimbria": 4}


def real_data(name: str) -> Path:
    """A real data set beside the project; the test is skipped where it is absent."""
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    return path


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's store or server."""
    monkeypatch.setenv("ORCHESTRATE_STORE", str(tmp_path_factory.getbasetemp() / "store"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def shop_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three countries with two tastes, repeat purchases and prices, over 100 days; the last country is tiny."""
    path = tmp_path_factory.mktemp("shop") / "shop.csv"
    rng = np.random.default_rng(7)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "item_id", "event_time", "country", "price"])
        for country, n_users in SHOP_COUNTRIES.items():
            for user in range(n_users):
                for _ in range(int(rng.integers(8, 20))):
                    taste = user % 2 if rng.random() < 0.8 else 1 - user % 2
                    item = taste * 30 + min(int(rng.exponential(8)), 29)
                    day, second = int(rng.integers(0, 100)), int(rng.integers(0, 86400))
                    stamp = np.datetime64("2025-01-01T00:00:00") + np.timedelta64(day * 86400 + second, "s")
                    writer.writerow([f"u{user}", f"i{item}", str(stamp), country, 1 + item % 7])
    return path
