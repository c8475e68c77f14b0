import json
import platform
import sys

import pytest

import specdm
from specdm.doctor import versions
from specdm.doctor.commands import Ran
from specdm.errors import UserError

PROBE = f"{sys.executable} -P"


@pytest.fixture
def lock(tmp_path):
    path = tmp_path / "requirements.lock"
    path.write_text("# a comment\nnumpy==1.0\ntimm==2.0\nscipy==3.0\n")
    return path


def _torch(error="", devices=()):
    facts = {"build": "CUDA 13.2", "devices": list(devices), "bfloat16": True, "warning": ""}
    return Ran(0, json.dumps({"name": "torch", **({"error": error} if error else {"facts": facts})}))


def test_versions_are_those_found_and_differences_are_listed(lock, programs, tmp_path):
    machine = programs(
        {
            PROBE: _torch(devices=[["H100", 8], ["H100", 8]]),
            "nvidia-smi": Ran(0, "570.86.15\n"),
            "sinfo --version": Ran(0, "slurm 24.05.3\n"),
        }
    )
    found = versions(lock, tmp_path, machine.run, machine.find, {"numpy": "1.0", "scipy": "4.0"}.get)
    assert found["packages"] == {"numpy": "1.0", "timm": None, "scipy": "4.0"}
    assert found["differs"] == [
        {"name": "timm", "installed": None, "pinned": "2.0"},
        {"name": "scipy", "installed": "4.0", "pinned": "3.0"},
    ]
    assert found["gpu"] == {"devices": ["H100", "H100"], "build": "CUDA 13.2", "driver": "570.86.15"}
    assert found["slurm"] == "slurm 24.05.3"
    assert (found["specdm"], found["python"]) == (specdm.__version__, platform.python_version())
    assert found["commit"] and found["platform"] == platform.platform()


def test_without_torch_and_slurm_these_are_null(lock, programs, tmp_path):
    bare = programs({PROBE: _torch("ImportError: x")})
    found = versions(lock, tmp_path, bare.run, bare.find)
    assert found["gpu"] is None and found["slurm"] is None
    import numpy

    assert found["packages"]["numpy"] == numpy.__version__


def test_without_a_lock_there_is_nothing_to_write_down(programs, tmp_path):
    with pytest.raises(UserError, match=r"requirements\.lock pins no packages: run from a clone"):
        versions(tmp_path / "requirements.lock", tmp_path, programs({}).run, programs({}).find)


def test_the_verb_writes_them_and_two_runs_write_the_same(tmp_path, verb, capsys):
    for name in ("a.json", "b.json"):
        assert verb("versions", out=tmp_path / "new" / name) == 0
    first, second = ((tmp_path / "new" / name).read_text() for name in ("a.json", "b.json"))
    assert first == second
    found = json.loads(first)
    assert len(found["packages"]) > 100
    n = len(found["differs"])
    said = f"{len(found['packages'])} packages, {n} not as pinned, in {tmp_path / 'new' / 'b.json'}"
    assert said in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.json", "b.json"]
