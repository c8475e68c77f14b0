"""Pictures of downstream networks: scores against the amount of synthetic patches, confusions, and predictions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from specdm import figures
from specdm.labels import IGNORE, LabelSet
from specdm.patches import PatchSet, to_reflectance, valid_pixels

FEW = 13  # classes whose cells have room for their numbers
STYLES = {"basic": ("-", "o"), "strong": ("--", "s")}  # line and marker of an augmentation
REAL = "black"  # the colour of real alone, which is the start of the lines of all methods
DPI = 128  # a power of two: pixels become inches and back exactly
TILE = 160  # px: smaller patches are enlarged to this or a little more, patches beyond twice this are thinned out
GAP, LINE, CHARACTER, PAPER = 6, 17, 7.5, 232  # px of the predictions' page, and its light grey


@dataclass(frozen=True)
class Curve:
    """Scores of one network with the synthetic patches of one method and one augmentation of what it sees.

    Attributes:
        network, method, augmentation: their names; the method is "" where nothing is synthetic.
        mixed: number of synthetic patches beside the real ones, 0 for real alone -> (n,S) scores of its runs.
        alone: number of synthetic patches without real ones -> the same.
    """

    network: str
    method: str
    augmentation: str
    mixed: Mapping[int, np.ndarray]
    alone: Mapping[int, np.ndarray]


@dataclass(frozen=True)
class Column:
    """What a network makes of the test split after training on one kind of patches.

    Attributes:
        title: the kind.
        counts: (K,K) pixels, true class x predicted class.
        predicted: (n,H,W) ids of the patches that are shown.
    """

    title: str
    counts: np.ndarray
    predicted: np.ndarray


def line(scores: Mapping[int, np.ndarray], s: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Amounts in order, and the mean and sample standard deviation over runs of the s-th score, each (A,).

    Undefined scores are left out, and amounts without any other; the deviation of a single run is NaN.
    """
    found = []
    for amount, runs in sorted(scores.items()):
        values = runs[np.isfinite(runs[:, s]), s]
        if len(values):
            found.append((amount, values.mean(), values.std(ddof=1) if len(values) > 1 else np.nan))
    x, mean, std = np.array(found, float).reshape(-1, 3).T
    return x, mean, std


def recall(counts: np.ndarray) -> np.ndarray:
    """Predicted classes in percent of the pixels of each true class, (K,K); NaN in rows of classes without pixels."""
    true = counts.sum(1, keepdims=True)
    return np.divide(100 * counts, true, out=np.full(counts.shape, np.nan), where=true > 0)


def amount(curves: Sequence[Curve], scores: Sequence[str], title: str, path: Path) -> None:
    """Draw scores against the number of synthetic patches: a row of panels a network, a column a score.

    The mean over runs is a line (solid for basic augmentation, dashed for strong) in the colour of its method, its
    band one standard deviation to either side, and every run a faint dot. Synthetic patches alone are hollow markers.

    Args:
        curves: what is drawn.
        scores: the S scores in words.
        title: of the whole picture.
        path: the PNG to write.
    """
    if not curves:
        return _sentence("No network was trained on real patches and synthetic ones as they were drawn.", path)
    networks = list(dict.fromkeys(c.network for c in curves))
    methods = sorted({c.method for c in curves if c.method})
    colours = {m: f"C{i}" for i, m in enumerate(methods)}
    figure = Figure(figsize=(5.5 * len(scores), 1.3 + 2.7 * len(networks)), layout="constrained")
    panels = figure.subplots(len(networks), len(scores), sharex=True, sharey="col", squeeze=False)
    for row, network in zip(panels, networks, strict=True):
        for s, axes in enumerate(row):
            for curve in curves:
                if curve.network == network:
                    _draw_curve(axes, curve, s, colours.get(curve.method, REAL))
            axes.grid(axis="y", alpha=0.3)
        row[0].set_ylabel(f"{_wrapped(network, 32)}\nscore (0 to 1)")
    for s, axes in enumerate(panels[0]):
        axes.set_title(scores[s], fontsize="medium")
    _mark_amounts(panels[-1], {n for c in curves for n in (*c.mixed, *c.alone)})
    figure.supxlabel("number of synthetic patches (0: real patches alone)", fontsize="medium")
    figure.suptitle(title)
    figure.legend(handles=_amount_legend(curves, colours), loc="outside right upper", fontsize="small")
    figure.savefig(path, format="png", dpi=110)


def _draw_curve(axes, curve: Curve, s: int, colour: str) -> None:
    style, marker = STYLES[curve.augmentation]
    x, mean, std = line(curve.mixed, s)
    axes.plot(x, mean, color=colour, linestyle=style)
    axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.12, linewidth=0)
    for scores, hollow in ((curve.mixed, False), (curve.alone, True)):
        for at, centre, deviation in zip(*line(scores, s), strict=True):
            own = colour if at else REAL
            axes.plot(at, centre, marker, color=own, markerfacecolor="none" if hollow else own, zorder=3)
            if hollow or np.isfinite(std).sum() == 1:  # no band shows it
                axes.errorbar(at, centre, deviation, color=own, capsize=3, linewidth=1, zorder=2)
            runs = scores[int(at)][:, s]
            if len(runs) > 1:
                axes.plot(np.full(len(runs), at), runs, ".", color=own, alpha=0.35, markersize=5)


