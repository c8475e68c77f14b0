"""The local Sentinel Hub itself: an HTTPS server with the token, catalogue and process services."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hmac
import json
import secrets
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from tests.service import catalog, process
from tests.service.certificate import Certificate
from tests.service.faults import Fault, error_body, fault_body
from tests.service.payload import Refused
from tests.service.scenes import Acquisition

TOKEN_PATH = "/auth/realms/main/protocol/openid-connect/token"
ENDPOINTS = {
    TOKEN_PATH: "token",
    "/api/v1/catalog/1.0.0/search": "catalog",
    "/api/v1/process": "process",
    "/api/v1/accounting/usage": "account",
}
GARBAGE = b"<!DOCTYPE html><html><body><h1>Please sign in to the network</h1></body></html>"


@dataclass
class Request:
    """One request that came in.

    Attributes:
        endpoint: "token", "catalog" or "process"; "" for a path that does not exist.
        method, path: as it was asked for.
        body: the JSON; of a token request only its grant_type; None when it could not be read.
        time_s: when it came, seconds of the monotonic clock.
        authorised: whether its token (or, of a token request, its credentials) was right.
        status: of the answer; None while it is being made, 0 when the connection was dropped.
    """

    endpoint: str
    method: str
    path: str
    body: object
    time_s: float
    authorised: bool
    status: int | None = None


@dataclass(frozen=True)
class Answer:
    """What goes back: status, body, and headers beside its type and length."""

    status: int
    body: bytes
    content_type: str
    headers: dict[str, str]


class LocalSentinelHub(contextlib.AbstractContextManager):
    """Sentinel Hub on a free port of this machine, from `with` to its end.

    Args:
        certificate: of the server; clients trust its authority by REQUESTS_CA_BUNDLE.
        client_id, client_secret: the credentials it accepts.
        acquisitions: what it serves; the list may be changed at any time.
        expires_in_s: how long a token is valid, whole seconds. sentinelhub-py asks for a new one two minutes before.
        interleave: "pixel", as the arrays (H,W,C) in sentinelhub-py's documentation imply, or "band".

    Attributes:
        base_url, token_url: for SHConfig's sh_base_url and sh_token_url.
        requests: all that came in, in order.
        crashes: what went wrong in this server itself; the end of `with` raises the first.
        month: requests and processing units that the account has a month; None: the account may not ask.
        secrets: the credentials it accepts.
        units_spent: processing units charged so far, also for answers that a fault then spoilt.
    """

    def __init__(
        self,
        certificate: Certificate,
        client_id: str,
        client_secret: str,
        acquisitions: Sequence[Acquisition] = (),
        *,
        expires_in_s: int = 3600,
        interleave: str = "pixel",
    ):
        assert expires_in_s >= 1, "the client cannot read a token without a life time"
        self.acquisitions = list(acquisitions)
        self.expires_in_s, self.interleave = expires_in_s, interleave
        self.requests: list[Request] = []
        self.month: tuple[int, float] | None = (30_000, 30_000.0)
        self.units_spent = 0.0
        self.secrets = self._credentials = (client_id, client_secret)
        self._tokens: dict[str, float] = {}  # token -> end of its life on the monotonic clock
        self._faults: dict[str, list[Fault]] = {name: [] for name in ENDPOINTS.values()}
        self.crashes: list[Exception] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.server, certificate.key)
        # hands are shaken in the thread of the connection, so that a silent client cannot block the others
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.base_url = f"https://localhost:{self._server.server_port}"
        self.token_url = self.base_url + TOKEN_PATH

    def __enter__(self) -> LocalSentinelHub:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        if kind is None and self.crashes:
            raise AssertionError("the local Sentinel Hub itself failed") from self.crashes[0]

    def fail(self, endpoint: str, kind: str | None = None, **fault: object) -> None:
        """Order a fault: fail("process", status=429, times=3, retry_after_ms=20), fail("token", "dropped").

        Args:
            endpoint: "token", "catalog" or "process".
            kind, fault: as in `Fault`; a status needs no kind. Several faults follow one another.
        """
        kind = kind or ("status" if "status" in fault else "slow")
        assert endpoint == "process" or kind != "wrong_size", "only the process service sends images"
        self._faults[endpoint].append(Fault(kind, **fault))

    def forgive(self) -> None:
        """Take back all faults that have been ordered."""
        for faults in self._faults.values():
            faults.clear()

    def revoke_tokens(self) -> None:
        """Make all tokens given so far invalid."""
        with self._lock:
            self._tokens.clear()

    def sent(self, endpoint: str) -> list[Request]:
        """The requests to one endpoint, in order."""
        return [request for request in self.requests if request.endpoint == endpoint]

    def receive(self, method: str, path: str, headers: Message, body: bytes) -> tuple[Request, Answer, Fault | None]:
        """Note a request, and make its answer as the faults allow. Called by the threads of the connections."""
        endpoint = ENDPOINTS.get(path, "")
        read, problem = _read(endpoint, headers, body)
        authorised = self._knows(read) if endpoint == "token" else self._admits(headers.get("Authorization", ""))
        shown = {"grant_type": read.get("grant_type")} if endpoint == "token" and read else read
        request = Request(endpoint, method, path, shown, time.monotonic(), authorised)
        with self._lock:
            self.requests.append(request)
            faults = self._faults.get(endpoint, [])
            fault = next((one for one in faults if one.strikes()), None)
        try:
            answer = self._answer(request, headers, read, problem, fault)
        except Exception as error:  # a fault of this server, not of the client
            self.crashes.append(error)
            answer = _json(500, error_body(500, f"the local service failed: {type(error).__name__}"))
        return request, answer, fault

    def _answer(
        self, request: Request, headers: Message, read: object, problem: Refused | None, fault: Fault | None
    ) -> Answer:
        if fault is not None and fault.status is not None:
            retry = {} if fault.retry_after_ms is None else {"Retry-After": str(fault.retry_after_ms)}
            return _json(fault.status, fault_body(request.endpoint, fault.status), retry)
        if fault is not None and fault.kind == "garbage":
            return Answer(200, GARBAGE, "text/html", {})
        if request.endpoint == "account" and request.method == "GET":
            return self._account(request)
        if request.endpoint in ("", "account") or request.method != "POST":
            status = 404 if request.endpoint == "" else 405
            return _json(status, error_body(status))
        if request.endpoint == "token":
            return self._token(request, read)
        if not request.authorised:
            return _json(401, error_body(401))
        try:
            if problem is not None:
                raise problem
            if request.endpoint == "catalog":
                found = catalog.answer(catalog.parse(read), self.acquisitions, self.base_url + request.path)
                return _json(200, found, content_type="application/geo+json")
            return self._image(read, headers, fault)
        except Refused as refused:
            if request.endpoint == "catalog":
                return _json(refused.status, {"code": refused.status, "description": refused.message})
            return _json(refused.status, error_body(refused.status, refused.message, refused.code))

    def _image(self, read: object, headers: Message, fault: Fault | None) -> Answer:
        wanted = process.parse(read)
        if headers.get("Accept", "*/*") not in ("image/tiff", "*/*"):
            raise Refused(f"Accept must be image/tiff, not {headers['Accept']}")
        units = process.processing_units(wanted)
        if fault is not None and fault.kind == "wrong_size":
            wanted = dataclasses.replace(wanted, width_px=wanted.width_px - 1, height_px=wanted.height_px - 1)
        tiff = process.draw(wanted, self.acquisitions, self.interleave)
        with self._lock:
            self.units_spent += units
        return Answer(200, tiff, "image/tiff", {"X-ProcessingUnits-Spent": str(units)})

    def _account(self, request: Request) -> Answer:
        """What is left of the month, as the dashboards ask for it; nothing may be used beyond it."""
        if not request.authorised or self.month is None:
            status = 401 if not request.authorised else 403
            return _json(status, error_body(status))
        sent = sum(one.status == 200 for one in self.sent("process"))
        told = {}
        for name, whole, used in zip(
            ("requests", "processingUnits"), self.month, (sent, self.units_spent), strict=True
        ):
            told[f"{name}Monthly"] = {"configuration": whole, "consumed": used, "remaining": whole - used}
            told[f"{name}Overage"] = {"configuration": 0, "consumed": 0, "remaining": 0}
        return _json(200, told)

    def _token(self, request: Request, form: dict | None) -> Answer:
        if form is None or form.keys() != {"grant_type", "client_id", "client_secret"}:
            return _json(400, {"error": "invalid_request", "error_description": "Missing or unknown form parameter"})
        if form["grant_type"] != "client_credentials":
            return _json(400, {"error": "unsupported_grant_type", "error_description": "Unsupported grant_type"})
        if not request.authorised:
            description = "Invalid client or Invalid client credentials"
            return _json(401, {"error": "invalid_client", "error_description": description})
        parts = ({"alg": "RS256", "typ": "JWT"}, {"azp": self._credentials[0], "jti": secrets.token_hex(16)})
        texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        token = ".".join([*texts, secrets.token_urlsafe(32)])
        with self._lock:
            self._tokens[token] = time.monotonic() + self.expires_in_s
        given = {"access_token": token, "expires_in": self.expires_in_s, "refresh_expires_in": 0}
        return _json(200, given | {"token_type": "Bearer", "not-before-policy": 0, "scope": "SH"})

    def _knows(self, form: dict | None) -> bool:
        given = ((form or {}).get("client_id", ""), (form or {}).get("client_secret", ""))
        return all(hmac.compare_digest(a.encode(), b.encode()) for a, b in zip(given, self._credentials, strict=True))

    def _admits(self, authorization: str) -> bool:
        kind, _, token = authorization.partition(" ")
        with self._lock:
            return kind == "Bearer" and self._tokens.get(token, 0) > time.monotonic()


def _read(endpoint: str, headers: Message, body: bytes) -> tuple[object, Refused | None]:
    """The form or JSON of a body, and what is wrong with it."""
    kind = headers.get("Content-Type", "").partition(";")[0].strip()
    if endpoint == "token":
        if kind != "application/x-www-form-urlencoded":
            return None, None
        form = parse_qs(body.decode(errors="replace"), keep_blank_values=True)
        single = all(len(values) == 1 for values in form.values())
        return ({key: values[0] for key, values in form.items()} if single else None), None
    if kind != "application/json":
        return None, Refused("HTTP 415 Unsupported Media Type", 415, "COMMON_UNSUPPORTED_MEDIA_TYPE")
    try:
        return json.loads(body), None
    except ValueError:
        return None, Refused("Failed to parse the request as JSON.")


def _json(
    status: int, value: dict, headers: dict[str, str] | None = None, content_type: str = "application/json"
) -> Answer:
    return Answer(status, json.dumps(value).encode(), f"{content_type};charset=utf-8", headers or {})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, hub: LocalSentinelHub):
        self.hub = hub
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Note a failure of this server; a client that went away is none."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.hub.crashes.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds that a silent client may keep its thread

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request, answer, fault = self.server.hub.receive(self.command, self.path, self.headers, body)
        if fault is not None and fault.delay_s:
            time.sleep(fault.delay_s)
        if fault is not None and fault.kind == "dropped":
            request.status = 0
            self.close_connection = True
            return
        request.status = answer.status
        sent = answer.body
        if fault is not None and fault.kind == "truncated":
            sent, self.close_connection = sent[: len(sent) // 2], True
        self._send(answer, sent)

    do_GET = do_PUT = do_DELETE = do_POST

    def _send(self, answer: Answer, sent: bytes) -> None:
        self.send_response(answer.status)
        headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *words: object) -> None:
        """Nothing goes to the terminal of the tests."""
