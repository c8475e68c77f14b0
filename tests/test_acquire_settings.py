"""Settings of an acquisition: what is refused before the first job, in a sentence."""

import pytest
from pydantic import ValidationError

from specdm.config import validate
from specdm.errors import UserError
from specdm.settings import AcquireSettings, When

AREA = {"bounds": [14.4, 46.0, 14.6, 46.1]}
DAY = "2024-07-03"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"areas": []}, "at least 1 item"),
        ({"areas": {}}, "an area is a file or bounds"),
        ({"areas": AREA | {"file": "a.gpkg"}}, "an area is a file or bounds"),
        ({"areas": AREA | {"layer": "fields"}}, "layer belongs to file"),
        ({"areas": {"bounds": [14.4, 46.1, 14.6, 46.0]}}, "north edge must be the larger one"),
        ({"areas": [AREA, AREA]}, "two areas have the same name"),
        ({"areas": AREA | {"name": "../elsewhere"}}, "should match pattern"),
        ({"dates": []}, "at least 1 item"),
        ({"dates": "3 July"}, "should match pattern"),
        ({"dates": "2024-02-30"}, "day is out of range"),
        ({"dates": {"first": DAY}}, "the first and last day of a period"),
        ({"dates": {"day": DAY, "first": DAY, "last": DAY}}, "the first and last day of a period"),
        ({"dates": {"first": "2024-08-01", "last": DAY}}, "ends .* before it begins"),
        ({"dates": [DAY] * 3}, "or set unlabelled"),
        ({"dates": {"first": DAY, "last": DAY, "n": 2}}, "n is for unlabelled images"),
        ({"provider": "earth"}, "'cdse' or 'sentinelhub'"),
        ({"base_url": "https://localhost"}, "go together"),
        ({"base_url": "http://localhost", "token_url": "https://localhost"}, "should match pattern"),
        ({"budget": {"units": 0}}, "greater than 0"),
        ({"sh_client_secret": "mine"}, "Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused(changed, said):
    with pytest.raises(ValidationError, match=said):
        AcquireSettings(**{"areas": AREA, "dates": DAY} | changed)


def test_a_day_may_be_text_or_yamls_own_date():
    import datetime as dt

    assert When.model_validate(dt.date(2024, 7, 3)) == When.model_validate(DAY) == When(day=DAY)
    period = When.model_validate({"first": dt.date(2024, 6, 1), "last": "2024-06-30"})
    assert period.period == ("2024-06-01", "2024-06-30") and When(day=DAY).period == (DAY, DAY)


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({"origin": "acquire"}, "origin acquire and the section acquire go together"),
        ({"acquire": {"areas": AREA, "dates": DAY}}, "origin acquire and the section acquire go together"),
        (
            {"origin": "acquire", "acquire": {"areas": AREA, "dates": DAY, "unlabelled": True}},
            "acquire.unlabelled and labels: null go together",
        ),
        (
            {"origin": "acquire", "acquire": {"areas": AREA, "dates": DAY, "bands": ["B2", "B99"]}},
            "datasets.mine.acquire.bands: Sentinel-2 has no band 'B99'",
        ),
        ({"source": "unlabelled"}, "source unlabelled is for scenes with labels: null"),
    ],
)
def test_a_data_set_says_whole_where_its_images_come_from(dataset, said):
    prepare = {
        "scenes": [{"images": "{name}/image1.tif", "labels": "l.tif"}],
        "bands": "file",
        "level": "BOA",
        "scale": 1e-4,
        "classes": [{"name": "wood", "codes": [1]}, {"name": "field", "codes": [2]}],
    }
    mine = {"source": "scene", "raw": "data", "prepare": prepare}
    if dataset.get("source") != "unlabelled":
        mine |= {"n_real": 4, "networks": ["unet"], "regimes": {"real": {"real": 1, "synthetic": 0}}}
    with pytest.raises(UserError, match=said):
        validate({"datasets": {"mine": mine | dataset}, "methods": {"specdm": {}}, "seeds": [0]})
