"""Features of images and masks for the distances: of the teacher, of an Inception network, of a function of the user.

Reflectance goes in, as it is stored; every extractor converts it by constants that are the same for real and synthetic
patches, and tells them for the record. Nothing is fetched here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from specdm import figures
from specdm.errors import UserError
from specdm.figures import Composite
from specdm.labels import IGNORE
from specdm.nn.autoencoder import one_hot
from specdm.nn.teacher import Teacher
from specdm.patches import Normaliser, PatchMeta

SWIR2 = ("b12", "swir2", "swir 2", "swir-2", "swir_2")
SWIR2_NM = (2080, 2350)  # Sentinel-2 B12, Landsat band 7
INCEPTION_PX = 299


class Extractor(Protocol):
    """Where features come from; a batch goes in whole, on the device that the extractor was given.

    Attributes:
        id: name and digest of the weights, for tables: equal ids give comparable distances.
        constants: what images and masks were converted with, plain JSON.
    """

    id: str
    constants: dict[str, Any]

    def images(self, refl: np.ndarray, valid: np.ndarray) -> dict[str, np.ndarray]:
        """Reflectance (N,T,C,H,W) float32 and where it is valid (N,T,H,W) -> features (N,T,D) float32 of every view.

        UserError for NaN or infinity in a valid pixel.
        """
        ...

    def masks(self, masks: np.ndarray) -> np.ndarray | None:
        """Class ids (N,H,W) uint8, 255 = ignore -> features (N,D) float32, None where the extractor has none."""
        ...


class TeacherFeatures:
    """Pooled encoder features of a network that was trained on the real patches: it sees all bands. One view, "bands".

    Args:
        teacher: on `device`, in evaluation mode.
        normaliser: of the images it was trained on.
        identity: of its weights.
        classes: K of the masks.
        device: where it runs.
    """

    def __init__(
        self, teacher: Teacher, normaliser: Normaliser, identity: str, classes: int, device: torch.device
    ) -> None:
        self.id = f"teacher {identity}"
        self.constants = {"mean": list(normaliser.mean), "std": list(normaliser.std)}
        self._teacher, self._normaliser, self._classes, self._device = teacher, normaliser, classes, device

    @torch.no_grad()
    def images(self, refl: np.ndarray, valid: np.ndarray) -> dict[str, np.ndarray]:
        """See `Extractor`; pixels that are not valid look like the mean of every band, as in its training."""
        standardised = self._normaliser.apply(_seen(refl, valid)) * valid[:, :, None]
        images = torch.from_numpy(standardised).to(self._device)
        return {"bands": self._teacher.image_features(images).float().cpu().numpy()}

    @torch.no_grad()
    def masks(self, masks: np.ndarray) -> np.ndarray:
        """See `Extractor`; a pixel without a label has no class at all."""
        onehot = one_hot(torch.tensor(masks, device=self._device), self._classes)
        return self._teacher.mask_features(onehot).float().cpu().numpy()


class InceptionFeatures:
    """The 2048 features of FID and KID, with the network and the resizing of torch-fidelity; one view a composite.

    A composite is stretched linearly between limits that are the same for all patches, without the gamma of our
    pictures, and rounded to uint8; the network resizes it by its own bilinear rule, without antialiasing. A band
    without contrast is mid grey, a pixel without data black. Masks take the colours of their classes (grey without a
    label) and are brought to 299 px by the nearest pixel, so that the network's rule changes nothing and mixes no
    colours; these features depend on the palette.

    Args:
        weights: file of torch-fidelity's Inception weights; nothing is fetched.
        meta: of the patches.
        limits: reflectance (3,2) of every view, see `composite_limits`.
        device: where it runs.

    Raises:
        UserError: when the file is missing, damaged or of another network.
    """

    def __init__(self, weights: Path, meta: PatchMeta, limits: Mapping[str, np.ndarray], device: torch.device) -> None:
        sha256 = _sha256(weights)
        self.id = f"inception-v3 {sha256[:8]}"
        self._network = _inception(weights).to(device)
        self._views = [(c, np.asarray(limits[c.title], np.float32)) for c in inception_views(meta)]
        self._palette, self._device = figures.palette(meta.labels), device
        self.constants = {
            "weights_sha256": sha256,
            "stretch": "linear",
            "views": {c.title: {"bands": c.text, "limits_refl": stretch.tolist()} for c, stretch in self._views},
            "palette": {c.name: list(c.colour) for c in meta.labels.classes},
            "unlabelled": self._palette[IGNORE].tolist(),
            "masks_px": INCEPTION_PX,
        }

    def images(self, refl: np.ndarray, valid: np.ndarray) -> dict[str, np.ndarray]:
        """See `Extractor`."""
        seen = _seen(refl, valid)
        found = {}
        for view, limits in self._views:
            pictures = stretched(seen[:, :, view.channels], limits, valid)
            found[view.title] = self._features(pictures.reshape(-1, *pictures.shape[2:])).reshape(*refl.shape[:2], -1)
        return found

    def masks(self, masks: np.ndarray) -> np.ndarray:
        """See `Extractor`."""
        rows, columns = ((2 * np.arange(INCEPTION_PX) + 1) * n // (2 * INCEPTION_PX) for n in masks.shape[1:])
        coloured = self._palette[masks[:, rows[:, None], columns]]  # N 299 299 3
        return self._features(np.moveaxis(coloured, -1, 1))

    @torch.no_grad()
    def _features(self, pictures: np.ndarray) -> np.ndarray:
        """(N,3,H,W) uint8 -> (N,2048)."""
        (features,) = self._network(torch.from_numpy(np.ascontiguousarray(pictures)).to(self._device))
        return features.cpu().numpy()


class UserFeatures:
    """Features of the user's own extractor, for any number of bands: one view, "images", and none of masks.

    The function named "path/to/file.py:function" takes the PatchMeta of the patches and returns a callable or a
    torch.nn.Module, which takes reflectance (N,C,H,W) float32 on the device, each date by itself and pixels without
    data 0, and returns (N,D). The id has a digest of the file and, of a module, of its weights.

    Raises:
        UserError: naming the file, when it or the function is missing or fails, or returns another shape or NaN.
    """

    def __init__(self, name: str, meta: PatchMeta, device: torch.device) -> None:
        file, _, function = name.rpartition(":")
        path = Path(file)
        digest = hashlib.sha256(_sha256(path).encode())
        module = _guarded(name, "cannot be loaded", lambda: _module(path))
        if not callable(getattr(module, function, None)):
            raise UserError(f"{path} has no function {function!r}: name one that takes the meta data of the patches.")
        extractor = _guarded(name, "fails", lambda: getattr(module, function)(meta))
        if not callable(extractor):
            raise UserError(f"{name} returns {type(extractor).__name__}: let it return a callable or torch.nn.Module.")
        if isinstance(extractor, nn.Module):
            extractor = extractor.to(device).eval()
            for key, tensor in extractor.state_dict().items():
                digest.update(key.encode() + tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        self._name, self._extractor, self._device = name, extractor, device
        self._dimensions = 0  # unknown before the first batch
        self.id = f"{path.name}:{function} {digest.hexdigest()[:8]}"
        self.constants = {"function": name}

    @torch.no_grad()
    def images(self, refl: np.ndarray, valid: np.ndarray) -> dict[str, np.ndarray]:
        """See `Extractor`."""
        n, dates = refl.shape[:2]
        images = torch.from_numpy(_seen(refl, valid)).flatten(0, 1).to(self._device)
        features = _guarded(self._name, "fails", lambda: torch.as_tensor(self._extractor(images)))
        dimensions = self._dimensions or (features.shape[1] if features.ndim == 2 else 0)
        if not dimensions or tuple(features.shape) != (n * dates, dimensions):
            raise UserError(
                f"{self._name} returns features of the shape {tuple(features.shape)} for {n * dates} images: "
                f"let it return ({n * dates}, {self._dimensions or 'D'})."
            )
        self._dimensions = dimensions
        if not bool(torch.isfinite(features).all()):
            raise UserError(f"{self._name} returns features that are NaN or infinite: mend it.")
        return {"images": features.float().cpu().numpy().reshape(n, dates, -1)}

    def masks(self, masks: np.ndarray) -> None:
        """None: the function knows images only."""


def open_extractors(
    names: Sequence[str],
    meta: PatchMeta,
    device: torch.device,
    *,
    teacher: TeacherFeatures | None = None,
    inception_weights: Path | None = None,
    limits: Mapping[str, np.ndarray] | None = None,
) -> list[Extractor]:
    """The extractors of the names "teacher", "inception" and "path/to/file.py:function", in that order.

    Args:
        names: what to open.
        meta: of the patches.
        device: where they run.
        teacher: what "teacher" stands for.
        inception_weights, limits: of "inception", see InceptionFeatures.

    Raises:
        UserError: for another name, and when something it needs is missing or damaged.
    """
    opened: list[Extractor] = []
    for name in names:
        if name == "teacher" and teacher is not None:
            opened.append(teacher)
        elif name == "inception" and inception_weights is not None and limits is not None:
            opened.append(InceptionFeatures(inception_weights, meta, limits, device))
        elif ".py:" in name:
            opened.append(UserFeatures(name, meta, device))
        elif name in ("teacher", "inception"):
            needs = "a trained teacher" if name == "teacher" else "a file of weights"
            raise UserError(f"The features {name!r} need {needs}: give it, or leave these features out.")
        else:
            raise UserError(f"There are no features {name!r}: use teacher, inception or path/to/file.py:function.")
    return opened


def inception_views(meta: PatchMeta) -> list[Composite]:
    """The composites that Inception sees: those of the pictures, and SWIR2, near infrared and red where there are."""
    found = figures.composites(meta)
    nm = figures.wavelengths(meta)
    swir = [
        i
        for i, name in enumerate(meta.bands)
        if name.lower() in SWIR2 or (len(nm) and SWIR2_NM[0] <= nm[i] <= SWIR2_NM[1])
    ]
    for shown in found:
        if shown.title == "false colour" and swir:
            middle = swir[len(swir) // 2]  # of many narrow bands
            channels = [middle, *shown.channels[:2]]
            names = [figures.named_band(meta.bands[c], nm[c] if len(nm) else None) for c in channels]
            return [*found, Composite("short-wave infrared", channels, ", ".join(names))]
    return found


def composite_limits(meta: PatchMeta, refl: np.ndarray, valid: np.ndarray) -> dict[str, np.ndarray]:
    """Limits of reflectance (3,2) of every view of Inception: percentiles 2 and 98 of (N,T,C,H,W) at valid pixels.

    Measure them once on real training patches and use them for all sets: limits of each image, or of each set, hide
    errors of brightness.
    """
    return {c.title: figures.stretch_limits(refl, c.channels, valid) for c in inception_views(meta)}


# (refl - low) / (high - low), cut to 0..1, as 0..255
def stretched(refl: np.ndarray, limits: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Reflectance (N,T,3,H,W) -> uint8 of the same shape, linear between the limits (3,2).

    A band whose limits are equal is mid grey, a pixel that is not valid (N,T,H,W) black.
    """
    low, high = (limits[:, i, None, None] for i in (0, 1))
    scaled = np.where(high > low, (refl - low) / np.where(high > low, high - low, 1), 0.5).clip(0, 1)
    return np.rint(255 * scaled * valid[:, :, None]).astype(np.uint8)


