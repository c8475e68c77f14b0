import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from specdm import downstream_figures as drawing
from specdm import figures
from specdm.downstream_figures import Column, Curve
from specdm.labels import IGNORE, OSCD, SEGMUNICH, LabelClass, LabelSet
from specdm.patches import PatchMeta, PatchRecord, PatchWriter, open_patches

TITLES = ["F1 in words", "IoU in words"]


def _runs(*f1):
    """Scores of runs: F1, and IoU of half of it."""
    return np.array([[value, value / 2] for value in f1])


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in order."""
    saved = []
    original = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), original(self, *a, **k)))
    return saved


def _panels(figure):
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def _trends(axes):
    """Lines of several amounts: (style, colour, x, y)."""
    found = [line for line in axes.lines if line.get_linestyle() in ("-", "--") and len(line.get_xdata()) > 1]
    return [(line.get_linestyle(), line.get_color(), [*line.get_xdata()], [*line.get_ydata()]) for line in found]


def _markers(axes, kind):
    """Places of single markers of a kind, and whether they are hollow."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]), line.get_markerfacecolor() == "none")
        for line in axes.lines
        if line.get_marker() == kind
    ]


def test_a_line_is_the_mean_and_sample_deviation_of_the_runs_in_the_order_of_the_amounts():
    x, mean, std = drawing.line({500: _runs(0.5, 0.7), 0: _runs(0.4), 100: _runs(0.1, 0.2, 0.6)}, 1)
    assert x.tolist() == [0, 100, 500]
    np.testing.assert_allclose(mean, [0.2, 0.15, 0.3])
    np.testing.assert_allclose(std, [np.nan, np.sqrt((0.1**2 + 0.05**2 + 0.15**2) / 2), 0.1 / np.sqrt(2)])


def test_undefined_scores_are_no_points():
    nan = float("nan")
    x, mean, std = drawing.line({0: np.array([[nan, 0.1], [0.4, 0.2]]), 5: np.array([[nan, 0.3]])}, 0)
    assert (x.tolist(), mean.tolist()) == ([0], [0.4]) and np.isnan(std).all()
    np.testing.assert_allclose(drawing.line({0: np.array([[nan, 0.1], [0.4, 0.2]])}, 1)[1], [0.15])
    assert all(len(part) == 0 for part in drawing.line({5: np.array([[nan, 0.3]])}, 0))


def test_recall_is_the_share_of_each_true_class():
    counts = np.array([[30, 10, 0], [0, 0, 0], [1, 2, 1]])
    percent = drawing.recall(counts)
    np.testing.assert_allclose(percent[[0, 2]], [[75, 25, 0], [25, 50, 25]])
    assert np.isnan(percent[1]).all()


def test_amounts_are_drawn_by_network_method_and_augmentation(tmp_path, drawn):
    real, strong = {0: _runs(0.4, 0.5, 0.6)}, {0: _runs(0.55)}
    curves = [
        Curve("b5", "a", "basic", real | {100: _runs(0.6, 0.8), 500: _runs(0.7, 0.9)}, {500: _runs(0.2, 0.3)}),
        Curve("b5", "b", "basic", real | {500: _runs(0.65, 0.75)}, {}),
        Curve("b5", "b", "strong", strong | {500: _runs(0.95)}, {}),
        Curve("unet", "", "basic", {0: _runs(0.3, 0.34)}, {}),
    ]
    drawing.amount(curves, TITLES, "a title", tmp_path / "amount.png")
    panels = _panels(drawn[0])
    assert len(panels) == 4 and [axes.get_title() for axes in panels] == [*TITLES, "", ""]
    first = _trends(panels[0])
    assert [line[:2] for line in first] == [("-", "C0"), ("-", "C1"), ("--", "C1")]
    assert [line[2] for line in first] == [[0, 100, 500], [0, 500], [0, 500]]
    for line, values in zip(first, ([0.5, 0.7, 0.8], [0.5, 0.7], [0.55, 0.95]), strict=True):
        np.testing.assert_allclose(line[3], values)
    np.testing.assert_allclose(_trends(panels[1])[0][3], [0.25, 0.35, 0.4])
    assert _markers(panels[0], "o")[3] == (500, 0.25, True)  # synthetic alone is no part of the line
    assert sum(hollow for *_, hollow in _markers(panels[0], "o")) == 1
    assert _markers(panels[0], "s") == [(0, 0.55, False), (500, 0.95, False)]
    at_zero = {line.get_color() for line in panels[0].lines if [*line.get_xdata()] == [0]}
    assert at_zero == {"black"}  # real alone is of no method
    assert panels[0].get_ylim() == panels[2].get_ylim() != panels[1].get_ylim()
    runs = [value for line in panels[0].lines if line.get_marker() == "." for value in line.get_ydata()]
    assert sorted(runs) == sorted([0.4, 0.5, 0.6] * 2 + [0.6, 0.8, 0.7, 0.9, 0.2, 0.3, 0.65, 0.75])
    assert _trends(panels[2]) == [] and _markers(panels[2], "o") == [(0, pytest.approx(0.32), False)]
    assert [axes.get_ylabel().split("\n") for axes in panels[::2]] == [
        ["b5", "score (0 to 1)"],
        ["unet", "score (0 to 1)"],
    ]
    assert drawn[0].get_supxlabel() == "number of synthetic patches (0: real patches alone)"
    assert [t.get_text() for t in drawn[0].legends[0].get_texts()] == [
        "real alone",
        "with a",
        "with b",
        "synthetic alone",
        "basic augmentation",
        "strong augmentation",
        "one run",
        "± 1 standard deviation",
    ]


