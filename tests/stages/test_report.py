import json
import re

import pandas as pd
import pytest

from specdm import attempts, files
from specdm.attempts import Attempt
from specdm.metrics.segmentation import slug
from specdm.patches import open_patches
from tests.report.examples import measured, png
from tests.stages.downstream_results import draw_counts

DIGEST = 16


def scores_of(patches) -> dict:
    """What evaluate writes: the same share of every class, real and synthetic."""
    classes = patches.meta.labels.names
    shares = {f"share_{kind}_{slug(n)}": 1 / len(classes) for n in classes for kind in ("real", "synthetic")}
    shares |= {f"presence_{kind}_{slug(n)}": 0.25 for n in classes for kind in ("real", "synthetic")}
    own = {k: v for k, v in measured().items() if k.startswith(("fd_", "msad", "asked"))}
    return own | shares | {"reconstruction_rmse": 0.03125, "reconstruction_sad_rad": None, "classes_lost": 0}


@pytest.fixture
def run(tmp_path, runs, verb, segmentation_patches, change_patches):
    """The folder of a run of both data sets as the workflow leaves it, with one file of another configuration."""
    root = tmp_path / "results"
    for patches in (segmentation_patches, change_patches):
        for method in ("specdm", "other"):
            stamp = {"stage": "evaluate", "stage_version": 5, "specdm_version": "0.1.0", "commit": method}
            files.write_json(
                root / "metrics" / patches.name / method / "synthesis.json",
                dict(dataset=patches.name, method=method, seed=0, patch_px=32, streams="two", sad_weight=0.1)
                | dict(n=300, n_real=200, n_val=50, features=[{"name": "teacher", "id": "teacher abc"}])
                | dict(scores=scores_of(open_patches(patches)), not_computable={}, provenance=stamp),
            )
        for folder, names in (("specdm", ("samples", "spectra")), ("downstream", ("confusion", "amount"))):
            (root / "figures" / patches.name / folder).mkdir(parents=True)
            for name in names:
                (root / "figures" / patches.name / folder / f"{name}.png").write_bytes(png())
    good = draw_counts(0)
    for dataset in ("fields", "towns"):
        for seed in (0, 1):
            runs.add("real", seed, good, dataset=dataset, n_synthetic=0, method="")
            runs.add("mixed", seed, good[:, ::-1].copy() if dataset == "fields" else None, dataset=dataset)
    stamp = {"stage": "train-downstream", "stage_version": 4, "specdm_version": "0.1.0", "commit": "specdm"}
    trained = root / "downstream" / "fields" / "unet" / "mixed" / "seed0"
    files.write_json(trained / "metrics.json", json.loads(runs.paths[1].read_text()) | {"provenance": stamp})
    for name, seconds in (("a", 100.0), ("b", 20.0)):
        measurement = json.dumps({"s": seconds, "max_rss": 512.0, "cpu_time": seconds})
        with files.new_file(root / "benchmarks" / "sample" / f"{name}.jsonl") as temporary:
            temporary.write_text(measurement + "\n")
    for started, outcome, spent in ((1.0, "failed", 1000.0), (2.0, "done", 260.0)):  # of job a: both count
        record = root / "logs" / "sample" / "a.attempts.jsonl"
        attempts.begin(record, Attempt("c", started, "host", "", 1, 4096, gpus=2))
        with record.open("a") as stream:
            ending = {"started": started, "outcome": outcome, "status": 0, "seconds": spent, "peak_mb": 300.0}
            stream.write(json.dumps(ending) + "\n")
    tables = root / "tables"
    metrics = [root / "metrics" / name / "specdm" / "synthesis.json" for name in ("fields", "towns")]
    out = dict(out=tables / "downstream.csv", out_seeds=tables / "s.csv", out_groups=tables / "g.csv")
    assert verb("tabulate-downstream", *runs.paths, **out) == 0
    assert verb("tabulate", *metrics, out=tables / "synthesis.csv", out_reconstruction=tables / "ablation.csv") == 0
    return root


@pytest.fixture
def tables(run):
    return {name: run / "tables" / f"{name}.csv" for name in ("downstream", "synthesis", "ablation")}


@pytest.fixture
def page(run, tables, verb, segmentation_patches, change_patches):
    """The page of both data sets."""
    given = tables | dict(out=run / "report.html", run=run, patches=[segmentation_patches, change_patches])
    given["pictures"] = [run / "figures" / name / "specdm" for name in ("fields", "towns")]
    given["downstream_pictures"] = [run / "figures" / name / "downstream" for name in ("fields", "towns")]
    assert verb("report", **given) == 0
    return (run / "report.html").read_text()


def without_pictures(text: str) -> str:
    return re.sub(r"base64,[A-Za-z0-9+/=]*", "", text)


def test_nothing_is_fetched_from_elsewhere(page):
    text = page
    assert not re.search(r"""(src|href)=["']?(https?:|//)|<(link|iframe)\b|@import|url\(""", without_pictures(text))
    sources = re.findall(r'src="([^"]{0,30})', text)
    assert len(sources) == 2 * 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_pictures_of_downstream_networks_stand_under_their_table(page):
    block = page.split('<h2 id="benefit">')[1].split("<h2")[0]
    assert re.findall(r"<h3>(.*?)</h3>", block) == ["fields: downstream networks", "towns: downstream networks"]
    assert re.findall(r'<img alt="([^"]*)"', block) == 2 * ["amount", "confusion"]


