import pytest

from specdm.doctor.commands import Ran
from specdm.doctor.gpu import Driver, driver, gpu
from specdm.doctor.imports import Imported

SMI = "nvidia-smi --query-gpu=driver_version"
MODULE = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May  2 14:37:44 UTC 2024\nGCC version: 12.2.0\n"
)


def _torch(build="CUDA 13.2", devices=(), bfloat16=True, warning=""):
    return Imported(facts={"build": build, "devices": list(devices), "bfloat16": bfloat16, "warning": warning})


def test_nvidia_smi_tells_the_driver(programs, tmp_path):
    assert driver(programs({SMI: Ran(0, "570.86.15\n570.86.15\n")}).run, tmp_path) == Driver("570.86.15")
    assert driver(programs({SMI: Ran(15, "570.86.15\n", "GPU is lost")}).run, tmp_path) == Driver(None, "GPU is lost")


def test_without_nvidia_smi_the_kernel_tells_the_driver(programs, tmp_path):
    assert driver(programs({}).run, tmp_path) == Driver(None)
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(MODULE)
    assert driver(programs({}).run, tmp_path) == Driver("470.256.02")
    (tmp_path / "proc/driver/nvidia/version").write_text(MODULE.splitlines()[1])
    assert driver(programs({}).run, tmp_path) == Driver(None)


def test_a_driver_that_nvidia_smi_does_not_reach_is_told(programs, tmp_path):
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure ...\n"
    found = driver(programs({SMI: Ran(9, said)}).run, tmp_path)
    assert found.version is None
    told = gpu(_torch(), found, {}).worth_knowing[-1]
    assert told.startswith("nvidia-smi does not reach its driver (NVIDIA-SMI has failed because") and "restart" in told


def test_equal_gpus_are_counted():
    cards = [["H100", 85899345920], ["H100", 85899345920], ["T4", 16106127360]]
    section = gpu(_torch(devices=cards), Driver("570.1"), {})
    assert section.lines == (
        "2 x H100, 80 GiB, bfloat16",
        "1 x T4, 15 GiB, bfloat16",
        "driver 570.1; CUDA 13.2 build of torch",
    )
    assert section.worth_knowing == section.missing == ()


def test_a_gpu_without_bfloat16_is_told():
    section = gpu(_torch(devices=[["T4", 16106127360]], bfloat16=False), Driver("570.1"), {})
    assert section.lines[0] == "1 x T4, 15 GiB, no bfloat16, float32 only"


@pytest.mark.parametrize(
    ("torch", "version", "environ", "begins"),
    [
        (_torch("CPU"), None, {}, None),
        (_torch("CPU"), "570.1", {}, "There is an NVIDIA driver (570.1), but torch is a CPU build"),
        (_torch(), None, {}, "torch is built for CUDA 13.2, but there is no driver here"),
        (_torch(), None, {"CUDA_VISIBLE_DEVICES": ""}, "torch is built for CUDA 13.2, but there is no driver here"),
        (
            _torch(warning="too old."),
            "470.2",
            {},
            "torch is built for CUDA 13.2 and cannot use the driver 470.2 (too old):",
        ),
        (_torch(), "470.2", {"CUDA_VISIBLE_DEVICES": "0,1"}, "torch is built for CUDA 13.2 and cannot use"),
        (_torch(), "570.1", {"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES hides every GPU"),
        (_torch(), "570.1", {"CUDA_VISIBLE_DEVICES": "-1"}, "CUDA_VISIBLE_DEVICES hides every GPU"),
        (_torch(), "570.1", {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, "CUDA_VISIBLE_DEVICES hides every GPU"),
    ],
)
def test_why_no_gpu_is_used_is_said_in_a_sentence(torch, version, environ, begins):
    section = gpu(torch, Driver(version), environ)
    assert section.lines[0].startswith("none; ") and section.lines[0].endswith(f"{torch.facts['build']} build of torch")
    assert section.missing == ()  # the processor does
    assert len(section.worth_knowing) == (begins is not None)
    if begins:
        assert section.worth_knowing[0].startswith(begins)


def test_a_torch_that_cannot_be_imported_or_fails_leaves_the_driver():
    assert gpu(Imported("OSError: x"), Driver("570.1"), {}).lines == ("driver 570.1; torch cannot be asked",)
    section = gpu(Imported(facts={"fault": "RuntimeError: CUDA error: unknown\nmore"}), Driver("570.1"), {})
    assert section.lines == ("driver 570.1; torch fails on it",)
    assert section.worth_knowing == ("torch fails on the GPU (RuntimeError: CUDA error: unknown): mend its driver.",)
