"""Warnings about the declared band order: none on correct data, one or more on the usual mistakes."""

import numpy as np
import pytest

from specdm import rasters
from specdm.bands import BAND_SETS, indices
from specdm.labels import SEGMUNICH
from specdm.sources import oscd_raster, simulate
from specdm.sources.plausibility import BandStatistics, strange_classes, strange_offsets, strange_order

ALL = BAND_SETS["all"]
RGBN = ("B02", "B03", "B04", "B08")


def exchanged(bands, one, other):
    return tuple({one: other, other: one}.get(name, name) for name in bands)


def last(bands, name):
    return (*(b for b in bands if b != name), name)


# What files hold at the places of the declared bands: (declared, truly held).
MISTAKES = [
    *((bands, bands[::-1]) for bands in BAND_SETS.values()),
    *((bands, last(bands, "B8A")) for bands in BAND_SETS.values()),  # files in the order of their names
    *((last(bands, "B8A"), bands) for bands in BAND_SETS.values()),
    *((bands, (*bands[-2:], *bands[:-2])) for bands in BAND_SETS.values()),  # B11 and B12 come first
    *(((*bands[-2:], *bands[:-2]), bands) for bands in BAND_SETS.values()),
    *((bands, exchanged(bands, "B11", "B12")) for bands in BAND_SETS.values()),
    *((bands, exchanged(bands, "B02", "B04")) for bands in BAND_SETS.values()),
    (RGBN, RGBN[::-1]),
    (RGBN, ("B08", "B02", "B03", "B04")),
]


def correlation(pixels):
    statistics = BandStatistics(len(pixels))
    statistics.update(pixels.reshape(len(pixels), -1))
    return statistics.correlation()


def held(matrix, bands):
    """The rows and columns of some bands out of a matrix of all thirteen."""
    picks = indices(ALL, bands)
    return matrix[np.ix_(picks, picks)]


def mixed(n=3000):
    """Reflectance (13,n) of made-up surfaces: random mixtures of leaves, soil and water."""
    leaves = (250, 300, 500, 330, 850, 2500, 3100, 3250, 3400, 3400, 15, 1700, 800)
    soil = (600, 780, 1050, 1350, 1600, 1750, 1850, 1950, 2050, 2100, 15, 2700, 2350)
    water = (450, 480, 560, 380, 330, 260, 250, 230, 220, 200, 8, 120, 80)
    rng = np.random.default_rng(0)
    shares = rng.dirichlet((1, 1, 0.3), n)
    return 1e-4 * (shares @ np.array([leaves, soil, water])).T + rng.normal(0, 0.002, (13, n))


@pytest.fixture(scope="module")
def mosaic():
    """A simulated mosaic of surface reflectance in the paper's bands, and its classes."""
    return simulate.mosaic(384, seed=2)


@pytest.mark.parametrize(("dtype", "scale", "shift"), [("float64", 1, 0), ("uint16", 1e4, 100), ("float32", 1, 1e3)])
def test_streamed_correlations_are_those_of_all_pixels_at_once(dtype, scale, shift):
    pixels = (np.abs(mixed()) * scale + shift).astype(dtype)
    statistics = BandStatistics(13)
    for part in np.split(pixels, [0, 1, 2, 700], axis=1):
        statistics.update(part)
    assert statistics.n == 3000
    np.testing.assert_allclose(statistics.correlation(), np.corrcoef(pixels.astype(float)), atol=1e-9)


def test_pixels_that_are_not_finite_are_left_out():
    pixels = mixed()
    statistics = BandStatistics(13)
    gaps = pixels.copy()
    gaps[3, :50], gaps[7, 50:100] = np.nan, np.inf
    statistics.update(gaps)
    assert statistics.n == 2900
    np.testing.assert_allclose(statistics.correlation(), np.corrcoef(pixels[:, 100:]), atol=1e-9)


@pytest.mark.parametrize("constant", [0, 0.1, 1e6 / 3])
def test_a_constant_band_has_no_correlation(constant):
    pixels = mixed()
    pixels[4] = constant
    found = correlation(pixels)
    assert np.isnan(found[4]).all() and np.isnan(found[:, 4]).all()
    assert np.isfinite(np.delete(np.delete(found, 4, 0), 4, 1)).all()


