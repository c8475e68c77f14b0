"""Patch sets that exports are made of, and exporting without the command line."""

from pathlib import Path

import pytest

from specdm.stages.export import export as stage
from tests.exports.sets import GENERATED, make_cities, make_set

TABLE = Path(__file__).parents[2] / "config" / "datasets.csv"


@pytest.fixture(scope="session")
def fields(tmp_path_factory):
    """Nine real patches of one date with SegMunich's classes."""
    return make_set(tmp_path_factory.mktemp("sets") / "fields")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Five synthetic patches of one date."""
    folder = tmp_path_factory.mktemp("sets") / "drawn"
    return make_set(folder, n=5, ids="drawn-{:06}", synthetic=True, provenance=GENERATED)


@pytest.fixture(scope="session")
def towns(tmp_path_factory):
    """Nine real patches of two dates with OSCD's classes."""
    return make_cities(tmp_path_factory.mktemp("sets") / "towns")


@pytest.fixture
def export(tmp_path):
    """Exports a set: export(patches, to, **options) -> the folder."""

    def run(patches, to: str, **options) -> Path:
        out = tmp_path / f"{patches.meta.name}-{to}"
        stage(patches.folder, to, out, table=TABLE, **options)
        return out

    return run
