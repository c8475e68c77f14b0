import numpy as np
import pandas as pd
import pytest
from PIL import Image

from specdm import files

SCORES = {"kid_image1": 0.1, "kid_mask": 0.2, "msad_rad": 0.03}


@pytest.fixture
def measured(tmp_path):
    """measured(steps, method, factor): files of evaluate and check-alignment of samples drawn in so many steps."""

    def write(steps, method="specdm", factor=1.0, folder=None):
        place = tmp_path / "metrics" / (folder or f"steps{steps}")
        scores = {}
        for name, value in SCORES.items():
            scores |= {
                name: factor * value,
                f"{name}_low": factor * value - 0.01,
                f"{name}_high": factor * value + 0.01,
            }
            scores[f"{name}_floor"] = 0.005
        files.write_json(place / "synthesis.json", dict(dataset="d", method=method, n=30, scores=scores))
        row = dict(scorer="network", synthetic=0.7, synthetic_low=0.6, synthetic_high=0.8, real=0.9)
        files.write_json(place / "alignment.json", dict(rows=[dict(row, scorer="other", synthetic=0.1), row]))
        return place

    return write


@pytest.fixture
def tabulated(tmp_path, verb):
    def run(*places):
        given = dict(out=tmp_path / "steps.csv", picture=tmp_path / "steps")
        given["alignment"] = [place / "alignment.json" for place in places]
        return verb("tabulate-steps", *(place / "synthesis.json" for place in places), **given)

    return run


def test_every_number_of_steps_is_a_row_in_order_with_its_scores_and_floors(
    tmp_path, measured, tabulated, final_figures
):
    assert tabulated(measured(25), measured(5, factor=3.0)) == 0
    table = pd.read_csv(tmp_path / "steps.csv")
    assert table["steps"].tolist() == [5, 25]
    np.testing.assert_allclose(table["kid_mask"], [0.6, 0.2])
    np.testing.assert_allclose(table["msad_rad_high"], [0.1, 0.04])
    assert (table["kid_image1_floor"] == 0.005).all() and (table["agreement"] == 0.7).all()
    assert (table["agreement_real"] == 0.9).all() and (table["n"] == 30).all()
    assert Image.open(tmp_path / "steps.png").size[0] > 800
    assert (tmp_path / "steps.pdf").read_bytes().startswith(b"%PDF")


def test_files_of_several_generators_or_unclear_folders_are_refused(tmp_path, measured, tabulated):
    assert "several generators" in tabulated(measured(5), measured(25, method="ldm"))
    assert "name it steps25" in tabulated(measured(5, folder="few"))
    assert not (tmp_path / "steps.csv").exists()
