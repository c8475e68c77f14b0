"""The picture of the alignment report: how each score falls when masks are moved away from where they lie."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from specdm import set_figures
from specdm.metrics.alignment import Alignment

COLUMNS = 3
REAL, SYNTHETIC = set_figures.COLOURS[:2]
EXCHANGED = "#666666"


def curves(results: Sequence[Alignment], names: Sequence[str], path: Path, title: str) -> None:
    """Draw score against shift, synthetic beside real pairs, as PNG to `path` and as PDF beside it.

    Results without a curve are left out. The dotted line is the score of exchanged masks.
    """
    shown = [(name, a) for name, a in zip(names, results, strict=True) if len(a.curve) > 1]
    rows = max(1, -(-len(shown) // COLUMNS))
    figure = Figure(figsize=(3.6 * COLUMNS, 2.7 * rows + 0.6), layout="constrained")
    figure.suptitle(f"{title}: do masks lie where they belong?")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    for axis, (name, a) in zip(axes, shown, strict=False):
        for curve, of, colour, style in ((a.real_curve, a.real, REAL, "s--"), (a.curve, a.synthetic, SYNTHETIC, "o-")):
            axis.plot(list(curve), list(curve.values()), style, color=colour, markersize=4)
            axis.errorbar([0], [of.value], [[of.value - of.low], [of.high - of.value]], color=colour, capsize=3)
        axis.axhline(a.exchanged, color=EXCHANGED, linestyle=":")
        axis.set_title(textwrap.fill(name, 30), fontsize="medium")
        axis.set_xlabel("shift of the masks (px)")
        axis.set_ylabel("score")
        axis.set_xticks(sorted({*a.curve, *a.real_curve}))
    figure.legend(
        handles=[
            _line(SYNTHETIC, "o-", "synthetic pairs"),
            _line(REAL, "s--", "real pairs, unknown to the judges"),
            _line(EXCHANGED, ":", "exchanged masks"),
        ],
        loc="outside lower center",
        ncols=3,
    )
    set_figures.write(figure, path.with_suffix(""))


def _line(colour: str, style: str, label: str):
    from matplotlib.lines import Line2D

    marker = style.strip("-:") or None
    return Line2D([], [], color=colour, marker=marker, markersize=4, linestyle=style.lstrip("os"), label=label)
