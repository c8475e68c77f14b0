"""An answer in plain words: a judgement that reads without colour, its number, and what qualifies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from specdm.report.html import note, text

MARKS = {"good": "✓", "mixed": "~", "bad": "✗", "unknown": "?"}


@dataclass(frozen=True)
class Verdict:
    """An answer to one question about one data set.

    Attributes:
        question: what it answers.
        tone: good, mixed, bad or unknown: the colour behind `word`.
        word: the judgement in a few words.
        sentence: the same with its numbers and their intervals.
        more: sentences that qualify it.
        about: the network or generator that it is about; empty where there is one only.
    """

    question: str
    tone: Literal["good", "mixed", "bad", "unknown"]
    word: str
    sentence: str
    more: Sequence[str] = field(default=())
    about: str = ""


def badge(verdict: Verdict) -> str:
    """The judgement as HTML: mark and word, so that the colour says nothing alone."""
    return f'<span class="badge {verdict.tone}">{MARKS[verdict.tone]} {text(verdict.word)}</span>'


def glance(found: dict[str, Sequence[Verdict]]) -> str:
    """Verdicts of every data set as a table: a row a data set, a column a question."""
    questions = list(dict.fromkeys(verdict.question for own in found.values() for verdict in own))
    head = "".join(f"<th scope=col>{text(q)}</th>" for q in ["data set", *questions])
    rows = ""
    for name, own in found.items():
        cells = ("<br>".join(_named(v) for v in own if v.question == question) for question in questions)
        rows += f"<tr><th scope=row>{text(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    return (
        f"<div class=scroll tabindex=0><table class=glance><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def answers(verdicts: Sequence[Verdict]) -> str:
    """Verdicts with their sentences, as a list."""
    items = ""
    for v in verdicts:
        title = v.question + (f" {v.about}" if v.about else "")
        items += f"<li><div><h4>{text(title)}</h4>{badge(v)}</div><div><p>{text(v.sentence)}</p>"
        items += f"{note(' '.join(v.more)) if v.more else ''}</div></li>"
    return f"<ul class=answers>{items}</ul>"


def _named(verdict: Verdict) -> str:
    return badge(verdict) + (f" {text(verdict.about)}" if verdict.about else "")