def test_the_band_reaches_one_deviation_to_either_side(tmp_path, drawn):
    curve = Curve("b5", "a", "basic", {0: _runs(0.4, 0.6), 100: _runs(0.5, 0.9)}, {100: _runs(0.1, 0.3)})
    drawing.amount([curve], TITLES, "", tmp_path / "amount.png")
    axes = _panels(drawn[0])[0]
    (band,) = [c for c in axes.collections if type(c).__name__ in ("PolyCollection", "FillBetweenPolyCollection")]
    corners = {tuple(point) for point in np.round(band.get_paths()[0].vertices, 6).tolist()}
    half = np.sqrt(2) / 2
    expected = [(0, 0.5 - 0.2 * half), (0, 0.5 + 0.2 * half), (100, 0.7 - 0.4 * half), (100, 0.7 + 0.4 * half)]
    assert corners == {(x, round(y, 6)) for x, y in expected}
    (bar,) = axes.containers  # that of synthetic alone, which no band shows
    np.testing.assert_allclose(bar[2][0].get_segments()[0], [[100, 0.2 - 0.2 * half], [100, 0.2 + 0.2 * half]])


def test_one_run_has_neither_band_nor_dots_and_its_legend_says_nothing_of_them(tmp_path, drawn):
    drawing.amount([Curve("b5", "a", "basic", {0: _runs(0.4), 50: _runs(0.5)}, {})], TITLES, "", tmp_path / "a.png")
    axes = _panels(drawn[0])[0]
    assert not [line for line in axes.lines if line.get_marker() == "."]
    assert [t.get_text() for t in drawn[0].legends[0].get_texts()] == ["real alone", "with a"]


def test_a_deviation_that_no_band_can_show_is_a_bar(tmp_path, drawn):
    """A band needs two neighbouring amounts of several runs."""
    several = Curve("b5", "a", "basic", {0: _runs(0.4, 0.6), 100: _runs(0.5)}, {})
    drawing.amount([several], TITLES, "", tmp_path / "a.png")
    assert len(_panels(drawn[0])[0].containers) == 2  # one of them of a single run, without length
    ends = [bar[2][0].get_segments() for bar in _panels(drawn[0])[0].containers]
    np.testing.assert_allclose(np.ptp(np.array(ends[0])[0, :, 1]), np.sqrt(2) * 0.2)


