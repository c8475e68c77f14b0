"""A contact sheet of a patch set: composites and masks of some patches on one page, with a legend."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from specdm import figures, files
from specdm.labels import IGNORE
from specdm.patches import PatchSet, to_reflectance, valid_pixels

TILE = 128  # px: smaller patches are enlarged to this or a little more, patches beyond twice this are thinned out
GAP, MARGIN, LINE, NARROWEST = 4, 16, 18, 760
ASPECT = 1.3  # width to height of the sheet that is aimed at
PAPER = 232  # a light grey: white masks stand out from it
OUTLINE = (255, 0, 255)  # land cover looks like this neither in true nor in false colour
IGNORED = (190, 190, 70, 70)  # greys of the stripes where there is no label
NO_DATA = (0, 0, 0, 0, 0, 90)  # and where there is no data: black alone could be a forest


def contact_sheet(patches: PatchSet, positions: np.ndarray, path: Path) -> None:
    """Draw patches of one split: for each, the composites of every date, and its mask.

    One stretch is measured over all of them. Pixels without data are black with thin stripes, pixels without a label
    striped in greys. With two dates the borders between the mask's classes are drawn on the second true colour.

    Args:
        patches: the set.
        positions: (n,) places of the patches in the set; only these are read.
        path: the PNG to write.
    """
    shown = figures.composites(patches.meta)
    dates, _, height, width = patches.images.shape[1:]
    thin, enlarge = -(-max(height, width) // (2 * TILE)), max(1, -(-TILE // max(height, width)))
    tiles = _tiles(patches, positions, shown, thin, enlarge)
    titles = [c.title + (f", date {t + 1}" if dates > 1 else "") for c in shown for t in range(dates)] + ["mask"]
    cells = [_cell(text, row) for text, row in zip(_captions(patches, positions), tiles, strict=True)]
    head = _head(titles, tiles[0][0].shape[1])
    columns = _columns(len(cells), cells[0].shape)
    rows = [
        _beside(cells[i : i + columns], columns * (cells[0].shape[1] + 3 * GAP) - 3 * GAP)
        for i in range(0, len(cells), columns)
    ]
    heads = _beside([head] * min(columns, len(cells)), rows[0].shape[1])
    wide = max(rows[0].shape[1], NARROWEST)
    strips = [
        _text(_title(patches, positions), wide, bold=True),
        _text(_explanation(shown, thin), wide),
        heads,
        *rows,
        _legend(patches, positions, dates, wide),
    ]
    sheet = np.concatenate([_widened(strip, wide) for strip in strips])
    sheet = np.pad(sheet, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), constant_values=PAPER)
    with files.new_file(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")


def _tiles(
    patches: PatchSet, positions: np.ndarray, shown: Sequence[figures.Composite], thin: int, enlarge: int
) -> list[list[np.ndarray]]:
    """For each patch its composites, those of one kind beside each other, and its mask, each (h,w,3) uint8."""
    channels = [c for composite in shown for c in composite.channels]
    images, valid = [], []
    for i in positions:
        stored = patches.images[i]  # a map: only the bands that are looked at are read
        valid.append(valid_pixels(stored, patches.meta.nodata)[:, ::thin, ::thin])
        images.append(to_reflectance(stored[:, channels, ::thin, ::thin], patches.meta))
    refl, seen = np.stack(images), np.stack(valid)
    colours = figures.palette(patches.meta.labels)
    rows: list[list[np.ndarray]] = [[] for _ in positions]
    for k in range(len(shown)):
        three = [3 * k, 3 * k + 1, 3 * k + 2]
        limits = figures.stretch_limits(refl, three, seen)
        for row, image, ok in zip(rows, refl, seen, strict=True):
            for date, v in zip(image, ok, strict=True):
                tile = _enlarged(figures.to_rgb(date, three, limits), enlarge)
                row.append(_striped(tile, _enlarged(~v, enlarge), NO_DATA))
    for row, i in zip(rows, positions, strict=True):
        mask = _enlarged(patches.masks[i][::thin, ::thin], enlarge)
        if refl.shape[1] == 2:
            row[1][_borders(mask)] = OUTLINE
        row.append(_striped(colours[mask], mask == IGNORE, IGNORED))
    return rows


def _enlarged(tile: np.ndarray, factor: int) -> np.ndarray:
    return np.repeat(np.repeat(tile, factor, axis=0), factor, axis=1)


def _borders(mask: np.ndarray) -> np.ndarray:
    """Where a pixel and its left or upper neighbour are of two classes, (h,w) bool."""
    found = np.zeros(mask.shape, bool)
    labelled = mask != IGNORE
    found[:, 1:] |= (mask[:, 1:] != mask[:, :-1]) & labelled[:, 1:] & labelled[:, :-1]
    found[1:] |= (mask[1:] != mask[:-1]) & labelled[1:] & labelled[:-1]
    return found


def _striped(tile: np.ndarray, where: np.ndarray, greys: Sequence[int]) -> np.ndarray:
    """A tile (h,w,3) with diagonal stripes `where` (h,w) is true."""
    rows, columns = np.indices(where.shape)
    stripes = np.array(greys, np.uint8)[(rows + columns) % len(greys)]
    return np.where(where[..., None], stripes[..., None], tile)


def _columns(n: int, cell: tuple[int, ...]) -> int:
    """Into how many columns n cells (h,w) go, so that the sheet comes near ASPECT."""
    h, w = cell[0] + GAP, cell[1] + 3 * GAP
    return min(range(1, n + 1), key=lambda k: max(k * w, ASPECT * -(-n // k) * h))


def _captions(patches: PatchSet, positions: np.ndarray) -> list[str]:
    rows = patches.index.iloc[positions]
    return [
        "  ".join(filter(None, (row.id, row.split, row.dates.replace(",", " / "))))
        for row in rows.itertuples(index=False)
    ]


def _title(patches: PatchSet, positions: np.ndarray) -> str:
    meta, split = patches.meta, patches.index["split"].iloc[positions[0]]
    kind = "synthetic " if meta.synthetic else ""
    height, width = patches.masks.shape[1:]
    return (
        f"{meta.name}: {len(positions)} of {len(patches.ids(split))} {kind}{split} patches, "
        f"{height} x {width} px, {meta.sensor}, {meta.level}"
    )


def _explanation(shown: Sequence[figures.Composite], thin: int) -> str:
    parts = [f"{c.title}: {c.text}" for c in shown] + ["one stretch from the 2nd to the 98th percentile"]
    return "; ".join(parts + [f"one of {thin} x {thin} pixels is shown"] * (thin > 1)) + "."


def _legend(patches: PatchSet, positions: np.ndarray, dates: int, width: int) -> np.ndarray:
    """Colours and names of the classes with their share of the split's labelled pixels, in as many lines as needed."""
    meta, split = patches.meta, patches.index["split"].iloc[positions[0]]
    rows = patches.index.iloc[patches.ids(split)]
    counts, pixels = np.sum(rows["class_counts"].tolist(), axis=0), len(rows) * patches.masks[0].size
    labelled = int(counts.sum())
    plain = np.ones((LINE - 4, 2 * LINE, 3), np.uint8)
    everywhere = np.ones(plain.shape[:2], bool)
    entries = [
        (plain * np.array(c.colour, np.uint8), f"{c.name} {100 * count / max(labelled, 1):.3g}%")
        for c, count in zip(meta.labels.classes, counts, strict=True)
    ]
    if labelled < pixels:
        share = 100 * (1 - labelled / pixels)
        entries.append((_striped(plain, everywhere, IGNORED), f"ignored {share:.3g}% of all pixels"))
    empty = 100 * (1 - float(rows["valid_fraction"].mean()))
    if empty > 0:
        entries.append((_striped(plain, everywhere, NO_DATA), f"no data {empty:.3g}% of all pixels"))
    if dates == 2:
        entries.append((plain * np.array(OUTLINE, np.uint8), "border of classes, on date 2"))
    font, x, y = _font(), 0, GAP
    picture = Image.new("RGB", (width, (len(entries) + 1) * (LINE + GAP)), 3 * (PAPER,))
    draw = ImageDraw.Draw(picture)
    for swatch, text in entries:
        needed = swatch.shape[1] + GAP + int(font.getlength(text)) + MARGIN
        if x and x + needed > width:
            x, y = 0, y + LINE + GAP
        picture.paste(Image.fromarray(swatch), (x, y))
        draw.rectangle((x, y, x + swatch.shape[1] - 1, y + swatch.shape[0] - 1), outline=(120, 120, 120))
        draw.text((x + swatch.shape[1] + GAP, y), text, font=font, fill="black")
        x += needed
    lead = _text(f"mask, with the share of each class in the labelled pixels of {split}:", width)
    return np.concatenate([np.full((2 * GAP, width, 3), PAPER, np.uint8), lead, np.asarray(picture)[: y + LINE]])


