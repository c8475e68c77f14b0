import csv
import re
import time
from pathlib import Path
from statistics import mean

import pytest
import torch
from torch import nn

from specdm import training
from specdm.training import loop
from specdm.training.record import Record
from tests.training.tiny import data_at, plain, train, two_terms


def _rows(path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_row_is_the_mean_of_the_terms_since_the_last_one(tmp_path, monkeypatch, accumulate):
    monkeypatch.setattr(loop, "N_ROWS", 3)
    terms = {"total": [], "error": [], "size": []}

    def noted(model, data, device):
        found = two_terms(model, data, device)
        for key, value in found.items():
            terms[key].append(float(value.detach()))
        return found

    rows = train(tmp_path, 7, losses=noted, network=plain, accumulate=accumulate).history
    assert [row["step"] for row in rows] == [3, 6, 7]
    for row, (first, end) in zip(rows, [(0, 3), (3, 6), (6, 7)], strict=True):
        for key, values in terms.items():
            assert row[key] == pytest.approx(mean(values[first * accumulate : end * accumulate]))


def test_a_validation_ends_an_interval_and_stands_in_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "N_ROWS", 2)
    rows = train(tmp_path, 10, val_every=4, validate=lambda model, device, step: {"score": step / 8}).history
    assert [(row["step"], row.get("score")) for row in rows] == [(4, 0.5), (5, None), (8, 1.0), (10, 1.25)]


def test_the_history_can_be_read_while_the_training_runs(tmp_path):
    seen = []

    def validate(model, device, step):
        seen.append(_rows(tmp_path / "history.csv"))
        return {"score": 1.5}

    trained = train(tmp_path, 9, losses=two_terms, validate=validate, val_every=3)
    assert [[int(row["step"]) for row in rows] for rows in seen] == [[1, 2], [1, 2, 3, 4, 5], [*range(1, 9)]]
    assert seen[1][2]["score"] == "1.5"
    written = [{k: float(v) for k, v in row.items() if v} for row in _rows(tmp_path / "history.csv")]
    assert written == trained.history


def test_the_history_of_a_long_training_stays_short(tmp_path):
    rows = train(
        tmp_path, 501, network=plain, val_every=100, validate=lambda model, device, step: {"score": 0.0}
    ).history
    assert 150 < len(rows) <= 200 + 6
    assert rows[-1]["step"] == 501


def test_history_with_changing_columns_becomes_one_table(tmp_path):
    training.write_history(tmp_path / "h.csv", [{"step": 1, "total": 0.5}, {"step": 2, "total": 0.4, "score": 0.1}])
    assert _rows(tmp_path / "h.csv") == [
        {"step": "1", "total": "0.5", "score": ""},
        {"step": "2", "total": "0.4", "score": "0.1"},
    ]


def test_who_writes_nothing_keeps_the_same_rows_in_silence(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = Record("training", 2, 0, [], {}, None, 0.0, torch.device("cpu"))
    for step, total in enumerate([1.0, 3.0], start=1):
        record.add({"total": total})
        record.tell(step, 0.0, speak=True)
    record.row(2, {})
    record.close()
    assert record.history == [{"step": 2, "total": 2.0}]
    assert capsys.readouterr().out == ""
    assert not list(Path().iterdir())


def test_the_progress_shows_the_last_row_the_memory_and_the_wait(tmp_path, capsys):
    record = Record("training", 9, 0, [], {}, tmp_path / "history.csv", 1e9, torch.device("cpu"))
    record.add({"total": 0.25})
    record.tell(1, 0.5, speak=True)
    record.row(1, {"score": -1.5})
    record.tell(2, 0.125, speak=True)
    record.tell(3, 0.125, speak=False)
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"training: 1/9 steps .* left\s+memory \d+\.\d GiB  data 50%", first)
    assert re.search(r" left  total 0\.25  score -1\.5  memory \d+\.\d GiB  data 12%$", second)


def test_the_memory_told_is_that_of_the_process_in_gib():
    held = torch.ones(2**26)  # a quarter of a GiB
    told = Record("training", 1, 0, [], {}, None, 0.0, torch.device("cpu")).memory_gib()
    assert held.nbytes / 2**30 < told < 64


def test_a_training_tells_how_much_of_its_time_it_waited_for_data(tmp_path, capsys):
    def share(seconds: float) -> int:
        def slow(part):
            time.sleep(seconds)
            return data_at(part)

        train(tmp_path, 8, data_at=slow, network=plain)
        return int(re.search(r"data (\d+)%", capsys.readouterr().out.splitlines()[-1])[1])

    assert 100 >= share(0.1) > share(0)


def test_what_a_training_made_is_said_in_words():
    small, large = nn.Linear(9, 10), nn.Linear(1299, 1000)
    assert training.made(small, 7, Path("models/x")) == "100 parameters, 7 steps in models/x"
    assert training.made(large, 7, Path("models/x")) == "1.3 million parameters, 7 steps in models/x"


def test_the_last_line_of_a_training_is_the_one_of_its_end(tmp_path, capsys):
    train(tmp_path, 5, report_every_s=1e9)
    (line,) = capsys.readouterr().out.splitlines()
    assert re.match(r"training: 5/5 steps  done in ", line)
