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
