"""The chain from patches to tables, run once a kind of model through the command line."""

import itertools
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from specdm import files, set_figures
from specdm.stages import noisy_latents
from tests.stages.downstream_results import CLASSES, GROUPS, KIND, PAPER, draw_counts, scores_of

STREAM = {"latent_channels": 2, "width": 16, "multipliers": [1, 2], "layers": 1, "norm_groups": 8}
STREAM |= {"mid_attention": False}
AUTOENCODER = {"image": STREAM, "mask": STREAM, "batch": 4, "steps": 6, "warmup_steps": 2, "learning_rate": 0.001}
AUTOENCODER |= {"validations": 2}
UNET = {"width": 16, "multipliers": [1, 2], "layers": 1, "norm_groups": 8, "head_dim": 8, "attention_max_size": 8}
DIFFUSION = {"unet": UNET, "batch": 4, "steps": 6, "warmup_steps": 2, "n_steps": 50, "learning_rate": 0.001}
CONDITIONED = {"conditioning": True, "swap_dates": True, "batch": 8, "steps": 4, "validations": 2}
SAMPLING = {"n_steps": 4, "batch": 3}
N_SAMPLES = 14
N_HELD_OUT = 32


@pytest.fixture(scope="session")
def settings() -> SimpleNamespace:
    """Settings of tiny networks and of a few steps, as plain mappings."""
    return SimpleNamespace(
        autoencoder=AUTOENCODER,
        diffusion=DIFFUSION,
        sampling=SAMPLING,
        teacher={"width": 8, "batch": 4, "steps": 10},
        downstream={"steps": 3, "batch": 2, "val_every": 2, "augment": "flips"},
        evaluation={"n_samples": 14, "n_pictures": 2},
    )


@pytest.fixture(scope="session", autouse=True)
def drafts():
    """Figures are drawn whole but as drafts: their layout and fonts take longer than the numbers they show.

    The PDF is a copy of the PNG. Yields what really writes them; `final_figures` puts it back.
    """

    def draft(figure, path: Path) -> None:
        figure.set_layout_engine("none")
        for suffix in (".png", ".pdf"):
            with files.new_file(path.with_name(path.name + suffix)) as temporary:
                if suffix == ".png":
                    figure.savefig(temporary, format="png", dpi=20)
                else:
                    shutil.copyfile(path.with_name(path.name + ".png"), temporary)

    with pytest.MonkeyPatch.context() as patch:
        write = set_figures.write
        patch.setattr(set_figures, "write", draft)
        yield write


@pytest.fixture
def final_figures(monkeypatch, drafts):
    """Figures as users get them."""
    monkeypatch.setattr(set_figures, "write", drafts)


