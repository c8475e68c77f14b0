"""Synthetic sets that controls need: labelled patches through an autoencoder and back, and samples with other masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from specdm import files
from specdm.model import TrainedAutoencoder
from specdm.nn.autoencoder import one_hot
from specdm.patches import PatchRecord, PatchSet, PatchWriter, class_counts, open_patches, to_dn
from specdm.randomness import numpy_generator
from specdm.stages.batches import Mixture
from specdm.stages.predict import TrainedNetwork

BATCH = 16


class Relabelled(PatchSet):
    """The first patches of a set with masks of a file, (n,H,W) uint8, in place of their own; `key` says which."""

    def __init__(self, base: PatchSet, masks: Path, key: str):
        super().__init__(base.folder, base.meta)
        self._base, self._path, self._key = base, masks, key

    def __getstate__(self) -> dict:
        return super().__getstate__() | {"_base": self._base, "_path": self._path, "_key": self._key}

    @cached_property
    def masks(self) -> np.ndarray:
        return np.load(self._path, mmap_mode="r")

    @cached_property
    def index(self):
        n = len(self.masks)
        counts = [class_counts(self.masks[i : i + 256], len(self.meta.labels)) for i in range(0, n, 256)]
        return self._base.index.iloc[:n].assign(class_counts=list(np.concatenate(counts)))

    @property
    def hash(self) -> str:
        return files.digest({"base": self._base.hash, "masks": self._key})


def with_shuffled_masks(samples: PatchSet, n: int, seed: int, folder: Path) -> PatchSet:
    """The first n samples, each with the mask of another one: what images and masks are worth apart.

    The masks lie in `folder`, under a name that says what they depend on; so do those of `with_predicted_masks`.
    """
    # Moving along a random circle gives every image another's mask; a plain permutation would leave some in place.
    circle = numpy_generator(seed, "shuffled-masks").permutation(n)
    donor = np.empty(n, np.int64)
    donor[circle] = np.roll(circle, 1)
    name = files.digest({"shuffled": samples.hash, "n": n, "seed": seed})
    return _with_masks(samples, n, folder / f"{name}.npy", lambda rows: samples.masks[donor[rows]])


def with_predicted_masks(samples: PatchSet, n: int, network: Path, folder: Path, device: torch.device) -> PatchSet:
    """The first n samples with the masks that a trained network reads from their images."""
    trained = TrainedNetwork.load(network, device)
    mixture = Mixture([(samples, np.arange(n))])

    @torch.no_grad()
    def read(rows: np.ndarray) -> np.ndarray:
        batch = mixture.batch(rows, trained.normaliser).to(device)
        return trained.network(batch.images).argmax(1).to(torch.uint8).cpu().numpy()

    name = files.digest({"predicted": samples.hash, "n": n, "network": trained.id})
    return _with_masks(samples, n, folder / f"{name}.npy", read)


def reconstructed(
    patches: PatchSet, positions: np.ndarray, autoencoder: Path, folder: Path, device: torch.device
) -> PatchSet:
    """Some patches through an autoencoder and back, image and mask, as a patch set of its own in `folder`."""
    trained = TrainedAutoencoder.load(autoencoder, device)
    name = files.digest({"patches": patches.hash, "of": positions.tolist(), "autoencoder": trained.config["id"]})
    out = folder / name
    if (out / "meta.json").is_file():
        return open_patches(out)
    mixture, ids = Mixture([(patches, positions)]), patches.index["id"].to_numpy()[positions]
    meta, dtype = dataclasses.replace(patches.meta, name="reconstructed", synthetic=True), patches.images.dtype
    with torch.no_grad(), PatchWriter(out, meta, patches.images.shape[1:], dtype) as writer:
        for rows in _in_pieces(len(positions)):
            batch = mixture.batch(rows, trained.normaliser).to(device)
            result = trained.network(batch.images, one_hot(batch.masks, mixture.n_classes), None)
            refl = trained.normaliser.invert(result.images.float().cpu().numpy())
            masks = result.mask_logits.argmax(1).to(torch.uint8).cpu().numpy()
            records = [PatchRecord(f"{i}-reconstructed", "train", f"{i}-reconstructed", "specdm") for i in ids[rows]]
            writer.append(to_dn(refl, meta, dtype), masks, records)
    return open_patches(out)


def _with_masks(samples: PatchSet, n: int, path: Path, masks_of: Callable[[np.ndarray], np.ndarray]) -> PatchSet:
    if not path.is_file():
        with files.new_file(path) as temporary:
            shape = (n, *samples.masks.shape[1:])
            masks = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            for rows in _in_pieces(n):
                masks[rows] = masks_of(rows)
            masks.flush()
    return Relabelled(samples, path, path.name)


def _in_pieces(n: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + BATCH, n)) for start in range(0, n, BATCH)]
