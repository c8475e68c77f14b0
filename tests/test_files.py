import errno
import json
import math

import pytest

from specdm import files
from specdm.errors import UserError


def test_a_file_appears_only_when_the_block_succeeds(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with pytest.raises(KeyboardInterrupt), files.new_file(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []
    with files.new_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_rewrite_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(ValueError), files.new_file(path) as temporary:
        temporary.write_text("new")
        raise ValueError
    assert path.read_text() == "old"


def test_a_folder_appears_complete_and_keeps_what_others_put_there(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "log.txt").write_text("theirs")
    (folder / "last.json").write_text("old")
    with files.new_folder(folder, last="last.json") as temporary:
        (temporary / "a.npy").write_text("new")
        (temporary / "last.json").write_text("new")
        assert (folder / "last.json").read_text() == "old"
    assert {p.name: p.read_text() for p in folder.iterdir()} == {
        "log.txt": "theirs",
        "last.json": "new",
        "a.npy": "new",
    }
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_the_last_file_leaves_first_and_arrives_last(tmp_path, monkeypatch):
    folder, moves, replace = tmp_path / "folder", [], files.os.replace
    folder.mkdir()
    (folder / "last.json").write_text("old")

    def recorded(source, target):
        moves.append((target.name, (folder / "last.json").exists()))
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", recorded)
    with files.new_folder(folder, last="last.json") as temporary:
        for name in ("z.npy", "last.json", "a.npy"):
            (temporary / name).write_text("new")
    assert moves == [("a.npy", False), ("z.npy", False), ("last.json", False)]


def test_a_failed_folder_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), files.new_folder(tmp_path / "folder", last="x") as temporary:
        (temporary / "x").write_text("half")
        raise ValueError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "The disk is full at .*file.txt: free some space, then run the same command."),
        (errno.EDQUOT, "The disk is full at"),
        (errno.EACCES, "file.txt may not be read or written: mend its permissions, or use another folder."),
        (errno.EROFS, "may not be read or written"),
    ],
)
def test_a_full_or_forbidden_disk_is_told_in_one_sentence(tmp_path, code, message):
    with pytest.raises(UserError, match=message), files.new_file(tmp_path / "file.txt") as temporary:
        temporary.write_text("half")
        raise OSError(code, "from the system")
    assert list(tmp_path.iterdir()) == []


def test_other_system_errors_pass_unchanged(tmp_path):
    with pytest.raises(OSError, match="bus"), files.new_file(tmp_path / "file.txt"):
        raise OSError(errno.EIO, "bus")


def test_json_holds_null_for_undefined_numbers_at_any_depth(tmp_path):
    files.write_json(tmp_path / "a.json", {"a": math.nan, "b": [1.5, (math.nan, {"c": math.nan})], "d": "nan"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": [1.5, [None, {"c": None}]], "d": "nan"}


def test_a_digest_depends_on_content_not_on_the_order_of_keys():
    assert files.digest({"a": 1, "b": [1, 2]}) == files.digest({"b": [1, 2], "a": 1})
    assert files.digest({"a": 1}) != files.digest({"a": 2})
    assert files.digest([1, 2]) != files.digest([2, 1])
