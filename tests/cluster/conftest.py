"""A SLURM for the tests, a clone of the repository to run from, and runs: one undisturbed, the others not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.cluster import scenarios
from tests.cluster.runs import CONFIG, PATCHES, Run
from tests.cluster.single_node import SingleNode, why_not
from tests.workflow_runs import REPOSITORY

AT_ONCE = 4  # runs: mostly they wait


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def slurm():
    """A running SLURM of one node."""
    if reason := why_not():
        pytest.skip(reason)
    # A shell starts what it puts into the background deaf to Ctrl-C, and so would be all that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with SingleNode() as node:
        yield node


@pytest.fixture(scope="session")
def clone(tmp_path_factory) -> Path:
    """A clone of the repository, in which the shortest time limit, a minute, leaves a training hardly a step."""
    folder = tmp_path_factory.mktemp("clone")
    listed = ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if os.path.lexists(REPOSITORY / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name, follow_symlinks=False)
    scenarios.edit(folder / "specdm/launch.py", "0.5 * seconds_left", "0.9 * seconds_left")
    return folder


@pytest.fixture(scope="session")
def runs(slurm, clone, tmp_path_factory) -> dict[str, Future]:
    """Name of a scenario -> the future run that went through it; several go through theirs at the same time.

    Each starts from the same prepared patches.
    """
    folder = tmp_path_factory.mktemp("runs")
    prepared = Run(clone, folder / "prepared")
    prepared.folder.mkdir()
    (prepared / "small.yaml").write_text(yaml.safe_dump(CONFIG))
    prepared.make("--", PATCHES)
    going: dict[str, Future] = {}

    def go(name: str, scenario) -> Run:
        run = Run(clone, folder / name)
        shutil.copytree(prepared.folder, run.folder, symlinks=True)
        scenario(run, slurm, lambda: going["undisturbed"].result())
        return run

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, scenario in scenarios.ALL.items():
            going[name] = pool.submit(go, name, scenario)
        yield going


@pytest.fixture(scope="session")
def undisturbed(runs) -> Run:
    """The tests' small configuration, run to its table."""
    return runs["undisturbed"].result()