@pytest.mark.parametrize("pixels", [np.ones((3, 0)), np.ones((3, 1)), np.full((3, 5), np.nan)])
def test_too_few_pixels_have_no_correlation(pixels):
    assert np.isnan(correlation(pixels)).all()


@pytest.mark.parametrize("bands", [*BAND_SETS.values(), RGBN, ("B02", "B03", "B04", "B8A", "B11", "B12")])
def test_the_true_order_is_plausible(bands):
    assert strange_order(bands, held(np.corrcoef(mixed()), bands)) == []


@pytest.mark.parametrize(("declared", "true"), MISTAKES)
def test_usual_mistakes_are_seen(declared, true):
    assert strange_order(declared, held(np.corrcoef(mixed()), true))


def test_any_order_is_plausible_if_declared():
    matrix = np.corrcoef(mixed())
    for declared, true in MISTAKES:
        assert strange_order(true, held(matrix, true)) == strange_order(declared, held(matrix, declared)) == []


def test_a_warning_names_the_bands_and_their_correlations():
    matrix = np.eye(4)
    for (i, j), value in {(0, 1): 0.42, (0, 3): 0.5, (1, 3): 0.917, (1, 2): 0.95, (2, 3): 0.6}.items():
        matrix[i, j] = matrix[j, i] = value
    assert strange_order(RGBN, matrix) == [
        "B03 resembles B08 (correlation 0.92) more than its neighbour B02 (0.42): "
        "check the declared order of the bands."
    ]


def test_nothing_is_said_without_evidence():
    reverse = held(np.corrcoef(mixed()), ALL[::-1])
    assert strange_order(ALL, reverse)
    assert strange_order([f"band {i}" for i in range(13)], reverse) == []
    assert strange_order(("B11", "B12"), np.eye(2)) == []
    assert strange_order(("B02", "B03", "B04"), np.array([[1, 0.1, 0.9], [0.1, 1, 0.2], [0.9, 0.2, 1]])) == []
    reverse[ALL.index("B06")] = reverse[:, ALL.index("B06")] = np.nan
    assert strange_order(ALL, reverse) == []


def test_a_band_that_is_not_judged_may_be_constant():
    pixels = mixed()
    pixels[ALL.index("B10")] = 0  # as in products of surface reflectance
    matrix = correlation(pixels)
    assert strange_order(ALL, matrix) == []
    assert strange_order(ALL, held(matrix, last(ALL, "B8A")))


def test_simulated_scenes_are_plausible_and_their_mistakes_seen(mosaic, simulated_oscd):
    paper = BAND_SETS["paper"]
    surface = correlation(mosaic[0][:, mosaic[1] > 0])
    assert strange_order(paper, surface) == []
    assert strange_order(paper[::-1], surface) and strange_order(last(paper, "B8A"), surface)
    for city in ("alder", "birch", "cedar"):
        folder = simulated_oscd / "Onera Satellite Change Detection dataset - Images" / city
        for pixels in oscd_raster.read_dates(folder, ALL, "registered"):
            matrix = correlation(pixels)
            assert strange_order(ALL, matrix) == []
            assert strange_order(ALL, matrix[::-1, ::-1])


def test_classes_of_segmunich_in_both_orders(mosaic):
    pixels, labels = mosaic
    paper = BAND_SETS["paper"]
    with np.errstate(invalid="ignore"):
        means = np.stack([pixels[:, labels == k].sum(axis=1) / (labels == k).sum() for k in range(len(SEGMUNICH))])
    assert strange_classes(SEGMUNICH.names, means, paper) == []
    found = strange_classes(SEGMUNICH.names, means, paper[::-1])
    assert any("forests is darker in B8A than in B04" in sentence for sentence in found)
    assert any("surface water is brighter in B12 than in B02" in sentence for sentence in found)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("forest", "vegetation"),
        ("Broad-leaved Forests", "vegetation"),
        ("trees/woodland", "vegetation"),
        ("artificial_vegetation", "vegetation"),
        ("water", "water"),
        ("Open water (permanent)", "water"),
        ("sea", "water"),
        ("rivers", "water"),
        ("not water", None),
        ("non-water", None),
        ("no_vegetation", None),
        ("without trees", None),
        ("wetland", None),
        ("shrub", None),
        ("deforestation", None),
        ("street", None),
        ("seasonal crops", None),
        ("trees in water", None),
        ("sea ice", None),
        ("dry river bank", None),
        ("cloud over sea", None),
        ("urban fabric", None),
        ("", None),
    ],
)
def test_classes_are_known_by_whole_words(name, seen):
    bands = ("B02", "B04", "B08", "B12")
    inverted = np.array([[0.1, 0.4, 0.2, 0.3]])  # neither leaves nor water
    found = strange_classes([name], inverted, bands)
    assert len(found) == (seen is not None)
    if seen:
        contrast = {"vegetation": "darker in B08 than in B04", "water": "brighter in B12 than in B02"}[seen]
        assert found == [f"The class {name} is {contrast}: check the declared order of the bands."]
    assert strange_classes([name], 0.5 - inverted, bands) == []


