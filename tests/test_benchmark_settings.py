"""The settings of the benchmark data sets."""

import pytest

from specdm import config
from specdm.errors import UserError
from specdm.settings import OscdSettings


@pytest.mark.parametrize(("stride", "pixels"), [("paper-overlap", 102), ("paper-counts", 127), (64, 64)])
def test_named_strides_are_those_of_the_paper(stride, pixels):
    assert OscdSettings(stride_px=stride).stride == pixels  # of the default 256 px


def test_a_wrong_stride_names_the_key_once_and_both_ways_to_write_it():
    with pytest.raises(UserError) as caught:
        config.parse_section(OscdSettings, {"stride_px": 0})
    assert str(caught.value).startswith("stride_px: ") and "'paper-counts'" in str(caught.value)
    assert "constrained" not in str(caught.value)
