"""Tables, cells, facts: each number in its place, nothing hidden, all texts escaped."""

import re
from pathlib import Path

import pytest

from specdm import config
from specdm.report import comparisons, facts, measures
from specdm.report.html import Cell, Table, interval, number, signed, table, word
from tests.report.examples import copied, cost, measured, scored, trained

ROOT = Path(__file__).parents[2]


def columns(shown: Table) -> dict[str, list[str]]:
    return {title: [row[i].text for row in shown.rows] for i, title in enumerate(shown.titles)}


def test_texts_are_escaped_and_numbers_keep_their_value():
    made = table(Table(["<a>", "n"], [[word("b & <c>"), number(-0.12345)], [word(None), number(None)]]))
    assert "&lt;a&gt;" in made and "b &amp; &lt;c&gt;" in made and "<c>" not in made
    assert '<td data-value="-0.12345">−0.123</td>' in made and made.count("data-value") == 1
    assert made.count("<th scope=col class=text>") == 1


def test_columns_without_anything_are_left_out():
    made = table(Table(["full", "empty"], [[word("a"), Cell()], [word(""), Cell()]]))
    assert "full" in made and "empty" not in made


def test_undefined_intervals_are_nothing():
    assert interval(None, 0.1) == interval(0.1, None) == "" and interval(-0.1, 0.25, "+.2f") == " [−0.10, +0.25]"
    assert signed(0.5) == "0.500"


def test_the_papers_figures_stand_beside_ours():
    own = trained("augmented", 0.66, 500, difference=0.03, low=-0.01, high=0.07, paper_mf1=0.6617, paper_miou=0.5733)
    shown = columns(comparisons.downstream([own]))
    assert shown["F1"] == ["0.660 ± 0.010"] and shown["F1 of the paper"] == ["0.6617"]
    assert shown["mIoU of the paper"] == ["0.5733"] and shown["F1 − baseline"] == ["+0.030 [−0.010, +0.070]"]
    row = dict(
        dataset="d", method="m", patch_px=128, streams="two", sad_weight=0.1, reconstruction_rmse=0.03, paper_rmse=0.025
    )
    shown = columns(comparisons.ablation([row | {"fd_mask": 2.0, "paper_fid_mask": 10.79}]))
    assert shown["RMSE (refl)"] == ["0.0300"] and shown["RMSE (refl), paper"] == ["0.025"]
    assert shown["FD masks"] == ["2.000"] and shown["FID masks, paper"] == ["10.79"]


def test_distances_of_every_kind_stand_in_rows():
    rows = [measured(kid_mask=0.01, kid_mask_low=0.005, kid_mask_high=0.02, fd_inception_rgb=7.0, precision_image1=0.5)]
    shown = columns(measures.distances(rows))
    assert shown["of"] == ["images", "masks", "inception rgb"]
    assert shown["Fréchet distance"] == ["1.500", "8.000", "7.000"] and shown["N"] == ["40", "40", ""]
    assert shown["KID"] == ["", "0.010", ""] and shown["KID from"] == ["", "0.005", ""]
    assert shown["precision"] == ["0.500", "", ""] and shown["distance / floor"] == ["0.50", "4.00", ""]


def test_every_column_of_the_synthesis_table_has_a_place_or_is_left_for_the_last_table():
    row = measured(classes_lost=1, not_computable="x: because y", strange_score=3)
    assert [name for name in row if not measures.is_shown(name)] == ["strange_score"]
    rest = columns(comparisons.everything([{"dataset": "d", "method": "m", "strange_score": 3}], measures.KEYS))
    assert rest == {"dataset": ["d"], "method": ["m"], "strange_score": ["3"]}


def test_shares_of_classes_are_percents():
    shown = columns(measures.shares([measured()]))
    assert shown["class"] == ["a b", "wood"] and shown["synthetic pixels (%)"] == ["99.90", "0.10"]
    assert shown["real patches with it (%)"] == ["100", "50"]


def test_alignment_and_its_curves():
    rows = [scored("network", 0.8, 0.7, 0.9, peak_px=2, peak_direction="up"), scored("area", because="too few")]
    shown = columns(measures.alignment(rows))
    assert shown["scaled: 0 exchanged, 1 real [95\u00a0%]"] == ["0.80 [0.70, 0.90]", ""]
    assert shown["towards"] == ["up", ""] and shown["not computable, because"] == ["", "too few"]
    curves = columns(measures.curves(rows[:1]))
    assert curves["pairs"] == ["synthetic", "real"]
    assert curves["0 px"] == ["0.600", "0.800"] and curves["1 px"] == ["0.500", "0.700"]


