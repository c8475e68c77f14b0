"""Fetch the ImageNet weights of an encoder from the Hugging Face Hub, or take a file that was fetched by hand."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from specdm import files
from specdm.errors import UserError

WEIGHTS = "model.safetensors"
SOURCE = "source.json"  # written last: whoever finds it finds the weights complete


@dataclass(frozen=True)
class Source:
    """Where an encoder's weights lie on the Hugging Face Hub, and under which licence."""

    repo: str
    revision: str
    file: str
    licence: str

    @property
    def address(self) -> str:
        return f"https://huggingface.co/{self.repo}/resolve/{self.revision}/{self.file}"


_MIT = "NVIDIA Source Code License for SegFormer: research and evaluation only, non-commercial"
_RESNET = "BSD-3-Clause (torchvision); ImageNet terms apply"

# The revisions that segmentation-models-pytorch pins; timm pins none.
SOURCES = {
    encoder: Source(f"smp-hub/{encoder}.imagenet", revision, WEIGHTS, licence)
    for encoder, revision, licence in (
        ("mit_b0", "9ce53d104d92d75aabb00aae70677aaab67e7c84", _MIT),
        ("mit_b1", "a04bf4f13a549bce677cf79b04852e7510782817", _MIT),
        ("mit_b2", "868ab6f13871dcf8c3d9f90ee4519403475b65ef", _MIT),
        ("mit_b3", "32558d12a65f1daa0ebcf4f4053c4285e2c1cbda", _MIT),
        ("mit_b4", "3a3454e900a4b4f11dd60eeb59101a9a1a36b017", _MIT),
        ("mit_b5", "ced04d96c586b6297fd59a7a1e244fc78fdb6531", _MIT),
        ("resnet18", "3f2325ff978283d47aa6a1d6878ca20565622683", _RESNET),
        ("resnet34", "7a57b34f723329ff020b3f8bc41771163c519d0c", _RESNET),
        ("resnet50", "00cb74e366966d59cd9a35af57e618af9f88efe9", _RESNET),
        ("resnet101", "cd7c15e8c51da86ae6a084515fdb962d0c94e7d1", _RESNET),
    )
} | {
    encoder: Source(f"timm/{encoder}.gluon_in1k", "main", WEIGHTS, "apache-2.0")
    for encoder in ("resnet50s", "resnet101s")
}


def source_of(encoder: str) -> Source:
    """Where the ImageNet weights of an encoder lie.

    One that the table lacks is looked up in the library that builds it: segmentation-models-pytorch, or timm for tu-*.

    Raises:
        UserError: for an unknown encoder, and for one without such weights.
    """
    look_up = _in_timm if encoder.startswith("tu-") else _in_smp
    source = SOURCES.get(encoder) or look_up(encoder)
    if source is None:
        raise UserError(
            f"{encoder!r} is no encoder with published ImageNet weights: set encoder_weights to none, or to the path "
            "of weights of your own."
        )
    return source


def fetch_encoder(encoder: str, out: Path, from_dir: Path | None = None, say: Callable[[str], None] = print) -> Path:
    """Fetch the ImageNet weights of an encoder into a folder, complete or not at all; returns the file of weights.

    Beside it, source.json tells where they come from and under which licence; its commit is null where it is unknown,
    as it is for a file that was fetched by hand.

    Args:
        encoder: name in segmentation-models-pytorch or timm.
        out: folder of model.safetensors and source.json; other files there are left alone.
        from_dir: folder with <encoder>.safetensors or model.safetensors; then nothing is fetched.
        say: receives the licence.

    Raises:
        UserError: for an encoder without such weights, and when they cannot be fetched, read or written.
    """
    source, out = source_of(encoder), Path(out)
    say(f"{encoder}: weights of {source.repo}, licence: {source.licence}")
    path = _given(encoder, source, Path(from_dir)) if from_dir else _fetched(encoder, source)
    with files.new_folder(out, last=SOURCE) as temporary:
        weights = temporary / WEIGHTS
        shutil.copyfile(path, weights)
        _check(weights, path)
        with weights.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        described = {
            "encoder": encoder,
            "repo": source.repo,
            "revision": source.revision,
            "commit": None if from_dir else _commit_of(path),
            "licence": source.licence,
            "bytes": weights.stat().st_size,
            "sha256": sha256,
        }
        (temporary / SOURCE).write_text(files.to_json(described))
    return out / WEIGHTS


def _in_smp(encoder: str) -> Source | None:
    import segmentation_models_pytorch as smp

    settings = smp.encoders.encoders.get(encoder, {}).get("pretrained_settings") or {}
    if "imagenet" not in settings:
        return None
    repo = settings["imagenet"]["repo_id"]
    return Source(repo, settings["imagenet"]["revision"], WEIGHTS, f"see https://huggingface.co/{repo}")


def _in_timm(encoder: str) -> Source | None:
    import timm

    try:
        config = timm.get_pretrained_cfg(encoder.removeprefix("tu-"), allow_unregistered=True)
    except RuntimeError:  # the model has no weights of that tag
        return None
    if config is None or not config.hf_hub_id:
        return None
    repo = config.hf_hub_id
    licence = config.license if config.license not in (None, "unknown") else f"see https://huggingface.co/{repo}"
    return Source(repo, "main", config.hf_hub_filename or WEIGHTS, licence)


def _given(encoder: str, source: Source, folder: Path) -> Path:
    names = (f"{encoder}.safetensors", WEIGHTS)
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise UserError(f"{folder} holds no {' or '.join(names)}: fetch {source.address} and put it there.")
    return found[0]


def _fetched(encoder: str, source: Source) -> Path:
    """The file in the cache of the hub's library, fetched when it is not there."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HTTPError  # of the HTTP library in use

    try:
        with files.explain_os_errors(Path(constants.HF_HUB_CACHE)):
            return Path(hf_hub_download(source.repo, source.file, revision=source.revision))
    except (OSError, HTTPError) as error:
        cause = error.__cause__ or error  # the library says only that something happened
        reason = " ".join(f"{type(cause).__name__} {cause}".split()).rstrip(".")[:200]
        raise UserError(
            f"The weights of {encoder} could not be fetched ({reason}): fetch {source.address} by hand and give its "
            "folder with --from-dir, or set HF_ENDPOINT to a mirror."
        ) from error


def _commit_of(path: Path) -> str | None:
    """The commit that a path in the cache names, .../snapshots/<commit>/<file>."""
    found = re.search(r"/snapshots/([0-9a-f]{40})/", path.as_posix())
    return found and found[1]


def _check(weights: Path, path: Path) -> None:
    """UserError that names `path` unless its copy is a safetensors file."""
    try:
        with safe_open(weights, framework="np"):
            pass
    except SafetensorError as error:
        # The cache of the hub's library would give the same file again, so name what its link stands for.
        raise UserError(
            f"{path.resolve()} is damaged or no safetensors file (perhaps a saved web page): delete it and fetch it "
            "again."
        ) from error
