"""The command that acquires images, as it is typed."""

import io
import re

import pytest

from tests.service.fixtures import hub, hub_certificate  # noqa: F401
from tests.sources.test_acquire import BANDS, SOUTH, WEST, of_field


@pytest.fixture
def typed(hub, verb, tmp_path):  # noqa: F811
    """Runs the command as it is typed: typed("--yes") -> exit status, or the error."""
    area = {"name": "field", "bounds": (WEST, SOUTH, WEST + 600, SOUTH + 480), "crs": "EPSG:32632"}
    settings = {"areas": area, "dates": "2024-07-03", "bands": BANDS, "base_url": hub.base_url}
    settings |= {"token_url": hub.token_url}
    return lambda *flags: verb("acquire", *flags, out=tmp_path / "raw", settings=settings)


def test_the_command_does_not_ask_with_yes(hub, typed, tmp_path, capsys):  # noqa: F811
    hub.acquisitions = [of_field()]
    assert typed("--yes") == 0 and (tmp_path / "raw/field/image1.tif").is_file()
    printed = capsys.readouterr().out
    assert re.search(r"^estimated cost: 1 request and", printed, re.M)
    assert re.search(r"^acquire: 1 image in \S+/raw, ", printed, re.M)


@pytest.mark.parametrize(("answer", "fetched"), [("y", True), ("n", False), ("", False)])
def test_the_command_asks_where_somebody_can_answer(hub, typed, monkeypatch, tmp_path, answer, fetched):  # noqa: F811
    hub.acquisitions = [of_field()]
    assert typed() == "error: Nobody can be asked here whether to fetch this: add --yes."
    terminal = io.StringIO(answer + "\n")
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    assert typed() == (0 if fetched else "error: Nothing was fetched, as you wished.")
    assert (tmp_path / "raw/field/image1.tif").is_file() == fetched and len(hub.sent("process")) == fetched
