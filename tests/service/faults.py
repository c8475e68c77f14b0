"""Faults that a test orders: what an endpoint does instead of answering."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("status", "slow", "truncated", "garbage", "wrong_size", "dropped")

# ASSUME: texts and codes of all but 401, which is quoted in issues of sentinelhub-py.
ERRORS = {
    400: ("Bad Request", "COMMON_BAD_PAYLOAD", "Illegal request."),
    401: (
        "Unauthorized",
        "COMMON_UNAUTHORIZED",
        "You are not authorized! Please provide a valid access token within the header "
        "[Authorization: Bearer <accessToken>] of your request.",
    ),
    403: (
        "Forbidden",
        "ACCESS_INSUFFICIENT_PROCESSING_UNITS",
        "Insufficient processing units or requests available in your account.",
    ),
    404: ("Not Found", "COMMON_NOT_FOUND", "HTTP 404 Not Found"),
    405: ("Method Not Allowed", "COMMON_METHOD_NOT_ALLOWED", "HTTP 405 Method Not Allowed"),
    415: ("Unsupported Media Type", "COMMON_UNSUPPORTED_MEDIA_TYPE", "HTTP 415 Unsupported Media Type"),
    429: ("Too Many Requests", "RATE_LIMIT_EXCEEDED", "You have exceeded your rate limit"),
    500: ("Internal Server Error", "RENDERER_EXCEPTION", "java.util.concurrent.ExecutionException"),
    503: ("Service Unavailable", "COMMON_EXCEPTION", "HTTP 503 Service Unavailable"),
}

OAUTH = {400: "invalid_request", 401: "invalid_client", 403: "unauthorized_client"}  # the others: unknown_error


@dataclass
class Fault:
    """One ordered fault.

    Attributes:
        kind: one of KINDS. "status": an HTTP error; "slow": the right answer, late; "truncated": the length of the
            whole answer but half of it; "garbage": a web page with status 200; "wrong_size": an image of one row and
            column less (process only); "dropped": the connection ends without an answer.
        status: of the kind "status".
        times: how many requests it hits; None: all.
        after: how many requests pass before.
        retry_after_ms: of 429. The service and sentinelhub-py count the header Retry-After in milliseconds, unlike
            the rest of the web.
        delay_s: wait before anything is sent.
    """

    kind: str
    status: int | None = None
    times: int | None = 1
    after: int = 0
    retry_after_ms: int | None = None
    delay_s: float = 0.0

    def __post_init__(self):
        assert self.kind in KINDS, self.kind
        assert (self.kind == "status") == (self.status is not None), "a status belongs to the kind 'status'"
        assert self.kind != "slow" or self.delay_s > 0, "a slow answer needs a delay_s"
        assert self.status is None or self.status in ERRORS, self.status

    def strikes(self) -> bool:
        """Whether it hits the request at hand; counts it."""
        if self.after:
            self.after -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


def fault_body(endpoint: str, status: int) -> dict:
    """The JSON of an ordered error, in the manner of its endpoint."""
    if endpoint == "token":
        return {"error": OAUTH.get(status, "unknown_error"), "error_description": ERRORS[status][0]}
    return error_body(status)


def error_body(status: int, message: str | None = None, code: str | None = None) -> dict:
    """The service's JSON of an error."""
    reason, usual_code, usual_message = ERRORS[status]
    return {
        "error": {
            "status": status,
            "reason": reason,
            "message": message or usual_message,
            "code": code or usual_code,
        }
    }
