"""Look for wrong labels of a patch set: where the images speak against the mask, by the generator's own information."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from specdm import files, information_figure, provenance
from specdm.errors import UserError
from specdm.information_figure import Case, Place
from specdm.labels import IGNORE
from specdm.metrics.label_errors import lowest_cells, smoothed
from specdm.patches import PatchSet, open_patches, require_labels
from specdm.settings import InformationSettings
from specdm.stages.information_maps import Informant, Maps

STAGE_VERSION = 1
COLUMNS = ("id", "split", "group", "row", "col")  # of the index, what says where a patch lies


def check_labels(
    model_folder: Path,
    patches_folder: Path,
    out: Path,
    split: str,
    settings: InformationSettings,
    seed: int,
) -> str:
    """Write maps and a list of patches, the most suspicious first, to the folder `out`; return what was made, in words.

    information.npy: bits per cell (N,h,w) float32, in the order of the set. labels.csv: a row a patch, see `_table`.
    suspicious.png: the first of them. labels.json: what this was made from; `positions` are those of the maps.

    Args:
        model_folder: a generator of diffusion.levels: streams; one that has learned from these very labels knows them.
        patches_folder: labelled patches like those it was trained on.
        out: folder of the result.
        split: "train", "val", "test" or "all".
        settings: of the maps.
        seed: of the noise.

    Raises:
        UserError: when model and patches do not belong together, or nothing is labelled.
    """
    informant, patches = Informant.open(model_folder, settings.of, settings, seed), open_patches(patches_folder)
    require_labels(patches)
    informant.require_fits(patches)
    positions = np.arange(len(patches)) if split == "all" else patches.ids(split)
    if not len(positions):
        raise UserError(f"{patches_folder}: the split {split!r} is empty: choose another one with --split.")
    with files.new_folder(out, last="labels.json") as folder:
        shape = (len(positions), *informant.model.latent_shape[1:])
        kept = np.lib.format.open_memmap(folder / "information.npy", mode="w+", dtype=np.float32, shape=shape)
        parts = []
        for rows, maps in informant.maps(patches, positions, "checking labels"):
            kept[rows] = maps.bits
            parts.append(_table(patches, positions[rows], maps, settings.smooth_cells, informant.cell_px))
        kept.flush()
        table = pd.concat(parts, ignore_index=True)
        order = table["suspicion"].sort_values(ascending=False, kind="stable", na_position="last").index
        table = table.loc[order]
        table.to_csv(folder / "labels.csv", index=False, float_format="%.5g")
        shown = order[: settings.n_pictures]
        cases = [_case(patches, int(positions[i]), kept[i], table.loc[i], settings, informant.cell_px) for i in shown]
        title = f"{patches.meta.name}: the most suspicious labels of {len(positions)} patches"
        information_figure.panel(cases, patches.meta, settings.of, folder / "suspicious.png", title)
        stamp = provenance.stamp("check-labels", STAGE_VERSION, seed, settings.model_dump(mode="json"))
        told = {
            "patches": patches.meta.name,
            "data_hash": patches.hash,
            "models": {
                part: json.loads((model_folder / part / "config.json").read_text())["id"]
                for part in ("autoencoder", "denoiser")
            },
            "split": split,
            "unit": "bits per cell",
            "cell_px": informant.cell_px,
            "positions": positions.tolist(),
            "mean_bits": float(table["bits_per_cell"].mean()),
            "provenance": stamp,
        }
        (folder / "labels.json").write_text(files.to_json(told))
    first = table.iloc[0]
    return f"labels of {len(table)} patches checked, the most suspicious is {first['id']}, in {out}"


def _table(patches: PatchSet, positions: np.ndarray, maps: Maps, side: int, px: int) -> pd.DataFrame:
    """A row a patch: where it lies, how much its images tell of its mask, and its most suspicious place.

    bits: sum over its judged cells; bits_per_cell: their mean. suspicion: minus the lowest smoothed cell, in bits per
    cell, which lies at rows y_px.. and columns x_px.. of the patch; class: the commonest one labelled around there,
    class_share: its share of the labelled pixels there. A patch without a judged cell has none of these.
    """
    found = patches.index.iloc[positions][list(COLUMNS)].reset_index(drop=True)
    cells = maps.judged.sum((1, 2))
    found["bits"] = np.where(maps.judged, maps.bits, 0).sum((1, 2), dtype=np.float64)
    found["bits_per_cell"] = found["bits"] / np.where(cells > 0, cells, np.nan)
    lowest, places = lowest_cells(smoothed(maps.bits, maps.judged, side))
    found["suspicion"] = -lowest
    corners = places * px
    found["y_px"], found["x_px"] = corners[:, 0], corners[:, 1]
    there = [_labelled_there(patches, i, corner, side, px) for i, corner in zip(positions, corners, strict=True)]
    found["class"], found["class_share"] = zip(*there, strict=True)
    found.loc[cells == 0, ["bits", "y_px", "x_px", "class", "class_share"]] = None
    return found


def _labelled_there(
    patches: PatchSet, position: int, corner: np.ndarray, side: int, px: int
) -> tuple[str | None, float | None]:
    """Name and share of the commonest class in the window that a smoothed cell was the mean of."""
    reach = side // 2 * px
    start, stop = np.maximum(corner - reach, 0), corner + px + reach
    ids = patches.masks[position][start[0] : stop[0], start[1] : stop[1]]
    counts = np.bincount(ids[ids != IGNORE], minlength=1)
    if not counts.any():
        return None, None
    return patches.meta.labels.names[counts.argmax()], float(counts.max() / counts.sum())


def _case(
    patches: PatchSet, position: int, bits: np.ndarray, row: pd.Series, settings: InformationSettings, px: int
) -> Case:
    place = None
    if not np.isnan(row["suspicion"]):
        side = settings.smooth_cells * px
        edge = settings.smooth_cells // 2 * px
        place = Place(int(row["y_px"]) - edge, int(row["x_px"]) - edge, side)
    caption = f"{row['id']} ({row['split']}): {-row['suspicion']:.2f} bits per cell, labelled {row['class']}"
    return Case.of(patches, position, bits, caption, place)
