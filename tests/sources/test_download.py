"""Downloads from a server on this machine: resumed, checked, unpacked, and plain words when it fails."""

import csv
import dataclasses
import errno
import hashlib
import http.server
import io
import json
import threading
import zipfile
from pathlib import Path

import pytest

from specdm.errors import UserError
from specdm.sources import download as dl

TABLE = Path(__file__).parents[2] / "config" / "datasets.csv"


def zipped(entries: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return stream.getvalue()


CONTENT = bytes(range(256)) * 2000
ARCHIVE = zipped({"set/a.bin": CONTENT, "set/sub/b.txt": b"b"})


@pytest.fixture
def server(monkeypatch):
    """A server with Range support: .files {path: bytes}, .breaks {path: bytes it sends once, then stops}, .ranges."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            state.ranges.append(start)
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : start + state.breaks.pop(self.path, len(content))])

        def log_message(self, *_):
            pass

    state = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.files, state.breaks, state.ranges = {"/set.zip": ARCHIVE}, {}, []
    state.url = f"http://127.0.0.1:{state.server_port}"
    thread = threading.Thread(target=state.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(dl.time, "sleep", lambda _: None)
    yield state
    state.shutdown()
    thread.join()
    state.server_close()


@pytest.fixture
def table(tmp_path, server):
    """Writes a datasets table with one archive: table(**fields) -> path."""

    def make(**fields):
        row = dl.Archive(
            "toy", "all", "set.zip", f"{server.url}/set.zip", "", 0, hashlib.md5(ARCHIVE).hexdigest(), "",
            "CC BY-NC-SA", "Someone 2020",
        )  # fmt: skip
        row = dataclasses.asdict(dataclasses.replace(row, **fields))
        path = tmp_path / "datasets.csv"
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, row)
            writer.writeheader()
            writer.writerow(row)
        return path

    return make


def fetch(table, tmp_path, **options):
    said = []
    report = dl.download("toy", tmp_path / "raw", table=table, say=said.append, **options)
    return report, said


def refused(table, tmp_path, *words, **options) -> str:
    with pytest.raises(UserError) as caught:
        fetch(table, tmp_path, **options)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    assert all(word in message for word in words), message
    assert not (tmp_path / "raw" / dl.MARKER).exists()
    return message


def test_archive_is_unpacked_and_the_marker_written(table, tmp_path):
    report, said = fetch(table(), tmp_path)
    root = tmp_path / "raw"
    assert (root / "set" / "a.bin").read_bytes() == CONTENT
    assert sorted(p.name for p in root.iterdir()) == [dl.MARKER, "set"]
    marker = json.loads((root / dl.MARKER).read_text())
    assert marker["archives"] == {"set.zip": hashlib.sha256(ARCHIVE).hexdigest()} == report.archives
    assert report.unpacked == 2
    assert any("CC BY-NC-SA" in line and "Someone 2020" in line for line in said)


def test_broken_connection_is_resumed_where_it_stopped(table, tmp_path, server):
    server.breaks["/set.zip"] = 100_000
    fetch(table(), tmp_path)
    assert server.ranges[0] == 0 and 0 < server.ranges[1] <= 100_000
    assert (tmp_path / "raw" / "set" / "a.bin").read_bytes() == CONTENT


def test_part_longer_than_the_file_starts_anew(table, tmp_path, server):
    server.breaks["/set.zip"] = 100_000
    fetch(table(), tmp_path)
    part = f".set.zip.{hashlib.sha256(f'{server.url}/set.zip'.encode()).hexdigest()[:8]}.part"
    (tmp_path / "raw" / part).write_bytes(b"x" * (len(ARCHIVE) + 5))
    report, _ = fetch(table(), tmp_path)
    assert report.unpacked == 2 and not (tmp_path / "raw" / part).exists()


def test_dead_link_falls_back_to_the_mirror(table, tmp_path, server):
    server.files["/mirror.zip"] = server.files.pop("/set.zip")
    _, said = fetch(table(mirror=f"{server.url}/mirror.zip"), tmp_path)
    assert (tmp_path / "raw" / "set" / "a.bin").is_file()
    assert any("HTTP 404" in line for line in said)


def test_dead_link_says_what_to_fetch_by_hand(table, tmp_path, server):
    server.files.clear()
    refused(table(), tmp_path, "set.zip", f"{server.url}/set.zip", "HTTP 404", "--from-dir")


def test_server_that_is_not_there(table, tmp_path):
    refused(table(address="http://127.0.0.1:9/set.zip"), tmp_path, "connection failed", "--from-dir")


def test_web_page_instead_of_a_zip(table, tmp_path, server):
    server.files["/set.zip"] = b"<!DOCTYPE html><html>please log in</html>"
    refused(table(), tmp_path, "web page", "--from-dir")
    assert list((tmp_path / "raw").iterdir()) == []


def test_wrong_checksum(table, tmp_path):
    refused(table(md5="0" * 32), tmp_path, "set.zip", "md5", "0" * 32, "fetch it again")
    assert not (tmp_path / "raw" / "set").exists()


def test_damaged_archive(table, tmp_path, server):
    server.files["/set.zip"] = ARCHIVE[:1000]
    refused(table(md5=""), tmp_path, "set.zip", "damaged")


@pytest.mark.parametrize("entry", ["../outside.txt", "/tmp/specdm-outside.txt"])
def test_entries_that_leave_the_folder_are_refused(table, tmp_path, server, entry):
    server.files["/set.zip"] = zipped({"good.txt": b"g", entry: b"evil"})
    refused(table(md5=""), tmp_path, entry, "do not use")
    assert not (tmp_path / "outside.txt").exists() and not (tmp_path / "raw" / "good.txt").exists()


def test_files_fetched_by_hand_are_taken_and_kept(table, tmp_path, server):
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / "set.zip"
    refused(table(), tmp_path, str(path), "does not exist", server.url, from_dir=tmp_path / "mine")
    path.write_bytes(ARCHIVE)
    fetch(table(), tmp_path, from_dir=tmp_path / "mine")
    assert (tmp_path / "raw" / "set" / "a.bin").read_bytes() == CONTENT
    assert path.is_file() and server.ranges == []


def test_web_page_saved_by_hand_as_zip(table, tmp_path):
    (tmp_path / "set.zip").write_bytes(b"<html>")
    refused(table(), tmp_path, "set.zip", "web page", from_dir=tmp_path)


def test_full_disk(table, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dl, "_store", full)
    refused(table(), tmp_path, "disk is full", "raw")


def test_unknown_data_set(tmp_path):
    with pytest.raises(UserError, match="no data set 'osdc': use one of oscd, segmunich"):
        dl.download("osdc", tmp_path / "raw", table=TABLE)


def test_our_table_is_whole():
    oscd, segmunich = dl.read_table(TABLE, "oscd"), dl.read_table(TABLE, "segmunich")
    assert len(oscd) == 3 and all(len(a.md5) == 32 for a in oscd)
    assert len(segmunich) == 1
    assert all(a.address.startswith("https://") and a.licence and a.citation for a in (*oscd, *segmunich))
