"""What the local Sentinel Hub refuses: a wrong request must not pass a test."""

import copy

import pytest

from tests.service import catalog, evalscript, process
from tests.service.payload import Refused

SCRIPT = """//VERSION=3
// what is wanted
function setup() {
  return {
    input: [{bands: ["B02", 'B04', "dataMask"], units: "DN"}], /* two */
    output: {bands: 3, sampleType: SampleType.UINT16},
  };
}

function evaluatePixel(sample) {
  return [sample.B04, sample.B02, sample.dataMask];
}
"""
BODY = {
    "input": {
        "bounds": {
            "bbox": [600_000, 5_390_000, 602_560, 5_392_560],
            "properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/32632"},
        },
        "data": [
            {
                "type": "sentinel-2-l2a",
                "dataFilter": {
                    "timeRange": {"from": "2024-07-01T00:00:00Z", "to": "2024-07-31T23:59:59Z"},
                    "mosaickingOrder": "leastCC",
                    "maxCloudCoverage": 20,
                },
                "processing": {"harmonizeValues": False, "upsampling": "NEAREST"},
            }
        ],
    },
    "output": {
        "width": 256,
        "height": 128,
        "responses": [{"identifier": "default", "format": {"type": "image/tiff"}}],
    },
    "evalscript": SCRIPT,
}
SEARCH = {
    "collections": ["sentinel-2-l2a"],
    "datetime": "2024-07-01T00:00:00Z/..",
    "bbox": [10.0, 48.0, 10.5, 48.5],
    "filter": "eo:cloud_cover < 20 AND eo:cloud_cover >= 1.5",
    "filter-lang": "cql2-text",
    "limit": 100,
}
DELETE = object()


def changed(body: dict, path: str, value: object) -> dict:
    """A copy of a body with another value at a dotted path."""
    body = copy.deepcopy(body)
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place = body
    for key in way:
        place = place[key]
    if value is DELETE:
        del place[last]
    else:
        place[last] = value
    return body


def test_a_right_request_is_understood():
    request = process.parse(BODY)
    assert (request.collection, request.crs, request.order) == ("sentinel-2-l2a", "EPSG:32632", "leastCC")
    assert (request.width_px, request.height_px, request.harmonize) == (256, 128, False)
    assert (request.start.isoformat(), request.max_cloud_cover) == ("2024-07-01T00:00:00+00:00", 20)
    assert request.script == evalscript.Evalscript(
        inputs=("B02", "B04"),
        outputs=("B04", "B02", "dataMask"),
        units={"B02": "DN", "B04": "DN", "dataMask": "DN"},
        sample_type="UINT16",
        identifier="default",
    )


def test_the_usual_unit_is_reflectance():
    plain = process.parse(changed(BODY, "evalscript", SCRIPT.replace(', units: "DN"', "")))
    assert plain.script.units == {"B02": "REFLECTANCE", "B04": "REFLECTANCE", "dataMask": "DN"}


def test_a_resolution_is_as_good_as_a_size():
    sized = changed(BODY, "output", {"resx": 10, "resy": 20, "responses": BODY["output"]["responses"]})
    request = process.parse(sized)
    assert (request.width_px, request.height_px) == (256, 128)
    with pytest.raises(Refused, match="`height = 2560`, calculated from resy"):
        process.parse(changed(sized, "output.resy", 1))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("more", 1, "unknown more"),
        ("output", DELETE, "output is missing"),
        ("input.data", [], "one data source"),
        ("input.data.0.type", "sentinel-2-l3", "unknown collection"),
        ("input.data.0.type", ["sentinel-2-l2a"], "unknown collection"),
        ("input.data.0.datafilter", {}, "unknown datafilter"),
        ("input.data.0.dataFilter.timeRange.from", "2024-07-01", "time zone"),
        ("input.data.0.dataFilter.timeRange.from", "July", "date and time"),
        ("input.data.0.dataFilter.timeRange.from", "2024-08-01T00:00:00Z", "later than"),
        ("input.data.0.dataFilter.mosaickingOrder", "best", "mosaickingOrder"),
        ("input.data.0.dataFilter.maxCloudCoverage", 101, "between 0 and 100"),
        ("input.data.0.dataFilter.cloud", 1, "unknown cloud"),
        ("input.data.0.processing.harmonizeValues", "false", "true or false"),
        ("input.data.0.processing.upsampling", "CUBIC", "upsampling"),
        ("input.data.0.processing.harmonise", True, "unknown harmonise"),
        ("input.bounds.bbox", [600_000, 5_392_560, 602_560, 5_390_000], "west, south"),
        ("input.bounds.bbox", [1, 2, 3], "west, south"),
        ("input.bounds.properties.crs", "EPSG:32632", "unknown 'EPSG:32632'"),
        ("input.bounds.properties.crs", "http://www.opengis.net/def/crs/EPSG/0/32661", "unknown"),
        ("input.bounds.properties", DELETE, "properties is missing"),
        ("output.width", 2501, "between 1 and 2500"),
        ("output.height", 0, "between 1 and 2500"),
        ("output.height", 10.0, "integer"),
        ("output.height", DELETE, "width and height"),
        ("output.resx", 10, "width and height"),
        ("output.responses.0.format.type", "image/png", "image/tiff"),
        ("output.responses.0.identifier", "bands", "Output bands requested but missing"),
        ("evalscript", SCRIPT.replace("//VERSION=3", ""), "VERSION"),
        ("evalscript", SCRIPT.replace("B02", "B10"), "does not contain band 'B10'"),
        (
            "evalscript",
            SCRIPT.replace('"DN"', '"RADIANCE"'),
            "'RADIANCE'! Supported units for this band: [REFLECTANCE, DN]",
        ),
        (
            "evalscript",
            SCRIPT.replace('"DN"', '"REFLECTANCE"'),
            "'dataMask' of collection 'S2L2A' requested in unsupported",
        ),
        ("evalscript", SCRIPT.replace('"DN"', '["DN", "DN"]'), "as long as the bands"),
        ("evalscript", SCRIPT.replace("bands: 3", "bands: 2"), "requires 2 bands"),
        ("evalscript", SCRIPT.replace("sample.B02", "sample.B03"), "B03 is not among"),
        ("evalscript", SCRIPT.replace("sample.B02", "2 * sample.B02"), "cannot evaluate"),
        ("evalscript", SCRIPT.replace("SampleType.UINT16", '"UINT12"'), "UINT12"),
        ("evalscript", SCRIPT.replace("sampleType:", "type:"), "unknown type"),
        ("evalscript", SCRIPT.replace("setup", "set_up"), "setup"),
        ("evalscript", SCRIPT.replace("evaluatePixel", "evaluate"), "must return an array"),
        ("evalscript", SCRIPT.replace("input: [", "input: [["), "no plain object"),
    ],
)
def test_a_wrong_process_request_is_refused(path, value, says):
    with pytest.raises(Refused) as refused:
        process.parse(changed(BODY, path, value))
    assert refused.value.status == 400 and says in refused.value.message


