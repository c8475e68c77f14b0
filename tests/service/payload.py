"""What the checks of all requests share."""

from __future__ import annotations

import datetime as dt


class Refused(Exception):
    """A request that the service answers with an error: `message` for its reader, and its number and code."""

    def __init__(self, message: str, status: int = 400, code: str = "COMMON_BAD_PAYLOAD"):
        super().__init__(message)
        self.message, self.status, self.code = message, status, code


def expect(condition: bool, message: str, code: str = "COMMON_BAD_PAYLOAD") -> None:
    """Refuse a request unless something holds."""
    if not condition:
        raise Refused(message, code=code)


def known(value: object, where: str, required: set[str], optional: set[str] = frozenset()) -> None:
    """Refuse what is no object, lacks keys or has keys that nobody knows."""
    expect(isinstance(value, dict), f"{where} must be an object")
    missing, unknown = required - value.keys(), value.keys() - required - optional
    expect(not missing, f"{where}: {', '.join(sorted(missing))} is missing")
    expect(not unknown, f"{where}: unknown {', '.join(map(str, sorted(unknown)))}")


def is_number(value: object) -> bool:
    """Whether a JSON value is a number (true and false are none)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_bbox(value: object) -> bool:
    """Whether a JSON value is west, south, east, north in that order of size."""
    if not (isinstance(value, list) and len(value) == 4 and all(map(is_number, value))):
        return False
    return value[0] < value[2] and value[1] < value[3]


def moment(text: object, where: str) -> dt.datetime:
    """A point in time as RFC 3339 writes it, with a time zone."""
    try:
        time = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise Refused(f"{where} must be a date and time such as 2024-07-03T10:10:31Z, not {text!r}") from error
    expect(time.tzinfo is not None, f"{where} needs a time zone")
    return time