@pytest.mark.parametrize("n_networks", [1, 3])
@pytest.mark.parametrize("amounts", [[], [100], [100, 300, 500], [1, 2, 3, 10_000]])
def test_no_text_of_the_amounts_overlaps(tmp_path, drawn, n_networks, amounts):
    runs = {0: _runs(0.4, 0.5)} | {n: _runs(0.5, 0.6) for n in amounts}
    alone = {amounts[-1]: _runs(0.2)} if amounts else {}
    methods = ["specdm", "specdm-subset", "ldm"] if amounts else [""]
    curves = [
        Curve(f"siamcrnn-{i}", method, augmentation, runs, alone)
        for i in range(n_networks)
        for method in methods
        for augmentation in ("basic", "strong")
    ]
    drawing.amount(curves, TITLES, "the name of a data set: scores", tmp_path / "amount.png")
    figure = drawn[0]
    figure.draw_without_rendering()  # places of the texts at the figure's own resolution, not the file's
    boxes = [part.get_window_extent() for part in (figure.legends[0], figure._suptitle, figure._supxlabel)]
    for axes in _panels(figure):
        texts = [axes.title, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        seen = [text for text in texts if text.get_visible() and text.get_text()]
        boxes += [axes.bbox, *(text.get_window_extent() for text in seen)]
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 + 1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_amounts_have_their_ticks_where_these_have_room(tmp_path, drawn):
    for amounts in ([100, 300], [1, 2, 300]):
        runs = {n: _runs(0.5) for n in amounts}
        drawing.amount([Curve("b5", "a", "basic", runs, {})], TITLES, "", tmp_path / "amount.png")
    roomy, crowded = ([*_panels(figure)[0].get_xticks()] for figure in drawn)
    assert roomy == [0, 100, 300]
    assert 2 not in crowded and len(crowded) < 12


def test_every_class_is_a_row_of_percents_on_one_scale(tmp_path, drawn):
    counts = np.random.default_rng(0).integers(1, 100, (13, 13))
    counts[9] = 0
    columns = [Column("real alone\n5 real", counts, None), Column("synthetic alone", 3 * counts.T, None)]
    columns[1].counts[9] = 0
    drawing.confusions(columns, SEGMUNICH, "a title", tmp_path / "confusion.png")
    panels = _panels(drawn[0])
    assert [axes.get_title() for axes in panels] == ["real alone\n5 real", "synthetic alone"]
    for axes, column in zip(panels, columns, strict=True):
        (image,) = axes.images
        assert image.get_clim() == (0, 100)
        shown = image.get_array()
        assert shown.mask[9].all() and not np.delete(shown.mask, 9, axis=0).any()
        for i in range(13):
            if i != 9:
                np.testing.assert_allclose(shown[i].data, 100 * column.counts[i] / column.counts[i].sum())
        numbers = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
        assert len(numbers) == 12 * 13
        assert numbers[2, 5] == f"{shown[2, 5]:.0f}"
        assert [t.get_text() for t in axes.get_xticklabels()] == list(SEGMUNICH.names)
    assert image.cmap(np.ma.masked_all(1))[0, :3].tolist() == pytest.approx([211 / 255] * 3)  # light grey
    names = panels[0].get_yticklabels()
    assert [t.get_text() for t in names] == list(SEGMUNICH.names)
    assert [t.get_text() for t in names if t.get_color() == "darkgrey"] == ["mine dump"]
    assert (panels[0].get_ylabel(), panels[0].get_xlabel()) == ("true class", "predicted class")


def test_few_classes_have_a_digit_more_and_many_have_no_numbers(tmp_path, drawn):
    drawing.confusions([Column("", np.array([[999, 1], [1, 1]]), None)], OSCD, "", tmp_path / "two.png")
    assert [t.get_text() for t in _panels(drawn[0])[0].texts] == ["99.9", "0.1", "50.0", "50.0"]
    many = LabelSet(
        "many", tuple(LabelClass(i, f"a name too long for an axis, in class {i}", (i, 0, 0), (i,)) for i in range(14))
    )
    drawing.confusions([Column("", np.eye(14, dtype=int), None)], many, "", tmp_path / "many.png")
    assert not _panels(drawn[1])[0].texts
    names = [t.get_text() for t in _panels(drawn[1])[0].get_yticklabels()]
    assert len(set(names)) == 14


def test_without_anything_to_show_a_picture_says_so(tmp_path, drawn):
    drawing.amount([], TITLES, "", tmp_path / "amount.png")
    drawing.confusions([], OSCD, "", tmp_path / "confusion.png")
    assert all("No network was trained on" in figure.texts[0].get_text() for figure in drawn)
    assert Image.open(tmp_path / "amount.png").size == Image.open(tmp_path / "confusion.png").size


def _patches(folder, labels, dates, shape, n=3):
    """Random patches, the first of which is half without data and has no labels in a corner."""
    rng = np.random.default_rng(0)
    images = rng.integers(500, 4000, (n, dates, 4, *shape)).astype(np.uint16)
    images[0, -1, :, : shape[0] // 2] = 9999
    masks = rng.integers(0, len(labels), (n, *shape)).astype(np.uint8)
    masks[0, :2, :2] = IGNORE
    meta = PatchMeta(folder.name, "s", "BOA", ("B02", "B03", "B04", "B8A"), 1e-4, 0.0, 9999, labels)
    with PatchWriter(folder, meta, images.shape[1:], "uint16") as writer:
        writer.append(images, masks, [PatchRecord(f"patch {i}", "test", "g", "f") for i in range(n)])
    return open_patches(folder)


def _tile(pixels, row, column, shape, n_heads, n_rows, scale=1):
    """The pixels of a tile of a predictions' page, found by the page's own layout from below the heads."""
    h, w = shape[0] * scale, shape[1] * scale
    step = max(w, drawing.TILE) + drawing.GAP
    assert pixels.shape[1] == n_heads * step + drawing.GAP
    left = drawing.GAP + column * step
    # Tiles are the only things on the page that have no paper in them and a gap of paper below.
    paper = (pixels[:, drawing.GAP : drawing.GAP + w] == drawing.PAPER).all(-1)
    full = np.flatnonzero(~paper.any(1))
    starts = full[np.insert(np.diff(full) > 1, 0, True)]
    assert len(starts) >= n_rows
    top = starts[row]
    return pixels[top : top + h, left : left + w][::scale, ::scale]


@pytest.mark.parametrize(
    ("labels", "dates", "shape", "scale"),
    [(SEGMUNICH, 1, (32, 32), 5), (OSCD, 2, (160, 160), 1), (OSCD, 2, (100, 200), 1), (SEGMUNICH, 1, (80, 20), 2)],
)
def test_each_patch_has_its_composites_truth_and_predictions(tmp_path, drawn, labels, dates, shape, scale):
    patches = _patches(tmp_path / "set", labels, dates, shape)
    rng = np.random.default_rng(1)
    positions = np.array([0, 2])
    predicted = [rng.integers(0, len(labels), (2, *shape)).astype(np.uint8) for _ in range(3)]
    columns = [Column(title, None, ids) for title, ids in zip("abc", predicted, strict=True)]
    drawing.predictions(patches, positions, columns, "a title", tmp_path / "predictions.png")
    pixels = np.asarray(Image.open(tmp_path / "predictions.png").convert("RGB"))
    refl, valid = patches.reflectance(positions), patches.valid(positions)
    shown = figures.composites(patches.meta)[0]
    limits = figures.stretch_limits(refl, shown.channels, valid)
    n_heads = dates + 4
    palette = labels.palette()
    palette[IGNORE] = (128, 128, 128)
    for row in range(2):
        for t in range(dates):
            composite = figures.to_rgb(refl[row, t], shown.channels, limits, valid[row, t])
            tile = _tile(pixels, row, t, shape, n_heads, 2, scale)
            np.testing.assert_array_equal(tile, composite)
        truth = patches.masks[positions[row]]
        np.testing.assert_array_equal(_tile(pixels, row, dates, shape, n_heads, 2, scale), palette[truth])
        for k, ids in enumerate(predicted):
            tile = _tile(pixels, row, dates + 1 + k, shape, n_heads, 2, scale)
            np.testing.assert_array_equal(tile, palette[ids[row]])
    texts = [t.get_text() for t in drawn[0].texts]
    heads = ["true colour"] if dates == 1 else ["true colour, date 1", "true colour, date 2"]
    assert texts == ["a title", *heads, "truth", "a", "b", "c", "patch 0", "patch 2", *labels.names, "no label"]


def test_the_legend_below_has_each_class_in_its_colour_beside_its_name(tmp_path, drawn):
    patches = _patches(tmp_path / "set", SEGMUNICH, 1, (32, 32))
    drawing.predictions(patches, np.array([1]), [], "", tmp_path / "predictions.png")
    pixels = np.asarray(Image.open(tmp_path / "predictions.png").convert("RGB"))
    height, width = pixels.shape[:2]
    names = {t.get_text(): t.get_position() for t in drawn[0].texts}
    assert "no label" not in names  # the shown patch has labels everywhere
    for c in SEGMUNICH.classes:
        x, y = names[c.name]
        assert tuple(pixels[round((1 - y) * height) - 4, round(x * width) - 20]) == c.colour
        assert y > 0


def test_large_patches_are_thinned_out_and_the_title_says_so(tmp_path, drawn):
    shape = (400, 330)
    patches = _patches(tmp_path / "set", OSCD, 1, shape)
    ids = np.random.default_rng(1).integers(0, 2, (1, *shape)).astype(np.uint8)
    drawing.predictions(patches, np.array([1]), [Column("a", None, ids)], "a title", tmp_path / "predictions.png")
    pixels = np.asarray(Image.open(tmp_path / "predictions.png").convert("RGB"))
    np.testing.assert_array_equal(_tile(pixels, 0, 2, (200, 165), 3, 1), OSCD.palette()[ids[0, ::2, ::2]])
    np.testing.assert_array_equal(_tile(pixels, 0, 1, (200, 165), 3, 1), OSCD.palette()[patches.masks[1][::2, ::2]])
    assert "(one of 2 x 2 pixels is shown)" in drawn[0].texts[0].get_text().replace("\n", " ")


def test_long_titles_go_into_lines_that_do_not_meet_the_next_column(tmp_path, drawn):
    patches = _patches(tmp_path / "set", OSCD, 2, (64, 64))
    ids = np.zeros((1, 64, 64), np.uint8)
    columns = [Column(f"real and synthetic\n10000 real + 50000 specdm-subset-{i}", None, ids) for i in range(3)]
    drawing.predictions(patches, np.array([1]), columns, "an endless title " * 12, tmp_path / "predictions.png")
    figure = drawn[0]
    boxes = [t.get_window_extent() for t in figure.texts]
    for i, box in enumerate(boxes):
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])