def _mark_amounts(panels: Sequence, amounts: Iterable[int]) -> None:
    """Name the amounts on the axis that the panels share, if there is room for each of them."""
    places = np.array(sorted({0, *amounts}))
    span = max(places[-1], 1)
    panels[0].set_xlim(-0.07 * span, 1.07 * span)
    if np.diff(places).min(initial=span) >= 0.12 * span:
        for axes in panels:
            axes.set_xticks(places, [str(n) for n in places])


def _amount_legend(curves: Sequence[Curve], colours: Mapping[str, str]) -> list:
    augmentations = [a for a in STYLES if any(c.augmentation == a for c in curves)]
    of_augmentation = {"label": "real alone", "color": REAL, "linestyle": "none"}
    handles: list = [Line2D([], [], marker="o", **of_augmentation)]
    handles += [Line2D([], [], color=colour, marker="o", label=f"with {m}") for m, colour in colours.items()]
    if any(c.alone for c in curves):
        hollow = dict(color="grey", linestyle="none", marker="o", markerfacecolor="none")
        handles.append(Line2D([], [], label="synthetic alone", **hollow))
    if len(augmentations) > 1:
        for a in augmentations:
            style, marker = STYLES[a]
            handles.append(Line2D([], [], color="grey", linestyle=style, marker=marker, label=f"{a} augmentation"))
    if any(len(runs) > 1 for c in curves for scores in (c.mixed, c.alone) for runs in scores.values()):
        handles.append(Line2D([], [], color="grey", alpha=0.5, linestyle="none", marker=".", label="one run"))
        handles.append(Patch(color="grey", alpha=0.3, linewidth=0, label="± 1 standard deviation"))
    return handles


def confusions(columns: Sequence[Column], labels: LabelSet, title: str, path: Path) -> None:
    """Draw confusion matrices side by side, each cell in percent of its true class (row); absent classes are grey.

    Args:
        columns: what is drawn.
        labels: names of the classes.
        title: of the whole picture.
        path: the PNG to write.
    """
    if not columns:
        return _sentence("No network was trained on real patches, synthetic ones as they were drawn, or both.", path)
    n = len(labels)
    names = [_cut(name, 30) for name in labels.names]
    cell = 0.36 if n <= FEW else max(0.1, min(0.2, 6 / n))  # inches
    text = min(8.0, 55 * cell)  # points
    side, margin = max(n * cell, 2.2), max(map(len, names)) * text / 110
    figure = Figure(figsize=(len(columns) * (side + 0.3) + margin + 1.3, side + margin + 1.1), layout="compressed")
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    blues = colormaps["Blues"].with_extremes(bad="lightgrey")
    for axes, column in zip(panels, columns, strict=True):
        percent = recall(column.counts)
        image = axes.imshow(np.ma.masked_invalid(percent), cmap=blues, vmin=0, vmax=100)
        axes.set_title(_wrapped(column.title, int(side / 0.07)), fontsize="small")
        axes.set_xticks(range(n), names, rotation=90, fontsize=text)
        axes.set_xlabel("predicted class", fontsize="small")
        if n <= FEW:
            _write_numbers(axes, percent, text)
    panels[0].set_yticks(range(n), names, fontsize=text)
    panels[0].set_ylabel("true class", fontsize="small")
    for name, absent in zip(panels[0].get_yticklabels(), columns[0].counts.sum(1) == 0, strict=True):
        name.set_color("darkgrey" if absent else "black")
    bar = figure.colorbar(image, ax=list(panels), shrink=0.8, aspect=25)
    bar.set_label("share of the true class (%)", fontsize="small")
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, format="png", dpi=110)


def _write_numbers(axes, percent: np.ndarray, size: float) -> None:
    digits = 1 if len(percent) <= 4 else 0
    for row, column in np.argwhere(np.isfinite(percent)):
        value = percent[row, column]
        colour = "white" if value > 55 else "black"
        axes.text(column, row, f"{value:.{digits}f}", ha="center", va="center", fontsize=size, color=colour)


