"""Fetch and unpack the published archives of a data set, or take archives that were fetched by hand."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from specdm import files
from specdm.errors import UserError

MARKER = "download.json"  # written last: whoever finds it finds the rest complete
ATTEMPTS = 3
_CHUNK = 1 << 16  # what an interruption loses at most
_TALK_S = 5.0


@dataclass(frozen=True)
class Archive:
    """One row of the datasets table; `bytes` is 0 and the checksums are empty where unknown."""

    name: str
    part: str
    file: str
    address: str
    mirror: str
    bytes: int
    md5: str
    sha256: str
    licence: str
    citation: str


@dataclass(frozen=True)
class DownloadReport:
    """What lies in the folder now: archives by name with their sha256, and the number of unpacked files."""

    name: str
    archives: dict[str, str]
    unpacked: int

    def lines(self) -> list[str]:
        return [f"{self.name}: {self.unpacked} files from {len(self.archives)} archives"]


def read_table(table: Path, name: str) -> list[Archive]:
    """The archives of a data set.

    Raises:
        UserError: when the table is missing or does not know the data set.
    """
    if not table.is_file():
        raise UserError(f"{table} does not exist: it lists the addresses of the data sets, see config/datasets.csv.")
    with table.open(newline="") as stream:
        rows = [Archive(**row | {"bytes": int(row["bytes"] or 0)}) for row in csv.DictReader(stream)]
    found = [archive for archive in rows if archive.name == name]
    if not found:
        known = ", ".join(sorted({archive.name for archive in rows}))
        raise UserError(f"{table} lists no data set {name!r}: use one of {known}, or add a row.")
    return found


def download(
    name: str, root: Path, *, table: Path, from_dir: Path | None = None, say: Callable[[str], None] = print
) -> DownloadReport:
    """Fetch the archives of a data set into `root`, check and unpack them there.

    An interrupted download goes on where it stopped. Fetched archives are removed once all are unpacked.

    Args:
        name: data set of the table.
        root: folder to unpack into.
        table: the datasets table.
        from_dir: folder with the archives under the names of the table; then nothing is fetched.
        say: receives progress lines, licences and citations.

    Raises:
        UserError: for dead links, damaged archives or a full disk; finished archives are kept.
    """
    root, table = Path(root), Path(table)
    archives = read_table(table, name)
    for text in sorted({f"{a.licence}; cite {a.citation}" for a in archives}):
        say(f"{name}: {text}")
    with files.explain_os_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        (root / MARKER).unlink(missing_ok=True)
        paths = [_given(a, Path(from_dir)) if from_dir else _fetched(a, root, say) for a in archives]
        checksums = {a.file: check(path, a) for a, path in zip(archives, paths, strict=True)}
        unpacked = sum(unpack(path, root) for path in paths)
        if not from_dir:
            for path in paths:
                path.unlink()
        report = DownloadReport(name, checksums, unpacked)
        files.write_json(root / MARKER, {"name": name, "archives": checksums, "files": unpacked})
    return report


def _given(archive: Archive, folder: Path) -> Path:
    path = folder / archive.file
    if not path.is_file():
        raise UserError(f"{path} does not exist: fetch it from {archive.address} and put it there under this name.")
    return path


def _fetched(archive: Archive, root: Path, say: Callable[[str], None]) -> Path:
    path = root / archive.file
    if path.is_file():
        return path
    for address in filter(None, (archive.address, archive.mirror)):
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(attempt)
            problem = _transfer(address, path, archive, say)
            if not problem:
                return path
            say(f"{address}: {problem}")
            if "HTTP 4" in problem or "web page" in problem:
                break
    raise UserError(
        f"{archive.file} could not be fetched from {archive.address} ({problem}): run the command again to go on, "
        f"or fetch it by hand into a folder and name that folder with --from-dir."
    )


def _transfer(address: str, path: Path, archive: Archive, say: Callable[[str], None]) -> str:
    """Fetch or go on fetching into <path>.part, then rename it. Returns what went wrong, "" when nothing."""
    import requests

    # Each address has its own part: the tail of one archive must not be appended to the head of another.
    part = path.with_name(f".{path.name}.{hashlib.sha256(address.encode()).hexdigest()[:8]}.part")
    have = part.stat().st_size if part.is_file() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with requests.get(address, headers=headers, stream=True, timeout=(15, 60)) as answer:
            if answer.status_code == 416:  # the part is as long as the file, or longer than it now is
                part.unlink()
                return "the server refused to go on, starting anew"
            if answer.status_code not in (200, 206):
                return f"HTTP {answer.status_code}"
            if answer.status_code == 200:
                have = 0
            total = have + int(answer.headers.get("Content-Length", 0))
            _store(answer.iter_content(_CHUNK), part, have, total, archive.file, say)
    except requests.RequestException as error:
        return f"the connection failed, {type(error).__name__}"
    if archive.bytes and address == archive.address and part.stat().st_size < archive.bytes:
        return f"only {part.stat().st_size} of {archive.bytes} bytes came"
    if not _is_zip(part):
        part.unlink()
        return "the server sent a web page or something else instead of a zip archive"
    os.replace(part, path)
    return ""


def _store(chunks, part: Path, have: int, total: int, name: str, say: Callable[[str], None]) -> None:
    started = talked = time.monotonic()
    begun = have
    with part.open("ab" if have else "wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
            have += len(chunk)
            if time.monotonic() - talked > _TALK_S:
                talked = time.monotonic()
                rate = (have - begun) / (talked - started)
                left = f", {(total - have) / rate:.0f} s left" if total > have else ""
                say(f"{name}: {have / 1e6:.0f} of {total / 1e6:.0f} MB, {rate / 1e6:.1f} MB/s{left}")


def _is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def check(path: Path, archive: Archive) -> str:
    """Verify an archive; returns its sha256.

    Raises:
        UserError: when it is no zip archive, or differs from the checksum that the table gives.
    """
    if not _is_zip(path):
        raise UserError(f"{path} is not a zip archive (perhaps a saved web page): delete it and fetch it again.")
    sums = {kind: hashlib.new(kind) for kind in ("md5", "sha256")}
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            for h in sums.values():
                h.update(chunk)
    for kind, h in sums.items():
        if (wanted := getattr(archive, kind)) and h.hexdigest() != wanted:
            raise UserError(
                f"{path} has the {kind} {h.hexdigest()} instead of {wanted}: delete the file and fetch it again."
            )
    return sums["sha256"].hexdigest()


def unpack(path: Path, root: Path) -> int:
    """Unpack a zip archive into `root`, all of it or nothing; returns the number of files.

    Raises:
        UserError: when it is damaged or an entry would leave the folder.
    """
    temporary = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=root))
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            for entry in entries:
                if not (temporary / entry.filename).resolve().is_relative_to(temporary.resolve()):
                    raise UserError(
                        f"{path} has an entry outside its folder, {entry.filename!r}: do not use this file."
                    )
            archive.extractall(temporary)
        for entry in entries:
            place = root / entry.filename
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary / entry.filename, place)
    except (zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{path} is a damaged zip archive: delete it and fetch it again.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(entries)
