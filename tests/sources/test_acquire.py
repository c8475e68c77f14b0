"""Acquisition of images, by the real client from a local imagery service."""

import json
import os
import re
import traceback

import numpy as np
import pytest
import rasterio

from specdm.errors import UserError
from specdm.settings import AcquireSettings
from specdm.sources import acquire, areas, imagery_service
from specdm.sources.acquire_plan import Cost
from tests.service import process
from tests.service.fixtures import hub, hub_certificate  # noqa: F401
from tests.service.scenes import sentinel2

WEST, SOUTH = 601_200.0, 5_390_400.0  # within the tile of `sentinel2`
EAST_HALF = tuple((WEST + x, SOUTH + y) for x, y in ((300, -9000), (9000, -9000), (9000, 900), (300, 900)))
BANDS = ("B02", "B04", "B8A", "B11")


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of 24 pixels at most, so that little images have several."""
    monkeypatch.setattr(areas, "LARGEST_PX", 24)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(imagery_service, "FIRST_PAUSE_S", 0.01)


@pytest.fixture
def fetch(hub, tmp_path):  # noqa: F811
    """Acquires a little area: fetch(dates=[...], ...) -> the report; its lines are in fetch.said."""

    def run(size_m=(600, 480), yes=True, **settings):
        area = {"name": "field", "bounds": (WEST, SOUTH, WEST + size_m[0], SOUTH + size_m[1]), "crs": "EPSG:32632"}
        given = {"areas": area, "dates": "2024-07-03", "bands": BANDS, "base_url": hub.base_url}
        read = AcquireSettings(**given | {"token_url": hub.token_url} | settings)

        def confirm(plan):
            run.plan = plan
            if not yes:
                raise UserError("no")

        return acquire.acquire(tmp_path / "raw", read, confirm, run.said.append)

    run.said = []
    return run


def of_field(day="2024-07-03", **more):
    return sentinel2(f"{day}T10:10:31Z", **more)


def expected(acquisition, source, bands=BANDS):
    """What the pixels of a file must be, (C,H,W), from the ground itself."""
    a, _, west, _, e, north = tuple(source.transform)[:6]
    x = west + a * (np.arange(source.width) + 0.5)
    y = north + e * (np.arange(source.height) + 0.5)
    return np.stack([acquisition.pixels.values(band, x[None], y[:, None]) for band in bands])


def test_the_image_is_the_ground_with_all_that_a_reader_needs(hub, fetch, small_tiles, tmp_path):  # noqa: F811
    seen = of_field(cloud_cover=3, baseline="05.10")
    hub.acquisitions = [seen]
    report = fetch()
    with rasterio.open(tmp_path / "raw/field/image1.tif") as source:
        assert source.crs.to_epsg() == 32632 and source.res == (10, 10)
        assert tuple(source.bounds) == (WEST, SOUTH, WEST + 600, SOUTH + 480)
        assert source.dtypes == ("uint16",) * 4 and source.nodata == 0
        assert source.descriptions == BANDS
        assert source.tags(3, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"] == "0.8647"
        assert source.scales == (1e-4,) * 4 and source.offsets == (0.0,) * 4
        tags = source.tags()
        assert tags["acquired"] == "2024-07-03T10:10:31Z" and tags["level"] == "BOA" and tags["harmonised"] == "yes"
        assert tags["products"] == seen.id and tags["sensor"] == "Sentinel-2 MSI"
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (source.read() == expected(seen, source)).all()  # the 1000 of baseline 04.00 are taken out
    assert len(hub.sent("process")) == 3 * 2  # 60 x 48 pixels in tiles of 24
    assert report.spent.requests == 6 and report.spent.units == pytest.approx(hub.units_spent)
    assert report.images == ("field/image1.tif",)


@pytest.mark.parametrize("how", ["nearest", "bicubic"])
def test_the_service_is_told_how_to_resample_and_to_take_offsets_out(hub, fetch, how):  # noqa: F811
    hub.acquisitions = [of_field()]
    fetch(resampling=how)
    (data,) = hub.sent("process")[0].body["input"]["data"]
    assert data["processing"] == {"upsampling": how.upper(), "harmonizeValues": True}


def test_what_it_costs_is_told_before_and_after(hub, fetch, small_tiles):  # noqa: F811
    hub.acquisitions = [of_field(cloud_cover=3)]
    with pytest.raises(UserError, match="no"):
        fetch(yes=False)
    assert not hub.sent("process")
    told = "\n".join(fetch.said)
    assert "field/image1.tif: 2024-07-03, 3% clouds, 0% missing, 60 x 48 pixels of 10 m in EPSG:32632, 6 tiles" in told
    # 60 x 48 pixels are less than a hundredth of 512 x 512, the least that is counted, in each of six requests
    assert f"estimated cost: 6 requests and {6 * 0.01 * 4 / 3:.6g} processing units" in told
    assert "left in the account's month: 30000 requests and 30000 processing units" in told
    fetch()
    assert f"spent: 6 requests and {6 * 0.01 * 4 / 3:.6g} processing units" in fetch.said


def test_the_estimate_is_what_the_service_charges_for_large_tiles(hub, fetch, tmp_path):  # noqa: F811
    hub.acquisitions = [of_field()]
    report = fetch(size_m=(6000, 4800))
    assert fetch.plan.cost.units == pytest.approx(600 * 480 / 512**2 * 4 / 3)
    assert report.spent.units == pytest.approx(fetch.plan.cost.units) == pytest.approx(hub.units_spent)
    with rasterio.open(tmp_path / "raw/field/image1.tif") as source:
        assert source.overviews(1) == [2]  # of an image larger than a tile of the file


def test_two_dates_lie_on_one_grid(hub, fetch, tmp_path):  # noqa: F811
    first, second = of_field("2024-04-03"), of_field("2024-07-03")
    hub.acquisitions = [second, first]
    fetch(dates=["2024-04-03", "2024-07-03"])
    images = []
    for number, seen in ((1, first), (2, second)):
        with rasterio.open(tmp_path / f"raw/field/image{number}.tif") as source:
            images.append((source.transform, source.shape))
            assert (source.read() == expected(seen, source)).all()
    assert images[0] == images[1]


def test_of_a_period_the_clearest_day_is_taken_and_no_other_is_mixed_in(hub, fetch, tmp_path):  # noqa: F811
    days = {"2024-06-01": 40, "2024-06-06": 8, "2024-06-11": 5, "2024-06-16": 20, "2024-07-20": 0}
    hub.acquisitions = [of_field(day, cloud_cover=clouds) for day, clouds in days.items()]
    fetch(dates={"first": "2024-06-01", "last": "2024-06-30", "max_clouds": 0.1})
    with rasterio.open(tmp_path / "raw/field/image1.tif") as source:
        assert source.tags()["acquired"].startswith("2024-06-11")
        assert (source.read() == expected(hub.acquisitions[2], source)).all()


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("2024-05-01", r"no image of field on 2024-05-01: choose other dates"),
        ({"first": "2024-06-01", "last": "2024-06-09"}, "at most 10% clouds: the best, of 2024-06-01, has 40%"),
        ("2024-06-16", "No image of field on 2024-06-16 covers it: the best, of 2024-06-16, leaves out 50%"),
    ],
)
def test_without_a_fitting_day_the_best_is_told_and_nothing_fetched(hub, fetch, tmp_path, when, said):  # noqa: F811
    hub.acquisitions = [of_field("2024-06-01", cloud_cover=40), of_field("2024-06-16", footprint=EAST_HALF)]
    with pytest.raises(UserError, match=f"(?i){said}"):
        fetch(dates=when)
    assert not hub.sent("process") and not (tmp_path / "raw").exists()


def test_ground_that_no_satellite_has_seen_is_without_data(hub, fetch, tmp_path, monkeypatch):  # noqa: F811
    drawn = process._strip

    def with_rubbish(*arguments):
        """Only the mask says where there is no data."""
        image = drawn(*arguments)
        return np.where(image[-1:] == 0, np.r_[7, 8, 9, 10, 0].astype(image.dtype)[:, None, None], image)

    monkeypatch.setattr(process, "_strip", with_rubbish)
    hub.acquisitions = [of_field(footprint=EAST_HALF)]
    fetch(max_missing=0.6)
    with rasterio.open(tmp_path / "raw/field/image1.tif") as source:
        pixels, seen = source.read(), expected(hub.acquisitions[0], source)
        assert (pixels[:, :, :30] == 0).all() and (pixels[:, :, 30:] == seen[:, :, 30:]).all()


def test_an_interrupted_acquisition_goes_on_without_a_request_made_twice(hub, fetch, small_tiles, tmp_path):  # noqa: F811
    hub.acquisitions = [of_field()]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/acquire.json").write_text("{}")  # of an earlier one, no longer true
    hub.fail("process", status=403, times=None, after=3)
    with pytest.raises(UserError, match=r"forbids it .*used up"):
        fetch()
    kept = len(list((tmp_path / "raw/requests").glob("*.tif")))
    assert kept >= 2 and not (tmp_path / "raw/acquire.json").exists()
    assert not (tmp_path / "raw/field").exists()
    before = len(hub.sent("process"))
    hub.forgive()
    report = fetch()
    assert len(hub.sent("process")) - before == 6 - kept == report.spent.requests
    assert report.altogether.requests == 6 and report.altogether.units == pytest.approx(hub.units_spent)
    assert any(f"{kept} requests are answered already" in line for line in fetch.said)
    with rasterio.open(tmp_path / "raw/field/image1.tif") as source:
        assert (source.read() == expected(hub.acquisitions[0], source)).all()


def test_a_complete_acquisition_asks_for_nothing_and_writes_nothing_again(hub, fetch, tmp_path):  # noqa: F811
    hub.acquisitions = [of_field()]
    fetch()
    before = (tmp_path / "raw/field/image1.tif").stat().st_mtime_ns, len(hub.sent("process"))
    report = fetch()
    assert before == ((tmp_path / "raw/field/image1.tif").stat().st_mtime_ns, len(hub.sent("process")))
    assert report.spent == Cost(0, 0.0) and report.altogether.requests == 1
    fetch(bands=("B02", "B03"))
    with rasterio.open(tmp_path / "raw/field/image1.tif") as source:
        assert source.descriptions == ("B02", "B03")


@pytest.mark.parametrize(
    "fault",
    [
        dict(status=500, times=2),
        dict(status=429, times=3, retry_after_ms=20),
        dict(kind="truncated", times=2),
        dict(kind="garbage", times=2),
        dict(kind="wrong_size", times=1),
        dict(kind="dropped", times=2),
        dict(kind="slow", delay_s=0.3),
    ],
    ids=lambda fault: f"{fault.get('kind', fault.get('status'))}",
)
def test_passing_troubles_are_outlived(hub, fetch, tmp_path, fault):  # noqa: F811
    hub.acquisitions = [of_field()]
    hub.fail("process", **fault)
    fetch()
    with rasterio.open(tmp_path / "raw/field/image1.tif") as source:
        assert (source.read() == expected(hub.acquisitions[0], source)).all()


@pytest.mark.parametrize(
    ("endpoint", "fault", "said"),
    [
        ("process", dict(status=500), "answered with error 500 4 times: run the command again"),
        ("process", dict(kind="garbage"), "sent no image, or a damaged one: run the command again later"),
        ("process", dict(kind="wrong_size"), r"sent an image of 5 x 47 x 59 instead of 5 x 48 x 60"),
        ("process", dict(kind="dropped"), "could not be reached at https://localhost"),
        ("process", dict(status=401), "does not accept the credentials"),
        ("process", dict(status=403), "forbids it .Insufficient processing units"),
        ("process", dict(status=429, retry_after_ms=90_000_000), "asks to wait for 25.0 hours"),
        ("catalog", dict(status=500), r"searching images of field: .* error 500"),
        ("catalog", dict(kind="garbage"), "searching images of field"),
        ("token", dict(status=500), "error 500"),
        ("token", dict(status=401), "does not accept the credentials"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_lasting_troubles_are_one_sentence_without_secrets(hub, fetch, tmp_path, endpoint, fault, said):  # noqa: F811
    hub.acquisitions = [of_field()]
    hub.fail(endpoint, times=None, **fault)
    with pytest.raises(UserError) as failure:
        fetch()
    assert re.search(said, str(failure.value)) and "\n" not in str(failure.value)
    assert_no_secrets(tmp_path, *traceback.format_exception(failure.value), *fetch.said)
    assert not (tmp_path / "raw/field").exists() and not (tmp_path / "raw/acquire.json").exists()
    assert not list((tmp_path / "raw").rglob("*.partial"))


def assert_no_secrets(folder, *texts):
    secrets = [os.environ["SH_CLIENT_ID"], os.environ["SH_CLIENT_SECRET"]]
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    for secret in secrets:
        assert not any(secret in text for text in texts)
        assert not any(secret.encode() in content for content in files)
    assert not any(b"Bearer" in content for content in files)


def test_nothing_that_is_written_or_said_holds_a_secret(hub, fetch, tmp_path, caplog, capfd):  # noqa: F811
    caplog.set_level("DEBUG")
    hub.acquisitions = [of_field()]
    fetch()
    printed = capfd.readouterr()
    assert_no_secrets(tmp_path, *fetch.said, caplog.text, printed.out, printed.err)
    record = json.loads((tmp_path / "raw/acquire.json").read_text())
    assert record["harmonised"] is True and record["images"][0]["acquisitions"] == [hub.acquisitions[0].id]
    assert record["images"][0]["cost"]["requests"] == 1 and "evaluatePixel" in record["evalscript"]


def test_without_credentials_it_is_said_where_they_come_from(fetch, monkeypatch):
    monkeypatch.delenv("SH_CLIENT_ID")
    with pytest.raises(UserError, match=r"no credentials for Copernicus .*: set SH_CLIENT_ID and SH_CLIENT_SECRET"):
        fetch()


def test_wrong_credentials_are_not_repeated(hub, fetch, monkeypatch):  # noqa: F811
    monkeypatch.setenv("SH_CLIENT_SECRET", "a-wrong-secret-of-mine")
    with pytest.raises(UserError, match="does not accept the credentials: set SH_CLIENT_ID") as failure:
        fetch()
    assert "a-wrong" not in str(failure.value)


def test_credentials_of_sentinelhubs_own_profile_are_found(hub, fetch, monkeypatch, tmp_path):  # noqa: F811
    hub.acquisitions = [of_field()]
    folder = tmp_path / "xdg/sentinelhub"
    folder.mkdir(parents=True)
    lines = [f'sh_client_{key} = "{os.environ[f"SH_CLIENT_{key.upper()}"]}"' for key in ("id", "secret")]
    (folder / "config.toml").write_text("\n".join(["[mine]", *lines]))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    for name in ("SH_CLIENT_ID", "SH_CLIENT_SECRET"):
        monkeypatch.delenv(name)
    with pytest.raises(UserError, match="configuration file cannot be used"):
        fetch()  # the default profile is not there
    monkeypatch.setenv("SH_PROFILE", "mine")
    fetch()


def test_a_budget_that_does_not_suffice_stops_before_the_first_request(hub, fetch, small_tiles):  # noqa: F811
    hub.acquisitions = [of_field()]
    with pytest.raises(UserError, match=r"budget of 5 requests .* does not suffice for 6 requests"):
        fetch(budget={"requests": 5})
    assert not hub.sent("process")


def test_an_account_that_has_too_little_left_stops_before_the_first_request(hub, fetch, small_tiles):  # noqa: F811
    hub.acquisitions, hub.month = [of_field()], (1000, 0.05)
    with pytest.raises(UserError, match=r"month has 1000 requests and 0.05 units left, too few for 6 requests"):
        fetch()
    assert not hub.sent("process")
    hub.month = None
    fetch()  # an account that may not ask
    assert "left in the account's month: the service does not tell, its dashboard does" in fetch.said


def test_unlabelled_images_are_as_many_as_the_budget_allows(hub, fetch, tmp_path):  # noqa: F811
    days = ["2024-06-01", "2024-06-11", "2024-06-21", "2024-07-01"]
    hub.acquisitions = [of_field(day, cloud_cover=k) for k, day in enumerate(days)]
    two = [
        {"name": name, "bounds": (west, SOUTH, west + 480, SOUTH + 480), "crs": "EPSG:32632"}
        for name, west in (("a", WEST), ("b", WEST + 6000))
    ]
    summer = {"first": "2024-06-01", "last": "2024-06-30", "n": 5}
    report = fetch(
        areas=two, dates=[summer, "2024-06-11", "2024-07-01", "2023-01-01"], unlabelled=True, budget={"requests": 7}
    )
    assert report.images == (
        *("a_20240601.tif", "a_20240611.tif", "a_20240621.tif"),
        *("b_20240601.tif", "b_20240611.tif", "b_20240621.tif", "a_20240701.tif"),
    )
    assert {path.name for path in (tmp_path / "raw").glob("*.tif")} == set(report.images)
    told = "\n".join(fetch.said)
    assert "left out: b_20240701.tif" in told and "no image of a on 2023-01-01" in told
    with rasterio.open(tmp_path / "raw/b_20240611.tif") as source:
        assert (source.read() == expected(hub.acquisitions[1], source)).all()


def test_tiles_beside_the_outline_are_not_asked_for(hub, fetch, small_tiles, tmp_path):  # noqa: F811
    import geopandas
    from shapely.geometry import Polygon

    corners = [(WEST, SOUTH), (WEST + 600, SOUTH), (WEST, SOUTH + 480)]  # a triangle
    geopandas.GeoDataFrame(geometry=[Polygon(corners)], crs="EPSG:32632").to_crs(4326).to_file(tmp_path / "area.gpkg")
    hub.acquisitions = [of_field()]
    fetch(areas={"name": "corner", "file": str(tmp_path / "area.gpkg")})
    assert len(hub.sent("process")) == 5  # the tile of the upper right corner shows nothing of it
    with rasterio.open(tmp_path / "raw/corner/image1.tif") as source:
        assert (source.read(1)[:24, 40:] == 0).all() and (source.read(1)[24:] > 0).all()


def test_reflectance_at_the_top_of_the_atmosphere_has_its_own_collection(hub, fetch, tmp_path):  # noqa: F811
    hub.acquisitions = [of_field(), of_field(level="L1C")]
    fetch(level="TOA", bands=("B10", "B02"))
    with rasterio.open(tmp_path / "raw/field/image1.tif") as source:
        assert source.tags()["level"] == "TOA"
        assert (source.read() == expected(hub.acquisitions[1], source, ("B10", "B02"))).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(bands=("B10",)), "has no band B10"),
        (dict(bands=("B02", "B77")), "no band 'B77'"),
        (dict(bands=("B02", "B2")), "names a band twice"),
    ],
)
def test_bands_that_do_not_exist_stop_before_the_service_is_asked(hub, fetch, settings, said):  # noqa: F811
    with pytest.raises(UserError, match=said):
        fetch(**settings)
    assert not hub.requests
