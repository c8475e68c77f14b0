"""The settings of an import are told where exports and imports are explained."""

import re
from pathlib import Path

from specdm.settings.exchange import FolderSettings

FORMATS = Path(__file__).parents[1] / "docs" / "formats.md"


def test_every_key_is_explained():
    rows = re.findall(
        r"^\| ([^|]*) \| [^|]* \| \S", FORMATS.read_text().split("## Image and mask files")[1], re.MULTILINE
    )
    told = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert told == set(FolderSettings.model_fields)
    assert all(field.description for field in FolderSettings.model_fields.values())
