"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data: SPECDM_REAL_DATA, or ../shared/data beside the repository."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SPECDM_REAL_DATA", default))
    if not (folder / "oscd").is_dir():
        pytest.skip(f"no real data in {folder}: set SPECDM_REAL_DATA to a folder that holds oscd/")
    return folder
