"""A run that joins a Ray cluster which it did not start."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.api import tune
from orchestrator.errors import InputError
from orchestrator.spec import Spec
from tests.contract.test_promises import answer, command, settings
from tests.tracking_servers import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a head node on loopback, ended by its pid."""
    port = free_port()
    log = tmp_path_factory.mktemp("ray") / "head.log"
    start = ["start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false", "--block"]
    with log.open("wb") as file:
        head = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *start], stdout=file, stderr=file, start_new_session=True
        )
    until = time.monotonic() + 120
    while "runtime started" not in log.read_text():
        assert head.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)
    yield f"127.0.0.1:{port}"
    os.killpg(head.pid, signal.SIGTERM)
    head.wait(60)


def test_a_joined_cluster_gives_the_same_answer(cluster: str, shop_csv: Path, tmp_path: Path) -> None:
    whole = tune(Spec.from_mapping(settings(shop_csv, tmp_path / "inline", engine="inline"), "test"))
    joined = settings(shop_csv, tmp_path / "joined", engine="ray", address=cluster, workers=2)
    subprocess.run(command(joined, tmp_path), check=True, timeout=240)
    assert answer(next((tmp_path / "joined").glob("*/"))) == answer(whole.folder)


def test_an_address_that_nobody_answers_leaves_nothing_behind(shop_csv: Path, tmp_path: Path) -> None:
    spec = settings(shop_csv, tmp_path / "runs", engine="ray", address=f"127.0.0.1:{free_port()}")
    with pytest.raises(InputError, match="a Ray cluster must answer at"):
        tune(Spec.from_mapping(spec, "test"))
    assert not (tmp_path / "runs").exists()
