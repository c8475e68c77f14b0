import base64
import dataclasses
import math
import re

import pandas as pd
import pytest

from specdm.patches import open_patches
from specdm.stages.report import _bands, _budget, _coverage_html, _difference


@pytest.fixture(scope="session")
def page(tmp_path_factory, verb, evaluated, trained_downstream, segmentation_patches, change_patches):
    """The page of both data sets, and the two tables it was made from."""
    root = tmp_path_factory.mktemp("report")
    metrics = [folder / "metrics.json" for folder in trained_downstream.values()]
    assert (
        verb(
            "tabulate-downstream",
            *metrics,
            out=root / "downstream.csv",
            out_seeds=root / "s.csv",
            out_groups=root / "g.csv",
        )
        == 0
    )
    synthesis = [folder / "synthesis.json" for folder in evaluated.values()]
    assert verb("tabulate", *synthesis, out=root / "synthesis.csv") == 0
    status = verb(
        "report",
        downstream=root / "downstream.csv",
        synthesis=root / "synthesis.csv",
        out=root / "report.html",
        picture=[folder / "samples.png" for folder in evaluated.values()],
        patches=[segmentation_patches, change_patches],
    )
    assert status == 0
    return (root / "report.html").read_text(), pd.read_csv(root / "downstream.csv"), pd.read_csv(root / "synthesis.csv")


def test_nothing_is_fetched_from_elsewhere(page):
    text = page[0]
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]*", "", text))
    assert not re.search(r"<(script|link|iframe)\b|@import|url\(", text)
    sources = re.findall(r'src="([^"]{0,30})', text)
    assert len(sources) == 2 * 3  # samples and spectra of each model
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_pictures_of_downstream_networks_stand_under_their_table(
    page, tmp_path, verb, trained_downstream, segmentation_patches, change_patches
):
    runs = {segmentation_patches: ("mixed-0", "mixed-1"), change_patches: ("change",)}
    folders = []
    for patches, names in runs.items():
        folders.append(tmp_path / patches.name / "downstream")
        metrics = [trained_downstream[name] / "metrics.json" for name in names]
        assert verb("draw-downstream", *metrics, patches=patches, out=folders[-1]) == 0
    downstream, synthesis = tmp_path / "downstream.csv", tmp_path / "synthesis.csv"
    page[1].to_csv(downstream)
    page[2].to_csv(synthesis)
    out = tmp_path / "report.html"
    tables = dict(downstream=downstream, synthesis=synthesis, out=out)
    assert verb("report", **tables, downstream_pictures=folders) == 0
    block = out.read_text().split("<h2>Does synthetic data help?</h2>")[1].split("<h2>")[0]
    after = block.split("</table>")[1]
    assert re.findall(r"<h3>(.*?)</h3>", after) == ["fields: downstream networks", "towns: downstream networks"]
    pictures = [base64.b64decode(text) for text in re.findall(r'src="data:image/png;base64,([^"]*)"', after)]
    names = ("amount.png", "confusion.png", "predictions.png")
    assert pictures == [(folder / name).read_bytes() for folder in folders for name in names]
    assert re.findall(r'<img alt="([^"]*)"', after) == 2 * [name.removesuffix(".png") for name in names]
    assert "downstream networks" not in page[0]


def test_the_numbers_of_the_tables_stand_in_the_page(page):
    text, downstream, synthesis = page
    for row in downstream.to_dict("records"):
        deviation = f" ({row['miou_macro_std']:.3f})" if row["n_seeds"] > 1 else ""
        assert f">{row['miou_macro_mean']:.3f}{deviation}<" in text
    for row in synthesis.to_dict("records"):
        assert f">{row['fd_mask']:.3f} ({row['fd_mask_floor']:.3f}; {row['fd_mask_n']:.0f})<" in text
        assert f">{row['agreement_normalised']:.3f}<" in text
    assert "nan" not in re.sub(r"base64,[A-Za-z0-9+/=]*", "", text)


def test_each_class_of_a_data_set_stands_in_the_legend(page):
    for name in ("mine dump", "urban fabric", "no change"):
        assert re.search(rf"</i>{name} \d+\.\d% \(\d+%\) → \d+\.\d% \(\d+%\)", page[0])


def test_lost_classes_and_fractions_asked_for_stand_in_the_page():
    row = {"dataset": "d", "method": "m", "classes_lost": 2, "asked_error": 0.034, "asked_error_shuffled": math.nan}
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", _coverage_html(pd.DataFrame([row])))
    assert cells == ["d", "m", "2", "3.4", ""]


def test_the_change_network_has_its_class_score(page):
    text, downstream, _ = page
    change = downstream.set_index("network").loc["changeformer-v3"]
    assert f">{change['iou_change_mean']:.3f}<" in text


def test_very_many_bands_are_counted_not_listed(change_patches):
    meta = open_patches(change_patches).meta
    assert _bands(meta) == "bands B02, B03, B04, B8A"
    many = dataclasses.replace(meta, bands=tuple(f"<{i}>" for i in range(156)))
    assert _bands(many) == "156 bands"
    many = dataclasses.replace(many, wavelengths_nm=tuple(range(401, 557)))
    assert _bands(many) == "156 bands from 401 to 556 nm"
    assert _bands(dataclasses.replace(meta, bands=("a<b",) * 4)).startswith("bands a&lt;b")


def test_differences_stand_with_their_interval_if_they_have_one():
    row = {"s_minus_baseline": 0.0312, "s_low": -0.01, "s_high": 0.0701}
    assert _difference(row, "s") == "+0.031 [-0.010, +0.070]"
    assert _difference(row | {"s_low": math.nan, "s_high": math.nan}, "s") == "+0.031"
    assert _difference(dict.fromkeys(row, math.nan), "s") == ""


def test_the_page_says_what_is_equal_for_all_regimes():
    for budget, words in (("iterations", "the same number of steps"), ("epochs", "equally often")):
        assert words in _budget(pd.DataFrame({"budget": [budget, budget]}))
