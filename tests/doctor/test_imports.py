import pytest

from specdm.doctor.commands import Ran, run
from specdm.doctor.imports import Imported, imported

MODULES = {
    "d_good": "print('a line that is no answer')",
    "d_absent_part": "import no_such_module_of_specdm",
    "d_old": "raise AttributeError('module numpy has no attribute bool\\nand more')",
    "d_leaves": "raise SystemExit(4)",
    "d_killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "d_ends": "import os; os._exit(7)",
    "d_writes": 'import os; os.write(1, b\'{"name": "d_good", "error": "forged"}\\n\')',
}


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Modules that fail in many ways, on the path of new processes."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(f"{text}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_whatever_a_broken_package_does_is_the_finding_and_the_others_are_tried(broken):
    found = imported(["d_writes", "d_killed", "d_old", "d_leaves", "d_ends", "d_absent_part", "d_good"], run)
    assert {name: each.error for name, each in found.items()} == {
        "d_writes": "",
        "d_killed": "it ended Python with signal 9",
        "d_old": "AttributeError: module numpy has no attribute bool",
        "d_leaves": "SystemExit: 4",
        "d_ends": "it ended Python with exit status 7",
        "d_absent_part": "ModuleNotFoundError: No module named 'no_such_module_of_specdm'",
        "d_good": "",
    }


def test_the_last_of_the_packages_may_end_the_process_too(broken):
    assert imported(["d_good", "d_killed"], run)["d_killed"].error == "it ended Python with signal 9"


def test_modules_of_specdm_do_not_stand_in_for_packages():
    # The script lies beside cgroups.py, and only installed packages are looked for.
    assert "No module named 'cgroups'" in imported(["cgroups"], run)["cgroups"].error


def test_a_package_that_never_comes_back_is_told_and_the_others_are_tried():
    asked = []

    def slow(command, seconds):
        asked.append(list(command[3:]))
        return (
            Ran(None, '{"name": "a", "facts": {}}\n{"na') if len(asked) == 1 else Ran(0, '{"name": "c", "facts": {}}')
        )

    found = imported(["a", "b", "c"], slow)
    assert asked == [["a", "b", "c"], ["c"]]
    assert found["a"] == found["c"] == Imported()
    assert found["b"].error == "it did not come back within 180 seconds"


def test_without_python_nothing_can_be_imported():
    assert imported(["a"], lambda command, seconds: None)["a"].error == "Python cannot be started"


def test_what_rasterio_and_pyogrio_know_is_asked_of_them():
    import pyogrio
    import rasterio

    found = imported(["rasterio", "pyogrio", "torch"], run)
    assert found["rasterio"].facts["gdal"] == rasterio.__gdal_version__
    assert {"GTiff", "COG"} <= set(found["rasterio"].facts["drivers"])
    assert found["pyogrio"].facts["gdal"] == pyogrio.__gdal_version_string__
    writable = {name for name, how in pyogrio.list_drivers().items() if "w" in how}
    assert set(found["pyogrio"].facts["drivers"]) == writable and "GPKG" in writable
    assert found["torch"].facts.keys() == {"build", "devices", "bfloat16", "warning"}


def test_a_package_that_fails_when_asked_is_imported_all_the_same():
    from specdm.doctor import probe

    assert "fault" not in probe.look("json")["facts"]
    before = probe.FACTS.copy()
    try:
        probe.FACTS["json"] = lambda module: module.no_such_attribute
        found = probe.look("json")
    finally:
        probe.FACTS.clear()
        probe.FACTS.update(before)
    assert "error" not in found and found["facts"]["fault"].startswith("AttributeError: ")


class _Cuda:
    """Two GPUs, or a driver that torch warns about."""

    def __init__(self, usable):
        self.usable = usable

    def is_available(self):
        import warnings

        if not self.usable:
            warnings.warn("CUDA initialization: the driver is too old", stacklevel=1)
        return self.usable

    def device_count(self):
        return 2

    def get_device_properties(self, i):
        from types import SimpleNamespace

        return SimpleNamespace(name=f"Card {i}", total_memory=(i + 1) * 2**30)

    def is_bf16_supported(self):
        return True


@pytest.mark.parametrize(
    ("cuda", "hip", "build"), [("13.2", None, "CUDA 13.2"), (None, "6.4", "ROCm 6.4"), (None, None, "CPU")]
)
@pytest.mark.parametrize("usable", [True, False])
def test_torch_is_asked_for_its_build_and_gpus(cuda, hip, build, usable):
    from types import SimpleNamespace

    from specdm.doctor.probe import of_torch

    found = of_torch(SimpleNamespace(version=SimpleNamespace(cuda=cuda, hip=hip), cuda=_Cuda(usable)))
    assert found["build"] == build
    assert found["devices"] == ([["Card 0", 2**30], ["Card 1", 2**31]] if usable else [])
    assert found["bfloat16"] is usable
    assert found["warning"] == ("" if usable else "CUDA initialization: the driver is too old")
