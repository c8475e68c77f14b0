import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from specdm import set_figures as drawing
from specdm.bands import SENTINEL2
from specdm.errors import UserError
from specdm.labels import OSCD, SEGMUNICH
from specdm.metrics.class_spectra import PatchSpectra
from specdm.metrics.mask_statistics import class_shares
from specdm.metrics.power_spectrum import PowerSpectrum
from specdm.patches import PatchMeta
from specdm.training.record import write_history

RNG = np.random.default_rng(0)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were made, in order; only their pixel pictures are drawn, coarsely."""
    made = []
    original = Figure.savefig

    def save(self, path, *, format, **options):
        if format == "png":
            made.append(self)
            return original(self, path, format=format, dpi=50)
        path.touch()

    monkeypatch.setattr(Figure, "savefig", save)
    return made


def _meta(labels, names=("B02", "B03", "B8A"), level="BOA", nm=()):
    return PatchMeta("set", "s", level, tuple(names), 1e-4, 0.0, None, labels, wavelengths_nm=tuple(nm))


def _spectra(share, bands=3, n=20, offset=0.0, side=8):
    """Patches whose classes have the given shares of the pixels, with class k's reflectance near 0.1 (k + 1)."""
    masks = RNG.choice(len(share), (n, side, side), p=share).astype(np.uint8)
    levels = 0.1 * (masks + 1)[:, None] * np.linspace(1, 2, bands)[:, None, None] + offset
    return PatchSpectra.of((levels + RNG.normal(0, 0.01, levels.shape))[:, None], masks, len(share))


