"""Acquired images as the scenes of a patch set: pairs of dates, and images without labels."""

import geopandas
import numpy as np
import pytest
from shapely.geometry import box

from specdm.config import parse_section
from specdm.errors import UserError
from specdm.patches import open_patches
from specdm.settings import AcquireSettings, SceneSettings
from specdm.sources import acquire, scene
from tests.service.fixtures import hub, hub_certificate  # noqa: F401
from tests.service.scenes import sentinel2

WEST, SOUTH, SIDE_M = 601_200.0, 5_390_400.0, 960
BANDS = ("B02", "B04", "B8A")
DAYS = ("2023-06-03", "2024-06-03")
AS_DECLARED = {"bands": "file", "level": None, "scale": None, "offset": None, "patch_px": 16, "guard_px": 0}


@pytest.fixture
def fetched(hub, tmp_path):  # noqa: F811
    """Acquires two days of a field: fetched(dates=..., ...) -> the folder of the raw files."""
    hub.acquisitions = [sentinel2(f"{day}T10:10:31Z") for day in DAYS]

    def run(**settings):
        area = {"name": "field", "bounds": (WEST, SOUTH, WEST + SIDE_M, SOUTH + SIDE_M), "crs": "EPSG:32632"}
        given = {"areas": area, "bands": BANDS, "base_url": hub.base_url, "token_url": hub.token_url}
        acquire.acquire(tmp_path / "raw", AcquireSettings(**given | settings), lambda plan: None, lambda line: None)
        return tmp_path / "raw"

    return run


def cut(raw, out, **settings):
    scene.prepare(raw, out, parse_section(SceneSettings, AS_DECLARED | settings), name="field")
    return open_patches(out)


def values(acquisition, index):
    """The ground below the patches, (n,C,16,16)."""
    found = []
    for place in index["transform"]:
        x, y = place[2] + 10 * (np.arange(16) + 0.5), place[5] - 10 * (np.arange(16) + 0.5)
        found.append([acquisition.pixels.values(band, x[None], y[:, None]) for band in BANDS])
    return np.array(found)


def test_two_dates_and_polygons_of_change_are_a_change_detection_set(fetched, hub, tmp_path):  # noqa: F811
    raw = fetched(dates=DAYS)
    changed = [box(WEST + 160 * k, SOUTH, WEST + 160 * k + 80, SOUTH + SIDE_M) for k in range(6)]
    geopandas.GeoDataFrame(geometry=changed, crs="EPSG:32632").to_crs(4326).to_file(raw / "changes.gpkg")
    patches = cut(
        raw,
        tmp_path / "patches",
        scenes=[
            {
                "images": ["field/image1.tif", "field/image2.tif"],
                "labels": {"path": "changes.gpkg", "covered": "change", "uncovered": "no change"},
            }
        ],
        classes=[{"name": "no change"}, {"name": "change"}],
    )
    assert patches.meta.level == "BOA" and patches.meta.bands == BANDS and patches.meta.scale == 1e-4
    assert set(patches.index["dates"]) == {",".join(DAYS)} and patches.meta.warnings == ()
    assert 0.45 < (patches.masks[:] == 1).mean() < 0.55
    for t, acquisition in enumerate(hub.acquisitions):
        assert (patches.images[:, t] == values(acquisition, patches.index)).all()


def test_unlabelled_images_are_scenes_without_labels(fetched, hub, tmp_path):  # noqa: F811
    raw = fetched(unlabelled=True, dates={"first": "2023-01-01", "last": "2024-12-31", "n": 5})
    patches = cut(raw, tmp_path / "patches", scenes=[{"images": "{name}.tif", "labels": None}], stride_px=16)
    assert set(patches.index["dates"]) == set(DAYS) and set(patches.index["split"]) == {"train"}
    assert (patches.masks[:] == 255).all() and len(patches) == 2 * 6 * 6
    for day, acquisition in zip(DAYS, hub.acquisitions, strict=True):
        own = np.flatnonzero(patches.index["dates"] == day)
        assert (patches.images[own, 0] == values(acquisition, patches.index.iloc[own])).all()


def test_numbers_of_another_meaning_than_the_settings_say_are_refused(fetched, tmp_path):
    raw = fetched(dates=DAYS[0])
    rest = {"scenes": [{"images": "field/image1.tif", "labels": None}]}
    with pytest.raises(UserError, match=r"image1.tif declares offset 0 but the settings say -0.1"):
        cut(raw, tmp_path / "patches", **rest, offset=-0.1)
    with pytest.raises(UserError, match=r"image1.tif is tagged level=BOA but the settings say TOA"):
        cut(raw, tmp_path / "patches", **rest, level="TOA")
    assert not (tmp_path / "patches").exists()
