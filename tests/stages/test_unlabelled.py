"""What is trained on a set without labels: nothing that needs them."""

import numpy as np
import pytest

from specdm.labels import IGNORE
from specdm.patches import PatchRecord, PatchWriter, open_patches


@pytest.fixture
def bare(segmentation_patches, tmp_path):
    """The patches of a labelled set without their labels."""
    patches = open_patches(segmentation_patches)
    with PatchWriter(tmp_path / "bare", patches.meta, patches.images.shape[1:], patches.images.dtype) as writer:
        records = [PatchRecord(row.id, "train", row.group, row.source) for row in patches.index.itertuples()]
        writer.append(np.array(patches.images), np.full(patches.masks.shape, IGNORE, np.uint8), records)
    return tmp_path / "bare"


@pytest.mark.parametrize(
    ("stage", "more"),
    [
        ("train-autoencoder", {}),
        ("train-teacher", {}),
        ("train-downstream", {"network": "unet", "regime": {"real": 1, "synthetic": 0}, "n_real": 2}),
    ],
)
def test_nothing_is_trained_on_it(stage, more, bare, verb, tmp_path):
    folders = {"patches": bare, "out": tmp_path / "out", "state": tmp_path / "state"}
    assert verb(stage, **folders, **more) == f"error: {bare} has no labels: train on a labelled set."
    assert not (tmp_path / "out").exists()
