"""Programs that answer as a test says, in place of those of the machine."""

import pytest

from specdm.doctor.commands import Ran


class Programs:
    """Answers commands by how they begin: {"sinfo --version": Ran(0, "slurm 24.05.3")}; what is not named is absent."""

    def __init__(self, answers: dict[str, Ran]):
        self.answers, self.asked = answers, []

    def run(self, command, seconds: float) -> Ran | None:
        words = " ".join(command)
        self.asked.append((words, seconds))
        fitting = [begin for begin in self.answers if words.startswith(begin)]
        return self.answers[max(fitting, key=len)] if fitting else None

    def find(self, name: str) -> str | None:
        return f"/usr/bin/{name}" if any(begin.split()[0] == name for begin in self.answers) else None


@pytest.fixture
def programs():
    """programs({"sinfo --version": Ran(0, ...)}) -> its run and find."""
    return Programs
