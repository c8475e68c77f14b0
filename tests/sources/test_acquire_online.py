"""Acquisition from the real service: needs its credentials and costs 0.03 processing units (pytest -m online)."""

import os

import numpy as np
import pytest
import rasterio

from specdm.settings import AcquireSettings
from specdm.sources import acquire

pytestmark = pytest.mark.online


@pytest.mark.parametrize("provider", ["cdse", "sentinelhub"])
def test_a_lake_looks_like_a_lake(tmp_path, provider):
    if os.environ.get("SPECDM_ONLINE") != provider:
        pytest.skip(f"set SPECDM_ONLINE={provider}, with credentials for it, to ask the real service")
    said = []
    settings = AcquireSettings(
        provider=provider,
        areas={"name": "bled", "bounds": (14.088, 46.360, 14.094, 46.364)},  # in the middle of Lake Bled
        dates={"first": "2023-06-01", "last": "2023-09-30"},
        bands=("B02", "B03", "B04", "B8A", "B11", "B12"),
    )
    report = acquire.acquire(tmp_path, settings, lambda plan: None, said.append)
    assert report.spent.requests == 1
    with rasterio.open(tmp_path / "bled/image1.tif") as source:
        refl = source.read() * source.scales[0]
        assert source.crs.to_epsg() == 32633 and source.tags()["acquired"].startswith("2023-")
    assert (refl > 0).any(axis=0).all()
    means = dict(zip(settings.bands, refl.mean(axis=(1, 2)), strict=True))
    assert means["B03"] > means["B8A"] > means["B12"] - 0.01 and max(means.values()) < 0.15  # clear water
    if "does not tell" not in "\n".join(said):
        left = next(line for line in said if line.startswith("left in the account's month"))
        assert np.all([float(word) >= 0 for word in left.split() if word.replace(".", "").isdigit()])
