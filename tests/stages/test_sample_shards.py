"""Samples drawn in shares, as by an array of jobs, and merged."""

from types import SimpleNamespace

import numpy as np
import pytest

from specdm.model import SpecDM
from specdm.patches import open_patches

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
    """Runs the verb with more words or options; its folders are attributes."""

    def sample(*words, **options):
        arguments = dict(model=conditioned_chain.model, out=folders.out, state=folders.state, n=N)
        return verb("sample", *words, **arguments | {"settings": settings.sampling} | options)

    folders = SimpleNamespace(out=tmp_path / "out", state=tmp_path / "state", sample=sample)
    return folders


@pytest.mark.parametrize("shares", [3, 7])
def test_merged_shares_are_the_set_of_a_single_run(run, drawn, conditioned_chain, shares):
    for k in (3, 1, 2, *range(4, shares + 1)):
        assert run.sample(shard=f"{k}/{shares}") == 0
        assert not run.out.exists()
    assert sorted(drawn) == list(range(N))
    drawn.clear()
    assert run.sample("--merge") == 0
    assert drawn == []
    merged, whole = open_patches(run.out), open_patches(conditioned_chain.samples)
    assert merged.meta.checksums == whole.meta.checksums
    np.testing.assert_array_equal(np.load(run.out / "asked.npy"), np.load(conditioned_chain.samples / "asked.npy"))
    assert not run.state.exists()


def test_a_share_tells_its_part_of_the_patches(run, drawn, capsys):
    run.sample(shard="2/3")
    assert drawn == [3, 4, 5, 12, 13]
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(f"sample: shard 2 of 3, 5 of {N} patches kept in {run.state}, ")


def test_merging_without_all_shares_tells_how_many_patches_are_missing_and_the_first(run):
    run.sample(shard="1/3")
    assert run.sample("--merge") == (
        f"error: {run.state} lacks 8 of {N} patches, the first is number 3: run all shards with the same model, n, "
        "seed and settings first."
    )
    assert not run.out.exists()


@pytest.mark.parametrize("changed", [{"seed": 1}, {"want": "change=0.2"}, {"guidance": 2}])
def test_shares_of_another_order_are_not_merged(run, changed):
    for k in (1, 2):
        run.sample(shard=f"{k}/2")
    assert run.sample("--merge", **changed).startswith(f"error: {run.state} lacks 14 of 14 patches, the first is ")


def test_a_killed_share_goes_on_where_it_was(run, drawn):
    drawn.interrupt = 9
    assert run.sample(shard="1/3") == 130
    drawn.interrupt = None
    assert drawn == [0, 1, 2]
    assert run.sample(shard="1/3") == 0
    assert drawn == [0, 1, 2, 9, 10, 11]
    assert [path.name for path in sorted(run.state.rglob("*.npz"))] == [
        "00000000-00000003.npz",
        "00000009-00000012.npz",
    ]


def test_an_unshared_run_takes_over_what_shares_have_drawn(run, drawn, conditioned_chain):
    run.sample(shard="2/2")
    assert run.sample() == 0
    assert sorted(drawn) == list(range(N))
    assert open_patches(run.out).meta.checksums == open_patches(conditioned_chain.samples).meta.checksums


def test_a_share_is_drawn_or_all_are_merged_not_both(tmp_path, verb, segmentation_chain):
    folders = dict(model=segmentation_chain.model, out=tmp_path / "out", state=tmp_path / "state", n=4)
    refused = verb("sample", "--merge", **folders, shard="1/2")
    assert refused == "error: --merge joins the shards that were drawn: give it without --shard."
