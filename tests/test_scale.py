"""The page of costs at full size: its counts, hours and bytes follow from the configuration and the measured rates."""

import csv
import re
from collections import Counter
from math import ceil
from pathlib import Path

import pytest

from specdm import config
from specdm.networks import encoder_of

ROOT = Path(__file__).parents[1]
PAPER = config.load([ROOT / "config" / "config.yaml"])
DOWNSTREAM, EVERYTHING = "`results/tables/downstream.csv`", "`all`"


def _tables() -> list[list[dict[str, str]]]:
    """The tables of the page: a dictionary a row."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", (ROOT / "docs" / "scale.md").read_text(), re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


def _table(*columns: str) -> list[dict[str, str]]:
    [found] = [table for table in _tables() if set(columns) <= table[0].keys()]
    return found


def _rates() -> dict[tuple[str, str, str], float]:
    with (ROOT / "benchmarks" / "rates_h200.csv").open(newline="") as stream:
        return {(r["what"], r["dataset"], r["name"]): float(r["per_second"]) for r in csv.DictReader(stream)}


def _counts_by_configuration(everything: bool) -> Counter[str]:
    """Rule -> jobs, from the configuration alone."""
    count = Counter()
    for dataset in PAPER.datasets.values():
        pairs = dataset.table("downstream")
        wanted = [dataset.all_regimes[regime] for _, regime in pairs]
        methods = {r.method for r in wanted if r.synthetic} if not everything else set(dataset.methods)
        count["search_downstream"] += len(pairs)
        count["train_downstream"] += len(pairs) * len(PAPER.seeds)
        for rule in ("train_autoencoder", "encode", "train_diffusion", "sample"):
            count[rule] += len(methods)
        for method in methods:
            n = dataset.n_samples(method, PAPER.evaluation.n_samples)
            count["draw_samples"] += ceil(n / PAPER.pairs_a_shard)
        filtered = {r.method for r in wanted if r.keep == "best"}
        count["filter_samples"] += len(filtered)
        count["train_judge"] += PAPER.evaluation.folds if filtered or everything else 0
        count.update(["download", "prepare", *(["train_teacher", "draw_downstream"] if everything else [])])
        if everything:
            count.update({rule: len(methods) for rule in ("evaluate", "check_alignment", "check_copies")})
    encoders = {
        encoder_of(network)
        for dataset in PAPER.datasets.values()
        for network in dataset.networks
        if PAPER.downstream_of(network).encoder_weights == "imagenet"
    }
    count["fetch_encoder"] = len(encoders)
    single = ("synthesis_table", "report", "costs_table", "versions", "all") if everything else ()
    return count + Counter(("downstream_table", *single))


@pytest.mark.parametrize(("target", "everything"), [(DOWNSTREAM, False), (EVERYTHING, True)])
def test_jobs_are_those_of_the_configuration(target, everything):
    *rows, total = _table("rule", DOWNSTREAM)
    expected = _counts_by_configuration(everything)
    assert {row["rule"]: int(row[target]) for row in rows if int(row[target])} == dict(expected)
    assert int(total[target]) == expected.total()
    text = (ROOT / "docs" / "scale.md").read_text()
    assert f"{expected.total()} jobs" in text


def test_hours_of_the_generators_follow_from_measured_rates():
    """Those of `specdm` on both data sets, from settings and rates; the patches that are encoded stand on the page."""
    rates = _rates()
    for name, seen in (("segmunich", 19_507 + 2_167), ("oscd", 300 + 27)):
        [row] = [r for r in _table("autoencoder", "denoiser") if (r["data set"], r["method"]) == (name, "specdm")]
        settings = PAPER.method(name, "specdm")
        first, second = settings.autoencoder, settings.diffusion
        n = PAPER.datasets[name].n_samples("specdm", PAPER.evaluation.n_samples)
        for column, what, units in (
            ("autoencoder", "autoencoder training", first.steps * first.batch),
            ("encoding", "encoding", 8 * seen),
            ("denoiser", "denoiser training", second.steps * second.batch),
            ("drawing", "sampling", n),
        ):
            assert row[column] == f"{units / rates[what, name, 'specdm'] / 3600:.2f}", (name, column)


def test_hours_of_a_downstream_training_take_the_slower_of_network_and_loading():
    rates, splits = _rates(), {"segmunich": (2_167, 5_416), "oscd": (27, 116)}
    rows = _table("network", "a training")
    assert {(r["data set"], r["network"]) for r in rows} == {
        (name, network) for name, dataset in PAPER.datasets.items() for network in dataset.networks
    }
    for row in rows:
        name, network = row["data set"], row["network"]
        settings, (val, test) = PAPER.downstream_of(network), splits[name]
        own, loading = rates["downstream training", name, network], rates["loading", name, "strong"]
        looked_at = val * settings.steps // settings.val_every + test
        looking = looked_at / rates["downstream inference", name, network]
        for column, rate in (("a training", own), ("with strong augmentation", min(own, loading))):
            assert row[column] == f"{(settings.steps * settings.batch / rate + looking) / 3600:.2f}", (network, column)


def test_hours_of_all_rules_add_up():
    *rows, total = _table("rule", "PFLOP")
    for column in ("jobs", "GPU hours", "were strong as fast as basic"):
        added = sum(float(row[column]) for row in rows)
        assert added == pytest.approx(float(total[column]), abs=0.05 * len(rows) + 0.05), column
    counted = {row["rule"]: int(row[EVERYTHING]) for row in _table("rule", DOWNSTREAM)}
    by_rule = Counter()
    for row in rows:
        by_rule[row["rule"]] += int(row["jobs"])
    assert all(counted[rule] == n for rule, n in by_rule.items())
    [all_on_one] = [r for r in _table("target", "GPUs") if (r["target"], r["GPUs"]) == (EVERYTHING, "1")]
    assert float(all_on_one["hours"]) == pytest.approx(float(total["GPU hours"]), abs=0.6)


def test_disk_follows_from_shapes():
    sizes = {row["folder of `results/`"]: row for row in _table("folder of `results/`")}
    segmunich, oscd = 128**2 * (10 * 2 + 1), 256**2 * (2 * 10 * 2 + 1)
    patches = 27_090 * segmunich + (300 + 27 + 116) * oscd
    assert sizes["`patches/`"]["GB"] == f"{patches / 1e9:.0f}"
    assert sizes["`patches/`"]["files"] == str(4 * len(PAPER.datasets))
    drawn = sum(
        dataset.n_samples(method, PAPER.evaluation.n_samples) * (segmunich if name == "segmunich" else oscd)
        for name, dataset in PAPER.datasets.items()
        for method in dataset.methods
    )
    assert sizes["`samples/`"]["GB"] == f"{drawn / 1e9:.0f}"
    trainings = _counts_by_configuration(True)["train_downstream"]
    assert sizes["`downstream/`"]["files"] == str(8 * trainings)


@pytest.fixture
def scale(monkeypatch):
    """The modules behind the page, as scripts of benchmarks/ see them."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import job_graph
    import scale_time
    import scale_work

    return job_graph, scale_time, scale_work


