"""Pictures of whole sets and of generators: spectra, classes, power, training curves, quality against sampling steps.

Each is written as a PDF for print and a PNG for the screen.
"""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator

from specdm import figures, files
from specdm.errors import UserError
from specdm.labels import LabelSet
from specdm.metrics.class_spectra import PatchSpectra, profile
from specdm.metrics.mask_statistics import ClassShares
from specdm.metrics.power_spectrum import Spectrum
from specdm.patches import PatchMeta

# Okabe and Ito's colours, which the colour-blind tell apart; without their yellow, too pale for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 3)))  # so that prints in grey are read
HATCHES = ("", "////", "....", "xxxx")  # of sets, in order
MARKERS = ("o", "s", "^", "D")
FEW = 15  # bands that have markers, and names along an axis where their wavelengths are unknown
PANELS = 6  # classes whose spectra are shown
ENOUGH = 10  # pixels of a class that a patch must hold for its mean to count in a class's spread
LINES, BARS = (0.0, 0.45), (0.3, 0.75)  # luminance: lines seen on white paper, bars also under black hatches
RATIOS = (1 / 16, 16)  # of the axis of ratios
LEVEL = 0.95


def spectral_profiles(
    dates: Sequence[tuple[PatchSpectra, PatchSpectra]], meta: PatchMeta, path: Path, min_pixels: int = 100
) -> None:
    """Draw mean spectra of the largest classes, real (solid, class colour) and synthetic (dashed, black).

    Bands around them hold the means of 80 % of the patches with 10 or more pixels of the class (10th to 90th
    percentile). Columns are the dates, where there are two.

    Args:
        dates: real and synthetic spectra of each date.
        meta: names, colours, bands and their wavelengths.
        path: of the pictures, without a suffix.
        min_pixels: classes with fewer real pixels are not drawn.

    Raises:
        UserError: where no class has that many.
    """
    pixels = sum(real.counts.sum(0) for real, _ in dates)
    order = [int(k) for k in np.argsort(-pixels, kind="stable") if pixels[k] >= min_pixels][:PANELS]
    if not order:
        raise UserError(f"spectra of {meta.name}: no class has {min_pixels} real pixels; add patches.")
    two = len(dates) > 1
    columns = len(dates) if two else {1: 1, 2: 2, 4: 2}.get(len(order), 3)
    rows = len(order) if two else -(-len(order) // columns)
    figure = Figure(figsize=(1.2 + 3.1 * columns, 1.2 + 2.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey="row" if two else False, squeeze=False).ravel()
    shown = [(k, t) for k in order for t in range(len(dates))]
    for axes, (k, t) in zip(panels, shown, strict=False):
        _draw_profile(axes, *dates[t], k, meta)
        axes.set_title(meta.labels.names[k] + (f", date {t + 1}" if two else ""), fontsize="medium")
    for above, axes in enumerate(panels[len(shown) :], len(shown) - columns):
        axes.set_visible(False)
        panels[above].tick_params(labelbottom=True)
    quantity = "value" if meta.level == "unitless" else f"{meta.level} reflectance"
    figure.supylabel(quantity, fontsize="medium")
    figure.supxlabel("wavelength (nm)" if figures.wavelengths(meta) else "band (wavelength unknown)", fontsize="medium")
    handles = [
        Line2D([], [], color="dimgrey"),
        Line2D([], [], color="black", linestyle="--"),
        Patch(facecolor="darkgrey", alpha=0.5),
        Patch(facecolor="none", edgecolor="black", hatch=HATCHES[1], linewidth=0),
    ]
    names = ["real", "synthetic", "10th to 90th percentile of patches, real", "the same, synthetic"]
    _legend(figure, handles, names, 2, "upper")
    write(figure, path)


def _draw_profile(axes, real: PatchSpectra, synthetic: PatchSpectra, k: int, meta: PatchMeta) -> None:
    nm = np.array(figures.wavelengths(meta), float)
    places = nm if len(nm) else np.arange(len(meta.bands), dtype=float)
    order = np.argsort(places, kind="stable")
    ink, marker = _ink(meta.labels.classes[k].colour, *LINES), "." if len(places) <= FEW else None
    sets = {
        "real": (real, dict(color=ink, marker=marker), dict(color=ink, alpha=0.3, linewidth=0)),
        "synthetic": (
            synthetic,
            dict(color="black", linestyle="--", marker=marker),
            dict(facecolor="none", edgecolor=(0, 0, 0, 0.45), hatch=HATCHES[1], linewidth=0.3),
        ),
    }
    for name, (spectra, line, band) in sets.items():
        try:
            found = profile(spectra, k, ENOUGH)
        except UserError:
            axes.text(
                0.5, 0.95, f"no {name} patch holds {ENOUGH} pixels", transform=axes.transAxes, ha="center", va="top"
            )
            continue
        mean, low, high = (of[order] for of in (found.mean, found.low, found.high))
        x, low = _broken(places[order], low)
        axes.fill_between(x, low, _broken(places[order], high)[1], **band)
        axes.plot(x, _broken(places[order], mean)[1], linewidth=1.4, **line)
    axes.tick_params(labelsize="small")
    axes.grid(alpha=0.25)
    if not len(nm):
        names = meta.bands
        some = np.unique(np.linspace(0, len(names) - 1, min(len(names), FEW)).round().astype(int))
        axes.set_xticks(places[some], [names[i] for i in some], rotation=90 if max(map(len, names)) > 4 else 0)


def _broken(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A line that stops at gaps of a fine spectrum, where bands were removed: nothing was measured in between."""
    gaps = np.diff(x)
    if len(x) <= FEW:
        return x, y
    after = np.flatnonzero(gaps > 5 * np.median(gaps)) + 1
    return np.insert(x, after, np.nan), np.insert(y, after, np.nan)


def class_distribution(sets: Mapping[str, ClassShares], labels: LabelSet, title: str, path: Path) -> None:
    """Draw the share of the pixels of every class in percent, a bar a set, and below its ratio to that of the first.

    Lines hold 95 % of the bootstrap draws, as far as the axes go. Sets differ in place, hatch and marker, classes in
    colour. A class without pixels in a set is marked "0".

    Args:
        sets: name -> shares; the first (real training patches) is what the others are compared with.
        labels: names and colours.
        title: of the whole picture.
        path: of the pictures, without a suffix.

    Raises:
        UserError: for more sets than can be told apart.
    """
    if len(sets) > len(HATCHES):
        raise UserError(f"class distribution: {len(sets)} sets; show {len(HATCHES)} at most.")
    n, width = len(labels), 0.8 / len(sets)
    figure = Figure(figsize=(max(5.0, 1.8 + 0.8 * n), 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    base, *_ = sets.values()
    smallest = min(s.share[s.share > 0].min() for s in sets.values())
    start = 10 ** np.floor(np.log10(100 * smallest) - 0.3)  # bars of a log axis need a beginning
    for i, shares in enumerate(sets.values()):
        for k, c in enumerate(labels.classes):
            x, share = k + (i + 0.5) * width - 0.4, shares.share[k]
            if not share:
                top.text(x, start * 1.1, "0", ha="center", va="bottom", fontsize="small")
                continue
            look = dict(color=_ink(c.colour, *BARS), hatch=HATCHES[i], edgecolor="black", linewidth=0.6)
            top.bar(x, 100 * share, 0.9 * width, **look)
            _interval(top, x, 100 * shares.draws[:, k], (start, 100))
            if i and base.share[k]:
                b = min(len(shares.draws), len(base.draws))
                held = base.draws[:b, k] > 0
                _interval(bottom, x, shares.draws[:b, k][held] / base.draws[:b, k][held], RATIOS)
                face = "black" if i == len(sets) - 1 else "white"
                bottom.plot(x, np.clip(share / base.share[k], *RATIOS), MARKERS[i], color="black", markerfacecolor=face)
    top.set(yscale="log", ylabel="share of the labelled pixels (%)")
    top.set_ylim(start, 100)
    top.yaxis.set_major_formatter("{x:g}")
    bottom.axhline(1, color="grey", linewidth=0.8)
    bottom.set_yscale("log", base=2)
    bottom.yaxis.set_major_formatter("{x:g}")
    bottom.set_ylabel(f"ratio to\n{next(iter(sets))}")
    bottom.set_xticks(range(n), labels.names, rotation=30 if n > 4 else 0, ha="right" if n > 4 else "center")
    for axes in (top, bottom):
        axes.grid(axis="y", alpha=0.25)
        axes.set_axisbelow(True)
    bars = [Patch(facecolor="lightgrey", edgecolor="black", hatch=hatch, linewidth=0.6) for hatch in HATCHES]
    points = [Line2D([], [], linestyle="none", marker=m, color="black", markerfacecolor="white") for m in MARKERS]
    points[len(sets) - 1].set_markerfacecolor("black")
    handles = [bars[0], *zip(bars[1:], points[1:], strict=False)][: len(sets)]
    figure.suptitle(title, fontsize="medium")
    _legend(figure, handles, [*sets], len(sets))
    write(figure, path)


def _interval(axes, x: float, draws: np.ndarray, limits: tuple[float, float]) -> None:
    ends = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).clip(*limits)
    axes.plot([x, x], ends, color="black", linewidth=1.2, marker="_", markersize=4)


def power_spectra(real: Spectrum, synthetic: Spectrum, title: str, path: Path, pixel_m: float | None = None) -> None:
    """Draw power spectra of real (solid) and synthetic sets (dashed), and the ratio of the two, in dB.

    Thick lines are the median over bands of the power in dB, thin lines the bands (those resampled from coarser pixels
    are far off at high frequencies). Bands that are constant in either set are left out.

    Args:
        real, synthetic: spectra of patches of the same size and bands.
        title: of the whole picture.
        path: of the pictures, without a suffix.
        pixel_m: the side of a pixel in metres, for a second axis in cycles per km.

    Raises:
        UserError: where the sets differ, or no band has power in both.
    """
    if not np.array_equal(real.frequency_cpp, synthetic.frequency_cpp) or real.power.shape != synthetic.power.shape:
        raise UserError(f"{title}: spectra of other bands or frequencies; compare patches of the same size.")
    kept = (real.power > 0).all(1) & (synthetic.power > 0).all(1)
    if not kept.any():
        raise UserError(f"{title}: no band has contrast in both sets; there is no spectrum to draw.")
    db = [10 * np.log10(s.power[kept]) for s in (real, synthetic)]
    figure = Figure(figsize=(9.5, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    looks = [dict(color="black", linestyle="-"), dict(color=COLOURS[1], linestyle="--")]
    thin = dict(linewidth=0.7, alpha=max(0.06, min(0.45, 4 / kept.sum())))
    for axes, curves_db, styles in ((left, db, looks), (right, [db[1] - db[0]], looks[1:])):
        for values, look in zip(curves_db, styles, strict=True):
            axes.plot(real.frequency_cpp, values.T, **look, **thin)
            axes.plot(real.frequency_cpp, np.median(values, 0), **look, linewidth=2.2)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.3g}")
        axes.set_xlabel("frequency (cycles/px)")
        axes.grid(alpha=0.25)
        if pixel_m:
            above = axes.secondary_xaxis("top", functions=(lambda f: f * 1000 / pixel_m, lambda f: f * pixel_m / 1000))
            above.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            above.xaxis.set_major_formatter("{x:g}")
            above.xaxis.set_minor_locator(NullLocator())
            above.set_xlabel("cycles/km", fontsize="small")
            above.tick_params(labelsize="small")
    left.set_ylabel("power (dB of value² px²)")
    right.axhline(0, color="black", linewidth=0.8)
    right.set_ylabel("synthetic / real (dB)")
    figure.suptitle(title, fontsize="medium")
    handles = [Line2D([], [], linewidth=2, **look) for look in looks] + [Line2D([], [], color="grey", linewidth=0.7)]
    _legend(figure, handles, ["real, median over bands", "synthetic, median over bands", "one band"], 3)
    write(figure, path)


def read_history(path: Path) -> dict[str, np.ndarray]:
    """Columns of a training's CSV file, NaN where a row has none.

    Raises:
        UserError: when the file holds no steps.
    """
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or "step" not in rows[0]:
        raise UserError(f"{path} holds no steps of a training: train that model first.")
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}


def curves(histories: Mapping[str, Mapping[str, np.ndarray]], title: str, path: Path) -> None:
    """Draw the terms of trainings over their steps, a panel a model, on a log axis.

    Terms that every step has are faint, with a running mean of a twentieth of the rows; terms of validations are
    dashed with markers. The score, by which weights are chosen, is the negative of one of them and left out, as are
    values of 0 or less.

    Args:
        histories: model -> columns, see `read_history`.
        title: of the whole picture.
        path: of the pictures, without a suffix.
    """
    figure = Figure(figsize=(5.6 * len(histories), 3.9), layout="constrained")
    for axes, (name, columns) in zip(figure.subplots(1, len(histories), squeeze=False)[0], histories.items()):
        terms = [term for term in columns if term not in ("step", "score")]
        for i, term in enumerate(terms):
            known = columns[term] > 0
            x, y = columns["step"][known], columns[term][known]
            look = dict(color=COLOURS[i % len(COLOURS)], label=term.replace("_", " "))
            if known.mean() < 0.5:
                axes.plot(x, y, linestyle="--", marker=MARKERS[i % len(MARKERS)], markersize=3.5, linewidth=1, **look)
            else:
                axes.plot(x, y, color=look["color"], alpha=0.2, linewidth=0.8)
                axes.plot(x, _running_mean(y), linestyle=DASHES[i % len(DASHES)], linewidth=1.6, **look)
        axes.set(yscale="log", xlabel="step", ylabel="loss term", title=name)
        axes.grid(alpha=0.25)
        axes.legend(fontsize="x-small", ncols=2)
    figure.suptitle(title, fontsize="medium")
    write(figure, path)


def _running_mean(y: np.ndarray) -> np.ndarray:
    """Mean over a twentieth of the values around each; fewer at the ends."""
    n = max(1, len(y) // 40)
    sums = np.cumsum(np.concatenate([[0.0], y]))
    places = np.arange(len(y))
    start, stop = np.maximum(places - n, 0), np.minimum(places + n + 1, len(y))
    return (sums[stop] - sums[start]) / (stop - start)


@dataclass(frozen=True)
class StepScore:
    """A score of samples drawn with some number of sampling steps.

    Attributes:
        score: what it is, with its unit: the label of its axis.
        sampler: how the samples were drawn.
        steps: how many.
        value, low, high: the score and its interval.
    """

    score: str
    sampler: str
    steps: int
    value: float
    low: float
    high: float


def steps_curve(points: Sequence[StepScore], floors: Mapping[str, float], title: str, path: Path) -> None:
    """Draw scores against the number of sampling steps (log axis), a panel a score, a line a sampler.

    Args:
        points: what is drawn.
        floors: score -> what real data score among themselves, a dotted line.
        title: of the whole picture.
        path: of the pictures, without a suffix.

    Raises:
        UserError: without any point.
    """
    if not points:
        raise UserError(f"{title}: there is no score to draw; measure some numbers of sampling steps first.")
    scores, samplers = (list(dict.fromkeys(getattr(p, key) for p in points)) for key in ("score", "sampler"))
    steps = sorted({p.steps for p in points})
    figure = Figure(figsize=(4.2 * len(scores), 3.6), layout="constrained")
    for axes, score in zip(figure.subplots(1, len(scores), squeeze=False)[0], scores, strict=True):
        for i, sampler in enumerate(samplers):
            own = sorted((p for p in points if (p.score, p.sampler) == (score, sampler)), key=lambda p: p.steps)
            x, y, low, high = np.array([(p.steps, p.value, p.low, p.high) for p in own]).reshape(-1, 4).T
            look = dict(color=COLOURS[i % len(COLOURS)], linestyle=DASHES[i % len(DASHES)])
            axes.plot(x, y, marker=MARKERS[i % len(MARKERS)], **look)
            axes.vlines(x, low, high, color=look["color"], linewidth=1.2)
        if score in floors:
            axes.axhline(floors[score], color="dimgrey", linestyle=":")
        axes.set_xscale("log")
        axes.set_xticks(steps, [str(n) for n in steps])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel="sampling steps", ylabel=score)
        axes.grid(alpha=0.25)
    handles = [
        Line2D(
            [], [], color=COLOURS[i % len(COLOURS)], linestyle=DASHES[i % len(DASHES)], marker=MARKERS[i % len(MARKERS)]
        )
        for i in range(len(samplers))
    ]
    named = [Line2D([], [], color="dimgrey", linestyle=":")] if floors else []
    figure.suptitle(title, fontsize="medium")
    _legend(figure, [*handles, *named], [*samplers, *["real data among themselves"][: len(named)]], 3)
    write(figure, path)


def explanation(sentence: str, path: Path) -> None:
    """A picture that says why there is none, as .pdf and .png beside `path`."""
    figure = Figure(figsize=(6, 1.5))
    figure.text(0.5, 0.5, textwrap.fill(f"Not computable: {sentence}", 70), ha="center", va="center")
    write(figure, path)


def _ink(colour: tuple[int, int, int], lowest: float, highest: float) -> tuple[float, ...]:
    """A class's colour (0..255) as matplotlib's (0..1), made lighter or darker to a luminance in the given range."""
    rgb = np.array(colour) / 255
    luminance = float(rgb @ (0.2126, 0.7152, 0.0722))
    if luminance < lowest:
        return tuple(rgb + (1 - rgb) * (lowest - luminance) / (1 - luminance))
    return tuple(rgb * min(1.0, highest / max(luminance, 1e-6)))


def _legend(figure: Figure, handles: Sequence, names: Sequence[str], columns: int, side: str = "lower") -> None:
    figure.legend(handles, names, loc=f"outside {side} center", ncols=columns, fontsize="small", handlelength=3)


def write(figure: Figure, path: Path) -> None:
    """Save as path.pdf and path.png."""
    with matplotlib.rc_context({"pdf.fonttype": 42, "hatch.linewidth": 0.6}):  # text that stays text
        for suffix, options in ((".pdf", {"metadata": {"CreationDate": None}}), (".png", {"dpi": 130})):
            with files.new_file(path.with_name(path.name + suffix)) as temporary:
                figure.savefig(temporary, format=suffix[1:], **options)
