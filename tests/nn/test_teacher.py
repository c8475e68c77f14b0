import numpy as np
import pytest
import torch

from specdm.nn.teacher import Teacher


@pytest.fixture(params=[1, 2])
def teacher(request):
    torch.manual_seed(0)
    return Teacher(bands=4, classes=3, dates=request.param, width=8).eval()


@pytest.fixture
def pair(teacher):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn((2, teacher.dates, 4, 16, 16), generator=generator)
    onehot = torch.eye(3)[torch.randint(3, (2, 16, 16), generator=generator)].movedim(-1, 1)
    return images, onehot


def test_masks_are_read_from_images_and_images_from_masks(teacher, pair):
    logits, predicted = teacher(*pair)
    assert logits.shape == (2, 3, 16, 16)
    assert predicted.shape == pair[0].shape
    torch.testing.assert_close(teacher.predict_mask(pair[0]), logits)


def test_neither_direction_sees_what_it_predicts(teacher, pair):
    images, onehot = pair
    logits, predicted = teacher(images, onehot)
    other_logits, other_predicted = teacher(images, onehot.flip(-1))
    assert torch.equal(other_logits, logits)
    assert not torch.allclose(other_predicted, predicted)
    other_logits, other_predicted = teacher(images.flip(-1), onehot)
    assert not torch.allclose(other_logits, logits)
    assert torch.equal(other_predicted, predicted)


def test_features_belong_to_one_date_each(teacher, pair):
    images = pair[0]
    features = teacher.image_features(images)
    assert features.shape[:2] == (2, teacher.dates)
    changed = images.clone()
    changed[:, -1] += 1
    again = teacher.image_features(changed)
    assert not torch.allclose(again[:, -1], features[:, -1])
    torch.testing.assert_close(again[:, :-1], features[:, :-1])


def test_dates_share_their_weights(pair, teacher):
    images = pair[0][:, :1].expand(-1, teacher.dates, -1, -1, -1)
    features = teacher.image_features(images)
    torch.testing.assert_close(features, features[:, :1].expand_as(features))


def test_mask_features_differ_between_masks(teacher, pair):
    features = teacher.mask_features(pair[1])
    assert features.shape == (2, 8 * (2 + 4))
    assert not torch.allclose(features[0], features[1])


def test_the_loss_is_the_weighted_entropy_of_labelled_pixels_plus_the_mean_error():
    rng = np.random.default_rng(0)
    logits, predicted = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(2, 1, 2, 4, 4))
    images, masks = rng.normal(size=predicted.shape), rng.integers(0, 3, (2, 4, 4))
    masks[0, :2] = 255
    weights = np.array([0.5, 1.0, 4.0])
    total, n = 0.0, 0
    for i, row, column in np.argwhere(masks != 255):
        scores, k = logits[i, :, row, column], masks[i, row, column]
        total += weights[k] * (np.log(np.exp(scores).sum()) - scores[k])
        n += 1
    losses = Teacher.loss(*map(torch.from_numpy, (logits, predicted, images, masks)), torch.from_numpy(weights).float())
    assert float(losses["cross_entropy"]) == pytest.approx(total / n, rel=1e-5)
    assert float(losses["l1"]) == pytest.approx(np.abs(predicted - images).mean(), rel=1e-5)
    assert float(losses["total"]) == pytest.approx(float(losses["cross_entropy"] + losses["l1"]))


def test_pixels_without_data_are_no_error_of_the_image():
    images, predicted = torch.zeros(1, 2, 3, 4, 4), torch.ones(1, 2, 3, 4, 4)
    valid = torch.ones(1, 2, 4, 4, dtype=torch.bool)
    valid[0, 1, :2] = False
    predicted[0, 1, :, :2] = 1000
    logits, masks, weights = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long), torch.ones(3)
    assert Teacher.loss(logits, predicted, images, masks, weights, valid)["l1"] == 1
    assert Teacher.loss(logits, predicted, images, masks, weights, valid & False)["l1"] == 0
    assert Teacher.loss(logits, predicted, images, masks, weights)["l1"] > 100


def test_a_batch_without_labels_has_no_entropy_and_no_nan():
    masks = torch.full((1, 4, 4), 255)
    logits, images = torch.randn(1, 3, 4, 4, requires_grad=True), torch.zeros(1, 1, 2, 4, 4)
    losses = Teacher.loss(logits, images, images, masks, torch.ones(3))
    losses["total"].backward()
    assert losses["total"].item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_every_weight_learns(teacher, pair):
    images, onehot = pair
    logits, predicted = teacher(images, onehot)
    Teacher.loss(logits, predicted, images, onehot.argmax(1), torch.ones(3))["total"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in teacher.parameters())
