"""Patch sets that samples are drawn for: what of them is given, and what the samples inherit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm import files
from specdm.errors import UserError
from specdm.given import KEYS, Given
from specdm.given import given as check_given
from specdm.model import TrainedAutoencoder
from specdm.patches import PatchRecord, PatchSet, check_masks, open_patches


@dataclass(frozen=True)
class GivenPatches:
    """The patch set that each stream comes from, by "mask", "image" or "date1"; row i of all belongs together."""

    sets: dict[str, PatchSet]

    @classmethod
    def open(cls, folders: Mapping[str, Path], autoencoder: TrainedAutoencoder) -> GivenPatches:
        """Open patch sets and check that they fit the model.

        Raises:
            UserError: for unknown keys, sets that do not fit the model or are of different lengths, and masks without a
                label.
        """
        sets = {key: open_patches(folder) for key, folder in folders.items()}
        for key, patches in sets.items():
            if key not in KEYS:
                raise UserError(f"--given {key}={patches.folder}: write {'=, '.join(KEYS)}= and a patch set.")
            require_fits(key, patches, autoencoder, f"--given {key}={patches.folder}")
            labelled = [counts.any() for counts in patches.index["class_counts"]]
            if key == "mask" and not all(labelled):
                name = patches.index["id"].iloc[labelled.index(False)]
                raise UserError(f"--given mask={patches.folder}: patch {name} has no labelled pixel: leave it out.")
        if len({len(patches) for patches in sets.values()}) > 1:
            lengths = " and ".join(f"{len(patches)} in {patches.folder}" for patches in sets.values())
            raise UserError(f"--given: patches belong together one by one, but there are {lengths}.")
        return cls(sets)

    def __len__(self) -> int:
        return len(next(iter(self.sets.values())))

    @property
    def hashes(self) -> dict[str, str]:
        return {key: files.digest([patches.hash, patches.meta.checksums]) for key, patches in self.sets.items()}

    def rows(self, rows: np.ndarray, autoencoder: TrainedAutoencoder) -> Given:
        """What is given of some patches."""
        arrays, valid = {}, None
        for key, patches in self.sets.items():
            if key == "mask":
                arrays[key] = patches.masks[rows]
            else:
                dates = slice(None) if key == "image" else slice(1)
                arrays[key] = patches.reflectance(rows)[:, dates]
                valid = patches.valid(rows)[:, dates]
        checked = check_given(arrays, autoencoder.shape, len(autoencoder.meta.labels))
        return dataclasses.replace(checked, valid=valid)

    def put_back(self, dn: np.ndarray, rows: np.ndarray) -> None:
        """Write the given images into images (n,T,C,H,W) as they are stored: unchanged to the bit."""
        for key, patches in self.sets.items():
            if key != "mask":
                dates = slice(None) if key == "image" else slice(1)
                dn[:, dates] = patches.images[rows][:, dates]

    def records(self, rows: np.ndarray, again: np.ndarray) -> list[PatchRecord]:
        """Rows of the index: id (with -1, -2, ... when a patch is drawn for again), split and group are inherited.

        The location and the source as well where an image is given; a painted one has none.
        """
        real = next((patches for key, patches in self.sets.items() if key != "mask"), None)
        inherited = (real or self.sets["mask"]).records(rows)
        found = []
        for record, k in zip(inherited, again, strict=True):
            name = f"{record.id}-{k}" if k else record.id
            if real is None:
                record = PatchRecord(name, record.split, record.group, "specdm")
            found.append(dataclasses.replace(record, id=name))
        return found


def require_fits(key: str, patches: PatchSet, autoencoder: TrainedAutoencoder, told: str) -> None:
    """Refuse (UserError) a set that differs from what the model was trained on, in what matters for a key of KEYS.

    told: what the sentence calls the set.
    """
    ours, theirs = autoencoder.meta, patches.meta
    compared: dict[str, tuple] = {"side of patches in px": (autoencoder.shape[2:], patches.images.shape[3:])}
    if key == "image":
        compared["dates"] = (autoencoder.shape[0], patches.images.shape[1])
    if key == "mask":
        compared["classes"] = (ours.labels.names, theirs.labels.names)
    else:
        compared |= {
            "bands": (ours.bands, theirs.bands),
            "processing level": (ours.level, theirs.level),
            "scale and offset": ((ours.scale, ours.offset), (theirs.scale, theirs.offset)),
            "nodata value": (ours.nodata, theirs.nodata),
            "data type": (autoencoder.dtype, patches.images.dtype),
        }
    for what, (x, y) in compared.items():
        if x != y:
            raise UserError(f"{told}: its {what} {y} differ from the model's {x}: give such a set.")
    if key == "mask":
        check_masks(patches)