def _seen(refl: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Reflectance (N,T,C,H,W) with 0 where it is not valid (N,T,H,W); UserError where it is NaN or infinite."""
    seen = np.where(valid[:, :, None], refl, np.float32(0))
    bad = ~np.isfinite(seen).all((1, 2, 3, 4))
    if bad.any():
        raise UserError(
            f"features: patch {int(np.flatnonzero(bad)[0])} of the batch has reflectance that is NaN or infinite; "
            "mark such pixels as nodata."
        )
    return seen


def _inception(weights: Path) -> nn.Module:
    """torch-fidelity's network, in evaluation mode; UserError for what is no file of its weights."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        torch.load(weights, map_location="cpu", weights_only=True)  # the library's own reading would run code in it
        return FeatureExtractorInceptionV3("inception-v3", ["2048"], feature_extractor_weights_path=str(weights))
    except Exception as error:  # what a damaged file raises has no class in common
        raise UserError(
            f"{weights} is damaged or holds no weights of torch-fidelity's Inception network "
            f"({type(error).__name__}): fetch it again."
        ) from error


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give a file that exists.") from error


def _module(path: Path) -> ModuleType:
    """A file as a module; it may import installed packages, not its neighbours."""
    spec = importlib.util.spec_from_file_location(f"specdm_user_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _guarded(name: str, what: str, call: Callable[[], Any]) -> Any:
    """The result of code of the user; what it raises becomes one sentence that names it."""
    try:
        return call()
    except Exception as error:
        reason = " ".join(f"{type(error).__name__} {error}".split()).rstrip(".")[:200]
        raise UserError(f"{name} {what} ({reason}): mend it.") from error
