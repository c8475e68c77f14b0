"""What patches are drawn for: masks, images, or the first of two dates, checked against a model and encoded by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from specdm.errors import UserError
from specdm.labels import IGNORE
from specdm.nn.autoencoder import JointAutoencoder, one_hot
from specdm.nn.streams import MASK, Streams
from specdm.patches import Normaliser

KEYS = ("mask", "image", "date1")


@dataclass(frozen=True)
class Given:
    """Some streams of n patches, which are kept as they are while the others are drawn.

    Attributes:
        masks: (n,H,W) uint8 class ids, 255 where there is no label; None where masks are drawn.
        refl: (n,T',C,H,W) float32 reflectance of the first T' dates; None where all images are drawn.
        valid: (n,T',H,W) bool, False where these hold no data; None where they hold data everywhere.
    """

    masks: np.ndarray | None = None
    refl: np.ndarray | None = None
    valid: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.refl if self.masks is None else self.masks)

    def rows(self, rows: Sequence[int] | np.ndarray) -> Given:
        """Some of the patches, in the order of `rows`."""
        return Given(*(None if of is None else of[np.asarray(rows)] for of in (self.masks, self.refl, self.valid)))

    def names(self, streams: Streams) -> frozenset[str]:
        """Names of the streams that are given."""
        dates = 0 if self.refl is None else self.refl.shape[1]
        return frozenset([*streams.images[:dates], *([] if self.masks is None else [MASK])])

    @torch.no_grad()
    def encode(self, network: JointAutoencoder, normaliser: Normaliser, device: torch.device) -> torch.Tensor:
        """Mean of the posterior (n,Z,h,w); zero in the channels of streams that are not given."""
        images = onehot = None
        if self.refl is not None:
            standardised = normaliser.apply(self.refl)
            if self.valid is not None:
                standardised = standardised * self.valid[:, :, None]
            images = torch.from_numpy(standardised).to(device)
        if self.masks is not None:
            onehot = one_hot(torch.from_numpy(self.masks).to(device), network.spec.classes)
        return network.encode_given(images, onehot)


def given(arrays: Mapping[str, np.ndarray], shape: tuple[int, int, int, int], classes: int) -> Given:
    """Check arrays against a model of patches of shape (T,C,H,W) with so many classes.

    Args:
        arrays: "mask": class ids (n,H,W), integers, 255 for no label; "image": reflectance of all dates (n,T,C,H,W);
            "date1": of the first of two dates, (n,C,H,W) or (n,1,C,H,W). The mask goes alone or with date1.

    Raises:
        UserError: for other keys or combinations, shapes, class ids, masks without a label, values that are not finite.
    """
    dates, bands, height, width = shape
    for key in arrays:
        if key not in KEYS:
            raise UserError(f"given: there is no {key!r}, choose among {', '.join(KEYS)}.")
    if not arrays or ("image" in arrays and len(arrays) > 1):
        raise UserError("given: name mask, image, date1, or date1 with mask; with image the mask is what is drawn.")
    if "date1" in arrays and dates < 2:
        raise UserError("given date1: this model draws patches of one date; give image, to have it labelled.")
    masks = refl = None
    if "mask" in arrays:
        masks = _masks(np.asarray(arrays["mask"]), (height, width), classes)
    key = next((key for key in ("image", "date1") if key in arrays), None)
    if key:
        refl = np.asarray(arrays[key], np.float32)
        if key == "date1" and refl.ndim == 4:
            refl = refl[:, None]
        wanted = (dates if key == "image" else 1, bands, height, width)
        if refl.ndim != 5 or refl.shape[1:] != wanted:
            raise UserError(
                f"given {key}: got an array of shape {np.shape(arrays[key])}, this model needs (n, "
                f"{', '.join(map(str, wanted))}): dates, bands, rows and columns."
            )
        if not np.isfinite(refl).all():
            raise UserError(f"given {key}: holds NaN or infinite values, fill them first.")
    found = Given(masks, refl)
    if not len(found):
        raise UserError(f"given {' and '.join(arrays)}: holds no patch.")
    if masks is not None and refl is not None and len(masks) != len(refl):
        raise UserError(f"given: {len(refl)} patches of date1 but {len(masks)} masks, give one mask for each.")
    return found


def _masks(masks: np.ndarray, side: tuple[int, int], classes: int) -> np.ndarray:
    if masks.ndim != 3 or masks.shape[1:] != side or masks.dtype.kind not in "iu":
        raise UserError(
            f"given mask: got an array of {masks.dtype} of shape {masks.shape}, this model needs class ids of shape "
            f"(n, {side[0]}, {side[1]})."
        )
    labelled = masks != IGNORE
    unknown = masks[labelled & ((masks < 0) | (masks >= classes))]
    if unknown.size:
        raise UserError(f"given mask: holds the id {unknown[0]}, this model knows 0 to {classes - 1} and 255 for none.")
    empty = np.flatnonzero(~labelled.any((1, 2)))
    if empty.size:
        raise UserError(f"given mask: patch {empty[0]} has no labelled pixel, leave it out.")
    return masks.astype(np.uint8)
