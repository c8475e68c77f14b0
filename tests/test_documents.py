"""The documents say what the code is."""

import re
import textwrap
from collections import Counter
from pathlib import Path

import pytest
import yaml

from specdm import config
from specdm.reference import MARK, key_tables, with_tables

ROOT = Path(__file__).parents[1]
MARKDOWN = sorted(p for p in ROOT.rglob("*.md") if not {".venv", ".snakemake", "data"} & set(p.relative_to(ROOT).parts))


def test_the_reference_of_the_configuration_is_up_to_date():
    text = (ROOT / "config" / "README.md").read_text()
    assert text == with_tables(text), f"make it anew: {MARK}"


def test_the_reference_explains_every_key():
    from specdm import settings
    from specdm.config import Config

    sections = [s for s in vars(settings).values() if isinstance(s, type) and issubclass(s, settings.Section)]
    keys = {key for section in [*sections, Config] for key in section.model_fields}
    told = set(re.findall(r"^\| `(\w+)` \| \S", key_tables(), re.MULTILINE))
    assert keys - told == {
        "source",
        "prepare",
        "simulate",
        "acquire",
    }  # explained in a sentence and by tables of their own
    assert not re.findall(r"^\| .* \|  \|$", key_tables(), re.MULTILINE)


def test_a_document_without_the_mark_is_refused():
    from specdm.errors import UserError

    with pytest.raises(UserError, match="no line"):
        with_tables("# Configuration\n")
    assert with_tables(f"before\n{MARK} old").startswith("before\n")


def test_every_assumption_of_the_code_is_told():
    """docs/paper.md names the file of every ASSUME: as often as it holds one."""
    written = Counter()
    for path in [*(ROOT / "specdm").rglob("*.py"), ROOT / "config" / "config.yaml"]:
        count = len(re.findall(r"ASSUME: ", path.read_text()))
        name = "config.yaml" if path.suffix == ".yaml" else path.relative_to(ROOT / "specdm").as_posix()
        written[name] += count - (name == "config.yaml")  # its head explains the word
    told = Counter()
    for cell in re.findall(r"\| ([^|]*) \|$", (ROOT / "docs" / "paper.md").read_text(), re.MULTILINE):
        for name, twice in re.findall(r"`([\w/.]+)`( \(twice)?", cell):
            told[name] += 2 if twice else 1
    assert {name: n for name, n in written.items() if n} == {n: told[n] for n in told if n.endswith((".py", ".yaml"))}


def _settings_in(path: Path) -> list[str]:
    """The configuration files that stand in a document as indented text."""
    blocks = re.findall(r"(?:^(?: {4}.*|[ ]*)\n)+", path.read_text(), re.MULTILINE)
    texts = [textwrap.dedent(block).strip() for block in blocks]
    return [text for text in texts if re.match(r"(results|datasets):", text)]


@pytest.mark.parametrize("name", ["README.md", "docs/own-data.md", "config/README.md"])
def test_configurations_in_the_documents_are_valid(name):
    paper = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    found = _settings_in(ROOT / name)
    assert found
    for text in found:
        own = config.validate(config.merge(paper, yaml.safe_load(text)))
        assert own.datasets["mine"].task == "segmentation"


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "config").glob("*.yaml")))
def test_every_configuration_is_valid_and_explained(name):
    # The command at its top names the files that it lies on top of.
    under = re.findall(r"config/([\w-]+)\.yaml", (ROOT / "config" / f"{name}.yaml").read_text().split("\n\n")[0])
    layers = dict.fromkeys(["config"] if name == "config" else ["config", "demo", *under, name])
    config.load([ROOT / "config" / f"{layer}.yaml" for layer in layers])
    assert f"`{name}.yaml`" in (ROOT / "config" / "README.md").read_text()


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_and_pictures_of_a_document_exist(path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target
