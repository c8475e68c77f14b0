from pathlib import Path

import pytest

from specdm.doctor.imports import Imported
from specdm.doctor.packages import MODULES, Difference, differences, installed, packages, pinned

ROOT = Path(__file__).parents[2]
FINE = dict.fromkeys(MODULES.values(), Imported())


@pytest.fixture
def pins():
    return {name.replace("-", "_").upper(): "1.2" for name in MODULES} | {"black": "26.1"}


def _versions(**other):
    versions = dict.fromkeys(MODULES, "1.2") | {"black": "26.1"} | other
    by_name = {name.replace("-", "_").lower(): version for name, version in versions.items()}
    return lambda name: by_name[name.replace("-", "_").lower()]


def test_the_lock_is_read_as_it_is_written():
    pins = pinned(ROOT / "requirements.lock")
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    assert [f"{name}=={version}" for name, version in pins.items()] == lines
    assert {name.lower().replace("_", "-") for name in MODULES} <= {name.lower().replace("_", "-") for name in pins}
    assert pinned(ROOT / "nowhere.lock") == {}


def test_installed_is_a_version_or_none():
    import numpy

    assert installed("NumPy") == numpy.__version__
    assert installed("no-such-package-of-specdm") is None


def test_a_build_of_the_pinned_version_is_no_difference():
    pins = {"torch": "2.15.0", "numpy": "2.4.6", "timm": "1.0", "black": "26"}
    have = {"torch": "2.15.0+cpu", "numpy": "2.4.60", "timm": None, "black": "26"}
    assert differences(pins, have.get) == [Difference("numpy", "2.4.60", "2.4.6"), Difference("timm", None, "1.0")]


def test_an_environment_as_pinned_is_a_list_and_nothing_to_mend(pins):
    section = packages(pins, FINE, _versions())
    assert section.lines == (
        *(f"{name} 1.2" for name in MODULES),
        f"{len(pins)} of the {len(pins)} packages of requirements.lock are as it pins them",
    )
    assert section.missing == section.worth_knowing == ()


def test_another_version_stands_beside_the_pinned_one(pins):
    section = packages(pins, FINE, _versions(torch="1.1", black="25.0"))
    assert section.lines[:2] == ("torch 1.1, requirements.lock pins 1.2", "diffusers 1.2")
    assert section.lines[-1].startswith(f"{len(pins) - 2} of the {len(pins)} ")
    assert section.missing == ()
    (told,) = section.worth_knowing
    assert told.startswith("TORCH and black are not as requirements.lock pins them, and results may differ: install ")


def test_an_absent_package_is_missing_and_only_where_it_is_needed(pins):
    section = packages(pins, FINE, _versions(timm=None, black=None))
    assert "timm is not installed, requirements.lock pins 1.2" in section.lines
    assert section.missing == ("timm is not installed: install it with `pip install -r requirements.lock`.",)
    (told,) = section.worth_knowing
    assert told.startswith("black is not installed: ")


def test_a_package_that_cannot_be_imported_is_missing_with_the_reason(pins):
    broken = FINE | {"segmentation_models_pytorch": Imported("OSError: libx.so: no such file")}
    (told,) = packages(pins, broken, _versions()).missing
    assert told.startswith("segmentation-models-pytorch cannot be imported (OSError: libx.so: no such file): install")


def test_without_a_lock_that_is_said_and_the_rest_told():
    section = packages({}, FINE, _versions(timm=None))
    assert "timm is not installed" in section.lines and "torch 1.2" in section.lines and len(section.missing) == 1
    assert section.worth_knowing[0].startswith("There is no requirements.lock beside the package")


def test_of_many_differences_eight_are_named(pins):
    (told,) = packages(pins, FINE, _versions(**dict.fromkeys(MODULES, "9"))).worth_knowing
    assert told.count(", ") == 8 and f" and {len(MODULES) - 8} more are not as" in told
