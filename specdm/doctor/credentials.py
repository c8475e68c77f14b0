"""Whether credentials for the imagery services are there. Their values are never kept, printed or put into an error."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from specdm.doctor.section import Section

KEYS = ("sh_client_id", "sh_client_secret")  # variables have the same names in capitals
DEFAULT_PROFILE = "default-profile"  # sentinelhub's name for it


def credentials(environ: Mapping[str, str], home: Path) -> Section:
    """Where sentinelhub would find the credentials of Sentinel Hub or the Copernicus Data Space.

    Args:
        environ: environment variables. SH_CLIENT_ID and SH_CLIENT_SECRET win over the file, even when empty;
            SH_PROFILE chooses the profile, XDG_CONFIG_HOME the folder of the file.
        home: the user's folder, with .config/sentinelhub/config.toml.
    """
    profile = environ.get("SH_PROFILE", DEFAULT_PROFILE)
    path = Path(environ.get("XDG_CONFIG_HOME", home / ".config"), "sentinelhub", "config.toml")
    filled, fault = _filled_in(path, profile)
    places = []
    for key in KEYS:
        variable = environ.get(key.upper())
        if variable is not None:
            places.append("in the environment" if variable else "")
        else:
            places.append(f"in sentinelhub's profile {profile}" if key in filled else "")
    if all(places):
        text = f"found {' and '.join(dict.fromkeys(places))}"
    elif any(places):
        text = f"one of the two found {''.join(places)}"
        fault = fault or "Credentials need both a client id and a client secret: set SH_CLIENT_ID and SH_CLIENT_SECRET."
    else:
        text = "none (only needed to acquire imagery)"
    return Section("credentials", (text,), worth_knowing=(fault,) if fault else ())


def _filled_in(path: Path, profile: str) -> tuple[set[str], str]:
    """Which keys a profile holds, and what is wrong with the file, in words that hold nothing of it."""
    try:
        profiles = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return set(), ""
    except (OSError, ValueError, RecursionError):  # an error of the parser may quote the file
        return set(), "sentinelhub's configuration file cannot be read: mend or remove sentinelhub/config.toml."
    if not isinstance(profiles.get(profile), dict):
        return set(), (
            f"sentinelhub's configuration file has no profile {profile}: save it with sentinelhub, or choose another "
            "with SH_PROFILE."
        )
    return {key for key in KEYS if profiles[profile].get(key)}, ""