GRAPH = r"""
digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
	0[label = "train_downstream\nseed: 1", color = "0.58 0.6 0.85", style="rounded"];
	1[label = "sample\nmethod: ldm", color = "0.40 0.6 0.85", style="rounded"];
	2[label = "search_downstream\nnetwork: unet\nmethod: none", color = "0.4 0.6 0.85", style="rounded"];
	1 -> 0
	2 -> 0
	1 -> 2
}
"""


def test_a_graph_gives_jobs_behind_what_they_need_with_inherited_wildcards(scale):
    found = scale[0].read_graph(GRAPH)
    assert [job.rule for job in found] == ["sample", "search_downstream", "train_downstream"]
    assert [job.needs for job in found] == [(), (0,), (0, 1)]
    assert found[1].wildcards == {"network": "unet", "method": "none"}
    assert found[2].wildcards == {"seed": "1", "network": "unet", "method": "ldm"}


def test_a_schedule_packs_cards_and_waits_for_what_is_needed(scale):
    graph, time, _ = scale

    def job(rule, *needs):
        return graph.Job(rule, {}, needs)

    alike = [job("train_downstream") for _ in range(6)]
    assert time.wall_hours(alike, [1.0] * 6, 1) == 6
    assert time.wall_hours(alike, [1.0] * 6, 4) == 2
    chain = [job("train_autoencoder"), job("encode", 0), job("train_downstream", 1)]
    assert time.wall_hours(chain, [3.0, 0.0, 2.0], 4) == 5
    # One card is enough for what takes no time; the chain goes first although it was planned last.
    assert time.wall_hours([job("report"), job("encode")], [0.0, 2.0], 1) == 2
    both = [*alike[:2], job("train_downstream", 0, 1)]
    assert time.wall_hours(both, [1.0, 3.0, 2.0], 1) == 6
    mixed = [*alike[:2], job("train_autoencoder"), job("train_downstream", 2)]
    assert time.wall_hours(mixed, [2.0, 2.0, 3.0, 3.0], 2) == 6
    # A short job that ends first lets its user start first.
    assert time.wall_hours([*alike[:2], job("train_downstream", 1)], [5.0, 1.0, 4.0], 2) == 5


