import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from specdm.doctor import disk as module
from specdm.doctor.disk import disk, file_system

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def room(monkeypatch):
    """room(total GB, free GB) sets what every disk has."""

    def set_(total: float, free: float) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(total * 1e9, 0, free * 1e9))

    return set_


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_room_is_told_by_disk_and_folders_need_not_exist(there, room):
    room(200, 150)
    section = disk(Path("results"), [Path("data/a"), Path("results"), Path("data/b")], there)
    assert section.lines == ("results, data/a, data/b: 150 GB free of 200 GB",)
    assert section.missing == section.worth_knowing == ()
    assert list(there.iterdir()) == []


def test_folders_on_other_disks_have_lines_of_their_own(there, room):
    room(200, 150)
    lines = disk(Path("results"), [Path("/proc/none"), Path("data")], there).lines
    assert [line.split(":")[0] for line in lines] == ["results, data", "/proc/none"]


def test_less_room_than_the_papers_run_takes_is_worth_knowing_and_no_more(there, room):
    room(200, 125)
    section = disk(Path("results"), [], there)
    (told,) = section.worth_knowing
    assert told.startswith("results has 125 GB of room, and the paper's experiments take about 126 GB: ")
    assert section.missing == ()


def test_the_papers_run_takes_what_the_documents_say():
    readme = (Path(module.__file__).parents[2] / "README.md").read_text()
    assert f"about {module.PAPER_RUN_BYTES / 1e9:.0f} GB by arithmetic" in readme


def test_what_lies_in_the_folder_stays(there):
    (there / "results").mkdir()
    (there / "results" / "old").write_text("mine")
    assert disk(Path("results"), [], there).missing == ()
    assert [path.name for path in (there / "results").iterdir()] == ["old"]
    assert (there / "results" / "old").read_text() == "mine"


def test_a_place_that_takes_no_files_is_missing(there):
    (told,) = disk(Path("/proc/results"), [], there).missing
    assert told.startswith("/proc/results cannot hold outputs (") and "set `results` in the configuration" in told
    (there / "file").touch()
    (told,) = disk(Path("file/results"), [], there).missing
    assert told.startswith("file/results cannot hold outputs (Not a directory): ")


@pytest.mark.parametrize(
    ("replace", "fault"),
    [
        (None, "a file that exists can be made again"),
        (lambda old, new: None, "a renamed file does not take the other's place"),
        (lambda old, new: Path(old).unlink(), "a renamed file does not take the other's place"),
    ],
)
def test_a_file_system_that_does_not_do_what_outputs_need_is_missing(there, monkeypatch, replace, fault):
    if replace:
        monkeypatch.setattr(module.os, "replace", replace)
    else:
        opened = Path.open
        monkeypatch.setattr(Path, "open", lambda self, mode="r", *a, **k: opened(self, mode.replace("x", "w"), *a, **k))
    (told,) = disk(Path("results"), [], there).missing
    assert told.startswith(f"results cannot hold outputs ({fault}): mend ")
    assert list(there.iterdir()) == []


def test_a_link_to_nothing_is_missing(there):
    (there / "data").symlink_to(there / "purged")
    (told,) = disk(Path("results"), [Path("data")], there).missing
    assert told == "data is a link to a folder that does not exist: make that folder, or the link anew."


def test_a_folder_that_may_not_be_looked_at_does_not_end_the_examination(there):
    assert disk(Path("r" * 300, "results"), [Path("d" * 300)], there).lines


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path):
    (tmp_path / "proc").mkdir()
    base = tmp_path.as_posix()
    (tmp_path / "my data").mkdir()
    (tmp_path / "proc/mounts").write_text(
        "/dev/a / ext4 rw 0 0\n"
        f"server:/x {base} nfs4 rw 0 0\n"
        f"/dev/b {base}/my\\040data autofs rw 0 0\n"
        f"/dev/b {base}/my\\040data xfs rw 0 0\n"
        f"/dev/c {base}/my btrfs rw 0 0\n"
    )
    assert file_system(tmp_path / "my data", tmp_path) == "xfs"
    assert file_system(tmp_path / "results", tmp_path) == "nfs4"
    assert file_system(Path("/"), tmp_path) == "ext4"
    assert file_system(tmp_path, tmp_path / "my data") == ""
