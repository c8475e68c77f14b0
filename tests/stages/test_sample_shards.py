"""Samples drawn in shards, as by several jobs, and joined to one set."""

import json
from types import SimpleNamespace

import pytest

from specdm import arguments
from specdm.model import SpecDM
from specdm.patches import open_patches
from specdm.stages import sample

N = 14  # in batches of 3: five batches, of which the last is smaller


@pytest.fixture
def drawn(monkeypatch) -> list[int]:
    """Numbers of the patches that are drawn, in order; `interrupt` is the number that ends the run."""
    numbers, original = _Numbers(), SpecDM.draw

    def counted(self, indices, *rest):
        if numbers.interrupt in indices:
            raise KeyboardInterrupt
        numbers.extend(indices)
        return original(self, indices, *rest)

    monkeypatch.setattr(SpecDM, "draw", counted)
    return numbers


class _Numbers(list):
    interrupt = None


@pytest.fixture
def run(tmp_path, verb, settings, conditioned_chain):
    """Draws a shard with run.draw("2/3", ...) into a folder of its own; joins folders with run.join(...)."""

    def draw(shard=None, out=None, **options):
        name = (shard or "whole").replace("/", "-of-")
        folders = dict(out=out or tmp_path / name, state=tmp_path / f"state-{name}")
        arguments = dict(model=conditioned_chain.model, n=N, settings=settings.sampling) | folders
        return verb("sample", **arguments | ({"shard": shard} if shard else {}) | options)

    def join(*shards):
        return verb("join-samples", *(tmp_path / name for name in shards), out=tmp_path / "joined")

    return SimpleNamespace(draw=draw, join=join, folder=tmp_path)


@pytest.mark.parametrize("m", [1, 3, 5])
def test_joined_shards_are_the_set_of_a_single_run_byte_for_byte(run, drawn, m):
    for k in range(m, 0, -1):
        assert run.draw(f"{k}/{m}") == 0
    assert sorted(drawn) == list(range(N))
    assert run.join(*(f"{k}-of-{m}" for k in range(1, m + 1))) == 0
    assert run.draw(out=run.folder / "whole", name="synthetic") == 0
    for name in ("images.npy", "masks.npy", "asked.npy", "index.parquet", "meta.json"):
        assert (run.folder / "joined" / name).read_bytes() == (run.folder / "whole" / name).read_bytes(), name
    assert not list(run.folder.glob("state*/*"))


def test_a_shard_is_a_set_of_its_own_whose_patches_know_their_number(run, drawn, capsys):
    assert run.draw("2/3") == 0
    assert drawn == [3, 4, 5, 6, 7, 8]
    shard = open_patches(run.folder / "2-of-3")
    assert shard.index["id"].tolist() == [f"synthetic-{i:06d}" for i in range(3, 9)]
    assert shard.meta.provenance["shard"] | {"key": ""} == {"k": 2, "m": 3, "n": N, "key": ""}
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"sample: 6 patches in {run.folder / '2-of-3'}, ")


def test_a_shard_drawn_again_is_the_same(run):
    run.draw("2/3")
    first = (run.folder / "2-of-3" / "images.npy").read_bytes()
    run.draw("2/3", out=run.folder / "again")
    assert (run.folder / "again" / "images.npy").read_bytes() == first


def test_shards_may_be_given_in_any_order(run):
    for k in (1, 2):
        run.draw(f"{k}/2")
    assert run.join("2-of-2", "1-of-2") == 0
    ids = open_patches(run.folder / "joined").index["id"].tolist()
    assert ids == [f"synthetic-{i:06d}" for i in range(N)]


def test_a_missing_shard_is_named(run):
    run.draw("1/3"), run.draw("3/3")
    told = f"error: {run.folder / 'joined'}: shard 2 of 3 is missing: give the folder of each shard once."
    assert run.join("1-of-3", "3-of-3") == told
    assert not (run.folder / "joined").exists()


def test_a_shard_given_twice_is_refused(run):
    run.draw("1/2"), run.draw("2/2")
    assert "a shard is given twice" in run.join("1-of-2", "2-of-2", "1-of-2")


@pytest.mark.parametrize("changed", [{"seed": 1}, {"want": "change=0.2"}, {"guidance": 2}, {"n": 13}])
def test_shards_of_different_sets_are_not_joined(run, changed):
    run.draw("1/2"), run.draw("2/2", **changed)
    assert run.join("1-of-2", "2-of-2").startswith(f"error: {run.folder / 'joined'}: the shards are of different sets")


def test_a_whole_set_is_no_shard(run):
    run.draw(out=run.folder / "whole")
    assert run.join("whole") == f"error: {run.folder / 'whole'} is no shard: draw it with `specdm sample --shard k/m`."


def test_a_killed_shard_goes_on_where_it_was(run, drawn):
    drawn.interrupt = 6
    assert run.draw("2/3") == 130
    drawn.interrupt = None
    assert drawn == [3, 4, 5] and not (run.folder / "2-of-3").exists()
    assert run.draw("2/3") == 0
    assert drawn == [3, 4, 5, 6, 7, 8]


def test_more_shards_than_batches_are_refused(run):
    assert run.draw("1/6") == "error: --shard: 14 patches in batches of 3 make 5 shards at most, not 6."


def test_drawing_pauses_in_time_and_goes_on(run, drawn, monkeypatch, capsys):
    clock, draw, load = SimpleNamespace(now=1000.0), SpecDM.draw, SpecDM.from_pretrained

    def slow(*drawn):
        clock.now += 60
        return draw(*drawn)

    def slowly_loaded(folder):
        clock.now += 90
        return load(folder)

    for module in (sample, arguments):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(SpecDM, "draw", slow)
    monkeypatch.setattr(SpecDM, "from_pretrained", slowly_loaded)
    assert run.draw(max_minutes=1) == 75  # gone before the first batch: it is drawn all the same
    assert drawn == list(range(3))
    assert run.draw(max_minutes=2.75) == 75  # a batch of a minute; a second would end too late
    assert drawn == list(range(6))
    assert "drawing synthetic is saved at 6 of 14 patches: the same command goes on." in capsys.readouterr().err
    assert run.draw(max_minutes=60) == 0
    assert drawn == list(range(N))


def test_the_provenance_of_a_joined_set_names_no_shard(run):
    run.draw("1/1")
    run.join("1-of-1")
    meta = json.loads((run.folder / "joined" / "meta.json").read_text())
    assert "shard" not in meta["provenance"] and meta["provenance"]["stage"] == "sample"
