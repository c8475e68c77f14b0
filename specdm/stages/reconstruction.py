"""The round trip of patches through an autoencoder: its errors, and some of it to look at."""

from __future__ import annotations

import numpy as np
import torch

from specdm import figures
from specdm.metrics.spectral import ReconstructionErrors
from specdm.nn.autoencoder import JointAutoencoder, one_hot
from specdm.patches import Normaliser
from specdm.progress import Progress
from specdm.stages.batches import Mixture

BATCH = 32


@torch.no_grad()
def reconstruct(
    network: JointAutoencoder,
    mixture: Mixture,
    normaliser: Normaliser,
    device: torch.device,
    n_shown: int,
    progress: Progress | None = None,
) -> tuple[dict[str, float], list[figures.Block]]:
    """Errors of the round trip of some patches through the posterior mean, and the first n_shown of them to look at.

    The errors are those of the paper's table 4 and more, see `ReconstructionErrors`.
    """
    errors = ReconstructionErrors()
    columns: list[list[np.ndarray]] = [[] for _ in range(5)]
    for start in range(0, len(mixture), BATCH):
        batch = mixture.batch(np.arange(start, min(start + BATCH, len(mixture))), normaliser)
        there = batch.to(device)
        result = network(there.images, one_hot(there.masks, mixture.n_classes), None)
        real = normaliser.invert(batch.images.numpy())
        fake = normaliser.invert(result.images.float().cpu().numpy())
        logits = result.mask_logits.float().cpu().numpy()
        masks, valid = batch.masks.numpy(), batch.valid.numpy()
        errors.update(real, fake, logits, masks, valid=valid)
        if start < n_shown:
            for column, values in zip(columns, (real, masks, valid, fake, logits.argmax(1)), strict=True):
                column.append(values[: n_shown - start])
        if progress:
            progress.update(start + len(masks))
    if not n_shown:
        return errors.scores(), []
    real, masks, valid, fake, drawn = (np.concatenate(column) for column in columns)
    shown = [figures.Block("validation patches", real, masks, valid), figures.Block("reconstructed", fake, drawn)]
    return errors.scores(), shown
