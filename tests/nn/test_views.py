import numpy as np
import pytest
import torch
import torch.nn.functional as F

from specdm.nn.views import VIEWS, each_view, view


def _numpy_view(x: np.ndarray, k: int) -> np.ndarray:
    turned = np.rot90(x, k % 4, (-2, -1))
    return turned[..., ::-1] if k >= 4 else turned


def test_each_sample_gets_its_own_view():
    x = torch.arange(8 * 2 * 3 * 6 * 6).reshape(8, 2, 3, 6, 6)
    views = torch.tensor([7, 3, 0, 5, 3, 1, 6, 2])
    out = each_view(x, views)
    for i, k in enumerate(views.tolist()):
        np.testing.assert_array_equal(out[i], _numpy_view(x[i].numpy(), k))


def test_the_eight_views_are_different():
    x = torch.arange(16).reshape(4, 4)
    assert len({tuple(view(x, k).flatten().tolist()) for k in VIEWS["d4"]}) == 8


def test_flips_keep_rows_horizontal():
    x = torch.arange(3 * 5).reshape(1, 3, 5)
    flips = [view(x, k) for k in VIEWS["flips"]]
    expected = [x, x.flip(-2, -1), x.flip(-1), x.flip(-2)]
    assert all(torch.equal(a, b) for a, b in zip(flips, expected, strict=True))


def test_no_augmentation_leaves_the_patch_as_it_is():
    x = torch.rand(2, 3, 4, 4)
    assert VIEWS["none"] == (0,)
    assert torch.equal(each_view(x, torch.zeros(2, dtype=torch.long)), x)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_types_are_kept(dtype):
    x = torch.ones(1, 4, 4).to(dtype)
    assert each_view(x, torch.tensor([5])).dtype == dtype


def test_a_view_of_the_patch_is_the_same_view_of_an_equivariant_code():
    x = torch.rand(8, 3, 16, 16)
    views = torch.arange(8)
    torch.testing.assert_close(F.avg_pool2d(each_view(x, views), 4), each_view(F.avg_pool2d(x, 4), views))