def test_classes_are_not_judged_without_their_bands_or_pixels():
    names, means = ("forest", "water"), np.array([[0.1, 0.4, 0.2, 0.3]] * 2)
    assert strange_classes(names, means, ("band 1", "band 2", "band 3", "band 4")) == []
    assert strange_classes(names, means, ("B03", "B05", "B08", "B11")) == []
    assert strange_classes(names, np.full((2, 4), np.nan), ("B02", "B04", "B08", "B12")) == []
    both = ("B8A", "B04", "B08", "B12")  # where both are there, B8A decides
    assert strange_classes(names, means, both) == [
        "The class forest is darker in B8A than in B04: check the declared order of the bands."
    ]


def real_scenes(folder):
    """Name -> (bands, correlations) of real scenes: towns, coasts, a desert, a flood, forest, and two under cloud."""
    images = folder / "oscd" / "Onera Satellite Change Detection dataset - Images"
    for city in ("paris", "norcia", "rio", "beirut", "abudhabi", "montpellier"):
        for date, pixels in enumerate(oscd_raster.read_dates(images / city, ALL, "official")):
            yield f"{city} {date + 1}", ALL, correlation(pixels[:, ::2, ::2])
    flood = rasters.read(folder / "sen1floods11" / "Spain_7370579_S2Hand.tif").pixels
    yield "flood", ALL, correlation(flood)
    coast = rasters.read(folder / "aberystwyth" / "sen2_20210527_aber_subset.tif").pixels
    yield "coast", BAND_SETS["spectralgpt"], correlation(coast)
    forest = np.load(folder / "slovenia" / "REFERENCE_SCENES.npy")
    for date, pixels in enumerate(forest):
        yield f"forest {date}", ALL, correlation(np.moveaxis(pixels, -1, 0))


def test_real_scenes_are_plausible_and_nearly_all_mistakes_seen(real_data):
    seen = []
    for name, bands, matrix in real_scenes(real_data):
        for declared in (*BAND_SETS.values(), RGBN):
            if set(declared) <= set(bands):
                picks = indices(bands, declared)
                assert strange_order(declared, matrix[np.ix_(picks, picks)]) == [], name
        for declared, true in MISTAKES:
            if set(true) <= set(bands):
                picks = indices(bands, true)
                seen.append(bool(strange_order(declared, matrix[np.ix_(picks, picks)])))
    assert len(seen) > 300
    assert np.mean(seen) > 0.95


def test_real_classes_are_plausible_and_their_mistakes_seen(real_data):
    folder = real_data / "aberystwyth"
    pixels = rasters.read(folder / "sen2_20210527_aber_subset.tif").pixels
    labels = rasters.read(folder / "aber_subset_labels.tif").pixels[0]
    means = np.stack([pixels[:, labels == k].mean(axis=1) for k in (1, 2, 3, 4)])
    names, bands = ("Forest", "Grass", "Urban", "Water"), BAND_SETS["spectralgpt"]
    assert strange_classes(names, means, bands) == []
    assert len(strange_classes(names, means, bands[::-1])) == 2


def darkest(pixels) -> np.ndarray:
    """The 1st percentile of images (...,C,H,W) of Sentinel-2 numbers in every band, (...,C) reflectance."""
    return np.percentile(np.asarray(pixels, float), 1, axis=(-2, -1)) * 1e-4


