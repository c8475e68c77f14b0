"""The two lists of pinned packages are one, and hold versions only."""

import re
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[1]


def locked() -> list[str]:
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_conda_environment_pins_what_the_lock_pins():
    environment = yaml.safe_load((REPOSITORY / "envs" / "specdm.yaml").read_text())
    assert environment["dependencies"][-1] == {"pip": locked()}


def test_the_part_from_conda_is_small_and_pinned_exactly():
    environment = yaml.safe_load((REPOSITORY / "envs" / "specdm.yaml").read_text())
    conda = environment["dependencies"][:-1]
    assert [line.split("=")[0] for line in conda] == ["python", "pip"]
    assert all(re.fullmatch(r"\w+=\d+(\.\d+)+", line) for line in conda)
    assert environment["channels"] == ["conda-forge", "nodefaults"]


def test_every_line_of_the_lock_is_a_name_and_a_version():
    assert locked()
    for line in locked():
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line), line
