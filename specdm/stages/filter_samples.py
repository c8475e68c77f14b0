"""Score every synthetic pair by how well its mask fits its image, and mark the pixels where it does not.

The rule is that of FreeMask (Yang et al., 2023): a pixel whose cross-entropy under judges exceeds 1.25 times the mean
of its class in real data has no label. Here the real pixels are ones that the judge has not seen, and the judges are
of another architecture than the networks that the filtered set will train.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from specdm import files, provenance
from specdm.errors import UserError
from specdm.labels import IGNORE
from specdm.metrics.filtering import keep_best, strata
from specdm.patches import PatchSet, open_patches
from specdm.progress import Progress
from specdm.settings import FilterSettings
from specdm.stages.batches import Batch, Mixture, require_alike, seen_patches
from specdm.stages.judges import BATCH, Judges, load_judges

STAGE_VERSION = 1


@dataclass(frozen=True)
class Filter:
    """What `filter_samples` found of a synthetic set.

    Attributes:
        id: of these scores.
        badness: (N,) mean cross-entropy of a pair, in multiples of the mean of each pixel's class in real data.
        kinds: (N,) what the patches are taken from in proportion, see specdm.metrics.filtering.strata.
        masks: file of the masks (N,H,W) uint8 in which pixels that disagree have no label.
    """

    id: str
    badness: np.ndarray
    kinds: np.ndarray
    masks: Path

    @classmethod
    def open(cls, folder: Path, samples: PatchSet) -> Filter:
        """Read it back.

        Raises:
            UserError: when it is absent or of other samples.
        """
        if not (folder / "filter.json").is_file():
            raise UserError(f"{folder} holds no filter: make it with `specdm filter-samples`.")
        config = json.loads((folder / "filter.json").read_text())
        if config["samples"] != samples.hash:
            raise UserError(f"{folder} is the filter of other samples than {samples.folder}: make it anew.")
        table = pd.read_csv(folder / "scores.csv")
        return cls(config["id"], table["badness"].to_numpy(), table["kind"].to_numpy(), folder / "masks.npy")

    def best(self, n: int, pool: int) -> np.ndarray:
        """Positions (n,) of the best of the first `pool` samples."""
        return keep_best(self.badness[:pool], self.kinds[:pool], n)


def filter_samples(
    patches_folder: Path,
    samples_folder: Path,
    judge_folders: Sequence[Path],
    out: Path,
    settings: FilterSettings,
    seed: int,
    subset: tuple[int, int] | None = None,
) -> str:
    """Write scores.csv (a row a sample), masks.npy and filter.json to the folder `out`; return what was made, in words.

    Args:
        patches_folder, samples_folder: the real and the synthetic patch set.
        judge_folders: cross-fitted judges; of the subset, if there is one.
        out: folder of the result.
        settings: of the rule.
        seed: told in the result; nothing is drawn.
        subset: (number, seed) of the labelled patches that may be looked at.

    Raises:
        UserError: when the sets or the judges do not belong together.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    patches, samples = open_patches(patches_folder), open_patches(samples_folder)
    require_alike(patches, samples)
    judges = load_judges(judge_folders, patches, device)
    real = seen_patches(patches, subset)
    fold = judges.fold_of(patches.index["group"].to_numpy()[real])
    if (fold < 0).any():  # a single group: all judges know it
        real = patches.ids("val")
        fold = np.full(len(real), -1)
    usual = _class_means(patches, real, fold, judges)
    counts = np.stack(samples.index["class_counts"].to_numpy())
    known = np.stack(patches.index["class_counts"].to_numpy()[real]).sum(0)
    badness, ignored = np.empty(len(samples)), np.empty(len(samples))
    progress = Progress(f"scoring {samples.meta.name}", len(samples))
    with files.new_folder(out, last="filter.json") as folder:
        masks = np.lib.format.open_memmap(folder / "masks.npy", mode="w+", dtype=np.uint8, shape=samples.masks.shape)
        for rows, batch, entropy in _entropies(samples, np.arange(len(samples)), judges):
            ids = batch.masks.numpy()
            labelled = ids != IGNORE
            relative = entropy.mean(1) / usual[np.where(labelled, ids, 0)]  # n H W
            doubtful = labelled & (relative > settings.ignore_above)
            masks[rows] = np.where(doubtful, IGNORE, ids)
            pixels = np.maximum(labelled.sum((1, 2)), 1)
            badness[rows] = np.where(labelled, relative, 0).sum((1, 2)) / pixels
            ignored[rows] = doubtful.sum((1, 2)) / pixels
            progress.update(int(rows[-1]) + 1)
        masks.flush()
        table = {
            "id": samples.index["id"].to_numpy(),
            "badness": badness,
            "kind": strata(counts, known),
            "ignored_share": ignored,
        }
        pd.DataFrame(table).to_csv(folder / "scores.csv", index=False, float_format="%.6g")
        stamp = provenance.stamp("filter-samples", STAGE_VERSION, seed, settings.model_dump(mode="json"))
        key = {"samples": samples.hash, "judges": judges.ids, "settings": stamp["settings"], "version": STAGE_VERSION}
        named = dict(zip(patches.meta.labels.names, usual.tolist(), strict=True))
        config = {"id": files.digest(key), **key, "real_cross_entropy": named, "provenance": stamp}
        (folder / "filter.json").write_text(files.to_json(config))
    return f"{len(samples)} samples scored, {100 * ignored.mean():.1f} % of their pixels disagree, in {out}"


def _class_means(patches: PatchSet, positions: np.ndarray, fold: np.ndarray, judges: Judges) -> np.ndarray:
    """Mean cross-entropy (K,) of real pixels by class, each by the judge that has not seen it; by all where fold is -1.

    A class without pixels has the mean over all of them.
    """
    classes = len(patches.meta.labels)
    sums, counts = np.zeros(classes), np.zeros(classes)
    progress = Progress(f"judging real pairs of {patches.meta.name}", len(positions))
    for rows, batch, entropy in _entropies(patches, positions, judges):
        own = fold[rows]
        of_own = np.where((own >= 0)[:, None, None], entropy[np.arange(len(rows)), own], entropy.mean(1))
        ids = np.where(batch.valid.numpy().all(1), batch.masks.numpy(), IGNORE)
        labelled = ids != IGNORE
        sums += np.bincount(ids[labelled], weights=of_own[labelled], minlength=classes)
        counts += np.bincount(ids[labelled], minlength=classes)
        progress.update(int(rows[-1]) + 1)
    if not counts.any():
        raise UserError(f"{patches.folder}: no real pixel has a label; nothing can be filtered.")
    return np.maximum(np.where(counts > 0, sums / np.maximum(counts, 1), sums.sum() / counts.sum()), 1e-6)


def _entropies(
    patches: PatchSet, positions: np.ndarray, judges: Judges
) -> Iterator[tuple[np.ndarray, Batch, np.ndarray]]:
    """Batches: rows, the batch, cross-entropy (n,R,H,W) of its masks under every judge (0 without a label)."""
    mixture = Mixture([(patches, positions)])
    for start in range(0, len(positions), BATCH):
        rows = np.arange(start, min(start + BATCH, len(positions)))
        batch: Batch = mixture.batch(rows, judges.normaliser)
        moved = batch.to(judges.device)
        with torch.no_grad():
            losses = [
                F.cross_entropy(
                    n.predict_mask(moved.images).float(), moved.masks, ignore_index=IGNORE, reduction="none"
                )
                for n in judges.networks
            ]
        yield rows, batch, torch.stack(losses, 1).cpu().numpy().astype(np.float64)
