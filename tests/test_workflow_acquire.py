"""From an area on the map to a patch set, as the workflow does it, with images from a local imagery service."""

import json

import geopandas
import pytest
import yaml
from shapely.geometry import box

from specdm.patches import open_patches
from tests.service.fixtures import hub, hub_certificate  # noqa: F401
from tests.service.scenes import sentinel2
from tests.workflow_runs import jobs_of, snakemake

WEST, SOUTH = 601_200.0, 5_390_400.0
BANDS = ["B02", "B03", "B04", "B8A"]


@pytest.fixture
def region(hub, tmp_path):  # noqa: F811
    """A configuration of one data set, an area of 128 x 128 pixels with two kinds of fields; the service has images."""
    hub.acquisitions = [sentinel2(f"2024-0{month}-03T10:10:31Z", cloud_cover=10 * month) for month in (6, 7)]
    fields = [box(WEST + x, SOUTH + y, WEST + x + 160, SOUTH + y + 160) for x in range(0, 1280, 160) for y in (0, 640)]
    use = ["wood", "meadow"] * (len(fields) // 2)
    (tmp_path / "data").mkdir()
    geopandas.GeoDataFrame({"use": use}, geometry=fields, crs="EPSG:32632").to_file(tmp_path / "data/valley.gpkg")
    valley = {
        "source": "scene",
        "origin": "acquire",
        "raw": "data",
        "acquire": {
            "areas": {"name": "valley", "bounds": [WEST, SOUTH, WEST + 1280, SOUTH + 1280], "crs": "EPSG:32632"},
            "dates": {"first": "2024-05-01", "last": "2024-08-31", "max_clouds": 0.6},
            "bands": BANDS,
            "base_url": hub.base_url,
            "token_url": hub.token_url,
        },
        "prepare": {
            "scenes": [{"images": "{name}/image1.tif", "labels": {"path": "{name}.gpkg", "attribute": "use"}}],
            "bands": "file",
            "level": "BOA",
            "scale": 1e-4,
            "classes": [{"name": name, "codes": [name]} for name in ("wood", "meadow")],
            "patch_px": 32,
            "guard_px": 0,
        },
        "n_real": 4,
        "networks": ["unet"],
        "regimes": {"real": {"real": 1, "synthetic": 0}},
    }

    def write(**acquire):
        given = valley | {"acquire": valley["acquire"] | acquire}
        (tmp_path / "region.yaml").write_text(
            yaml.safe_dump({"datasets": {"segmunich": None, "oscd": None, "valley": given}})
        )
        return tmp_path

    write()
    return write


def plan(folder, *arguments):
    target = "results/patches/valley/meta.json"
    return snakemake(folder, *arguments, "--", target, configfiles=[str(folder / "region.yaml")])


@pytest.mark.workflow
def test_an_area_becomes_a_patch_set_and_only_what_changed_is_fetched_again(region, hub):  # noqa: F811
    folder = region()
    assert jobs_of(plan(folder, "-n")) == {"acquire": 1, "prepare": 1}
    printed = plan(folder)
    patches = open_patches(folder / "results/patches/valley")
    assert patches.meta.bands == tuple(BANDS) and patches.meta.labels.names == ("wood", "meadow")
    assert set(patches.index["crs"]) == {"EPSG:32632"} and (patches.valid(range(len(patches)))).all()
    record = json.loads((folder / "results/raw/valley/acquire.json").read_text())
    assert record["images"][0]["day"] == "2024-06-03" and len(hub.sent("process")) == 1
    assert "Nothing to be done" in plan(folder, "-n")
    # Another month is another image, the bands of a stage later are not.
    region(dates={"first": "2024-07-01", "last": "2024-08-31", "max_clouds": 0.8})
    assert jobs_of(plan(folder, "-n")) == {"acquire": 1, "prepare": 1}
    plan(folder)
    assert len(hub.sent("process")) == 2
    secrets = hub.secrets
    logs = [
        p.read_text(errors="replace") for p in folder.rglob("*") if p.is_file() and p.suffix in (".log", ".json", "")
    ]
    assert not any(secret in text for secret in secrets for text in [*logs, printed])


def test_images_without_labels_are_prepared_and_nothing_is_trained_on_them(region, hub):  # noqa: F811
    folder = region()
    configured = yaml.safe_load((folder / "region.yaml").read_text())
    valley = configured["datasets"]["valley"]
    acquired = {key: value for key, value in valley["acquire"].items() if key != "dates"}
    configured["datasets"]["spare"] = {
        "source": "unlabelled",
        "origin": "acquire",
        "raw": "spare",
        "acquire": acquired | {"unlabelled": True, "dates": [{"first": "2024-01-01", "last": "2024-12-31", "n": 9}]},
        "prepare": {
            "scenes": [{"images": "{name}.tif", "labels": None}],
            "bands": "file",
            "level": None,
            "scale": None,
        },
    }
    (folder / "region.yaml").write_text(yaml.safe_dump(configured))
    jobs = jobs_of(snakemake(folder, "-n", configfiles=[str(folder / "region.yaml")]))
    assert jobs["acquire"] == jobs["prepare"] == 2
    assert jobs["train_autoencoder"] == jobs["sample"] == jobs["draw_downstream"] == jobs["report"] == 1


def test_labels_that_are_missing_stop_before_anything_is_fetched(region, hub):  # noqa: F811
    folder = region()
    (folder / "data/valley.gpkg").unlink()
    with pytest.raises(
        AssertionError, match=r"valley\.gpkg does not exist: it holds the labels of images that are to be"
    ):
        plan(folder, "-n")
    assert not hub.requests
