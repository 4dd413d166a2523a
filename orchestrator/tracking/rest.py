"""The MLflow REST API (2.0), spoken directly: a few requests over kept-alive connections, without importing mlflow.

Away      the server was not reached, did not answer in time, or failed: the same request may succeed later
Refused   the server read the request and will never take it
"""

import ipaddress
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from orchestrator.errors import InputError
from orchestrator.tracking import Capabilities

CONNECTIONS = 8
CONNECT_S, READ_S, SEARCH_S, PROBE_S = 3.0, 10.0, 120.0, 5.0
KEEP_ALIVE_S = 2.0
"""Below the 5 s after which uvicorn closes an idle connection, which would look like an answer that was lost."""
PAGE = 1000
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Away(Exception):
    """The server did not answer as it should.

    `lost` says that it may have done what was asked all the same, `silent` that it gave no answer at all.
    """

    def __init__(self, reason: str, *, lost: bool, silent: bool) -> None:
        super().__init__(reason)
        self.lost = lost
        self.silent = silent


class Refused(Exception):
    """The server will not take this request; `code` is MLflow's name for the reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


class RestClient:
    """Requests to one server; safe to use from several threads."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client = httpx.Client(
            base_url=uri,
            auth=_credentials(os.environ),
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEEP_ALIVE_S),
            trust_env=not _is_loopback(uri),  # a proxy of the environment does not lead to this machine
        )

    def get(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        """The answer to a GET below /api/2.0/mlflow; raises Away or Refused."""
        return self._ask("GET", path, params=dict(params))

    def post(self, path: str, body: Mapping[str, Any], *, read_s: float = READ_S) -> dict[str, Any]:
        """The answer to a POST below /api/2.0/mlflow; raises Away or Refused."""
        return self._ask("POST", path, json=dict(body), timeout=httpx.Timeout(read_s, connect=CONNECT_S))

    def search_runs(self, experiment_id: str, filter_string: str) -> Iterator[dict[str, Any]]:
        """Every active run of an experiment that passes a filter, page by page."""
        token = ""
        while True:
            body = {"experiment_ids": [experiment_id], "filter": filter_string, "max_results": PAGE}
            page = self.post("runs/search", body | ({"page_token": token} if token else {}), read_s=SEARCH_S)
            yield from page.get("runs", [])
            token = page.get("next_page_token", "")
            if not token:
                return

    def capabilities(self) -> Capabilities:
        """Which server this is, by its own words; raises Away where it cannot be reached."""
        response = self._request("GET", "/version")
        server = response.headers.get("server", "")
        version = response.text.strip() if response.status_code == httpx.codes.OK else ""
        if server.startswith("FastTrackML/"):
            return Capabilities("fasttrackml", server.partition("/")[2])
        if re.fullmatch(r"\d+\.\d+[\w.+-]*", version):
            return Capabilities("mlflow", version)
        return Capabilities("unknown", "")

    def probe(self) -> Capabilities:
        """Who answers, and whether the API may be used; at most 5 s, then InputError."""
        host = urlsplit(self.uri).netloc
        advice = "mend it, or give --tracking-offline and `orchestrate sync` the run later"
        try:
            found = _within(PROBE_S, self._probe)
        except (Away, TimeoutError) as error:
            raise InputError(
                f"a tracking server must answer at {host}, but it does not ({error}); start it, {advice}"
            ) from None
        except Refused as error:
            raise InputError(
                f"a tracking server must speak the MLflow API, but {host} says {error}; {advice}"
            ) from None
        return found

    def _probe(self) -> Capabilities:
        response = self._request("GET", "/api/2.0/mlflow/experiments/search", params={"max_results": "1"})
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise Refused(
                f"status {response.status_code}",
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
            )
        if not (response.is_success and "experiments" in _json(response)):
            raise Refused(f"status {response.status_code}", "not what an MLflow server answers")
        return self.capabilities()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._request(method, f"/api/2.0/mlflow/{path}", **options)
        body = _json(response)
        if response.is_success:
            return body
        code, message = str(body.get("error_code", "")), str(body.get("message", ""))
        # only an answer in MLflow's own words is final: a 404 of a proxy, or a login page, is not about the request
        final = response.is_client_error and code and response.status_code not in (401, 403, 408, 429)
        if final:
            raise Refused(code, message[:500])
        said = f"status {response.status_code} from {path} {message[:200]}".rstrip()
        raise Away(said, lost=response.is_server_error, silent=False)

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise Away(reason, lost=not isinstance(error, NEVER_SENT), silent=True) from None


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _credentials(environment: Mapping[str, str]) -> httpx.Auth | None:
    user, token = environment.get("MLFLOW_TRACKING_USERNAME"), environment.get("MLFLOW_TRACKING_TOKEN")
    if user:
        return httpx.BasicAuth(user, environment.get("MLFLOW_TRACKING_PASSWORD", ""))
    return _Bearer(token) if token else None


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def _is_loopback(uri: str) -> bool:
    host = urlsplit(uri).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _within(limit_s: float, call: Callable[[], Capabilities]) -> Capabilities:
    """The result of a call, or TimeoutError: the limit holds for resolving names and slow answers too."""
    outcome: list[Capabilities | BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            outcome.append(error)

    started = time.monotonic()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit_s)
    if not outcome:
        raise TimeoutError(f"no answer in {time.monotonic() - started:.0f} s")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