def _cell(caption: str, tiles: Sequence[np.ndarray]) -> np.ndarray:
    joined = _beside(tiles, sum(tile.shape[1] + GAP for tile in tiles) - GAP, GAP)
    above = np.full((GAP, joined.shape[1], 3), PAPER, np.uint8)
    return np.concatenate([above, _text(caption, joined.shape[1], wrap=False), joined])


def _head(titles: Sequence[str], width: int) -> np.ndarray:
    parts = [_text(title, width, wrap=False) for title in titles]
    return _beside(parts, len(titles) * (width + GAP) - GAP, GAP)


def _beside(parts: Sequence[np.ndarray], width: int, gap: int = 3 * GAP) -> np.ndarray:
    """Pictures of one height from left to right, with gaps, on paper of a given width."""
    between = np.full((parts[0].shape[0], gap, 3), PAPER, np.uint8)
    return _widened(np.concatenate([p for part in parts for p in (between, part)][1:], axis=1), width)


def _widened(strip: np.ndarray, width: int) -> np.ndarray:
    return np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=PAPER)


def _text(text: str, width: int, bold: bool = False, wrap: bool = True) -> np.ndarray:
    """A strip of black text, (h, width, 3): in as many lines as needed, or cut to one."""
    font = _font(bold)
    lines = [""]
    for word in text.split(" ") if wrap else []:
        longer = f"{lines[-1]} {word}".strip(" ")
        lines = [*lines[:-1], longer] if font.getlength(longer) <= width else [*lines, word]
    if not wrap:
        cut = next((k for k in range(len(text), 0, -1) if font.getlength(_shortened(text, k)) <= width), 1)
        lines = [_shortened(text, cut)]
    picture = Image.new("RGB", (width, LINE * len(lines) + (GAP if bold else 0)), 3 * (PAPER,))
    ImageDraw.Draw(picture).multiline_text((0, 1), "\n".join(lines), font=font, fill="black", spacing=3)
    return np.asarray(picture)


def _shortened(text: str, n: int) -> str:
    return text if len(text) <= n else f"{text[: n // 2]}…{text[len(text) - (n - n // 2 - 1) :]}"


@functools.cache
def _font(bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font of the plots: Pillow's own has few letters beyond English ones."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), 15 if bold else 12)
