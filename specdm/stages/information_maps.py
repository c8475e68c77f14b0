"""Maps of information of labelled patches under a generator, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm.given import Given
from specdm.information import Asking, cell_px, information_bits, require_levels
from specdm.labels import IGNORE
from specdm.metrics.label_errors import labelled_cells
from specdm.model import SpecDM
from specdm.patches import PatchSet
from specdm.progress import Progress
from specdm.settings import InformationSettings
from specdm.stages.given_patches import require_fits
from specdm.training import in_bfloat16


@dataclass(frozen=True)
class Maps:
    """Information of some pairs: bits (n,h,w) float32 and the cells (n,h,w) bool that have labels and data."""

    bits: np.ndarray
    judged: np.ndarray


@dataclass(frozen=True)
class Informant:
    """A generator that is asked for information, of what (see specdm.information.Asking), and how."""

    model: SpecDM
    of: str
    settings: InformationSettings
    seed: int

    @classmethod
    def open(cls, folder: Path, of: str, settings: InformationSettings, seed: int) -> Informant:
        """Load it. UserError for a model with one noise level for image and mask, or an incomplete one."""
        model = SpecDM.from_pretrained(folder)
        require_levels(model)
        return cls(model, of, settings, seed)

    @property
    def cell_px(self) -> int:
        return cell_px(self.model)

    def require_fits(self, patches: PatchSet) -> None:
        """Refuse (UserError) patches that are not of the kind that the generator was trained on."""
        for key in ("image", "mask"):
            require_fits(key, patches, self.model.autoencoder, str(patches.folder))

    def maps(
        self, patches: PatchSet, positions: np.ndarray, what: str, masks_of: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, Maps]]:
        """Batches: rows of `positions`, and their maps; with masks_of (n,) the masks of these patches in their place.

        The noise of a patch depends on the seed and its position in the set.
        """
        asked, progress = self.settings, Progress(f"{what} of {patches.meta.name}", len(positions))
        asking = Asking(self.of, asked.n_levels, asked.n_noises, in_bfloat16(asked.precision))
        masks_of = positions if masks_of is None else masks_of
        for start in range(0, len(positions), asked.batch):
            rows = np.arange(start, min(start + asked.batch, len(positions)))
            here, masks = positions[rows], patches.masks[masks_of[rows]]
            valid = patches.valid(here)
            pairs = Given(masks, patches.reflectance(here), valid)
            bits = information_bits(self.model, pairs, here, self.seed, asking)
            yield rows, Maps(bits, labelled_cells((masks != IGNORE) & valid.all(1), self.cell_px))
            progress.update(int(rows[-1]) + 1)
