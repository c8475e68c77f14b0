import numpy as np
import pytest
import torch

from specdm.labels import OSCD, SEGMUNICH
from specdm.metrics.segmentation import ConfusionMatrix
from specdm.metrics.shapes import BoundaryScore, ObjectRecall
from specdm.patches import Normaliser, open_patches
from specdm.stages import downstream_test

CPU = torch.device("cpu")
GROUPS = {"a": ("train", 3), "b": ("test", 5), "c": ("test", 2), "d": ("val", 2), "e": ("test", 3)}


class Brightness(torch.nn.Module):
    """Takes the class of a pixel from its first band: any fixed function of the image will do."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def forward(self, x):
        ids = (x[:, 0, 0].abs() * 7).long() % self.classes
        return torch.nn.functional.one_hot(ids, self.classes).movedim(-1, 1).float()


@pytest.fixture(params=[1, 2])
def tested(request, tmp_path, write_patches):
    labels = SEGMUNICH if request.param == 1 else OSCD
    patches = open_patches(write_patches(tmp_path / "p", request.param, labels, GROUPS))
    normaliser, network = Normaliser.fit(patches), Brightness(len(labels))
    return patches, normaliser, network, downstream_test.score(network, patches, normaliser, CPU, 4)


def expected_ids(patches, normaliser, network, positions) -> np.ndarray:
    return network(torch.from_numpy(normaliser.apply(patches.reflectance(positions)))).argmax(1).numpy()


def test_each_group_has_the_counts_of_its_own_patches(tested):
    patches, normaliser, network, result = tested
    assert result.groups == ["b", "c", "e"]
    for matrix, group in zip(result.by_group, result.groups, strict=True):
        positions = np.flatnonzero((patches.index["group"] == group).to_numpy())
        confusion = ConfusionMatrix(len(patches.meta.labels))
        confusion.update(expected_ids(patches, normaliser, network, positions), patches.masks[positions])
        np.testing.assert_array_equal(matrix, confusion.matrix)
    assert result.by_group.dtype == np.int64


def test_scores_are_of_the_whole_split_with_those_of_shapes(tested):
    patches, normaliser, network, result = tested
    test, names = patches.ids("test"), patches.meta.labels.names
    ids = expected_ids(patches, normaliser, network, test)
    whole = ConfusionMatrix(len(names))
    whole.update(ids, patches.masks[test])
    expected = whole.scores(names)
    two = patches.images.shape[1] == 2
    shapes = ObjectRecall(1) if two else BoundaryScore(len(names))
    shapes.update(ids, patches.masks[test])
    expected |= shapes.scores() if two else shapes.scores(names)
    assert result.scores.keys() == expected.keys()
    for name, value in expected.items():
        assert result.scores[name] == pytest.approx(value, nan_ok=True), name
    assert ("recall_px_below_10" in expected) == two and ("boundary_f1_macro" in expected) != two


def test_the_maps_that_are_kept_are_those_of_the_showcase(tested):
    patches, normaliser, network, result = tested
    positions = downstream_test.showcase(patches, 4)
    assert set(positions) <= set(patches.ids("test")) and len(set(positions)) == 4
    np.testing.assert_array_equal(result.shown, expected_ids(patches, normaliser, network, positions))


def test_the_showcase_takes_the_richest_patch_of_every_group_first(tmp_path, write_patches):
    patches = open_patches(write_patches(tmp_path / "p", 1, SEGMUNICH, GROUPS))
    few = np.zeros(13, int)
    few[0] = 1024
    index = patches.index
    many = {4: 4, 6: 3, 8: 2, 9: 5, 13: 6}  # position -> classes; b: 3 to 7, c: 8 and 9, e: 12 to 14
    index["class_counts"] = [
        np.where(np.arange(13) < many[i], 1024 // many[i], 0) if i in many else few for i in range(len(index))
    ]
    assert downstream_test.showcase(patches, 3).tolist() == [4, 9, 13]
    assert downstream_test.showcase(patches, 5).tolist()[:3] == [4, 6, 8]
    assert len(downstream_test.showcase(patches, 99)) == 10
