import pytest

from specdm import bands
from specdm.errors import UserError


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("B1", "B01"), ("b01", "B01"), ("B8A", "B8A"), ("b08a", "B8A"), (" B08 ", "B08"), ("8", "B08"), ("B12", "B12")],
)
def test_a_band_is_known_by_every_usual_name(written, canonical):
    assert bands.parse(written) == canonical


@pytest.mark.parametrize("written", ["B13", "B00", "red", "", "B8B"])
def test_an_unknown_band_is_refused(written):
    with pytest.raises(UserError, match="Sentinel-2 has no band"):
        bands.parse(written)


def test_the_paper_lists_ten_bands_with_coastal_aerosol_and_without_b08():
    paper, spectralgpt = bands.resolve("paper"), bands.resolve("spectralgpt")
    assert len(paper) == len(spectralgpt) == 10
    assert set(paper) - set(spectralgpt) == {"B01"}
    assert set(spectralgpt) - set(paper) == {"B08"}
    assert len(bands.resolve("all")) == 13


def test_a_list_keeps_its_order():
    assert bands.resolve(["B12", "b2"]) == ("B12", "B02")


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("papr", "did|use 'paper'"),
        ([], "is empty or names a band twice"),
        (["B02", "B2"], "is empty or names a band twice"),
        (["B99"], "Sentinel-2 has no band 'B99'"),
    ],
)
def test_an_impossible_selection_is_refused(selection, message):
    with pytest.raises(UserError, match=message):
        bands.resolve(selection)


def test_indices_find_bands_by_name_in_any_stack():
    stack = ("B12", "B04", "B02", "B03")
    assert [stack[i] for i in bands.indices(stack, ("B02", "B12"))] == ["B02", "B12"]
    with pytest.raises(UserError, match="B08 is not among B12, B04, B02, B03"):
        bands.indices(stack, ("B02", "B08"))


def test_composites_show_red_green_blue_or_infrared_red_green():
    paper, spectralgpt = bands.resolve("paper"), bands.resolve("spectralgpt")
    assert [paper[i] for i in bands.composite(paper)] == ["B04", "B03", "B02"]
    assert [paper[i] for i in bands.composite(paper, "false")] == ["B8A", "B04", "B03"]
    assert [spectralgpt[i] for i in bands.composite(spectralgpt, "false")] == ["B8A", "B04", "B03"]
    assert [("B08", "B04", "B03")[i] for i in bands.composite(("B08", "B04", "B03"), "false")] == ["B08", "B04", "B03"]


@pytest.mark.parametrize("n", [1, 2, 3, 200])
def test_a_stack_of_other_bands_is_shown_by_bands_spread_over_it(n):
    picks = bands.composite([f"band {i}" for i in range(n)])
    assert len(picks) == 3
    assert all(0 <= i < n for i in picks)
    assert picks == sorted(picks, reverse=True)


def test_composites_of_known_wavelengths_show_the_nearest_bands():
    wavelengths = [404.0 + 7 * i for i in range(70)]
    names = [f"band {i}" for i in range(70)]
    for order in (wavelengths, wavelengths[::-1]):
        assert [order[i] for i in bands.composite(names, "rgb", order)] == [663, 558, 488]
        assert [order[i] for i in bands.composite(names, "false", order)] == [845, 663, 558]
    assert bands.composite(("one", "two", "three"), "rgb", (430, 560, 725)) == [2, 1, 0]  # 60 nm are near enough


def test_names_come_before_wavelengths():
    paper = bands.resolve("paper")
    wrong = [0.0] * len(paper)
    assert bands.composite(paper, "rgb", wrong) == bands.composite(paper)


@pytest.mark.parametrize(
    ("kind", "wavelengths"),
    [
        ("rgb", (500, 560, 726)),  # red is 61 nm away
        ("rgb", (700, 800, 900)),
        ("false", (490, 560, 665)),  # no near infrared
        ("false", (490, 560, 781)),
        ("rgb", (490, 612, 900)),  # one band would be both red and green
        ("rgb", ()),
    ],
)
def test_bands_far_from_the_colours_are_shown_as_if_unknown(kind, wavelengths):
    names = ("one", "two", "three")
    assert bands.composite(names, kind, wavelengths) == bands.composite(names, kind) == [2, 1, 0]


def test_wavelengths_are_those_of_sentinel_2_or_none():
    assert bands.wavelengths(("B12", "B02")) == (2202.4, 492.4)
    assert bands.wavelengths(("B02", "band 2")) == ()
    assert bands.wavelengths(("2", "3")) == ()  # numbers may count the bands of any sensor
    for names in bands.BAND_SETS.values():
        for kind in ("rgb", "false"):
            renamed = [f"band {i}" for i in range(len(names))]
            by_wavelength = bands.composite(renamed, kind, bands.wavelengths(names))
            # B08 lies nearer to 842 nm than B8A, which names prefer.
            assert by_wavelength[1:] == bands.composite(names, kind)[1:]


def test_wavelengths_rise_with_the_band_except_that_8a_follows_8():
    wavelengths = [band.wavelength_nm for band in bands.SENTINEL2.values()]
    assert wavelengths == sorted(wavelengths)
    assert list(bands.SENTINEL2)[7:9] == ["B08", "B8A"]


@pytest.mark.parametrize(
    ("names", "rgb", "false"),
    [
        (("red", "green", "blue"), [0, 1, 2], [2, 1, 0]),
        (("Blue", "GREEN", "Red", "NIR"), [2, 1, 0], [3, 2, 1]),
        (("near infrared", "blue", "green", "red"), [3, 2, 1], [0, 3, 2]),
        (("B02", "B03", "B04", "B08", "B8A"), [2, 1, 0], [4, 2, 1]),
    ],
)
def test_bands_called_by_their_colours_show_them(names, rgb, false):
    assert bands.composite(names, "rgb") == rgb
    assert bands.composite(names, "false") == false


def test_colours_are_told_by_plain_names_only():
    assert [bands.colour(name) for name in ("B04", "Red", "nir", "B8A")] == ["red", "red", "infrared", "infrared"]
    assert [bands.colour(name) for name in ("B4", "red edge", "infrared light", "")] == [None] * 4