@pytest.fixture(scope="session", autouse=True)
def few_held_out():
    """Denoisers are validated on fewer noise levels: of the usual 256 it takes many times the training itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noisy_latents, "N_HELD_OUT", N_HELD_OUT)
        yield


@pytest.fixture(scope="session")
def make_chain(tmp_path_factory, verb, settings):
    """Runs the chain from patches to samples: make(patches, **autoencoder settings) -> its folders."""

    def make(patches: Path, **autoencoder) -> SimpleNamespace:
        root = tmp_path_factory.mktemp("chain")
        chain = SimpleNamespace(
            root=root,
            patches=patches,
            state=root / "state",
            model=root / "model",
            autoencoder=root / "model" / "autoencoder",
            denoiser=root / "model" / "denoiser",
            latents=root / "latents",
            samples=root / "samples" / patches.name,
        )
        first = settings.autoencoder | autoencoder
        statuses = [
            verb("train-autoencoder", patches=patches, out=chain.autoencoder, state=chain.state, settings=first),
            verb("encode", patches=patches, autoencoder=chain.autoencoder, out=chain.latents, augment="d4"),
            verb(
                "train-diffusion",
                latents=chain.latents,
                out=chain.denoiser,
                state=chain.state,
                settings=settings.diffusion,
            ),
            verb(
                "sample",
                model=chain.model,
                out=chain.samples,
                state=chain.state,
                n=N_SAMPLES,
                name="synthetic",
                settings=settings.sampling,
            ),
        ]
        assert statuses == [0, 0, 0, 0]
        return chain

    return make


@pytest.fixture(scope="session")
def segmentation_chain(make_chain, segmentation_patches) -> SimpleNamespace:
    return make_chain(segmentation_patches)


@pytest.fixture(scope="session")
def single_chain(make_chain, segmentation_patches) -> SimpleNamespace:
    return make_chain(segmentation_patches, streams="single")


@pytest.fixture(scope="session")
def change_chain(make_chain, change_patches) -> SimpleNamespace:
    return make_chain(change_patches)


@pytest.fixture(scope="session")
def conditioned_chain(tmp_path_factory, verb, settings, change_chain) -> SimpleNamespace:
    """A denoiser that is told class fractions and date order, with pictures of its training, and its samples."""
    root = tmp_path_factory.mktemp("conditioned")
    chain = SimpleNamespace(
        root=root,
        patches=change_chain.patches,
        state=root / "state",
        model=root / "model",
        autoencoder=root / "model" / "autoencoder",
        denoiser=root / "model" / "denoiser",
        latents=root / "latents",
        samples=root / "samples" / change_chain.patches.name,
        pictures=root / "pictures",
    )
    shutil.copytree(change_chain.autoencoder, chain.autoencoder)
    first = dict(patches=chain.patches, autoencoder=chain.autoencoder, out=chain.latents, augment="flips")
    second = dict(latents=chain.latents, out=chain.denoiser, state=chain.state, autoencoder=chain.autoencoder)
    second |= dict(pictures=chain.pictures, settings=settings.diffusion | CONDITIONED)
    third = dict(model=chain.model, out=chain.samples, state=chain.state, n=N_SAMPLES, settings=settings.sampling)
    assert verb("encode", "--swap-dates", **first) == 0
    assert verb("train-diffusion", **second) == 0
    assert verb("sample", **third) == 0
    return chain


@pytest.fixture(scope="session")
def streams_chain(tmp_path_factory, verb, settings, change_chain) -> SimpleNamespace:
    """A denoiser whose streams have noise levels of their own, on the latents of the change chain; no samples."""
    root = tmp_path_factory.mktemp("streams")
    chain = SimpleNamespace(
        root=root,
        patches=change_chain.patches,
        model=root / "model",
        autoencoder=root / "model" / "autoencoder",
        denoiser=root / "model" / "denoiser",
        latents=change_chain.latents,
    )
    shutil.copytree(change_chain.autoencoder, chain.autoencoder)
    section = settings.diffusion | {"levels": "streams", "conditioning": True, "batch": 8, "steps": 2}
    folders = dict(latents=chain.latents, out=chain.denoiser, state=root / "state")
    assert verb("train-diffusion", **folders, settings=section) == 0
    return chain


@pytest.fixture
def copied_latents(tmp_path):
    """Copies a folder of latents, for a test to change: copied_latents(folder) -> the copy."""
    return lambda folder: Path(shutil.copytree(folder, tmp_path / "copied-latents"))


@pytest.fixture(params=["segmentation", "single", "change"])
def chain(request) -> SimpleNamespace:
    """Each kind of model in turn."""
    return request.getfixturevalue(f"{request.param}_chain")


@pytest.fixture(scope="session")
def make_teacher(tmp_path_factory, verb, settings):
    def make(patches: Path, options: dict | None = None, **changed) -> Path:
        root = tmp_path_factory.mktemp("teacher")
        given = dict(patches=patches, out=root / "teacher", state=root / "state", settings=settings.teacher | changed)
        assert verb("train-teacher", **given, **(options or {})) == 0
        assert not (root / "state").exists()
        return root / "teacher"

    return make


@pytest.fixture(scope="session")
def teachers(make_teacher, segmentation_patches, change_patches) -> dict[Path, Path]:
    """The judge of each patch set; that of two dates learns so fast that its best step is not its last."""
    return {
        segmentation_patches: make_teacher(segmentation_patches),
        change_patches: make_teacher(change_patches, learning_rate=0.1),
    }


@pytest.fixture(scope="session")
def judges(make_teacher, segmentation_patches, change_patches) -> dict[Path, list[Path]]:
    """Two cross-fitted judges of each patch set."""
    return {
        patches: [make_teacher(patches, {"fold": f"{k}/2"}, steps=40) for k in (1, 2)]
        for patches in (segmentation_patches, change_patches)
    }


@pytest.fixture(scope="session")
def trained_downstream(tmp_path_factory, verb, settings, segmentation_chain, change_chain) -> dict[str, Path]:
    """Folders of downstream trainings: segmentation on mixed patches with two seeds, change on real ones."""
    folders = {}
    runs = {
        "mixed-0": (segmentation_chain, "segformer-b0", "augmented-x1", {"real": 1, "synthetic": 1}, 0),
        "mixed-1": (segmentation_chain, "segformer-b0", "augmented-x1", {"real": 1, "synthetic": 1}, 1),
        "change": (change_chain, "changeformer-v3", "real", {"real": 1, "synthetic": 0}, 0),
    }
    root = tmp_path_factory.mktemp("downstream")
    for name, (chain, network, regime_name, regime, seed) in runs.items():
        status = verb(
            "train-downstream",
            patches=chain.patches,
            samples=chain.samples,
            out=root / name,
            state=root / f"state-{name}",
            dataset=chain.patches.name,
            network=network,
            regime_name=regime_name,
            regime=regime,
            n_real=12,
            settings=settings.downstream,
            seed=seed,
        )
        assert status == 0
        assert not (root / f"state-{name}").exists()
        folders[name] = root / name
    return folders


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory, verb, settings, teachers, segmentation_chain, single_chain, change_chain):
    """Folders with synthesis.json and samples.png, by the kind of model."""
    folders = {}
    chains = {"segmentation": segmentation_chain, "single": single_chain, "change": change_chain}
    for kind, chain in chains.items():
        folders[kind] = tmp_path_factory.mktemp("evaluated") / chain.patches.name / kind
        status = verb(
            "evaluate",
            patches=chain.patches,
            samples=chain.samples,
            model=chain.model,
            teacher=teachers[chain.patches],
            out=folders[kind] / "synthesis.json",
            pictures=folders[kind],
            dataset=chain.patches.name,
            method=kind,
            settings=settings.evaluation,
        )
        assert status == 0
    return folders


@pytest.fixture
def runs(tmp_path):
    """Writes results of trainings: runs.add(regime, seed, counts, kind of data, any fact=...) -> its counts."""
    paths, fresh = [], itertools.count()

    def add(regime, seed=0, counts=None, classes=CLASSES, scores=None, groups=None, kind=None, **facts):
        number = next(fresh)
        counts = draw_counts(number, classes) if counts is None else counts
        row = dict(dataset="fields", network="unet", regime=regime, method="specdm", seed=seed, subset_seed=0)
        row |= dict(generator_seed=None, n_real=10, n_synthetic=50, n_labels=10, n_labels_usual=10, budget="iterations")
        row |= dict(steps=100, steps_taken=100, learning_rate=1e-4, encoder="none", n_test=8) | facts
        row |= dict(
            kind=KIND | (kind or {}), groups=groups or GROUPS, scores=scores_of(counts, classes) | (scores or {})
        )
        paths.append(tmp_path / "runs" / str(number) / "metrics.json")
        files.write_json(paths[-1], row)
        np.save(paths[-1].with_name("confusion_groups.npy"), counts)
        return counts

    return SimpleNamespace(add=add, paths=paths)


@pytest.fixture
def tabulate(tmp_path, verb):
    """Writes all tables of some metric files and reads them; or returns the error."""

    def run(paths, **more):
        root = tmp_path / "tables"
        out = {n: root / f"{n}.csv" for n in ("table", "seeds", "groups", "ldm", "sizes")}
        (tmp_path / "paper.csv").write_text(PAPER)
        options = dict(out=out["table"], out_seeds=out["seeds"], out_groups=out["groups"], paper=tmp_path / "paper.csv")
        options |= dict(out_ldm=out["ldm"], out_sizes=out["sizes"], single_stream=["ldm", "old"])
        status = verb("tabulate-downstream", *paths, **options | more)
        if status:
            assert not root.exists()  # complete or absent
            return status
        return SimpleNamespace(root=root, **{name: pd.read_csv(path) for name, path in out.items()})

    return run
