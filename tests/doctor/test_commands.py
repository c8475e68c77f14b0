import subprocess
import sys
import time
from pathlib import Path

from specdm.doctor.commands import Ran, run

ROOT = Path(__file__).parents[2]


def test_a_program_is_run_with_its_arguments_as_they_are(tmp_path):
    text = "$(touch made); *"
    ran = run([sys.executable, "-c", "import sys; print(sys.argv[1]); sys.exit(3)", text], 30)
    assert ran == Ran(3, f"{text}\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_not_there_or_cannot_be_started_is_none(tmp_path):
    assert run(["no-such-program-of-specdm"], 5) is None
    (tmp_path / "text").write_text("no program")
    assert run([str(tmp_path / "text")], 5) is None


def test_a_program_that_does_not_end_is_stopped_and_what_it_said_is_kept():
    script = "import time; print('so far', flush=True); time.sleep(60)"
    started = time.monotonic()
    ran = run([sys.executable, "-c", script], 1.5)
    assert time.monotonic() - started < 20
    assert (ran.status, ran.out) == (None, "so far\n")


def test_bytes_that_are_no_text_do_no_harm():
    script = "import sys; sys.stdout.buffer.write(b'caf\\xe9')"
    assert run([sys.executable, "-c", script], 30) == Ran(0, "caf\ufffd")


def test_a_program_finds_no_input_to_wait_for():
    reader = "import sys; print(len(sys.stdin.read()))"
    script = (
        f"import sys; from specdm.doctor.commands import run; print(run([sys.executable, '-c', {reader!r}], 5).status)"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout.read() == "0\n"  # a terminal's input stays open as this one does


def test_the_message_of_a_program_is_its_complaint_then_its_answer():
    assert Ran(1, "out\n", "err\n").message == "err"
    assert Ran(1, "out\n", " ").message == "out"
    assert Ran(None).message == "no answer in time"
