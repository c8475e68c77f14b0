"""What was found about one subject, and numbers in words."""

from __future__ import annotations

from dataclasses import dataclass

GB, GIB = 1e9, 2**30  # disks are sold in the one, memory is asked for in the other
LONGEST = 200  # characters of a message that is quoted


@dataclass(frozen=True)
class Section:
    """What was found about one subject.

    Attributes:
        title: the subject in a word or two.
        lines: what there is.
        missing: what the workflow needs and does not find, a sentence each with how to mend it.
        worth_knowing: what it can do without, or will only need later.
    """

    title: str
    lines: tuple[str, ...]
    missing: tuple[str, ...] = ()
    worth_knowing: tuple[str, ...] = ()


def first_line(text: str) -> str:
    """The first line of a message that is not empty, cut where it gets too long, without its full stop."""
    line = next((stripped for line in text.splitlines() if (stripped := line.strip())), "no message")
    return line.removesuffix(".") if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def last_line(text: str) -> str:
    """The last one, where programs say what came of their troubles."""
    return first_line("\n".join(reversed(text.splitlines())))


def size(n_bytes: float, unit: float = GB) -> str:
    """A number of bytes in words: "17 GB"; with unit=GIB "3.9 GiB"."""
    number = n_bytes / unit
    return f"{number:.{0 if number >= 9.95 else 1}f} {'GB' if unit == GB else 'GiB'}"
