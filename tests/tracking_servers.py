"""Real tracking servers on loopback, and one that misbehaves in front of them. Each ends with the tests, by its pid."""

import atexit
import functools
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

FASTTRACKML = "fasttrackml==0.6.0"
LIGHT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "OPENBLAS_NUM_THREADS": "1",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def start_mlflow() -> str:
    """One `mlflow server` for all tests of a process; its address."""
    folder = Path(tempfile.mkdtemp(prefix="orchestrate-mlflow-"))
    port = free_port()
    store = [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--default-artifact-root",
        str(folder / "artifacts"),
    ]
    place = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return _start([sys.executable, "-m", "mlflow", "server", *store, *place], folder, port)


@functools.cache
def start_fasttrackml() -> str:
    """One FastTrackML; raises RuntimeError where it cannot be had."""
    folder = Path(tempfile.mkdtemp(prefix="orchestrate-fasttrackml-"))
    port = free_port()
    store = ["--database-uri", f"sqlite://{folder}/fml.db", "--default-artifact-root", str(folder / "artifacts")]
    return _start([str(_fml()), "server", "--listen-address", f"127.0.0.1:{port}", *store], folder, port)


@pytest.fixture(scope="session")
def mlflow_server() -> str:
    return start_mlflow()


@pytest.fixture(scope="session")
def fasttrackml_server() -> str:
    try:
        return start_fasttrackml()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"FastTrackML cannot be had here: {error}")


def _start(command: list[str], folder: Path, port: int) -> str:
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | LIGHT, stdout=log, stderr=log, start_new_session=True
        )
    atexit.register(_stop, process, folder)
    until = time.monotonic() + 90
    uri = f"http://127.0.0.1:{port}"
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{uri}/health", trust_env=False, timeout=2).is_success:
                return uri
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError((folder / "server.log").read_text()[-2000:])


def _stop(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(5)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    shutil.rmtree(folder, ignore_errors=True)


def _fml() -> Path:
    """The server's binary, taken out of its wheel: the package itself wants an MLflow that is too old."""
    folder = Path.home() / ".cache" / "orchestrate-tests" / FASTTRACKML.replace("==", "-")
    binary = folder / "fml"
    if not binary.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip"] if _has_pip() else ["pip"]
        command = [*pip, "download", "--quiet", "--no-deps", "--dest", str(folder), FASTTRACKML]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        wheel = next(iter(folder.glob("*.whl")))
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/bin/fml"))
            binary.write_bytes(archive.read(name))
        wheel.unlink()
        binary.chmod(0o755)
    return binary


def _has_pip() -> bool:
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


class Mischief:
    """What the proxy does to a request before (`fail`, `hang`, `drop`) or after (`forget`) the real server has had it."""

    def __init__(
        self, *, seed: int = 0, fail: float = 0.0, hang: float = 0.0, drop: float = 0.0, forget: float = 0.0
    ) -> None:
        self._random = random.Random(seed)
        self._shares = {"fail": fail, "hang": hang, "drop": drop, "forget": forget}
        self._lock = threading.Lock()
        self.done: dict[str, int] = dict.fromkeys(self._shares, 0)

    def next(self) -> str:
        with self._lock:
            left = self._random.random()
            for name, share in self._shares.items():
                left -= share
                if left < 0:
                    self.done[name] += 1
                    return name
        return ""


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, target: str, mischief: Callable[[], str], hang_s: float, seen: list[str]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.target, self.mischief, self.hang_s, self.seen = target, mischief, hang_s, seen


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append(self.headers.get("Authorization", ""))
        trick = self.server.mischief()
        if trick == "fail":
            self._answer(500, b'{"error_code": "INTERNAL_ERROR", "message": "mischief"}')
        elif trick in ("drop", "hang"):
            time.sleep(self.server.hang_s if trick == "hang" else 0.0)
            self.close_connection = True
        else:
            status, content = self._ask(body)
            self.close_connection = trick == "forget"
            if not self.close_connection:
                self._answer(status, content)

    do_GET = do_POST = _pass  # noqa: N815

    def _ask(self, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, content

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def proxy(
    upstream: str, mischief: Callable[[], str], *, hang_s: float = 1.0, port: int = 0, seen: list[str] | None = None
) -> Iterator[str]:
    """A server in front of another: passes requests on, or fails, hangs, drops, or forgets to answer what was done."""
    target = upstream.removeprefix("http://")
    server = _Proxy(port, target, mischief, hang_s, [] if seen is None else seen)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
