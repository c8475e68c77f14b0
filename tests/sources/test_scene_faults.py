"""Bad input beside an older result: one sentence that names the file and the remedy, and the result is as it was."""

import hashlib

import geopandas
import numpy as np
import pytest
from shapely.geometry import Polygon, box

from specdm.config import parse_section
from specdm.errors import UserError
from specdm.patches import open_patches
from specdm.settings import SceneSettings
from specdm.sources import scene

UTM, PLACE = "EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)
ELSEWHERE = (10.0, 0.0, 600000.0, 0.0, -10.0, 5000000.0)
SIZE = (64, 80)
SETTINGS = {"bands": ["a", "b", "c"], "level": "unitless", "scale": 1.0, "patch_px": 16}
SETTINGS["classes"] = [{"name": name, "codes": [code]} for name, code in (("ash", 1), ("birch", 2), ("cedar", 3))]
SHAPES = {"path": "v.gpkg", "attribute": "kind"}


def contents(folder) -> dict:
    return {
        path.name: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in folder.iterdir()
    }


class Bench:
    """A raw folder with good files i.tif, l.tif and v.gpkg, of which tests spoil some."""

    def __init__(self, root, lay, image, codes):
        self.root, self.lay, self.image, self.codes = root, lay, image, codes
        lay("i.tif", image)
        lay("l.tif", codes)
        self.shapes()

    def shapes(self, shapes=(), crs=UTM, east=0.0) -> None:
        """Write three boxes side by side over the scene, moved `east` metres, and more shapes."""
        x = 500000 + east
        boxes = [box(x + 300 * k, 4999000, x + 300 * (k + 1), 5000000) for k in range(3)]
        frame = geopandas.GeoDataFrame({"kind": [1, 2, 3, *[1] * len(shapes)]}, geometry=[*boxes, *shapes], crs=UTM)
        frame.to_crs(crs).to_file(self.root / "raw" / "v.gpkg")

    def prepare(self, images="i.tif", labels="l.tif", **settings):
        section = SETTINGS | {"scenes": [{"images": images, "labels": labels}]} | settings
        return scene.prepare(self.root / "raw", self.root / "set", parse_section(SceneSettings, section), name="made")


@pytest.fixture
def bench(tmp_path, lay, numbered, few_draws) -> Bench:
    return Bench(tmp_path, lay, *numbered(*SIZE))


def crossing(bench):
    bow = [(500000, 5000000), (500100, 4999900), (500100, 5000000), (500000, 4999900)]
    bench.shapes([Polygon(bow)])
    return {"labels": SHAPES}


def no_reference(bench):
    bench.lay("i.tif", bench.image, crs=None)
    return {"labels": SHAPES}


def shapes_elsewhere(bench):
    bench.shapes(east=100000.0)
    return {"labels": SHAPES}


def covered_elsewhere(bench):
    """Ground without a shape has a class, so that the scene is labelled throughout, and wrongly."""
    bench.shapes(east=100000.0)
    classes = [{"name": "roof"}, {"name": "ground"}]
    return {"labels": {"path": "v.gpkg", "covered": "roof", "uncovered": "ground"}, "classes": classes}


def labels_elsewhere(bench):
    bench.lay("l.tif", bench.codes, ELSEWHERE)


def labels_in_another_system(bench):
    bench.lay("l.tif", bench.codes, crs="EPSG:32632")


def bare_labels_of_another_size(bench):
    bench.lay("l.tif", bench.codes[:, :60], crs=None)


def unknown_code(bench):
    bench.lay("l.tif", np.where(bench.codes == 3, 9, bench.codes).astype("uint8"))


def two_systems(bench):
    bench.lay("b.tif", bench.image, crs="EPSG:32632")
    return {"images": ["i.tif", "b.tif"]}


def two_places(bench):
    bench.lay("b.tif", bench.image, ELSEWHERE)
    return {"images": ["i.tif", "b.tif"]}


def more_bands(bench):
    return {"bands": ["a", "b", "c", "d"]}


def no_shapes(bench):
    frame = geopandas.GeoDataFrame({"kind": []}, geometry=[], crs=UTM)
    frame.to_file(bench.root / "raw" / "v.gpkg")
    return {"labels": SHAPES}


def empty_file(bench):
    (bench.root / "raw" / "v.gpkg").write_bytes(b"")
    return {"labels": SHAPES}


def small(bench):
    return {"patch_px": 96}


def damaged_late(bench):
    """The headers and the first rows are sound: the fault shows while patches are being made."""
    path = bench.root / "raw" / "i.tif"
    path.write_bytes(path.read_bytes()[:-2000])


def not_finite(bench):
    """Found by the writer itself, when patches lie in its temporary folder already."""
    image = bench.image.astype("float32")
    image[1, -1, -1] = np.inf
    bench.lay("i.tif", image)


# the fault, the file that the sentence names, and what it says of fault and remedy
FAULTS = [
    (no_reference, "v.gpkg", ("no georeference", "crs and bounds")),
    (shapes_elsewhere, "v.gpkg", ("no shape on the ground", "check that both show one place")),
    (covered_elsewhere, "v.gpkg", ("labelled 'roof'", "show the place of the images")),
    (labels_elsewhere, "l.tif", ("another place", "give labels of the image's ground")),
    (labels_in_another_system, "l.tif", ("another place", "give labels of the image's ground")),
    (bare_labels_of_another_size, "l.tif", ("64 x 60", "64 x 80", "cut or warp it onto the image's own grid")),
    (crossing, "v.gpkg", ("feature 3", "Self-intersection", "make_valid")),
    (unknown_code, "l.tif", ("code 9", "[1, 2, 3]", "check that this is the label file")),
    (two_systems, "b.tif", ("EPSG:32632", "EPSG:32633", "warp it")),
    (two_places, "b.tif", ("another place", "give two images of one ground")),
    (more_bands, "i.tif", ("3 bands but 4 are named", "name each band of the file")),
    (no_shapes, "v.gpkg", ("no shapes", "check the file")),
    (empty_file, "v.gpkg", ("cannot be read", "check its format")),
    (small, "i.tif", ("96 px", "64 x 80", "smaller patch_px")),
    (damaged_late, "i.tif", ("truncated", "fetch it again")),
    (not_finite, "i", ("infinite", "fill them or declare them as nodata")),
]


@pytest.mark.parametrize(("fault", "file", "words"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("older", [True, False])
def test_a_fault_is_one_sentence_and_leaves_nothing(older, fault, file, words, bench):
    if older:
        bench.prepare()
    before = contents(bench.root / "set") if older else None
    changed = fault(bench) or {}
    with pytest.raises(UserError) as caught:
        bench.prepare(**changed)
    message = str(caught.value)
    assert file in message and all(word in message for word in words), message
    assert message.endswith(".") and "\n" not in message
    assert {path.name for path in bench.root.iterdir()} == {"raw", *(["set"] if older else [])}
    assert before is None or contents(bench.root / "set") == before


def test_shapes_of_another_system_are_placed(bench):
    """Metres of UTM against degrees: the borders of the boxes stay within a pixel of where they are."""
    bench.shapes(crs="EPSG:4326")
    bench.prepare(labels=SHAPES, stride_px=16)
    patches = open_patches(bench.root / "set")
    ids = np.broadcast_to(np.arange(SIZE[1]) // 30, SIZE)
    corners = zip(patches.index["row"], patches.index["col"], strict=True)
    expected = np.stack([ids[row : row + 16, col : col + 16] for row, col in corners])
    assert (patches.masks != expected).mean() < 0.02 and set(np.unique(expected)) == {0, 1, 2}
