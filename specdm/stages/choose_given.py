"""Choose what patches are drawn for: masks with labels, edited change masks, or images whose labels are not seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from specdm import provenance
from specdm.errors import UserError
from specdm.labels import IGNORE
from specdm.patches import PatchRecord, PatchSet, PatchWriter, open_patches
from specdm.randomness import numpy_generator
from specdm.stages.batches import seen_patches
from specdm.stages.unlabelled import unlabelled_parts

STAGE_VERSION = 1
KINDS = ("masks", "edited", "images")
BATCH = 64
KEPT = 0.5  # how often the objects of a patch's own mask stay beside new ones


def choose_given(
    patches_folder: Path,
    out: Path,
    kind: str,
    n: int,
    subset: tuple[int, int] | None,
    unlabelled: Sequence[Path],
    seed: int,
) -> str:
    """Write a patch set for `specdm sample --given`.

    masks: the labelled patches as they are, at most n. edited: n patches, the labelled ones again and again, with the
    changed objects of others added to or in place of their own; their first date goes with the mask, their second does
    not. images: training patches whose labels are not seen, at most n in random order, without their masks.

    Args:
        patches_folder: the labelled patch set.
        out: folder of the patch set.
        kind: "masks", "edited" or "images".
        n: patches that are to be drawn.
        subset: the labelled patches that may be seen, (n, seed) as for the generators; None: all of the training split.
        unlabelled: for images: patch sets, or `patches_folder` itself for its training patches beside those labelled.
        seed: of edits and of the order of images.

    Returns:
        What was made, in words.

    Raises:
        UserError: when there is no change to edit with, one date only, or no image to label.
    """
    patches = open_patches(patches_folder)
    labelled = seen_patches(patches, subset)
    if kind == "images":
        chosen = _images(patches, labelled, unlabelled, n, seed)
    elif kind == "edited":
        chosen = _edited(patches, labelled, n, seed)
    else:
        chosen = _as_they_are(patches, labelled[:n])
    meta = dataclasses.replace(
        patches.meta,
        name=f"{patches.meta.name}-{kind}",
        synthetic=kind == "edited",
        provenance=provenance.stamp("choose-given", STAGE_VERSION, seed, {"kind": kind, "n": n, "subset": subset}),
    )
    with PatchWriter(out, meta, patches.images.shape[1:], patches.images.dtype) as writer:
        for images, masks, records in chosen:
            writer.append(images, masks, records)
        count = len(writer)
    return f"{count} patches of {patches.meta.name} to draw {kind} for in {out}"


Chosen = Iterator[tuple[np.ndarray, np.ndarray, list[PatchRecord]]]


def _pieces(positions: np.ndarray) -> list[np.ndarray]:
    return [positions[start : start + BATCH] for start in range(0, len(positions), BATCH)]


def _as_they_are(patches: PatchSet, positions: np.ndarray) -> Chosen:
    for some in _pieces(positions):
        yield patches.images[some], patches.masks[some], patches.records(some)


def _images(patches: PatchSet, labelled: np.ndarray, folders: Sequence[Path], n: int, seed: int) -> Chosen:
    parts = unlabelled_parts(patches, labelled, folders)
    if not parts:
        raise UserError(f"{patches.folder}: there is no image to label, name patch sets with --unlabelled.")
    every = [(of, position) for of, (_, positions) in enumerate(parts) for position in positions]
    order = numpy_generator(seed, "choose-given", "images").permutation(len(every))[:n]
    for of, position in (every[i] for i in order):
        some = np.array([position])
        (record,) = parts[of][0].records(some)
        # Sets may name their patches alike.
        record = dataclasses.replace(record, id=f"{parts[of][0].meta.name}-{record.id}")
        yield parts[of][0].images[some], parts[of][0].masks[some], [record]


def _edited(patches: PatchSet, labelled: np.ndarray, n: int, seed: int) -> Chosen:
    if patches.images.shape[1] < 2:
        raise UserError(f"{patches.folder}: patches of one date have no change mask to edit, use masks instead.")
    masks = patches.masks[labelled]
    donors = np.flatnonzero(((masks != 0) & (masks != IGNORE)).any((1, 2)))
    if not len(donors):
        raise UserError(f"{patches.folder}: no labelled patch shows a change to edit with, label one.")
    for numbers in _pieces(np.arange(n)):
        rows = numbers % len(labelled)
        edited, records = [], []
        for i, row, record in zip(numbers, rows, patches.records(labelled[rows]), strict=True):
            rng = numpy_generator(seed, "choose-given", "edit", int(i))
            edited.append(edited_mask(masks[row], masks[rng.choice(donors)], rng))
            records.append(dataclasses.replace(record, id=f"{record.id}-edit{i // len(labelled)}"))
        yield patches.images[labelled[rows]], np.stack(edited), records


def edited_mask(own: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A change mask (H,W) uint8 with the changed objects of another one, turned, mirrored and moved at random.

    Class 0 is unchanged. Own objects stay half of the time; own pixels without a label always stay. At least a pixel of
    the moved objects is inside.
    """
    turned = np.rot90(donor, rng.integers(4))
    turned = turned[:, ::-1] if rng.random() < 0.5 else turned
    rows, columns = np.nonzero((turned != 0) & (turned != IGNORE))
    classes, anchor = turned[rows, columns], rng.integers(len(rows))
    height, width = own.shape
    rows = rows + rng.integers(height) - rows[anchor]
    columns = columns + rng.integers(width) - columns[anchor]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    edited = own.copy() if rng.random() < KEPT else np.where(own == IGNORE, own, 0).astype(np.uint8)
    free = inside.copy()
    free[inside] = own[rows[inside], columns[inside]] != IGNORE
    edited[rows[free], columns[free]] = classes[free]
    return edited
