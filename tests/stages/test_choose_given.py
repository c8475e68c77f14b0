"""What patches are drawn for: masks as they are, edited change masks, images whose labels are not seen."""

import numpy as np
import pytest
from scipy.ndimage import label

from specdm.labels import IGNORE
from specdm.patches import open_patches
from specdm.stages.batches import stratified_subset
from specdm.stages.choose_given import edited_mask

EIGHT = np.ones((3, 3))


@pytest.fixture
def choose(tmp_path, verb, change_patches):
    """Chooses from a set of change pairs: choose(kind, n, ...) -> the patch set."""

    def run(kind, n, **options):
        out = tmp_path / f"{kind}-{n}-{len(list(tmp_path.iterdir()))}"
        assert verb("choose-given", patches=change_patches, out=out, kind=kind, n=n, **options) == 0
        return open_patches(out)

    return run


def test_masks_are_those_of_the_labelled_patches(choose, change_patches):
    whole = open_patches(change_patches)
    labelled = stratified_subset(whole, 6, 3)
    chosen = choose("masks", 100, n_real=6, subset_seed=3)
    assert list(chosen.index["id"]) == list(whole.index["id"].iloc[labelled])
    np.testing.assert_array_equal(chosen.masks, whole.masks[labelled])
    np.testing.assert_array_equal(chosen.images, whole.images[labelled])
    assert len(choose("masks", 4, n_real=6, subset_seed=3)) == 4


def test_images_are_others_than_the_labelled_and_tell_no_label(choose, change_patches):
    whole = open_patches(change_patches)
    labelled = set(whole.index["id"].iloc[stratified_subset(whole, 6, 3)])
    chosen = choose("images", 1000, n_real=6, subset_seed=3, unlabelled=[change_patches])
    ids = {name.removeprefix(f"{whole.meta.name}-") for name in chosen.index["id"]}
    assert ids == set(whole.index["id"].iloc[whole.ids("train")]) - labelled
    assert (chosen.masks == IGNORE).all() and set(chosen.index["split"]) == {"train"}
    by_id = {name: i for i, name in enumerate(whole.index["id"])}
    rows = [by_id[name.removeprefix(f"{whole.meta.name}-")] for name in chosen.index["id"]]
    np.testing.assert_array_equal(chosen.images, whole.images[rows])
    few = choose("images", 5, n_real=6, subset_seed=3, unlabelled=[change_patches])
    assert list(few.index["id"]) == list(chosen.index["id"])[:5]
    other = choose("images", 5, n_real=6, subset_seed=3, unlabelled=[change_patches], seed=1)
    assert list(other.index["id"]) != list(few.index["id"])


def test_edited_patches_keep_their_images_and_get_changes(choose, change_patches):
    whole = open_patches(change_patches)
    labelled = stratified_subset(whole, 12, 0)
    chosen = choose("edited", 30, n_real=12)
    rows = labelled[np.arange(30) % 12]
    np.testing.assert_array_equal(chosen.images, whole.images[rows])
    assert ((chosen.masks != 0) & (chosen.masks != IGNORE)).any((1, 2)).all()
    assert (chosen.masks != whole.masks[rows]).any((1, 2)).mean() > 0.8
    assert list(chosen.index["group"]) == list(whole.index["group"].iloc[rows])
    assert chosen.meta.synthetic
    again = choose("edited", 15, n_real=12)
    np.testing.assert_array_equal(again.masks, chosen.masks[:15])


def test_moved_objects_keep_their_shape_and_pixels_without_label_stay():
    rng = np.random.default_rng(0)
    donor = np.zeros((24, 24), np.uint8)
    donor[2:5, 3:9] = 1  # 3 x 6 pixels
    own = np.zeros((24, 24), np.uint8)
    own[20:23, 20:22] = 1
    own[10:12] = IGNORE
    kept, whole = [], 0
    for _ in range(200):
        edited = edited_mask(own, donor, rng)
        assert ((edited == IGNORE) == (own == IGNORE)).all()
        kept.append((edited[20:23, 20:22] == 1).all())
        new = (edited == 1) & (own != 1)
        regions, n = label(new, EIGHT)
        assert n or kept[-1]
        sizes = [np.ptp(np.nonzero(regions == 1), axis=1) + 1] if n == 1 else []
        whole += any(sorted(size) == [3, 6] for size in sizes)
    assert 0.4 < np.mean(kept) < 0.65  # half of them, and a few by chance
    assert whole > 60


def test_changes_of_several_classes_stay_what_they_are():
    donor = np.zeros((8, 8), np.uint8)
    donor[3, 3:5] = 2
    donor[4, 3:5] = 3
    edited = [edited_mask(np.zeros((8, 8), np.uint8), donor, np.random.default_rng(i)) for i in range(40)]
    assert {int(v) for mask in edited for v in np.unique(mask)} == {0, 2, 3}
    assert any((mask == 2).sum() == 2 and (mask == 3).sum() == 2 for mask in edited)


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("images", {"n_real": 4}, "no image to label"),
        ("images", {"unlabelled": ["self"]}, "no training patch beside"),
        ("paint", {}, "there is no 'paint', choose one of masks, edited, images"),
        ("masks", {"n_real": 9999}, "lower n_real"),
    ],
)
def test_what_cannot_be_chosen_is_said(tmp_path, verb, change_patches, kind, options, sentence):
    if "unlabelled" in options:
        options = {"unlabelled": [change_patches]}
    out = tmp_path / "out"
    assert sentence in verb("choose-given", patches=change_patches, out=out, kind=kind, n=3, **options)
    assert not out.exists()


def test_patches_of_one_date_have_no_change_mask(tmp_path, verb, segmentation_patches):
    said = verb("choose-given", patches=segmentation_patches, out=tmp_path / "out", kind="edited", n=3)
    assert "one date" in said
