import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from specdm.errors import UserError
from specdm.labels import SEGMUNICH
from specdm.metrics.band_statistics import REFL_BINS
from specdm.metrics.groups import halves
from specdm.patches import PatchRecord, PatchWriter, open_patches
from specdm.stages import set_statistics
from specdm.stages.scores import Scores


@pytest.fixture(params=["segmentation_patches", "change_patches"])
def patches(request):
    return open_patches(request.getfixturevalue(request.param))


def _halves(patches, seed=0):
    train = patches.ids("train")
    groups = patches.index["group"].to_numpy()
    first = halves(len(train), groups[train], seed)
    parts = train[first], train[~first]
    return parts, [set_statistics.measure(patches, part) for part in parts], groups[np.concatenate(parts)]


def test_both_halves_together_are_the_whole(patches):
    parts, measured, _ = _halves(patches)
    both = set_statistics.joined(*measured)
    whole = set_statistics.measure(patches, np.concatenate(parts))
    assert (both.spectra.counts == whole.spectra.counts).all() and np.allclose(both.spectra.sums, whole.spectra.sums)
    assert (both.masks.pixels == whole.masks.pixels).all() and sorted(both.masks.area_px) == sorted(whole.masks.area_px)
    assert (both.bands.counts == whole.bands.counts).all() and np.allclose(both.bands.scatter, whole.bands.scatter)
    assert np.allclose(both.power.sums, whole.power.sums)
    dates = patches.images.shape[1]
    assert len(whole.dates) == dates and (whole.change is None) == (dates == 1)
    assert sum(d.counts.sum() for d in whole.dates) == whole.spectra.counts.sum()


def test_a_set_with_itself_is_at_no_distance_and_floors_are_those_of_the_halves(patches):
    parts, (first, second), groups = _halves(patches)
    same = set_statistics.joined(first, second)
    found = set_statistics.compare(first, second, same, patches.meta, groups, 50, 0)
    nothing = {name for name in found.values if name.split("_")[0] in ("wasserstein", "area", "boundary", "class")}
    for name in nothing - {n for n in nothing if n.endswith("_floor")}:
        assert found.values[name] == pytest.approx(0, abs=1e-9), name
    assert found.values["fine_detail_ratio"] == pytest.approx(1)
    assert found.values["msad_rad"] == pytest.approx(0, abs=1e-7)
    refl = [np.moveaxis(patches.reflectance(part), 2, 0).reshape(len(patches.meta.bands), -1) for part in parts]
    exact = np.mean([wasserstein_distance(a, b) for a, b in zip(*refl, strict=True)])
    assert found.values["wasserstein_refl_floor"] == pytest.approx(exact, abs=REFL_BINS.width)
    change = {name for name in found.values if name.startswith("change_")}
    assert len(change) == (4 if patches.images.shape[1] == 2 else 0)
    assert found.values["impossible_negative_real"] == found.values["impossible_negative_synthetic"]


def test_darker_and_blurred_samples_are_farther(patches):
    _, (first, second), groups = _halves(patches)
    train = patches.ids("train")

    class Changed:
        """The training patches with changed reflectance."""

        meta, images, masks, index = patches.meta, patches.images, patches.masks, patches.index
        valid = patches.valid

        def __init__(self, change):
            self.change = change

        def reflectance(self, rows):
            return self.change(patches.reflectance(rows))

    def compared(change):
        drawn = set_statistics.measure(Changed(change), train)
        return set_statistics.compare(first, second, drawn, patches.meta, groups, 50, 0).values

    def blur(x):
        return sum(np.roll(x, s, axis=-1) for s in (-1, 0, 1)) / 3

    plain, dark, darker = (compared(lambda x, f=f: f * x) for f in (1.0, 0.9, 0.5))
    assert plain["wasserstein_refl"] < dark["wasserstein_refl"] < darker["wasserstein_refl"]
    assert dark["msad_rad"] == pytest.approx(plain["msad_rad"], abs=1e-5)  # a gain turns no spectrum
    once, twice = compared(blur), compared(lambda x: blur(blur(x)))
    assert 1 > once["fine_detail_ratio"] > twice["fine_detail_ratio"]
    assert plain["power_distance_db"] < once["power_distance_db"] < twice["power_distance_db"]


def test_holes_leave_masks_and_not_spectra(patches):
    rows = patches.ids("train")[:4]
    holes = np.zeros((4, 32, 32), bool)
    holes[:, :16] = True
    whole, holed = set_statistics.measure(patches, rows), set_statistics.measure(patches, rows, holes=holes)
    assert (holed.spectra.counts == whole.spectra.counts).all()
    assert (holed.masks.pixels.sum(1) == (patches.masks[rows][:, 16:] != 255).sum((1, 2))).all()


def test_unitless_values_have_bins_of_their_range_and_no_physical_bounds(tmp_path, write_patches):
    patches = open_patches(write_patches(tmp_path / "raw", 1, SEGMUNICH, level="unitless", scale=1.0, offset=0.0))
    train = patches.ids("train")
    bins = set_statistics.bins_of(patches, train)
    values = patches.reflectance(train)
    assert bins.low < values.min() and values.max() < bins.high and bins.high < 2 * values.max()
    drawn = set_statistics.measure(patches, train, bins)
    found = set_statistics.compare(drawn, drawn, drawn, patches.meta, ["a"] * (2 * len(train)), 20, 0)
    assert "no physical bounds" in found.reasons["impossible_negative_real"]
    assert np.isnan(found.values["impossible_negative_real"])
    assert drawn.bands.outside.sum() == 0


def test_classes_with_few_pixels_and_constant_images_are_told(tmp_path, segmentation_patches):
    patches = open_patches(segmentation_patches)
    rows = patches.ids("train")
    masks, flat = np.ones((4, 32, 32), np.uint8), np.full((4, *patches.images.shape[1:]), 2000, np.uint16)
    masks[0, 0, :5] = 2
    with PatchWriter(tmp_path / "flat", patches.meta, patches.images.shape[1:], "uint16") as writer:
        writer.append(flat, masks, [PatchRecord(f"s{i}", "train", f"s{i}", "x") for i in range(4)])
    samples = open_patches(tmp_path / "flat")
    real = set_statistics.measure(patches, rows)
    found = set_statistics.compare(
        real, real, set_statistics.measure(samples, np.arange(4)), patches.meta, ["a"] * 2 * len(rows), 20, 0
    )
    assert "fewer than 100 pixels" in found.reasons["sad_rad_permanent_crops"]
    assert found.values["sad_rad_arable_land"] > 0
    band = patches.meta.bands[0]
    assert f"band {band} has one value everywhere" in found.reasons["band_correlation_difference"]
    assert "constant" in found.reasons["power_distance_db"] and "constant" in found.reasons["fine_detail_ratio"]
    assert all(np.isnan(found.values[name]) for name in found.reasons)
    assert set(found.reasons) >= {name for name, value in found.values.items() if np.isnan(value)}


def test_a_score_that_is_refused_is_nan_with_its_reason():
    scores = Scores()
    scores.add(["a"], lambda: {"a": 1.0, "extra": 2.0})

    def refuse():
        raise UserError("too few patches: add some.")

    scores.add(["b", "c"], refuse)
    assert scores.values["a"] == 1 and scores.values["extra"] == 2
    assert np.isnan(scores.values["b"]) and scores.reasons == dict.fromkeys("bc", "too few patches: add some")
    other = Scores({"a": 3.0}, {"d": "why"})
    scores.join(other)
    assert scores.values["a"] == 3 and scores.reasons["d"] == "why"
