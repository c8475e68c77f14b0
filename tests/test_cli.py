import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from specdm import lock
from specdm.cli import app
from specdm.cli.app import alone_in

ROOT = Path(__file__).parents[1]
VERBS = sorted(typer.main.get_command(app).commands)


def _run(*arguments: object, folder: Path) -> subprocess.CompletedProcess:
    """The command line in a process of its own, from another folder than the repository."""
    return subprocess.run(
        [sys.executable, "-m", "specdm", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("verb_name", VERBS)
def test_each_verb_explains_itself_and_its_options(verb_name):
    result = CliRunner().invoke(app, [verb_name, "--help"])
    assert result.exit_code == 0
    command = typer.main.get_command(app).commands[verb_name]
    assert command.help
    for parameter in command.params:
        if parameter.name != "help":
            assert parameter.help, f"{verb_name} {parameter.name}"


def test_every_verb_that_a_rule_calls_exists_with_its_options():
    commands = typer.main.get_command(app).commands
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for shell in re.findall(r"shell:\n((?:\s+\"[^\n]*\n)+)", path.read_text()):
            text = "".join(re.findall(r"\"(.*)\"", shell))
            for call in re.findall(r"python -m specdm ([^|&>]*)", text):
                name = call.split()[0]
                assert name in commands, f"{path.name}: {name}"
                known = {option for p in commands[name].params for option in p.opts}
                assert set(re.findall(r"--[a-z-]+", call)) <= known, f"{path.name}: {name}"


def test_help_is_instant_because_torch_stays_out(tmp_path):
    script = (
        "import sys; sys.argv = ['specdm', '--help']\n"
        "from specdm import cli\n"
        "try:\n    cli.main()\n"
        "except SystemExit as stop:\n"
        "    heavy = {'torch', 'pandas', 'numpy', 'pydantic', 'diffusers', 'snakemake'} & set(sys.modules)\n"
        "    sys.exit(f'{stop.code} {heavy}' if stop.code or heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "train-downstream" in done.stdout


def test_what_a_user_can_mend_is_one_line_without_a_traceback(tmp_path):
    done = _run("train-autoencoder", "--patches", "nowhere", "--out", "out", "--state", "state", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr == ("error: nowhere is not a patch set, images.npy is missing: make it with `specdm prepare`.\n")
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_program_error_keeps_its_traceback(tmp_path, monkeypatch):
    from specdm import config

    def broken():
        raise ZeroDivisionError

    monkeypatch.setattr(config, "schema", broken)
    monkeypatch.setattr(sys, "argv", ["specdm", "schema", "--out", str(tmp_path / "s.json")])
    from specdm.cli import main

    with pytest.raises(ZeroDivisionError):
        main()


def test_a_paused_training_ends_with_status_75(tmp_path, verb, segmentation_patches, capsys):
    small = {"width": 16, "multipliers": [1, 2], "layers": 1, "norm_groups": 8, "mid_attention": False}
    status = verb(
        "train-autoencoder",
        patches=segmentation_patches,
        out=tmp_path / "out",
        state=tmp_path / "state",
        settings={"image": small, "mask": small, "steps": 3, "batch": 2},
        max_minutes=1e-9,
    )
    assert status == 75
    assert "is saved at step 1 of 3: the same command goes on." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"bacth": 3}', "bacth: there is no such key, did you mean 'batch'?"),
        ('{"image": {"widht": 3}}', "image.widht: there is no such key, did you mean 'width'?"),
        ('{"batch": "many"}', "batch: Input should be a valid integer"),
        ("{", "--settings cannot be read: "),
        ("nowhere.json", "--settings: nowhere.json is neither JSON text nor a file: give one of them."),
    ],
)
def test_bad_settings_name_the_key_and_the_nearest(tmp_path, verb, text, message):
    status = verb("train-autoencoder", patches=tmp_path, out=tmp_path / "o", state=tmp_path / "s", settings=text)
    assert status.startswith(f"error: {message}")
    assert "\n" not in status


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_settings_may_stand_in_a_file(tmp_path, verb, suffix):
    path = tmp_path / f"settings.{suffix}"
    path.write_text('{"bacth": 3}' if suffix == "json" else "bacth: 3\n")
    status = verb("train-autoencoder", patches=tmp_path, out=tmp_path / "o", state=tmp_path / "s", settings=path)
    assert "did you mean 'batch'?" in status


@pytest.mark.parametrize("text", ["[1, 2]", "text"])
def test_a_settings_file_that_is_no_mapping_is_told(tmp_path, verb, text):
    (tmp_path / "settings.yaml").write_text(text)
    status = verb(
        "train-autoencoder",
        patches=tmp_path,
        out=tmp_path / "o",
        state=tmp_path / "s",
        settings=tmp_path / "settings.yaml",
    )
    assert str(status).startswith("error: ")


def test_unknown_views_name_the_choices(tmp_path, verb):
    status = verb("encode", patches=tmp_path, autoencoder=tmp_path, out=tmp_path / "o", augment="d8")
    assert status == "error: --augment: there is no 'd8', choose one of none, flips, d4."


def test_the_schema_verb_writes_valid_json(tmp_path, verb):
    assert verb("schema", out=tmp_path / "schema.json") == 0
    assert json.loads((tmp_path / "schema.json").read_text())["properties"].keys() >= {"methods", "datasets"}


def test_an_unknown_verb_is_a_usage_error(verb):
    assert verb("trian") == 2


def test_without_arguments_the_chain_is_explained_snakemake_first():
    runner = CliRunner(env={"COLUMNS": "80"})
    bare, asked = (runner.invoke(app, words).output.strip() for words in ([], ["--help"]))
    assert bare == asked
    assert "snakemake --profile workflow/profiles/local" in " ".join(asked.split())
    overview = {
        found[1]: found[2] for line in asked.splitlines() if (found := re.match(r"│ ([a-z-]+) +(\S.*->.*\S) +│", line))
    }
    assert set(overview) == set(VERBS)  # one line each: none is cut or wrapped
    order = list(overview)
    chain = ["prepare", "train-autoencoder", "encode", "train-diffusion", "sample", "evaluate", "tabulate", "report"]
    assert [name for name in order if name in chain] == chain
    assert asked.index("snakemake") < asked.index("│ prepare")


LAST_LINE = r"{}: {}, \d+(\.\d)? s\n"


def test_a_verb_ends_with_what_it_made_where_and_how_long_it_took(tmp_path, verb, capsys):
    def ends_with(name: str, made: str) -> None:
        out = capsys.readouterr().out
        assert re.fullmatch(LAST_LINE.format(name, made), out.splitlines(keepends=True)[-1]), out
        assert out.count(f"{name}: ") == 1

    raw, out, schema = tmp_path / "raw", tmp_path / "patches", tmp_path / "schema.json"
    assert verb("schema", out=schema) == 0
    ends_with("schema", re.escape(str(schema)))

    cities = [
        {"name": n, "split": s, "height": 64, "width": 64} for n, s in (("a", "train"), ("b", "train"), ("c", "test"))
    ]
    assert verb("simulate", source="oscd", out=raw, settings={"cities": cities}) == 0
    n_files = sum(path.is_file() for path in raw.rglob("*"))
    ends_with("simulate", f"{n_files} files like those of oscd in {re.escape(str(raw))}")

    prepared = {"patch_px": 32, "stride_px": 32, "val_cities": ["b"], "guard_px": 0}
    assert verb("prepare", source="oscd", name="x", raw=raw, out=out, settings=prepared) == 0
    ends_with("prepare", rf"12 patches \(4 train, 4 val, 4 test\) in {re.escape(str(out))}")

    teacher = dict(out=tmp_path / "teacher", state=tmp_path / "state", settings={"width": 4, "steps": 2, "batch": 2})
    assert verb("train-teacher", patches=out, **teacher) == 0
    ends_with("train-teacher", rf"\d+ parameters, 2 steps in {re.escape(str(teacher['out']))}")


def test_a_table_is_counted_in_rows(tmp_path, verb, capsys):
    paths = []
    for method in ("a", "b", "c"):
        paths.append(tmp_path / f"{method}.json")
        facts = dict(patch_px=32, streams="two", sad_weight=0.1, n=9, n_real=8, n_val=7, features=[], not_computable={})
        row = facts | {"dataset": "d", "method": method, "seed": 0, "scores": {"fd_mask": 1.0}}
        paths[-1].write_text(json.dumps(row))
    assert verb("tabulate", *paths, out=tmp_path / "table.csv") == 0
    out = capsys.readouterr().out
    assert re.fullmatch(LAST_LINE.format("tabulate", f"3 rows in {re.escape(str(tmp_path))}/table.csv"), out)


def test_a_paused_training_claims_nothing(tmp_path, verb, segmentation_patches, capsys):
    parts = dict(patches=segmentation_patches, out=tmp_path / "out", state=tmp_path / "state")
    status = verb("train-teacher", **parts, settings={"width": 4, "steps": 3, "batch": 2}, max_minutes=1e-9)
    assert status == 75
    assert "parameters" not in capsys.readouterr().out


def test_a_command_with_a_state_is_alone_in_it(tmp_path, monkeypatch):
    state = tmp_path / "state"
    own = lock.of(state)
    for name in ("RANK", lock.HELD):
        monkeypatch.delenv(name, raising=False)
    with alone_in(state):
        assert own.exists()
    assert not own.exists()
    with alone_in(None):
        pass
    monkeypatch.setenv(lock.HELD, str(lock.of(tmp_path / "other")))
    with alone_in(state):
        assert own.exists()
    monkeypatch.setenv(lock.HELD, str(own))  # the launcher holds it
    with alone_in(state):
        assert not own.exists()
    monkeypatch.delenv(lock.HELD)
    monkeypatch.setenv("RANK", "1")  # one of several processes of one training
    with alone_in(state):
        assert not own.exists()


def test_the_lock_of_a_command_is_that_of_its_state(tmp_path, verb, monkeypatch):
    state, held = tmp_path / "state", []
    monkeypatch.setattr(lock, "held", lambda path: held.append(path) or contextlib.nullcontext())
    verb("sample", model=tmp_path / "none", out=tmp_path / "out", state=state, n=2)
    assert held == [lock.of(state)]


def test_a_pause_leaves_a_note_for_who_asked_for_one(tmp_path, verb, monkeypatch, segmentation_patches):
    note = tmp_path / "note"
    folders = dict(patches=segmentation_patches, out=tmp_path / "out", state=tmp_path / "state")
    settings = {"width": 4, "steps": 3, "batch": 2}
    assert verb("train-teacher", **folders, settings=settings, max_minutes=1e-9) == 75 and not note.exists()
    monkeypatch.setenv("SPECDM_PAUSED", str(note))
    assert verb("train-teacher", **folders, settings=settings, max_minutes=1e-9) == 75 and note.exists()
