import os

import pytest

from specdm import files
from specdm.doctor.credentials import credentials
from specdm.doctor.examination import as_json, in_words

IDENTITY, SECRET = "identity-8d1f", "secret-77c0"
BOTH = {"SH_CLIENT_ID": IDENTITY, "SH_CLIENT_SECRET": SECRET}
NONE = "none (only needed to acquire imagery)"


@pytest.fixture
def told(tmp_path):
    """told(environ, text of the file) -> what is found and what is wrong; no value may be in any of it."""

    def run(environ: dict, text: str | bytes | None = None) -> tuple[str, tuple[str, ...]]:
        if text is not None:
            path = tmp_path / ".config" / "sentinelhub" / "config.toml"
            path.parent.mkdir(parents=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        section = credentials(environ, tmp_path)
        everything = in_words([section]) + files.to_json(as_json([section])) + repr(section)
        for value in (IDENTITY, SECRET, "8d1f", "77c0", str(len(IDENTITY)), str(len(SECRET))):
            assert value not in everything
        assert section.missing == ()
        return section.lines[0], section.worth_knowing

    return run


def _profile(name="default-profile", identity=IDENTITY, secret=SECRET):
    return f'[{name}]\nsh_client_id = "{identity}"\nsh_client_secret = "{secret}"\n'


def test_none_are_needed(told):
    assert told({}) == (NONE, ())


def test_those_of_the_environment(told):
    assert told(BOTH) == ("found in the environment", ())


def test_those_of_a_profile(told):
    assert told({}, _profile()) == ("found in sentinelhub's profile default-profile", ())


def test_those_of_another_profile(told):
    text = _profile("default-profile", "", "") + _profile("cdse")
    assert told({"SH_PROFILE": "cdse"}, text) == ("found in sentinelhub's profile cdse", ())


def test_a_profile_that_is_empty_holds_none(told):
    assert told({}, _profile("default-profile", "", "") + _profile("cdse")) == (NONE, ())


def test_the_environment_wins_even_with_an_empty_variable(told):
    found, faults = told({"SH_CLIENT_SECRET": ""}, _profile())
    assert found == "one of the two found in sentinelhub's profile default-profile"
    assert faults[0].startswith("Credentials need both a client id and a client secret: ")


def test_one_from_each_place(told):
    found, faults = told({"SH_CLIENT_ID": IDENTITY}, _profile(identity=""))
    assert (found, faults) == ("found in the environment and in sentinelhub's profile default-profile", ())


def test_one_alone_is_told(told):
    found, faults = told({"SH_CLIENT_SECRET": SECRET})
    assert found == "one of the two found in the environment" and len(faults) == 1


def test_a_profile_that_is_not_there(told):
    found, faults = told({"SH_PROFILE": "mine"}, _profile())
    assert found == NONE and faults[0].startswith("sentinelhub's configuration file has no profile mine: ")


@pytest.mark.parametrize(
    "text",
    [
        f'[default-profile]\nsh_client_id = "{IDENTITY}"\nsh_client_secret = "{SECRET}\n',
        f"{SECRET} = = {IDENTITY}",
        b"\xff\xfe" + SECRET.encode(),
        f'{SECRET} = "{IDENTITY}"\n{SECRET} = 1\n',
        "x = " + "[" * 100_000,
    ],
)
def test_a_damaged_file_is_told_in_words_that_hold_nothing_of_it(told, text):
    assert told({}, text) == (
        NONE,
        ("sentinelhub's configuration file cannot be read: mend or remove sentinelhub/config.toml.",),
    )


def test_a_file_whose_profile_is_a_value(told):
    assert told({}, f'default-profile = "{SECRET}"')[1][0].startswith("sentinelhub's configuration file has no profile")


def test_a_folder_in_place_of_the_file(told, tmp_path):
    (tmp_path / ".config" / "sentinelhub" / "config.toml").mkdir(parents=True)
    assert "cannot be read" in told({})[1][0]


def test_a_damaged_file_does_not_hide_those_of_the_environment(told):
    found, faults = told(BOTH, "= broken")
    assert found == "found in the environment" and "cannot be read" in faults[0]


def test_of_two_faults_the_files_is_told(told):
    found, faults = told({"SH_CLIENT_ID": IDENTITY}, "= broken")
    assert found == "one of the two found in the environment"
    assert len(faults) == 1 and "cannot be read" in faults[0]


def test_the_file_is_the_one_that_sentinelhub_reads(tmp_path, monkeypatch):
    """Its own class finds, in the file that we look at, the profile that we look for."""
    from sentinelhub import SHConfig

    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for environ in ({"HOME": str(home)}, {"HOME": str(home), "XDG_CONFIG_HOME": str(elsewhere)}):
        for name in ("XDG_CONFIG_HOME", "SH_PROFILE", "SH_CLIENT_ID", "SH_CLIENT_SECRET"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        assert credentials(os.environ, home).lines == (NONE,)
        assert not os.path.exists(SHConfig.get_config_location())  # looking writes nothing
        config = SHConfig(sh_client_id=IDENTITY, sh_client_secret=SECRET)
        config.save()
        assert credentials(os.environ, home).lines == ("found in sentinelhub's profile default-profile",)
        config.save("cdse")
        monkeypatch.setenv("SH_PROFILE", "cdse")
        assert credentials(os.environ, home).lines == ("found in sentinelhub's profile cdse",)