@pytest.fixture
def rates(tmp_path, scale, monkeypatch):
    path = tmp_path / "rates.csv"
    path.write_text(
        "machine,what,dataset,name,batch,per_second,peak_gib,loading\n"
        "m,downstream training,oscd,unet,16,100,1,0.5\n"
        "m,loading,oscd,strong,16,10,0,\n"
        "m,encoding,oscd,specdm,32,50,1,\n"
        "m,sampling,oscd,specdm,32,,,\n"
    )
    cost = {"unet": 71.0, "specdm": 400.0, "ldm": 100.0}  # GFLOP
    monkeypatch.setattr(scale[1], "gflop", lambda what, dataset, name: cost[name])
    return scale[1].Rates(path)


def test_a_rate_that_was_not_measured_is_estimated_by_flop_and_says_so(rates, scale):
    work = scale[2].Work
    assert not rates.of(work("encoding", "oscd", "specdm", 1)).estimated
    guess = rates.of(work("encoding", "oscd", "ldm", 1))
    assert guess.estimated
    assert guess.per_second == 50 * 4
    with pytest.raises(KeyError):  # the row of a failed measurement is none
        rates.of(work("sampling", "oscd", "specdm", 1))


def test_loading_sets_the_pace_where_it_is_slower(rates, scale):
    _, time, work = scale
    basic = time.hours_of(work.Work("downstream training", "oscd", "unet", 360_000), rates)
    assert (basic.here, basic.unaugmented) == (1, 1)
    # 71 GFLOP take 2 ms at half of the card's 71 TFLOP/s: less than the 10 ms that were measured. At a fifth 5 ms: less
    # than 10 ms by the ratio of bandwidths, 4800 / 936.
    assert basic.low == pytest.approx(1)
    assert basic.high == pytest.approx(4800 / 936)
    strong = time.hours_of(work.Work("downstream training", "oscd", "unet", 360_000, "strong"), rates)
    assert (strong.here, strong.unaugmented, strong.low, strong.high) == (10, 1, 10, 10)


def test_another_cards_arithmetic_bounds_what_it_can_do(rates, scale):
    _, time, work = scale
    heavy = time.hours_of(work.Work("encoding", "oscd", "specdm", 3600), rates)  # float32: 400 GFLOP at 35.6 TFLOP/s
    assert heavy.here == pytest.approx(1 / 50)
    assert heavy.low == pytest.approx(400 / 35_600 / 0.5)
    assert heavy.high == pytest.approx(4800 / 936 / 50)


def test_a_search_is_all_its_candidates_and_never_tests(scale):
    graph, _, work = scale
    wildcards = {"dataset": "oscd", "network": "fc-siam-diff", "regime": "real-strong"}
    training = work.work_of(graph.Job("train_downstream", wildcards, ()))
    search = work.work_of(graph.Job("search_downstream", wildcards, ()))
    assert [w.units for w in training] == [160_000, 20 * 27 + 116]
    assert [w.units for w in search] == [160_000, 20 * 27] * 3
    assert {w.loading for w in training if w.what == "downstream training"} == {"strong"}
    assert work.work_of(graph.Job("evaluate", wildcards, ())) == []
    shown = {"dataset": "segmunich", "method": "specdm-subset"}
    [encoding] = work.work_of(graph.Job("encode", shown, ()))
    assert encoding.units == 8 * (2_000 + 2_167)
    [drawing] = work.work_of(graph.Job("draw_samples", {**shown, "shards": "4"}, ()))
    assert drawing.units == 2_500