def _shown(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def _lines(axes):
    """Lines that are more than a cap or a marker: style -> (x, y)."""
    return {line.get_linestyle(): line.get_data() for line in axes.lines if len(line.get_xdata()) > 2}


def test_a_vector_and_a_pixel_picture_are_written_and_rewritten_alike(tmp_path):
    s = _spectra([0.5, 0.5])
    for name in ("one", "two"):
        drawing.spectral_profiles([(s, s)], _meta(OSCD), tmp_path / name / "v1.0")
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == ["v1.0.pdf", "v1.0.png"]
    pdf = (tmp_path / "one" / "v1.0.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and b"/Subtype /Image" not in pdf and b"CreationDate" not in pdf
    assert pdf == (tmp_path / "two" / "v1.0.pdf").read_bytes()
    assert Image.open(tmp_path / "one" / "v1.0.png").size[0] > 500


def test_profiles_show_the_largest_classes_with_both_means(tmp_path, drawn):
    share = np.array([0.02, 0.3, 0.02, 0.1, 0.05, 0.15, 0.02, 0.02, 0.25, 0.06, 0.0, 0.0, 0.01])
    real, fake = _spectra(share, side=20), _spectra(share, side=20, offset=0.05)
    drawing.spectral_profiles([(real, fake)], _meta(SEGMUNICH), tmp_path / "p")
    panels = _shown(drawn[0])
    order = np.argsort(-real.counts.sum(0))[:6]
    assert [axes.get_title() for axes in panels] == [SEGMUNICH.names[k] for k in order]
    for axes, k in zip(panels, order, strict=True):
        for style, of in (("-", real), ("--", fake)):
            x, y = _lines(axes)[style]
            np.testing.assert_allclose(x, [SENTINEL2[b].wavelength_nm for b in ("B02", "B03", "B8A")])
            np.testing.assert_allclose(y, of.sums[:, k].sum(0) / of.counts[:, k].sum())
        hatches = [band.get_hatch() for band in axes.collections]
        assert len(hatches) == 2 and sum(h is not None for h in hatches) == 1


def test_profiles_of_two_dates_have_a_column_each_on_one_scale(tmp_path, drawn):
    dates = [(_spectra([0.9, 0.1]), _spectra([0.9, 0.1])), (_spectra([0.9, 0.1], offset=0.3), _spectra([0.9, 0.1]))]
    drawing.spectral_profiles(dates, _meta(OSCD, level="unitless", names="abc"), tmp_path / "p")
    titles = [axes.get_title() for axes in _shown(drawn[0])]
    assert titles == ["no change, date 1", "no change, date 2", "change, date 1", "change, date 2"]
    first, second = _shown(drawn[0])[:2]
    assert first.get_ylim() == second.get_ylim()
    assert _lines(second)["-"][1][0] > _lines(first)["-"][1][0] + 0.25
    assert drawn[0].get_supylabel() == "value" and "unknown" in drawn[0].get_supxlabel()
    assert [t.get_text() for t in _shown(drawn[0])[2].get_xticklabels()] == ["a", "b", "c"]


def test_a_class_that_samples_lack_is_said_and_rare_ones_are_not_drawn(tmp_path, drawn):
    drawing.spectral_profiles([(_spectra([0.5, 0.5]), _spectra([1.0, 0.0]))], _meta(OSCD), tmp_path / "p")
    change = _shown(drawn[0])[1 if _shown(drawn[0])[1].get_title() == "change" else 0]
    assert [t.get_text() for t in change.texts] == ["no synthetic patch holds 10 pixels"] and set(_lines(change)) == {
        "-"
    }
    drawing.spectral_profiles([(_spectra([0.999, 0.001]),) * 2], _meta(OSCD), tmp_path / "p")
    assert [axes.get_title() for axes in _shown(drawn[-1])] == ["no change"]
    with pytest.raises(UserError, match="no class has 100000 real pixels"):
        drawing.spectral_profiles([(_spectra([0.5, 0.5]),) * 2], _meta(OSCD), tmp_path / "p", 10**5)


def test_a_fine_profile_stops_at_removed_bands(tmp_path, drawn):
    nm = [nm for nm in range(400, 2400, 40) if not 1340 < nm < 1600]
    s = _spectra([0.5, 0.5], bands=len(nm))
    drawing.spectral_profiles([(s, s)], _meta(OSCD, [f"b{i}" for i in range(len(nm))], nm=nm), tmp_path / "p")
    x, y = _lines(_shown(drawn[0])[0])["-"]
    assert np.isnan(x).sum() == np.isnan(y).sum() == 1


def _shares(*rows, stream=0):
    return class_shares(np.array(rows), stream=stream)


def test_bars_are_percent_beside_each_other_and_points_their_ratio(tmp_path, drawn):
    rare = np.arange(21)  # of 1000 pixels, differing from patch to patch: 1 and 0.25 %
    real = _shares(*np.stack([1000 - rare, rare], 1))
    fake = _shares(*np.stack([4000 - rare, rare], 1), stream=1)
    drawing.class_distribution({"real train": real, "synthetic": fake}, OSCD, "classes", tmp_path / "c")
    top, bottom = drawn[0].axes
    bars = [(p.get_x(), p.get_height(), p.get_hatch()) for p in top.patches]
    np.testing.assert_allclose([h for _, h, _ in bars], [99, 1, 99.75, 0.25])
    assert bars[0][0] < bars[2][0] < bars[1][0] < bars[3][0] and len({h for *_, h in bars}) == 2
    assert top.get_yscale() == bottom.get_yscale() == "log" and top.get_ylim()[0] < 0.25
    points = [float(line.get_ydata()[0]) for line in bottom.lines if line.get_marker() == drawing.MARKERS[1]]
    np.testing.assert_allclose(points, [99.75 / 99, 0.25])
    ends = [line.get_ydata() for line in top.lines]
    np.testing.assert_allclose(sorted(ends[1]), np.quantile(100 * real.draws[:, 1], [0.025, 0.975]))
    assert [t.get_text() for t in bottom.get_xticklabels()] == ["no change", "change"]


def test_a_class_without_pixels_has_a_nought_and_no_bar(tmp_path, drawn):
    sets = {"real train": _shares([90, 10], [90, 10]), "synthetic": _shares([5, 0], [9, 0])}
    drawing.class_distribution(sets, OSCD, "classes", tmp_path / "c")
    top = drawn[0].axes[0]
    assert len(top.patches) == 3 and [t.get_text() for t in top.texts] == ["0"]
    drawing.class_distribution(dict(reversed(sets.items())), OSCD, "classes", tmp_path / "c")
    assert len([line for line in drawn[-1].axes[1].lines if line.get_marker() == drawing.MARKERS[1]]) == 1
    with pytest.raises(UserError, match="5 sets"):
        drawing.class_distribution({str(i): sets["synthetic"] for i in range(5)}, OSCD, "classes", tmp_path / "c")


@pytest.mark.parametrize("colour", [(0, 0, 0), (25, 25, 25), (255, 255, 255), (225, 40, 60), (255, 235, 150)])
def test_inks_stay_in_their_range_of_luminance(colour):
    for lowest, highest in (drawing.LINES, drawing.BARS):
        ink = np.array(to_rgb(drawing._ink(colour, lowest, highest)))
        assert lowest - 1e-9 <= ink @ (0.2126, 0.7152, 0.0722) <= highest + 1e-9
        middle = 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
        if lowest <= middle / 255 <= highest:
            np.testing.assert_allclose(255 * ink, colour)


def _power(gain, bands=3, flat=()):
    images = 0.1 * gain * np.random.default_rng(0).standard_normal((4, 1, bands, 16, 16))
    images[:, :, list(flat)] = 0.2
    found = PowerSpectrum(bands, 16, 16)
    found.update(images)
    return found.spectrum()


def test_power_is_in_decibels_with_a_line_a_band_and_their_ratio_beside(tmp_path, drawn):
    real, fake = _power(1), _power(0.5)
    drawing.power_spectra(real, fake, "power", tmp_path / "p", pixel_m=10)
    left, right = drawn[0].axes
    thick = [line for line in left.lines if line.get_linewidth() > 2]
    assert [line.get_linestyle() for line in thick] == ["-", "--"] and len(left.lines) == 8
    for line, s in zip(thick, (real, fake), strict=True):
        np.testing.assert_allclose(line.get_xdata(), s.frequency_cpp)
        np.testing.assert_allclose(line.get_ydata(), np.median(10 * np.log10(s.power), 0))
    np.testing.assert_allclose(right.lines[0].get_ydata(), -20 * np.log10(2))
    above = left.child_axes[0]
    drawn[0].canvas.draw()
    np.testing.assert_allclose(above.get_xlim(), 100 * np.array(left.get_xlim()))
    drawing.power_spectra(real, fake, "power", tmp_path / "p")
    assert drawn[-1].axes[0].child_axes == []


def test_constant_bands_have_no_line(tmp_path, drawn):
    drawing.power_spectra(_power(1), _power(1, flat=[1]), "power", tmp_path / "p")
    assert len(drawn[0].axes[0].lines) == 6
    with pytest.raises(UserError, match="no band has contrast"):
        drawing.power_spectra(_power(1), _power(1, flat=[0, 1, 2]), "power", tmp_path / "p")
    with pytest.raises(UserError, match="other bands"):
        drawing.power_spectra(_power(1), _power(1, bands=2), "power", tmp_path / "p")


def test_curves_of_a_written_history(tmp_path, drawn):
    """Every step has a total, every fifth a validation; the score is the negative of that."""
    rows = [{"step": i, "total": 10 / i, "kl": 0.0 if i < 4 else 0.5} for i in range(1, 41)]
    for row in rows[4::5]:
        row |= {"held_out": 20 / row["step"], "score": -20 / row["step"]}
    write_history(tmp_path / "history.csv", rows)
    history = drawing.read_history(tmp_path / "history.csv")
    drawing.curves({"denoiser": history, "autoencoder": history}, "training", tmp_path / "c")
    axes = drawn[0].axes[0]
    assert [a.get_title() for a in drawn[0].axes] == ["denoiser", "autoencoder"] and axes.get_yscale() == "log"
    named = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert set(named) == {"total", "kl", "held out"}
    assert named["held out"].get_xdata().tolist() == list(range(5, 41, 5))
    np.testing.assert_allclose(named["held out"].get_ydata(), 20 / np.arange(5, 41, 5))
    assert named["kl"].get_xdata().min() == 4  # a log axis has no 0
    total = 10 / np.arange(1, 41)
    np.testing.assert_allclose(named["total"].get_ydata()[20], total[19:22].mean())
    np.testing.assert_allclose(named["total"].get_ydata()[0], total[:2].mean())
    raw = next(line for line in axes.lines if line.get_alpha())
    np.testing.assert_allclose(raw.get_ydata(), total)
    (tmp_path / "empty.csv").write_text("step,total\n")
    with pytest.raises(UserError, match="no steps"):
        drawing.read_history(tmp_path / "empty.csv")


def test_quality_stands_over_the_steps_in_their_order_with_intervals_and_floors(tmp_path, drawn):
    points = [
        drawing.StepScore(score, sampler, n, gain * 100 / n, gain * 90 / n, gain * 120 / n)
        for score in ("mSAD (rad)", "Fréchet distance")
        for sampler, gain in (("ddim", 1), ("ddpm", 2))
        for n in (50, 10, 250)
    ]
    drawing.steps_curve(points, {"mSAD (rad)": 0.3}, "steps", tmp_path / "s")
    first, second = drawn[0].axes
    assert (first.get_ylabel(), second.get_ylabel()) == ("mSAD (rad)", "Fréchet distance")
    curves = [line for line in first.lines if len(line.get_xdata()) == 3]
    assert len({line.get_linestyle() for line in curves}) == len({line.get_marker() for line in curves}) == 2
    assert curves[1].get_xdata().tolist() == [10, 50, 250] and curves[1].get_ydata().tolist() == [20, 4, 0.8]
    intervals = [segment[:, 1].tolist() for segment in first.collections[1].get_segments()]
    np.testing.assert_allclose(intervals, [[18, 24], [3.6, 4.8], [0.72, 0.96]])
    floors = [[line.get_ydata()[0] for line in a.lines if line.get_linestyle() == ":"] for a in (first, second)]
    assert floors == [[0.3], []]
    assert [t.get_text() for t in first.get_xticklabels()] == ["10", "50", "250"]
    with pytest.raises(UserError, match="no score"):
        drawing.steps_curve([], {}, "steps", tmp_path / "s")
