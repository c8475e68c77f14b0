import json
import platform

import pytest

from specdm import provenance


def test_a_stamp_says_which_code_and_settings_made_a_result_and_on_what():
    stamp = provenance.stamp("sample", 3, 7, {"steps": 5})
    assert json.loads(json.dumps(stamp)) == stamp
    assert (stamp["stage"], stamp["stage_version"], stamp["seed"], stamp["settings"]) == ("sample", 3, 7, {"steps": 5})
    assert provenance.processor() and platform.python_version() in stamp["machine"]


@pytest.mark.parametrize("gpu", [True, False])
def test_the_machine_is_the_gpu_where_torch_has_one(monkeypatch, gpu):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    assert ("Some GPU" in provenance.machine()) == gpu and torch.__version__ in provenance.machine()
    assert (provenance.processor() in provenance.machine()) != gpu