def test_the_numbers_of_the_tables_stand_in_the_page(page, tables):
    text, downstream, synthesis = page, pd.read_csv(tables["downstream"]), pd.read_csv(tables["synthesis"])
    for row in downstream.to_dict("records"):
        deviation = f" ± {row['miou_macro_std']:.3f}" if row["n_runs"] > 1 else ""
        assert f">{row['miou_macro_mean']:.3f}{deviation}<" in text
    for row in synthesis.to_dict("records"):
        assert f">{row['fd_mask']:.3f}<" in text and f">{row['fd_mask_floor']:.3f}<" in text
        assert f">{row['reconstruction_rmse']:.4f}<" in text
    assert not re.search(r"\b(nan|None)\b", without_pictures(text.split("<script>")[0].split('<h2 id="run">')[0]))


def test_both_data_sets_have_verdicts_and_their_own_facts(page, segmentation_patches):
    text = page
    glance = re.search(r"<table class=glance>.*?</table>", text)[0]
    assert re.findall(r"<th scope=row>(\w+)</th>", glance) == ["fields", "towns"]
    assert open_patches(segmentation_patches).meta.checksums["images"][:DIGEST] in text
    for name in ("mine dump", "urban fabric", "no change"):
        assert re.search(rf"</i>{name} \d+\.\d % \(\d+ %\) → \d+\.\d % \(\d+ %\)", text)
    assert "choices, each with its reason" in text  # of docs/paper.md


def test_times_and_provenance_are_those_of_the_run(page):
    block = page.split('<h2 id="run">')[1].split("<h3>Machine")
    # Of all: 1000 + 260 + 20 s, twice 1260 s of GPUs, 1260 s of the longest job.
    shown = [
        "all",
        "2",
        "3",
        "0",
        "0",
        "1",
        "0",
        "0:21:20",
        "0:42:00",
        "0:21:00",
        "0:16:40",
        "0",
        "0.50",
        "4.00",
        "1.0",
    ]
    rows = re.findall("<tr>(<td class=text>(?:sample|all)<.*?)</tr>", block[1])
    assert [re.findall("<td[^>]*>(.*?)</td>", row) for row in rows] == [["sample", *shown[1:]], shown]
    assert "last session" not in block[1] and "Every attempt of every job" in block[1]
    rows = re.findall(r"<td class=text>(evaluate|train-downstream)</td>.*?(\d+)</td></tr>", block[0])
    assert rows == [("evaluate", "2"), ("train-downstream", "1")]
    assert "other" not in block[0]  # a method that the tables do not hold


def test_a_difference_becomes_a_verdict(page):
    fields, towns = re.findall(r"<tr><th scope=row>.*?</tr>", page)
    assert '<span class="badge bad">✗ hurt</span>' in fields and "✗ hurt" not in towns


def test_alignment_and_copies_are_read(tables, tmp_path, verb):
    row = dict(dataset="fields", method="specdm")
    fit = row | dict(scorer="network", title="t", seen=0.9, exchanged=0.1, because="", peak_px=0)
    for key in ("synthetic", "real", "scaled"):
        fit |= {key: 0.5, f"{key}_low": 0.4, f"{key}_high": 0.6}
    copied = row | dict(kind="image", n=9, n_excluded=0, reference_n=9, threshold=0.1, expected_share=0.01)
    copied |= dict(share_closer=0.5, low=0.4, high=0.6, held_out_n=9, held_out_share=0.0, verdict="copies", because="")
    for name, made in (("alignment", fit), ("copies", copied)):
        pd.DataFrame([made]).to_csv(tmp_path / f"{name}.csv", index=False)
    out = tmp_path / "report.html"
    given = tables | dict(out=out)
    given |= {name: tmp_path / f"{name}.csv" for name in ("alignment", "copies")}
    assert verb("report", **given, note="a note & more") == 0
    text = out.read_text()
    assert "masks fit 0.50 [0.40, 0.60] by what networks read" in text and "image: 50.0 % [40.0 %, 60.0 %]" in text
    assert "a note &amp; more" in text


@pytest.mark.parametrize(
    ("table", "content", "words"),
    [
        ("downstream", "dataset,network\na,b\n", "has no column regime, so it is no table of this version"),
        ("downstream", "", "cannot be read as a table"),
        ("copies", "dataset,method\na,b\n", "has no column kind"),
        ("alignment", None, "cannot be read as a table"),
        ("assumptions", None, "give the document"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(tables, tmp_path, verb, table, content, words):
    wrong = tmp_path / "wrong.csv"
    if content is not None:
        wrong.write_text(content)
    given = tables | dict(out=tmp_path / "r.html")
    told = verb("report", **given | {table: wrong})
    assert str(wrong) in told and words in told and not (tmp_path / "r.html").exists()


def test_a_setting_that_does_not_exist_is_refused(tables, tmp_path, verb):
    given = tables | dict(out=tmp_path / "r.html")
    assert "did you mean 'datasets'?" in verb("report", **given, configuration='{"methods": {}, "datsets": {}}')
