import pytest

from specdm.arguments import chosen, read_fractions, read_section, read_share
from specdm.errors import UserError
from specdm.settings import SamplingSettings


def test_wishes_are_class_and_fraction():
    want = ["water=0.3", " surface water = 1e-1", "a=b=0.5", "water=0.4"]
    assert read_fractions(want) == {"water": 0.4, "surface water": 0.1, "a=b": 0.5}
    assert read_fractions([]) == {}


@pytest.mark.parametrize("text", ["water", "water=", "water=much", "0.3=water", "water=0,3", ""])
def test_a_malformed_wish_is_refused_in_one_sentence(text):
    with pytest.raises(UserError) as refusal:
        read_fractions(["reed=0.1", text])
    assert str(refusal.value) == f"--want: {text!r} is no class=fraction: write for example --want water=0.3."


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), ("2/4", (2, 4)), ("12/12", (12, 12)), (None, None)])
def test_a_share_is_its_number_and_how_many_there_are(text, shard):
    assert read_share("--fold", text) == shard


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "1/0", "1", "/", "1/", "/4", "-1/4", "1/4/2", "a/b", "1.5/4", "", "²/3"]
)
def test_a_malformed_share_is_refused_in_one_sentence(text):
    with pytest.raises(UserError) as refusal:
        read_share("--fold", text)
    expected = f"--fold: {text!r} is no share: write for example --fold 1/4 for the first of four."
    assert str(refusal.value) == expected


def test_settings_are_read_from_text_and_from_files(tmp_path):
    (tmp_path / "s.json").write_text('{"n_steps": 7}')
    (tmp_path / "s.yaml").write_text("n_steps: 7\n")
    (tmp_path / "empty.yaml").write_text("")
    for text in ('{"n_steps": 7}', ' {"n_steps": 7}', tmp_path / "s.json", tmp_path / "s.yaml"):
        assert read_section(SamplingSettings, str(text)) == SamplingSettings(n_steps=7)
    assert read_section(SamplingSettings, str(tmp_path / "empty.yaml")) == SamplingSettings()


def test_unknown_or_impossible_settings_are_refused():
    with pytest.raises(UserError, match="n_stps"):
        read_section(SamplingSettings, '{"n_stps": 7}')
    with pytest.raises(UserError, match="guidance"):
        read_section(SamplingSettings, '{"guidance": -1}')


def test_a_choice_is_looked_up_or_the_choices_are_told():
    assert chosen("--source", "b", {"a": 1, "b": 2}) == 2
    with pytest.raises(UserError, match=r"^--source: there is no 'c', choose one of a, b\.$"):
        chosen("--source", "c", {"a": 1, "b": 2})
