import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from specdm.doctor import as_json, examination, examine, in_words, is_complete, packages
from specdm.doctor.commands import Ran
from specdm.doctor.section import LONGEST, Section, first_line, last_line, size

ROOT = Path(__file__).parents[2]
TITLES = ["SpecDM", "Python", "system", "packages", "GPU", "GDAL", "cores", "memory", "disk", "SLURM", "conda"]
TITLES += ["containers", "credentials", "settings", "data sets"]
FACTS = {
    "torch": {"build": "CPU", "devices": [], "bfloat16": False, "warning": ""},
    "rasterio": {"gdal": "3.10.3", "drivers": ["GTiff", "COG"]},
    "pyogrio": {"gdal": "3.12.4", "drivers": ["GPKG"]},
}


@pytest.fixture
def examined(programs, tmp_path, monkeypatch):
    """examined(**errors of modules) -> sections of a bare machine on which these modules cannot be imported."""
    monkeypatch.chdir(tmp_path)

    def run(*configfiles, repository=ROOT, **errors):
        answers = [
            {"name": module, "error": errors[module]}
            if module in errors
            else {"name": module, "facts": FACTS.get(module, {})}
            for module in packages.MODULES.values()
        ]
        bare = programs({sys.executable: Ran(0, "\n".join(map(json.dumps, answers)))})
        find = {"python": sys.executable}.get
        return examine(repository, configfiles, {}, tmp_path, tmp_path, bare.run, find)

    return run


def _of(sections, title):
    return next(section for section in sections if section.title == title)


def test_a_bare_machine_is_complete_and_told_in_order(examined):
    sections = examined()
    assert [section.title for section in sections] == TITLES
    assert is_complete(sections)
    text = in_words(sections)
    assert "\nmissing       nothing is missing\n" in f"{text}\n"
    assert [line[:13].rstrip() for line in text.splitlines() if line[0] != " "][: len(TITLES)] == TITLES
    assert all(line[13] == " " and line[14] != "" for line in text.splitlines())


def test_lines_are_aligned_and_wrapped_and_what_is_missing_stands_last():
    sections = [
        Section("one", ("first", "word " * 50), ("a is missing: get it.",), ("b is: so.",)),
        Section("two", ("x",), ("c is missing: get it.",)),
    ]
    lines = in_words(sections).splitlines()
    assert lines[0] == "one           first"
    assert lines[1].startswith(" " * 14 + "word word") and lines[2].startswith(" " * 16 + "word")
    assert max(map(len, lines)) <= 14 + 100
    assert lines[-4:] == [
        "two           x",
        "missing       a is missing: get it.",
        "              c is missing: get it.",
        "worth knowing b is: so.",
    ]
    assert not is_complete(sections)
    assert as_json(sections) == {
        "complete": False,
        "missing": ["a is missing: get it.", "c is missing: get it."],
        "worth_knowing": ["b is: so."],
        "sections": [
            {
                "title": "one",
                "lines": ("first", "word " * 50),
                "missing": ("a is missing: get it.",),
                "worth_knowing": ("b is: so.",),
            },
            {"title": "two", "lines": ("x",), "missing": ("c is missing: get it.",), "worth_knowing": ()},
        ],
    }


@pytest.mark.parametrize("module", examination.READERS)
def test_without_what_reads_them_configuration_and_data_sets_are_left_alone(examined, module):
    sections = examined(**{module: "ImportError: broken"})
    assert [section.title for section in sections] == TITLES[:-1]
    assert _of(sections, "settings").lines == (f"not read: {module} cannot be imported",)
    assert not is_complete(sections) and "broken" in _of(sections, "packages").missing[0]


def test_a_broken_torch_is_missing_and_everything_else_is_told(examined):
    sections = examined(torch="OSError: libcudart.so.13: cannot open shared object file")
    assert [section.title for section in sections] == TITLES
    assert "torch cannot be imported (OSError: libcudart.so.13: " in in_words(sections).replace("\n" + " " * 16, " ")
    assert _of(sections, "GPU").lines == ("no NVIDIA driver; torch cannot be asked",)


def test_folders_are_those_of_the_configuration(examined, tmp_path):
    (tmp_path / "mine.yaml").write_text("results: /proc/out\ndatasets: {oscd: {raw: raw/oscd}}\n")
    sections = examined(Path("mine.yaml"))
    assert [line.split(":")[0] for line in _of(sections, "disk").lines] == ["/proc/out", "data/segmunich, raw/oscd"]
    assert _of(sections, "disk").missing and "raw/oscd" in _of(sections, "data sets").lines[1]


def test_outside_a_repository_what_is_not_there_is_said(examined, tmp_path):
    sections = examined(repository=tmp_path)
    assert "requirements.lock" in _of(sections, "packages").worth_knowing[0]
    assert "config/config.yaml" in _of(sections, "settings").missing[0]
    assert _of(sections, "disk").lines[0].startswith("results, data: ")


def test_an_invalid_configuration_is_missing_and_the_rest_is_told(examined, tmp_path):
    (tmp_path / "mine.yaml").write_text("sede: 1\n")
    sections = examined(Path("mine.yaml"))
    assert [section.title for section in sections] == TITLES[:-1] and not is_complete(sections)


def test_the_modules_that_read_are_among_those_tried():
    assert set(examination.READERS) <= set(packages.MODULES.values())


def _command_line(*words, folder, **environ):
    return subprocess.run(
        [sys.executable, "-m", "specdm", *map(str, words)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environ,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_command_tells_this_machine_and_nothing_secret(tmp_path):
    """Here and now, with credentials in the environment and a configuration that lacks its raw files."""
    (tmp_path / "mine.yaml").write_text("datasets: {oscd: {origin: given}, segmunich: null}\n")
    secret = {"SH_CLIENT_ID": "identity-8d1f", "SH_CLIENT_SECRET": "secret-77c0", "HOME": str(tmp_path)}
    words = ("doctor", "--configfile", "mine.yaml", "--json", "out/doctor.json")
    done = _command_line(*words, folder=tmp_path, **secret)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    written = (tmp_path / "out" / "doctor.json").read_text()
    for text in (done.stdout, done.stderr, written):
        assert "identity" not in text and "8d1f" not in text and "secret-" not in text and "77c0" not in text
    found = json.loads(written)
    assert found["complete"] is False
    assert "oscd: data/oscd holds no raw files: put them there, or check datasets.oscd.raw." in found["missing"]
    assert [section["title"] for section in found["sections"]] == TITLES
    assert re.search(r"^credentials   found in the environment$", done.stdout, re.MULTILINE)
    import numpy

    assert f"numpy {numpy.__version__}" in " ".join(done.stdout.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "out"]


def test_messages_are_quoted_by_a_line_of_theirs_that_is_not_too_long():
    assert first_line("\n  one.\ntwo\n") == "one" and last_line("one\ntwo.\n \n") == "two"
    assert first_line(" \n") == last_line("") == "no message"
    assert first_line("x" * 999) == "x" * LONGEST + "..."


@pytest.mark.parametrize(
    ("n", "unit", "text"),
    [(9.9e9, 1e9, "9.9 GB"), (9.96e9, 1e9, "10 GB"), (0, 1e9, "0.0 GB"), (3.5 * 2**30, 2**30, "3.5 GiB")],
)
def test_sizes_in_words(n, unit, text):
    assert size(n, unit) == text