def test_an_offset_on_one_date_is_seen(simulated_oscd):
    folder = simulated_oscd / "Onera Satellite Change Detection dataset - Images"
    for city in ("alder", "birch", "cedar"):
        dates = darkest(oscd_raster.read_dates(folder / city, ALL, "registered"))
        for bands in (*BAND_SETS.values(), RGBN, ("B03", "B04", "B8A")):
            pair = dates[:, indices(ALL, bands)]
            assert strange_offsets(bands, {city: pair}) == []
            assert strange_offsets(bands, {city: pair + 0.1}) == []  # both dates have it
            for date, word in enumerate(("first", "second")):
                shifted = pair.copy()
                shifted[date] += 0.1
                (told,) = strange_offsets(bands, {"other": pair, city: shifted})
                assert f"in {city} ({word} date, by 0." in told and "baseline 04.00" in told and "other" not in told


@pytest.mark.parametrize(
    ("bands", "step", "told"),
    [
        (RGBN, (0.1, 0.1, 0.1, 0.1), True),
        (RGBN, (0.06, 0.08, 0.12, 0.14), True),
        (RGBN, (0.1, 0.1, 0.1, 0.04), False),  # haze: little of it in the infrared
        (RGBN, (0.0, 0.1, 0.1, 0.1), False),
        (RGBN, (0.2, 0.2, 0.2, 0.2), False),  # cloud or snow
        (RGBN, (0.1, 0.1, 0.1, -0.1), False),
        (RGBN[:3], (0.1, 0.1, 0.1), False),  # visible bands alone
        (("B04", "B08"), (0.1, 0.1), False),
        (("B02", "B03", "B04", "B08", "B10", "B12"), (0.1, 0.1, 0.1, 0.1, 0.0, 0.3), True),
        (("blue", "green", "red", "nir"), (0.1, 0.1, 0.1, 0.1), False),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_which_steps_are_offsets(bands, step, told, sign):
    first = np.full(len(bands), 0.3)
    pair = np.stack([first, first + sign * np.array(step)])
    assert bool(strange_offsets(bands, {"scene": pair})) == told


@pytest.mark.parametrize("labelled", [True, False])
def test_an_offset_in_the_files_becomes_a_warning_of_the_set(labelled, simulated_oscd, lay, cut):
    folder = simulated_oscd / "Onera Satellite Change Detection dataset - Images"
    dates = oscd_raster.read_dates(folder / "alder", RGBN, "registered").astype("uint16")
    halves = (np.arange(dates.shape[2])[:, None] // 8 + np.arange(dates.shape[3]) // 8) % 2
    labels = lay("l.tif", (1 + halves).astype("uint8")) if labelled else None
    names = [lay(f"{date}.tif", pixels) for date, pixels in enumerate(dates)]
    newer = lay("newer.tif", dates[1] + np.uint16(1000))
    classes = [{"name": "x", "codes": [1]}, {"name": "y", "codes": [2]}]
    settings = {"bands": RGBN, "scale": 1e-4, "classes": classes, "nodata": None}

    def warnings(images, level="TOA", **more):
        return cut({"images": images, "labels": labels, "name": "alder"}, level=level, **settings | more).meta.warnings

    assert warnings(names) == ()
    (told,) = warnings([names[0], newer])
    assert "alder (second date, by 0.1" in told
    assert warnings([names[0], newer], "unitless") == ()
    assert warnings([names[0], newer], scale=1e-3) == ()  # then 1000 is no offset of 0.1
    assert warnings([names[0], newer], sensor="other") == ()


def test_real_pairs_have_no_offset_and_most_added_ones_are_seen(real_data):
    images = real_data / "oscd" / "Onera Satellite Change Detection dataset - Images"
    bands = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A")
    seen = []
    for city in sorted(path for path in images.iterdir() if path.is_dir()):
        pair = np.empty((2, len(bands)))
        for date in (0, 1):
            files = [next((city / f"imgs_{date + 1}").glob(f"*_{band}.tif")) for band in bands]
            pair[date] = [np.percentile(p[p > 0], 1) * 1e-4 for p in (rasters.read(file).pixels for file in files)]
        for chosen in (bands, RGBN):
            some = pair[:, indices(bands, chosen)]
            assert strange_offsets(chosen, {city.name: some}) == [], city.name
            for date in (0, 1):
                shifted = some.copy()
                shifted[date] += 0.1
                seen.append(bool(strange_offsets(chosen, {city.name: shifted})))
    assert len(seen) == 96
    assert np.mean(seen) > 0.8