def predictions(patches: PatchSet, positions: np.ndarray, columns: Sequence[Column], title: str, path: Path) -> None:
    """Draw patches, a row each: a composite of every date, the true mask, and each column's prediction.

    One stretch is measured over all of them. In composites pixels without data are black, in masks pixels without a
    label grey.

    Args:
        patches: the set.
        positions: (n,) places of the patches in the set; only these are read.
        columns: what was predicted of them.
        title: of the whole picture.
        path: the PNG to write.
    """
    meta, (dates, _, height, width) = patches.meta, patches.images.shape[1:]
    thin, enlarge = -(-max(height, width) // (2 * TILE)), max(1, -(-TILE // max(height, width)))
    shown, masks, colours = figures.composites(meta)[0], patches.masks[positions], figures.palette(meta.labels)
    tiles = _composites(patches, positions, shown.channels, thin)
    for row, ids in zip(tiles, zip(masks, *(c.predicted for c in columns), strict=True), strict=True):
        row += [colours[i[::thin, ::thin]] for i in ids]
    tiles = [[tile.repeat(enlarge, 0).repeat(enlarge, 1) for tile in row] for row in tiles]
    heads = [shown.title + (f", date {t + 1}" if dates > 1 else "") for t in range(dates)]
    heads += ["truth", *(c.title for c in columns)]
    swatches = [(c.name, c.colour) for c in meta.labels.classes]
    if (masks == IGNORE).any():
        swatches.append(("no label", figures.GREY))
    if thin > 1:
        title += f" (one of {thin} x {thin} pixels is shown)"
    captions = patches.index["id"].iloc[positions].tolist()
    _page(tiles, captions, heads, swatches, title).savefig(path, format="png", dpi=DPI)


def _composites(patches: PatchSet, positions: np.ndarray, channels: list[int], thin: int) -> list[list[np.ndarray]]:
    """For each patch the composite of every date, (h,w,3) uint8, with one stretch."""
    refl, valid = [], []
    for i in positions:
        stored = patches.images[i]  # a map: only the bands that are looked at are converted
        valid.append(valid_pixels(stored, patches.meta.nodata)[:, ::thin, ::thin])
        refl.append(to_reflectance(stored[:, channels, ::thin, ::thin], patches.meta))
    limits = figures.stretch_limits(np.stack(refl), [0, 1, 2], np.stack(valid))
    return [
        [figures.to_rgb(date, [0, 1, 2], limits, ok) for date, ok in zip(image, seen, strict=True)]
        for image, seen in zip(refl, valid, strict=True)
    ]


def _page(
    tiles: Sequence[Sequence[np.ndarray]],
    captions: Sequence[str],
    heads: Sequence[str],
    swatches: Sequence[tuple[str, tuple[int, int, int]]],
    title: str,
) -> Figure:
    """Rows of tiles (h,w,3) under their captions, heads above them, and the colours of the classes below."""
    h, w = tiles[0][0].shape[:2]
    step = max(w, TILE) + GAP  # a narrow tile leaves room for its head
    width = GAP + len(heads) * step
    heads = [_wrapped(head, int(step / CHARACTER)) for head in heads]
    title = _wrapped(title, int(width / 1.2 / CHARACTER))
    swatch = 40 + CHARACTER * max(len(name) for name, _ in swatches)
    across = int(max(1, min(len(swatches), width // swatch)))
    head = 2 * GAP + LINE * _lines(title)
    top = head + LINE * max(map(_lines, heads)) + GAP
    height = top + len(tiles) * (LINE + h + GAP) + GAP + -(-len(swatches) // across) * (LINE + 2) + GAP
    canvas = np.full((height, width, 3), PAPER, np.uint8)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def write(text: str, x: float, y: float, points: float) -> None:
        for k, part in enumerate(text.split("\n")):
            figure.text(x / width, 1 - (y + 12 + k * LINE) / height, part, va="baseline", fontsize=points)

    write(title, GAP, GAP, 8.5)
    for i, text in enumerate(heads):
        write(text, GAP + i * step, head, 7)
    for k, (row, caption) in enumerate(zip(tiles, captions, strict=True)):
        y = top + k * (LINE + h + GAP)
        write(_cut(caption, int(width / CHARACTER)), GAP, y, 6)
        for i, tile in enumerate(row):
            canvas[y + LINE : y + LINE + h, GAP + i * step : GAP + i * step + w] = tile
    y = top + len(tiles) * (LINE + h + GAP) + GAP
    for i, (name, colour) in enumerate(swatches):
        left, upper = int(GAP + i % across * swatch), y + i // across * (LINE + 2)
        canvas[upper : upper + LINE - 2, left : left + 24] = colour
        write(name, left + 30, upper, 7)
    figure.figimage(canvas)
    return figure


def _wrapped(text: str, n: int) -> str:
    """Text of more lines, none longer than n characters."""
    return "\n".join(textwrap.fill(part, n) for part in text.split("\n"))


def _cut(text: str, n: int) -> str:
    """At most n characters; names that differ in their ends stay different."""
    return text if len(text) <= n else f"{text[: n // 2]}…{text[len(text) - (n - n // 2 - 1) :]}"


def _lines(text: str) -> int:
    return text.count("\n") + 1


def _sentence(text: str, path: Path) -> None:
    """A picture that says why there is nothing to see."""
    figure = Figure(figsize=(8, 1))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    figure.savefig(path, format="png", dpi=110)
