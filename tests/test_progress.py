import sys

import pytest

from specdm.progress import Progress, duration, pace


class _Clock:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told(capsys):
    """Runs a loop whose steps are (seconds that pass, patches done then) and returns the lines it printed."""

    def run(steps, total, **options) -> list[str]:
        clock = _Clock()
        progress = Progress("encoding", total, clock=clock, **options)
        for seconds, done in steps:
            clock.now += seconds
            progress.update(done)
        return capsys.readouterr().out.splitlines()

    return run


def test_a_short_loop_says_nothing(told):
    assert told([(1, 10), (5, 50), (13.9, 100)], 100) == []


def test_a_loop_speaks_once_an_interval_and_at_its_end(told):
    lines = told([(4, 1240), (6, 3100), (4, 4340), (1, 5000)], 5000, every_s=10.0)
    assert lines == ["encoding: 3100/5000 patches  310/s  6.1 s left", "encoding: 5000/5000 patches  done in 15 s"]


def test_one_long_step_that_ends_the_loop_is_told(told):
    assert told([(150, 3)], 3, unit="scenes") == ["encoding: 3/3 scenes  done in 2 min 30 s"]


def test_what_was_done_before_does_not_count_for_the_rate(told):
    # 100 in 20 s are 5 a second, 900 are left: 3 minutes. Counting the 4000 of before would promise 4 seconds.
    assert told([(20, 4100)], 5000, start=4000) == ["encoding: 4100/5000 patches  5/s  3 min 00 s left"]


def test_a_loop_that_has_not_moved_promises_nothing(told):
    assert told([(20, 7)], 9, start=7) == ["encoding: 7/9 patches  0/s"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (3 * 3600 + 7 * 60 + 10, "3 h 07 min"),
        (7199, "2 h 00 min"),
    ],
)
def test_times_in_words_never_show_sixty(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(0.0321, "0.032/s  31 s left"), (9.96, "10/s  0.1 s left"), (9.94, "9.9/s  0.1 s left")]
)
def test_slow_work_keeps_its_digits(rate, text):
    assert pace(rate, 1) == text


def test_a_line_can_be_forced_and_says_more(capsys):
    clock = _Clock()
    progress = Progress("training", 10, "steps", clock=clock)
    clock.now += 2
    progress.update(4, "loss 0.5")
    progress.update(4, "loss 0.5", speak=True)
    clock.now += 2
    progress.update(8, "loss 0.4")
    assert capsys.readouterr().out == "training: 4/10 steps  2/s  3.0 s left  loss 0.5\n"


def test_a_forced_line_counts_as_the_last_one(capsys):
    clock = _Clock()
    progress = Progress("training", 10, "steps", clock=clock)
    for seconds, done, speak in [(15, 3, True), (15, 6, False), (5, 7, False)]:
        clock.now += seconds
        progress.update(done, speak=speak)
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["3/10", "7/10"]


def test_lines_need_no_end(capsys):
    Progress("training", 10).close()
    assert capsys.readouterr().out == ""


def test_a_bar_moves_shows_more_and_closes_at_the_end(capsys):
    progress = Progress("encoding", 5, bar=True)
    progress.update(2, "loss 0.5")
    progress.update(5, "loss 0.25")
    last = capsys.readouterr().out.split("\r")[-1]
    assert last.startswith("encoding: 100%")
    assert "5/5" in last
    assert "patches" in last
    assert "loss 0.25]" in last
    assert last.endswith("\n")
    progress.close()
    assert capsys.readouterr().out == ""


def test_a_bar_whose_loop_stops_early_is_closed_where_it_stood(capsys):
    progress = Progress("training", 9, "steps", start=4, bar=True)
    assert "4/9" in capsys.readouterr().out
    progress.update(6)
    progress.update(7, "loss 0.5", speak=True)
    assert "\n" not in capsys.readouterr().out
    progress.close()
    last = capsys.readouterr().out.split("\r")[-1]
    assert "7/9" in last
    assert "loss 0.5" in last
    assert last.endswith("\n")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_gets_a_bar_and_a_file_does_not(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    progress = Progress("encoding", 5)
    progress.update(3)
    progress.close()
    assert ("3/5" in capsys.readouterr().out) is terminal
