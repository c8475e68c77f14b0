"""The whole page from plain rows: parts, cautions, pictures."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from specdm import config
from specdm.report import pictures as pics
from specdm.report.page import Part, page
from specdm.report.parts import parts, top
from specdm.report.run_parts import Machine
from specdm.report.run_parts import parts as run_parts
from specdm.report.sets import bands_in_words, described, legend
from tests.report.examples import copied, cost, data_set, found, measured, pictures, png, scored, trained

ROOT = Path(__file__).parents[2]
MACHINE = Machine("Linux-6", "some <processor>", 2, (), {"numpy": "2.4"})


def content(anchor, run):
    return next(part.content for part in parts(run) if part.anchor == anchor)


def plain(made: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", made))


def test_the_verdicts_stand_above_everything():
    made = page("title", top(found(note="The images are <simulated>.")), parts(found()))
    order = [made.index(word) for word in ("The images are &lt;simulated&gt;.", "no clear effect", "<nav", "<h2")]
    assert order == sorted(order)
    glance = re.search(r"<table class=glance>.*?</table>", made)[0]
    assert re.findall(r'class="badge (\w+)">(\S)', glance) == [
        ("mixed", "~"),
        ("mixed", "~"),
        ("good", "✓"),
        ("bad", "✗"),
        ("mixed", "~"),
    ]


def test_every_entry_of_the_contents_leads_somewhere():
    made = page("title", "", [Part("here", "Here & there", "x")])
    assert re.findall('href="#([^"]+)"', made) == re.findall('<h2 id="([^"]+)"', made) == ["here"]
    assert "Here &amp; there" in made


def test_a_part_without_its_table_says_so():
    run = found(alignment=[], copies=[], pictures=[])
    assert "not given" in content("masks", run) and "no table was given" in content("copies", run)
    assert "No pictures" in content("pictures", run)
    assert plain(top(run)).count("? not measured") == 2


def test_other_generators_are_folded_away():
    verdicts = content("verdicts", found())
    assert "<summary>the other generators of towns: ldm</summary>" in verdicts
    assert "about specdm, the first generator" in verdicts
    assert "other generators" not in content("verdicts", found(synthesis=[measured()]))
    assert [
        bool(mark) for mark in re.findall(r"<details( open)?><summary>towns: pairs", content("pictures", found()))
    ] == [
        True,
        False,
    ]


def test_verdicts_belong_to_their_data_set_and_generator():
    other = dict(dataset="fields")
    rows = [measured(), measured(method="ldm"), measured(**other)]
    copies = [copied("image"), copied("image", "copies", method="ldm"), copied("image", "not computable", **other)]
    run = found(synthesis=rows, copies=copies, alignment=[scored("network", 1.0, 0.9, 1.1, **other)])
    lines = re.findall(r"<tr>.*?</tr>", top(run))[1:]
    assert "none found" in lines[0] and "not measured" in lines[0] and "copies found" not in lines[0]
    assert "not computable" in lines[1] and "like real pairs" in lines[1]
    assert "copies found" in content("verdicts", run)  # of ldm, folded


def test_what_limits_the_verdicts_is_said():
    few = content("verdicts", found())
    assert "one training of each generator" in few and "Test groups are few (3)" in few and "warnings (1)" in few
    rows = [trained("real", 0.7), trained("mixed", 0.7, 100, difference=0.0, low=-1.0, high=1.0, n_generators=3)]
    many = data_set(splits={"train": (40, 12), "test": (90, 12)}, warnings=())
    assert "caution" not in content("verdicts", found(downstream=rows, sets=[many]))


@pytest.mark.parametrize(("labels", "told"), [(1315, True), (100, False)])
def test_labels_that_only_the_generator_saw_are_told(labels, told):
    own = config.load([ROOT / "config" / "config.yaml"])
    data = data_set(name="oscd", splits={"train": (labels, 12), "test": (90, 12)}, warnings=())
    rows = [trained("real", 0.7, dataset="oscd"), trained("m", 0.7, 500, dataset="oscd")]
    verdicts = content("verdicts", found(downstream=rows, synthesis=[], sets=[data], configuration=own))
    sentence = f"specdm, specdm-paper, ldm, specdm-no-sad learned from all {labels} labelled training patches"
    assert (sentence in verdicts) == told  # specdm-subset does not


def test_what_is_equal_is_told():
    assert "the same number of steps" in content("benefit", found())
    assert "equally often" in content("benefit", found(downstream=[trained("real", 0.7, budget="epochs")]))


def test_the_absence_of_the_papers_figures_is_explained():
    assert "no row here" in content("benefit", found())
    same = [trained("real", 0.7, paper_mf1=0.6274, paper_miou=0.546)]
    assert "no row here" not in content("benefit", found(downstream=same))


def test_reasons_and_unknown_columns_are_shown():
    rows = [measured(not_computable="kid: because N < 2", strange=3.25)]
    made = content("closeness", found(synthesis=rows))
    assert "towns, specdm: kid: because N &lt; 2" in made and "strange" in made and "3.25" in made
    assert "further columns" not in content("closeness", found())


def test_pictures_stand_in_a_fixed_order_with_their_paths():
    run = found(
        pictures=[pictures(pngs={name: png() for name in ("zebra", "alignment", "samples")}, pdfs={"alignment"})]
    )
    made = content("pictures", run)
    assert re.findall('alt="([^"]+)"', made) == ["samples", "alignment", "zebra"]
    assert "For print: figures/towns/specdm/alignment.pdf" in made and made.count("For print") == 1
    assert base64.b64decode(re.search('png;base64,([^"]+)', made)[1]) == png()


def test_a_large_picture_is_reduced_and_says_where_the_whole_is():
    noise = np.random.default_rng(0).integers(0, 255, (500, 2400, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    assert len(stream.getvalue()) > pics.LARGEST_BYTES
    made = pics.figure("samples", stream.getvalue(), "figures/a/b/samples.png")
    assert "Reduced; in full: figures/a/b/samples.png" in made
    shown = Image.open(io.BytesIO(base64.b64decode(re.search('jpeg;base64,([^"]+)', made)[1])))
    assert shown.size == (pics.SHOWN_PX, 375)


def test_each_class_stands_in_the_legend():
    made = legend(data_set(), measured(), lambda name: {"A&B": "a_b"}.get(name, name))
    assert '<i style="background:#ff0010"></i>A&amp;B 90.0 % (100 %) → 99.9 % (100 %)' in made
    assert "wood 10.0 % (50 %) → 0.1 % (2 %)" in made
    assert "</i>wood</span>" in legend(data_set(), {}, str)


def test_a_data_set_in_words():
    made = described(data_set())
    assert "bands B02, &lt;B&gt;" in made and "train 40 patches in 12 groups" in made and "one date" in made
    assert "images <code>abcdef0123456789</code>" in made and "clouds &amp; haze" in made
    many = data_set(bands=tuple(map(str, range(156))), wavelengths_nm=tuple(range(401, 557)))
    assert bands_in_words(many) == "156 bands from 401 to 556 nm"
    assert bands_in_words(data_set(bands=tuple("x" * 17), wavelengths_nm=())) == "17 bands"


def test_what_was_run_and_assumed():
    own = config.load([ROOT / "config" / "config.yaml"])
    document = "| said | chosen |\n|---|---|\n| a | `b` |\n"
    stamps = [dict(stage="evaluate", stage_version=5, specdm_version="0.1.0", commit="abc1234")]
    spent = [cost("sample", 0.025), cost("all", 0.025)]
    made = {p.anchor: p.content for p in run_parts([], stamps, spent, MACHINE, own, document)}
    assert "abc1234" in made["run"] and "some &lt;processor&gt;, 2 cores; no GPU" in made["run"]
    assert "0:01:30" in made["run"] and "numpy 2.4" in made["run"] and "&quot;n_bootstrap&quot;" in made["run"]
    assert "1 choices" in made["assumed"] and "<code>b</code>" in made["assumed"]
    nothing = {p.anchor: p.content for p in run_parts([], [], [], MACHINE, None, "")}
    assert nothing["run"].count("given") == 3 and "not given" in nothing["assumed"]


def test_this_machine_is_named():
    here = Machine.here(["GPU X"])
    assert here.processor and here.cores >= 1 and here.versions["numpy"] == np.__version__
