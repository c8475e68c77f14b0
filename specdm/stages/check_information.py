"""Do the synthetic masks fit their images by the generator itself? Its information, between real and exchanged pairs.

No judge is trained, and no class needs enough pixels. But a generator that agrees with itself may be wrong: this is a
row beside those of check-alignment, never the only one.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from specdm import files, information_figure, provenance
from specdm.errors import UserError
from specdm.information_figure import Case
from specdm.metrics.alignment import OWN, Alignment, between_bounds, derangement
from specdm.metrics.groups import bootstrap_weights
from specdm.patches import PatchSet, open_patches
from specdm.settings import InformationSettings
from specdm.stages.batches import require_alike, some_of
from specdm.stages.check_alignment import as_row, number_lost
from specdm.stages.information_maps import Informant

STAGE_VERSION = 1
GIVEN = {
    "mask": "all images tell of the mask",
    "image": "the mask tells of all images",
    "date2": "the mask tells of the second date beyond the first",
}


def check_information(
    patches_folder: Path,
    samples_folder: Path,
    model_folder: Path,
    out: Path,
    picture: Path,
    dataset: str,
    method: str,
    settings: InformationSettings,
    seed: int,
) -> str:
    """Write the mean information of synthetic pairs as JSON to `out`, beside bounds; return it in words.

    `picture` shows maps of the first synthetic pairs. Bounds are real validation pairs, which the generator has not
    seen, above, and synthetic images with the masks of others below.

    Raises:
        UserError: when the sets and the model do not belong together, or hold too few patches.
    """
    informant = Informant.open(model_folder, settings.alignment_of, settings, seed)
    patches, samples = open_patches(patches_folder), open_patches(samples_folder)
    require_alike(patches, samples)
    informant.require_fits(patches)
    train = some_of(patches.ids("train"), settings.n_samples, seed, "information")
    held_out = some_of(patches.ids("val"), settings.n_samples, seed, "information")
    drawn = np.arange(min(len(samples), settings.n_samples))
    for what, found in (("the training split", train), ("the validation split", held_out), ("the samples", drawn)):
        if len(found) < 2:
            raise UserError(f"{patches_folder}: information needs at least 2 patches in {what}; cut or draw more.")
    others = drawn[derangement(len(drawn), seed)]
    synthetic, maps = _sums(informant, samples, drawn, "information of pairs", keep=settings.n_pictures)
    exchanged, _ = _sums(informant, samples, drawn, "information of exchanged pairs", others)
    real, _ = _sums(informant, patches, held_out, "information of held-out pairs")
    seen, _ = _sums(informant, patches, train, "information of training pairs")
    groups = patches.index["group"].to_numpy()[held_out]
    found = _alignment(synthetic, exchanged, real, groups, seen, settings.n_bootstrap, seed)
    cases = [
        Case.of(samples, i, bits, f"{samples.index['id'].iloc[i]}: {bits.mean():.2f} bits per cell")
        for i, bits in zip(drawn, maps, strict=False)
    ]
    title = f"{dataset}: {method}: what image and mask tell of each other"
    information_figure.panel(cases, samples.meta, informant.of, picture, title)
    words = f"bits per latent cell of {informant.cell_px} px that {GIVEN[informant.of]}, by the generator itself"
    row = as_row(OWN, words, found)
    files.write_json(
        out,
        {
            "dataset": dataset,
            "method": method,
            "seed": seed,
            "n": len(drawn),
            "n_real": len(held_out),
            "judges": 0,
            "reference": "real validation pairs, unknown to the generator",
            "rows": [row | {"classes_lost": number_lost(patches, train, samples, drawn)}],
            "provenance": provenance.stamp("check-information", STAGE_VERSION, seed, settings.model_dump(mode="json")),
        },
    )
    return f"information of {len(drawn)} synthetic pairs, {found.synthetic.value:.3g} bits per cell, in {out}"


def _sums(
    informant: Informant,
    patches: PatchSet,
    positions: np.ndarray,
    what: str,
    masks_of: np.ndarray | None = None,
    keep: int = 0,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Of each pair the bits of its judged cells and their number, (N,2) float64; and the maps of the first `keep`."""
    sums, maps = [], []
    for _, of in informant.maps(patches, positions, what, masks_of):
        bits = np.where(of.judged, of.bits, 0).sum((1, 2), dtype=np.float64)
        sums.append(np.stack([bits, of.judged.sum((1, 2))], 1))
        maps += list(of.bits[: max(0, keep - len(maps))])
    return np.concatenate(sums), maps


def _alignment(
    synthetic: np.ndarray,
    exchanged: np.ndarray,
    real: np.ndarray,
    groups: np.ndarray,
    seen: np.ndarray,
    n_bootstrap: int,
    seed: int,
) -> Alignment:
    """Mean bits per cell of sums (N,2) of each kind; the bootstrap draws pairs, and groups (N_real,) of real ones."""
    pairs = bootstrap_weights(len(synthetic), None, n_bootstrap, seed, stream=0)
    places = bootstrap_weights(len(real), groups, n_bootstrap, seed, stream=1)
    drawn = {"synthetic": pairs @ synthetic, "exchanged": pairs @ exchanged, "real": places @ real}
    whole = {"synthetic": synthetic.sum(0), "exchanged": exchanged.sum(0), "real": real.sum(0)}
    return between_bounds(
        {name: float(_mean(sums)) for name, sums in whole.items()},
        {name: _mean(sums) for name, sums in drawn.items()},
        float(_mean(seen.sum(0))),
    )


def _mean(sums: np.ndarray) -> np.ndarray:
    """Bits per cell (...) of sums (...,2), NaN without a cell."""
    bits, cells = np.moveaxis(sums, -1, 0)
    return np.divide(bits, cells, out=np.full(np.shape(bits), math.nan), where=cells > 0)