def test_a_band_of_one_collection_is_none_of_the_other():
    body = changed(BODY, "evalscript", SCRIPT.replace("B02", "B10"))
    assert process.parse(changed(body, "input.data.0.type", "sentinel-2-l1c")).script.inputs == ("B10", "B04")


def test_the_price_counts_area_bands_and_floats_but_no_mask():
    request = process.parse(BODY)
    assert process.processing_units(request) == pytest.approx(0.5 * 0.25 * 2 / 3)
    floats = process.parse(changed(BODY, "evalscript", SCRIPT.replace("UINT16", "FLOAT32")))
    assert process.processing_units(floats) == pytest.approx(0.5 * 0.25 * 2 / 3 * 2)
    tiny = changed(changed(BODY, "output.width", 1), "output.height", 1)
    assert process.processing_units(process.parse(tiny)) == pytest.approx(0.01 * 2 / 3)


def test_a_right_search_is_understood():
    search = catalog.parse(SEARCH)
    assert (search.collection, search.end, search.limit, search.next) == ("sentinel-2-l2a", None, 100, 0)
    assert search.start.isoformat() == "2024-07-01T00:00:00+00:00" and search.area.bounds == (10, 48, 10.5, 48.5)
    assert [all(f(cc, p) for f, p in search.clouds) for cc in (1, 1.5, 19.9, 20)] == [False, True, True, False]
    args = [{"op": ">=", "args": [{"property": "eo:cloud_cover"}, 1.5]}]
    spelt = changed(changed(SEARCH, "filter-lang", "cql2-json"), "filter", {"op": "and", "args": args})
    assert catalog.parse(spelt).clouds == search.clouds[1:]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("time", "2024", "unknown time"),
        ("datetime", DELETE, "datetime is missing"),
        ("datetime", "2024-07-02T00:00:00Z/2024-07-01T00:00:00Z", "later than"),
        ("datetime", "2024-07-02/2024-07-03", "time zone"),
        ("datetime", "../..", "datetime"),
        ("collections", ["sentinel-2"], "not found"),
        ("collections", [], "one collection"),
        ("bbox", [600_000, 5_390_000, 602_560, 5_392_560], "degrees"),
        ("bbox", [10.5, 48.0, 10.0, 48.5], "west, south"),
        ("intersects", {"type": "Point", "coordinates": [10, 48]}, "exclude each other"),
        ("filter", "eo:cloud_cover < 20 OR eo:cloud_cover > 30", "filter"),
        ("filter", "cloud < 20", "filter"),
        ("filter", {"op": "<", "args": []}, "text"),
        ("filter-lang", "cql", "filter-lang"),
        ("limit", 101, "between 1 and 100"),
        ("limit", 0, "between 1 and 100"),
        ("next", "1", "next"),
        ("fields", {"included": []}, "unknown included"),
        ("ids", "one", "ids"),
    ],
)
def test_a_wrong_search_is_refused(path, value, says):
    with pytest.raises(Refused) as refused:
        catalog.parse(changed(SEARCH, path, value))
    assert refused.value.status == 400 and says in refused.value.message