def test_copies_are_percents():
    shown = columns(measures.copies([copied("image")]))
    assert shown["closer than the threshold (%)"] == ["1.20"] and shown["expected (%)"] == ["1.00"]
    assert shown["held-out real (%)"] == ["1.25"] and shown["N"] == ["300"]


def test_a_last_row_stands_below_the_body_without_the_columns_that_were_left_out():
    made = table(Table(["stage", "empty", "n"], [[word("a"), Cell(), number(1)]], [word("all"), Cell(), number(1)]))
    foot = '<tfoot><tr><td class=text>all</td><td data-value="1.0">1.000</td></tr></tfoot>'
    assert made.endswith(f"</tbody>{foot}</table></div>") and "empty" not in made
    assert "tfoot" not in table(Table(["a"], [[word("b")]]))


def test_every_cost_has_its_place_and_all_stand_in_the_last_row():
    counts = dict(jobs=2, attempts=9, paused=3, out_of_memory=4, failed=5, cut_off=6, without_hours=7)
    hours = dict(gpu_hours=4.5, longest_hours=1.0, lost_hours=0.25)
    first = cost("sample", 1.51, **counts, **hours, peak_mib=2560, asked_mib=24064, cores_used=0.74)
    bare = cost("encode", 1 / 3600, peak_mib=None, asked_mib=None, cores_used=None)
    made = facts.times([first, bare, cost("all", 2.0)])
    shown = columns(made)
    assert list(zip(*shown.values(), strict=True)) == [
        (
            "sample",
            "2",
            "9",
            "3",
            "4",
            "5",
            "6",
            "1:30:36",
            "4:30:00",
            "1:00:00",
            "0:15:00",
            "7",
            "2.50",
            "23.50",
            "0.7",
        ),
        ("encode", "1", "1", "0", "0", "0", "0", "0:00:01", "0:00:01", "0:00:01", "0:00:00", "0", "", "", ""),
    ]
    names = ["paused", "out of memory", "failed", "cut off", "time of all (h:mm:ss)", "time of GPUs"]
    names += ["of the longest job", "lost", "attempts of unknown length", "largest memory (GiB)"]
    assert list(shown) == ["stage", "jobs", "attempts", *names, "memory asked for (GiB)", "cores used"]
    assert [cell.text for cell in made.foot][::7] == ["all", "2:00:00", "1.5"] and made.rows[0][7].value == 5436


def test_results_of_several_states_of_the_code_are_doubtful():
    stamp = dict(stage="evaluate", stage_version=5, specdm_version="0.1.0", commit="abc")
    assert facts.doubts([stamp, stamp]) == []
    assert columns(facts.origins([stamp, stamp]))["files"] == ["2"]
    doubts = facts.doubts([stamp, stamp | {"commit": "def-dirty"}, stamp | {"commit": "unknown"}])
    assert [("3 states" in doubts[0]), ("-dirty" in doubts[1]), ("unknown" in doubts[2])] == [True] * 3


def test_settings_are_those_of_the_data_set():
    own = config.load([ROOT / "config" / "config.yaml"])
    sets, generators = (columns(shown) for shown in facts.headline(own))
    assert sets["data set"] == ["segmunich", "oscd"] and sets["labelled patches"] == ["2000", "100"]
    row = generators["data set"].index("oscd") + generators["generator"][5:].index("specdm-subset")
    assert generators["sees labels"][row] == "subset"
    assert generators["steps, autoencoder"][row] == str(own.method("oscd", "specdm-subset").autoencoder.steps)
    assert own.methods["specdm"].autoencoder.steps != own.method("oscd", "specdm").autoencoder.steps


def test_assumptions_are_rows_with_code_in_its_place():
    text = "words\n\n| a | b |\n|---|---|\n| x < `y_z` | |\n| p | `q` |\n"
    assert facts.assumptions(text) == [
        ["a", "b"],
        ["x &lt; <code>y_z</code>", ""],
        ["p", "<code>q</code>"],
    ]


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00:00"), (59.6, "0:01:00"), (86_400, "24:00:00")])
def test_a_clock(seconds, shown):
    assert facts.clock(seconds) == shown


def test_the_papers_document_has_the_table():
    rows = facts.assumptions((ROOT / "docs" / "paper.md").read_text())
    assert len(rows) > 25 and {len(row) for row in rows} == {4}
    assert not any(re.search("^-+$", cell) for row in rows for cell in row)
