"""Pieces of HTML: escaped texts, tables whose columns can be sorted, folded parts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Row = Mapping[str, object]


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the number that it is sorted by; texts have none. An empty text is an undefined value."""

    text: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """A table without HTML: titles of its columns, rows of cells, and cells of a last row that stays last."""

    titles: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    foot: Sequence[Cell] = ()


def text(value: object) -> str:
    """A value as HTML."""
    return html.escape(str(value))


def word(value: object) -> Cell:
    """A cell of a text; empty when the value is undefined."""
    return Cell("" if value is None else str(value))


def number(value: object, form: str = ".3f", more: str = "") -> Cell:
    """A cell of a number, with some text behind it; empty when it is undefined."""
    return Cell() if value is None else Cell(signed(float(value), form) + more, float(value))


def signed(value: float, form: str = ".3f") -> str:
    """A number as text, with a real minus sign."""
    return format(value, form).replace("-", "−")


def percent(share: float, digits: int = 1) -> str:
    """A share as text: 0.013 -> "1.3 %"."""
    return f"{100 * share:.{digits}f} %"


def interval(low: object, high: object, form: str = ".3f") -> str:
    """An interval after a space, " [0.1, 0.2]"; nothing when it is undefined."""
    if low is None or high is None:
        return ""
    return f" [{signed(float(low), form)}, {signed(float(high), form)}]"


def with_interval(row: Row, name: str, form: str = ".3f") -> Cell:
    """The number `name` of a row with its interval, from the columns `name`_low and `name`_high."""
    return number(row.get(name), form, interval(row.get(f"{name}_low"), row.get(f"{name}_high"), form))


def table(shown: Table, caption: str = "") -> str:
    """The table as HTML; columns that are empty throughout are left out. Texts stand left, numbers right.

    A cell's number stands in data-value, so that sorting does not read formatted text.
    """
    filled = [i for i in range(len(shown.titles)) if any(row[i].text for row in shown.rows)]
    kind = {i: "" if any(row[i].value is not None for row in shown.rows) else " class=text" for i in filled}
    head = "".join(f"<th scope=col{kind[i]}>{text(shown.titles[i])}</th>" for i in filled)
    body = "".join(_line(row, kind) for row in shown.rows)
    foot = f"<tfoot>{_line(shown.foot, kind)}</tfoot>" if shown.foot else ""
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    return (
        f"<div class=scroll tabindex=0><table class=sortable>{title}<thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody>{foot}</table></div>"
    )


def _line(row: Sequence[Cell], kind: Mapping[int, str]) -> str:
    return f"<tr>{''.join(_cell(row[i], of_column) for i, of_column in kind.items())}</tr>"


def _cell(cell: Cell, kind: str) -> str:
    value = "" if cell.value is None else f' data-value="{cell.value!r}"'
    long = " class='text long'" if kind and len(cell.text) > 60 else kind
    return f"<td{long}{value}>{text(cell.text)}</td>"


def folded(summary: str, content: str, is_open: bool = False) -> str:
    """A part of the page that opens with a click; `content` is HTML."""
    return f"<details{' open' if is_open else ''}><summary>{text(summary)}</summary>{content}</details>"


def note(sentence: str) -> str:
    """A sentence in grey that explains what stands beside it."""
    return f"<p class=note>{text(sentence)}</p>"


def bullets(sentences: Iterable[str], kind: str = "") -> str:
    """A list of sentences; nothing without any."""
    items = "".join(f"<li>{text(s)}</li>" for s in sentences)
    return f"<ul{f' class={kind}' if kind else ''}>{items}</ul>" if items else ""
