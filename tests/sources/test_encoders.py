"""Weights of encoders from a server on this machine that speaks as the hub does, and from files fetched by hand."""

import errno
import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.numpy import save

from specdm.encoder_weights import load_encoder_weights
from specdm.errors import UserError
from specdm.sources import encoders
from specdm.sources.encoders import SOURCES, fetch_encoder, source_of

ROOT = Path(__file__).parents[2]
CONTENT = save({"conv1.weight": np.arange(6, dtype=np.float32)})
B0 = SOURCES["mit_b0"]
MAIN = "c" * 40  # the commit of the branch main


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub: .files {path: bytes}, .status {path: HTTP status instead}, .gets the paths that were fetched."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            content = state.files.get(self.path)
            status = state.status.get(self.path, 404 if content is None else 200)
            if status != 200:
                self.send_error(status)
                return None
            revision = self.path.split("/")[4]
            self.send_response(200)
            self.send_header("ETag", f'"{revision}"')  # of what should come
            self.send_header("X-Repo-Commit", MAIN if revision == "main" else revision)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return content

        def do_GET(self):
            if content := self.do_HEAD():
                state.gets.append(self.path)
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    state = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.files = {path_of(SOURCES[name]): CONTENT for name in ("mit_b0", "resnet50s")}
    state.status, state.gets = {}, []
    thread = threading.Thread(target=state.serve_forever, args=(0.01,))
    thread.start()
    for name in list(os.environ):
        if name.startswith("HF_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{state.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield state
    state.shutdown()
    thread.join()
    state.server_close()


def path_of(source: encoders.Source) -> str:
    return source.address.removeprefix("https://huggingface.co")


def run(folder: Path, encoder: str, *arguments: str) -> subprocess.CompletedProcess:
    """The verb in a process of its own: the hub's library reads its settings when it is imported."""
    command = [sys.executable, "-m", "specdm", "fetch-encoder", encoder, "--out", "out", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def refused(message: str, *words: str) -> None:
    message = message.strip()
    assert message.endswith(".") and "\n" not in message and "Traceback" not in message
    assert all(word in message for word in words), message


@pytest.fixture
def no_hub(monkeypatch):
    """Nothing may be fetched."""
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("reached for the network"))


@pytest.fixture
def answer(monkeypatch, tmp_path):
    """In place of the hub's library, give(what): it gives a path or raises; its calls are noted."""

    def give(what: Path | Exception) -> list:
        calls = []

        def download(*args, **kwargs):
            calls.append((args, kwargs))
            if isinstance(what, Exception):
                raise what
            return str(what)

        monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
        return calls

    return give


def test_weights_come_with_a_note_of_their_source(hub, tmp_path):
    done = run(tmp_path, "mit_b0")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == CONTENT
    assert json.loads((tmp_path / "out" / "source.json").read_text()) == {
        "encoder": "mit_b0",
        "repo": "smp-hub/mit_b0.imagenet",
        "revision": B0.revision,
        "commit": B0.revision,
        "licence": B0.licence,
        "bytes": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    assert sorted(os.listdir(tmp_path / "out")) == ["model.safetensors", "source.json"]
    licence, made = done.stdout.splitlines()
    assert "NVIDIA" in licence and "non-commercial" in licence
    assert made.startswith("fetch-encoder: 0 MB of weights of mit_b0 in out, ")
    assert load_encoder_weights(tmp_path / "out").keys() == {"conv1.weight"}


def test_a_second_run_takes_what_is_there_without_the_network(hub, tmp_path, monkeypatch):
    assert run(tmp_path, "mit_b0").returncode == 0
    (tmp_path / "out" / "model.safetensors").unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run(tmp_path, "mit_b0").returncode == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == CONTENT
    assert hub.gets == [path_of(B0)]


def test_a_branch_is_resolved_to_its_commit(hub, tmp_path):
    assert run(tmp_path, "resnet50s").returncode == 0
    told = json.loads((tmp_path / "out" / "source.json").read_text())
    assert (told["revision"], told["commit"], told["licence"]) == ("main", MAIN, "apache-2.0")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_the_hub_refuses_can_be_fetched_by_hand(hub, tmp_path, status):
    hub.status[path_of(B0)] = status
    done = run(tmp_path, "mit_b0")
    assert done.returncode == 1
    refused(done.stderr, "mit_b0", str(status), B0.address, "--from-dir", "HF_ENDPOINT")
    assert not (tmp_path / "out").exists()


def test_without_a_network_one_sentence_says_what_to_do_and_it_helps(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = run(tmp_path, "mit_b0")
    refused(done.stderr, "offline mode", B0.address, "--from-dir")
    assert not (tmp_path / "out").exists()
    (tmp_path / "mit_b0.safetensors").write_bytes(CONTENT)
    assert run(tmp_path, "mit_b0", "--from-dir", ".").returncode == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == CONTENT


def test_a_web_page_is_refused_and_once_deleted_fetched_anew(hub, tmp_path):
    hub.files[path_of(B0)] = b"<!DOCTYPE html><html>please log in</html>"
    done = run(tmp_path, "mit_b0")
    refused(done.stderr, "web page", "delete it")
    assert not (tmp_path / "out").exists()
    Path(done.stderr.split()[1]).unlink()
    hub.files[path_of(B0)] = CONTENT
    assert run(tmp_path, "mit_b0").returncode == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == CONTENT


def test_the_rule_fetches_the_encoders_of_the_configuration_on_this_machine(hub, tmp_path, monkeypatch):
    """Of networks by their own names and by smp's; no other encoder can be asked for."""
    given = "tu-resnet18.tv_in1k"
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    hub.files[path_of(source_of(given))] = CONTENT
    (tmp_path / "own.yaml").write_text(f"datasets: {{segmunich: {{networks: [segformer-b0, 'smp:fpn/{given}']}}}}\n")
    command = [sys.executable, "-m", "snakemake", "--snakefile", f"{ROOT}/Snakefile", "--cores", "1"]
    command += ["--configfile", "own.yaml", "--resources", "gpu=0", "--"]

    def make(*names: str) -> subprocess.CompletedProcess:
        targets = [f"results/encoders/{name}/source.json" for name in names]
        return subprocess.run([*command, *targets], cwd=tmp_path, capture_output=True, text=True, timeout=120)

    done = make("mit_b0", given)
    assert done.returncode == 0, done.stderr
    for name in ("mit_b0", given):
        folder = tmp_path / "results" / "encoders" / name
        assert (folder / "model.safetensors").read_bytes() == CONTENT
        assert json.loads((folder / "source.json").read_text())["encoder"] == name
        assert "licence" in (tmp_path / "results" / "logs" / "fetch_encoder" / f"{name}.log").read_text()
    assert "MissingRuleException" in make("mit_b1").stderr
    local = re.search(r"localrules:\n((?: +\w+,\n)+)", (ROOT / "Snakefile").read_text())
    assert "fetch_encoder" in re.findall(r"\w+", local[1])


def test_the_licence_is_said_before_the_library_is_asked_for_exactly_one_file(answer, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    calls = answer(path)
    said = []

    def say(line):
        assert not calls
        said.append(line)

    assert fetch_encoder("mit_b3", tmp_path / "out", say=say) == tmp_path / "out" / "model.safetensors"
    assert calls == [
        (("smp-hub/mit_b3.imagenet", "model.safetensors"), {"revision": "32558d12a65f1daa0ebcf4f4053c4285e2c1cbda"})
    ]
    assert len(said) == 1 and SOURCES["mit_b3"].licence in said[0]
    assert json.loads((tmp_path / "out" / "source.json").read_text())["commit"] is None  # not from the cache
    assert path.is_file()


def wrapped(cause: Exception) -> Exception:
    error = LocalEntryNotFoundError("An error happened.")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (wrapped(httpx2.ConnectError("Name or service\nnot known")), "(ConnectError Name or service not known)"),
        (httpx2.ReadTimeout("too slow."), "(ReadTimeout too slow)"),
        (OSError("Consistency check failed."), "(OSError Consistency check failed)"),
    ],
)
def test_failures_of_the_network_become_one_sentence(answer, tmp_path, failure, reason):
    answer(failure)
    with pytest.raises(UserError) as caught:
        fetch_encoder("mit_b0", tmp_path / "out")
    refused(str(caught.value), "mit_b0", reason, B0.address, "--from-dir", "HF_ENDPOINT")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_no_failure_of_the_network(answer, tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    answer(full)
    with pytest.raises(UserError, match="disk is full"):
        fetch_encoder("mit_b0", tmp_path / "out")

    def copy(source, target):
        Path(target).write_bytes(b"half")
        raise full

    (tmp_path / "model.safetensors").write_bytes(CONTENT)
    monkeypatch.setattr(encoders.shutil, "copyfile", copy)
    with pytest.raises(UserError, match="disk is full"):
        fetch_encoder("mit_b0", tmp_path / "out", tmp_path)
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_the_note_comes_last(no_hub, tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(CONTENT)
    fetch_encoder("mit_b0", tmp_path / "out", tmp_path)
    moved, replace = [], os.replace

    def interrupted(source, target):
        if moved:
            raise KeyboardInterrupt
        moved.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch_encoder("mit_b0", tmp_path / "out", tmp_path)
    assert os.listdir(tmp_path / "out") == moved == ["model.safetensors"]


def test_a_file_fetched_by_hand_is_taken_and_kept(no_hub, tmp_path):
    by_hand = tmp_path / "mine"
    by_hand.mkdir()
    with pytest.raises(UserError) as caught:
        fetch_encoder("mit_b0", tmp_path / "out", by_hand)
    refused(str(caught.value), str(by_hand), "mit_b0.safetensors or model.safetensors", B0.address)
    (by_hand / "model.safetensors").write_bytes(CONTENT)
    said = []
    fetch_encoder("mit_b0", tmp_path / "out", by_hand, said.append)
    told = json.loads((tmp_path / "out" / "source.json").read_text())
    assert told["commit"] is None and told["repo"] == B0.repo and B0.licence in said[0]
    named = save({"norm.weight": np.zeros(3, dtype=np.float32)})
    (by_hand / "mit_b0.safetensors").write_bytes(named)  # its name says more
    fetch_encoder("mit_b0", tmp_path / "out", by_hand)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == named
    assert len(os.listdir(by_hand)) == 2


def test_no_commit_is_claimed_for_a_file_by_hand(no_hub, tmp_path):
    """Not even for one that lies in a cache of the hub's library."""
    by_hand = tmp_path / "snapshots" / MAIN
    by_hand.mkdir(parents=True)
    (by_hand / "model.safetensors").write_bytes(CONTENT)
    fetch_encoder("mit_b0", tmp_path / "out", by_hand)
    assert json.loads((tmp_path / "out" / "source.json").read_text())["commit"] is None


@pytest.mark.parametrize("content", [b"", b"<html>", CONTENT[:-1], b"version https://git-lfs.github.com/spec/v1\n"])
def test_what_is_no_safetensors_file_leaves_the_folder_as_it_was(no_hub, tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(CONTENT)
    fetch_encoder("mit_b0", tmp_path / "out", tmp_path)
    before = (tmp_path / "out" / "source.json").read_text()
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError) as caught:
        fetch_encoder("mit_b0", tmp_path / "out", tmp_path)
    refused(str(caught.value), str(tmp_path / "model.safetensors"), "damaged", "fetch it again")
    assert (tmp_path / "out" / "source.json").read_text() == before
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == CONTENT


def test_our_table_is_that_of_the_libraries():
    import segmentation_models_pytorch as smp
    import timm

    assert len(SOURCES) == 12
    for name, source in SOURCES.items():
        assert source.file == "model.safetensors" and source.licence
        if name.endswith("s"):
            config = timm.get_pretrained_cfg(name)
            assert (config.hf_hub_id, config.license, "main") == (source.repo, source.licence, source.revision)
            assert config.hf_hub_filename is None
        else:
            pinned = smp.encoders.encoders[name]["pretrained_settings"]["imagenet"]
            assert pinned == {"repo_id": source.repo, "revision": source.revision}
            words = ("NVIDIA", "non-commercial") if name.startswith("mit") else ("BSD-3-Clause", "ImageNet terms apply")
            assert all(word in source.licence for word in words)


def test_other_encoders_are_looked_up_in_their_library():
    import segmentation_models_pytorch as smp

    assert source_of("tu-resnet18.tv_in1k") == encoders.Source(
        "timm/resnet18.tv_in1k", "main", "model.safetensors", "bsd-3-clause"
    )
    assert source_of("tu-convnext_atto").repo.startswith("timm/convnext_atto.")
    without = []
    for name, entry in smp.encoders.encoders.items():
        if "imagenet" in entry["pretrained_settings"]:
            pinned = entry["pretrained_settings"]["imagenet"]
            assert (source_of(name).repo, source_of(name).revision) == (pinned["repo_id"], pinned["revision"])
        else:
            without.append(name)
            with pytest.raises(UserError, match="ImageNet"):
                source_of(name)
    assert len(without) < 10
    assert source_of("vgg16").licence == "see https://huggingface.co/smp-hub/vgg16.imagenet"


def test_a_licence_that_timm_does_not_know_is_to_be_looked_up():
    import timm

    for licence in (None, "unknown"):
        configs = ((name, timm.get_pretrained_cfg(name)) for name in timm.list_models())
        name, config = next((n, c) for n, c in configs if c.hf_hub_id and c.license == licence)
        assert source_of(f"tu-{name}").licence == f"see https://huggingface.co/{config.hf_hub_id}"


@pytest.mark.parametrize(
    "name", ["resnet35", "", "..", "resnext101_32x16d", "tu-nonesuch", "tu-resnet18.nonesuch", "tu-legacy_senet154"]
)
def test_an_encoder_without_weights_says_what_can_be_done(no_hub, tmp_path, name):
    with pytest.raises(UserError) as caught:
        fetch_encoder(name, tmp_path / "out", tmp_path)
    refused(str(caught.value), repr(name), "encoder_weights to none", "path")
    assert os.listdir(tmp_path) == []


def test_torch_and_the_network_stay_out_until_they_are_needed():
    script = (
        "import sys, specdm.sources.encoders as e; e.source_of('mit_b0'); "
        "print({'torch', 'timm', 'huggingface_hub', 'httpx2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
