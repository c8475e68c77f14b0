"""Array files: both MATLAB formats and .npy give the same array; whatever does not fit is one sentence."""

import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import io, sparse

from specdm.errors import UserError
from specdm.sources import arrays
from specdm.sources.arrays import read_array

IMAGE, CODES, SHARES = ("band", "row", "col"), ("row", "col"), ("class", "row", "col")
_CLASSES = {"float64": "double", "float32": "single", "bool": "logical"}


def write_v5(path: Path, **variables) -> Path:
    io.savemat(path, variables, do_compression=True)
    return path


def write_v73(path: Path, **variables) -> Path:
    """What MATLAB writes with -v7.3: a text header, dimensions reversed, types in attributes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        references = file.create_group("#refs#")
        references["a"] = np.arange(12.0).reshape(3, 4)
        for name, value in variables.items():
            if sparse.issparse(value):
                item = file.create_group(name)
                item["data"] = value.data.astype(float)
                item.attrs["MATLAB_sparse"] = np.uint64(value.shape[0])
                matlab = "double"
            elif isinstance(value, dict):
                item, matlab = file.create_group(name), "struct"
            elif isinstance(value, str):
                item, matlab = file.create_dataset(name, data=np.array([[ord(c)] for c in value], np.uint16)), "char"
            elif value.dtype == object:
                data = np.full(value.shape[::-1], references["a"].ref, h5py.ref_dtype)
                item, matlab = file.create_dataset(name, data=data, dtype=h5py.ref_dtype), "cell"
            elif value.dtype.kind == "c":
                pairs = np.zeros(value.shape, [("real", "f8"), ("imag", "f8")])
                pairs["real"], pairs["imag"] = value.real, value.imag
                item, matlab = file.create_dataset(name, data=pairs.T), "double"
            elif value.size == 0:
                item, matlab = file.create_dataset(name, data=np.array(value.shape, np.uint64)), "double"
                item.attrs["MATLAB_empty"] = np.uint8(1)
            else:
                matlab = _CLASSES.get(value.dtype.name, value.dtype.name)
                item = file.create_dataset(name, data=(value.astype("u1") if matlab == "logical" else value).T)
            item.attrs["MATLAB_class"] = np.bytes_(matlab)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


WRITERS = {"v5": write_v5, "v7.3": write_v73}


def numbered(*shape: int, dtype="float64") -> np.ndarray:
    """An array in which every value says where it stands."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    """Writes a .mat file of one of the two formats: write(name=array, ...) -> path."""
    return lambda **variables: WRITERS[request.param](tmp_path / "scene.mat", **variables)


def refusal(path: Path, wanted=IMAGE, **settings) -> str:
    """The one sentence with which reading is refused."""
    with pytest.raises(UserError) as caught:
        read_array(path, wanted, **settings)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message and str(path) in message
    return message


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int16", "uint16", "int64"])
def test_both_mat_formats_give_what_was_saved(write, dtype):
    values = numbered(3, 4, 5, dtype=dtype)
    values[0, 0, 0] = np.array(-7.5).astype(dtype) if dtype[0] != "u" else 7
    found = read_array(write(cube=values), IMAGE, axes=IMAGE)
    np.testing.assert_array_equal(found, values)
    assert found.dtype == dtype


def test_logical_becomes_uint8(write):
    found = read_array(write(mask=np.array([[True, False, True], [False, False, True]])), CODES)
    np.testing.assert_array_equal(found, [[1, 0, 1], [0, 0, 1]])
    assert found.dtype == np.uint8


def test_files_that_matlab_wrote_itself():
    folder = Path(io.matlab.__file__).parent / "tests" / "data"
    for name in ("testdouble_7.4", "testhdf5_7.4", "testdouble_6.1"):
        path = next(folder.glob(f"{name}_*.mat"))
        np.testing.assert_allclose(read_array(path, CODES), np.arange(9)[None] * np.pi / 4, rtol=1e-15)
    packed = read_array(folder / "testmatrix_7.4_GLNX86.mat", CODES)  # doubles, which MATLAB stored as uint8
    assert packed.dtype == np.float64 and packed.shape == (3, 5)


def test_every_axis_is_moved_to_its_place(write, tmp_path):
    values = numbered(2, 4, 1, 3, 5)  # time, col, -, row, band
    np.save(tmp_path / "scene.npy", values)
    for path in (write(cube=values), tmp_path / "scene.npy"):
        for time in (0, 1):
            found = read_array(path, IMAGE, axes=("time", "col", "-", "row", "band"), time=time)
            assert found.shape == (5, 3, 4)
            for b, r, c in np.ndindex(found.shape):
                assert found[b, r, c] == values[time, c, 0, r, b]


def test_a_matrix_of_pixels_becomes_a_cube(write, tmp_path):
    bands, rows, cols = 4, 3, 5
    matrix = np.array([[100 * b + 10 * r + c for c in range(cols) for r in range(rows)] for b in range(bands)])
    np.save(tmp_path / "scene.npy", matrix)
    for path in (write(pixels=matrix), tmp_path / "scene.npy"):
        found = read_array(path, IMAGE, shape=(bands, cols, rows), axes=("band", "col", "row"))
        for b, r, c in np.ndindex(bands, rows, cols):
            assert found[b, r, c] == 100 * b + 10 * r + c


def test_a_plane_is_an_image_of_one_band(write):
    values = numbered(3, 4)
    np.testing.assert_array_equal(read_array(write(plane=values), IMAGE, axes=("col", "row")), values.T[None])


def test_the_only_array_needs_no_name_and_scalars_do_not_count(write):
    path = write(rows=np.array([[3.0]]), note="made up", cube=numbered(3, 4, 2), info={"a": 1})
    assert read_array(path, SHARES, axes=("row", "col", "class")).shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["2 arrays", "set variable"]),
        ({"variable": "Cube"}, ["'Cube'", "set variable"]),
        ({"variable": "cube"}, ["(3, 4, 2)", "set axes", "band, row, col"]),
        ({"variable": "cube", "axes": ("row", "col")}, ["(3, 4, 2)", "name 2 dimensions", "set axes"]),
        ({"variable": "cube", "shape": (5, 5), "axes": CODES}, ["(3, 4, 2)", "24 values", "(5, 5)"]),
        ({"variable": "cube", "shape": (-1, 24), "axes": CODES}, ["(3, 4, 2)", "(-1, 24)"]),
    ],
)
def test_a_refusal_lists_what_the_file_holds(write, settings, words):
    message = refusal(
        write(cube=numbered(3, 4, 2, dtype="uint16"), map=numbered(3, 4), n=np.array([[2.0]])), **settings
    )
    for word in [*words, "cube (3, 4, 2) uint16", "map (3, 4) double", "n (1, 1) double"]:
        assert word in message, message
    assert "#refs#" not in message


@pytest.mark.parametrize(
    ("wanted", "axes", "time", "words"),
    [
        (IMAGE, ("class", "row", "col", "time"), 0, ["'class'", "band, row, col, time"]),
        (SHARES, ("band", "row", "col", "time"), 0, ["'band'", "class, row, col, time"]),
        (IMAGE, ("bands", "row", "col", "time"), 0, ["'bands'"]),
        (IMAGE, ("row", "row", "col", "time"), 0, ["'row'", "repeated"]),
        (IMAGE, ("band", "row", "time", "-"), 0, ["name the dimension that is the col"]),
        (SHARES, ("time", "row", "col", "-"), 0, ["name the dimension that is the class"]),
        (IMAGE, ("-", "row", "col", "band"), None, ["length 1", "(2, 3, 4, 1)"]),
        (IMAGE, ("time", "row", "col", "band"), None, ["time is not set", "0 to 1"]),
        (IMAGE, ("time", "row", "col", "band"), 2, ["time is 2", "0 to 1"]),
        (IMAGE, ("time", "row", "col", "band"), -1, ["time is -1", "0 to 1"]),
        (IMAGE, ("band", "row", "col", "-"), 0, ["time 0 is set"]),
        (IMAGE, ("band", "row", "col"), None, ["(2, 3, 4, 1)", "name 3 dimensions"]),
        (IMAGE, None, None, ["(2, 3, 4, 1)", "set axes"]),
        (CODES, None, None, ["(2, 3, 4, 1)", "set axes to one of row, col"]),
    ],
)
def test_axes_that_do_not_fit(tmp_path, wanted, axes, time, words):
    np.save(tmp_path / "scene.npy", numbered(2, 3, 4, 1))
    message = refusal(tmp_path / "scene.npy", wanted, axes=axes, time=time)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.ones((3, 4)) + 1j, "complex"),
        (np.array([[np.ones(2), "b"]], object), "cell"),
        ({"a": 1}, "struct"),
        ("some text", "char"),
        (sparse.csc_matrix(np.eye(3)), "sparse"),
        (sparse.csc_matrix(np.eye(3) > 0), "sparse"),
        (np.zeros((0, 3)), "empty"),
    ],
)
def test_variables_that_are_no_arrays_of_real_numbers(write, value, kind):
    message = refusal(write(odd=value), CODES, variable="odd")
    assert kind in message and "variable odd" in message


def test_what_cannot_be_read_is_not_taken_for_the_only_array(write):
    assert "0 arrays" in refusal(write(cells=np.array([[np.ones(2), "b"]], object), text="some text"))
    assert "no variables" in refusal(write())


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [">u2", "float32", "bool"])
def test_npy_stays_on_disk(tmp_path, dtype, order):
    values = numbered(6, 2, 5).astype(dtype)
    np.save(tmp_path / "scene.npy", np.asarray(values, order=order))
    found = read_array(tmp_path / "scene.npy", IMAGE, axes=("row", "band", "col"))
    np.testing.assert_array_equal(found, values.transpose(1, 0, 2))
    assert isinstance(found, np.memmap) and not found.flags.owndata and not found.flags.writeable
    assert found.dtype.kind != "b"


def test_npy_is_reshaped_on_disk(tmp_path):
    np.save(tmp_path / "scene.npy", numbered(5, 12))
    found = read_array(tmp_path / "scene.npy", IMAGE, shape=(5, 3, 4), axes=("band", "col", "row"))
    assert isinstance(found, np.memmap) and not found.flags.owndata
    np.save(tmp_path / "fortran.npy", np.asfortranarray(numbered(5, 12)))
    again = read_array(tmp_path / "fortran.npy", IMAGE, shape=(5, 3, 4), axes=("band", "col", "row"))
    np.testing.assert_array_equal(found, again)


class _Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickles_are_never_loaded(tmp_path):
    np.save(tmp_path / "scene.npy", np.array([_Trap(tmp_path / "sprung")], object), allow_pickle=True)
    assert "pickled Python objects" in refusal(tmp_path / "scene.npy")
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    assert "damaged" in refusal(tmp_path / "raw.npy")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("values", "word"),
    [(np.ones((2, 2), complex), "complex128"), (np.zeros((0, 2)), "empty"), (np.array([["a"]]), "<U1")],
)
def test_npy_that_holds_no_real_numbers(tmp_path, values, word):
    np.save(tmp_path / "scene.npy", values)
    assert word in refusal(tmp_path / "scene.npy", CODES)


@pytest.mark.parametrize("keep", [0, 60, 700, 3000])
def test_truncated_files(write, tmp_path, keep):
    path = write(noise=np.random.default_rng(0).normal(size=(40, 40)))
    np.save(tmp_path / "scene.npy", numbered(40, 40))
    for file in (path, tmp_path / "scene.npy"):
        file.write_bytes(file.read_bytes()[:keep])
        message = refusal(file, CODES)
        # Cut between its header and its first variable, a v5 file is whole and holds nothing.
        assert "damaged" in message or "no variables" in message


def test_files_that_are_something_else(tmp_path):
    for name in ("notes.mat", "notes.npy"):
        (tmp_path / name).write_text("these are only notes, but long enough to hold a header of either format\n" * 9)
        assert "damaged" in refusal(tmp_path / name)
    (tmp_path / "notes.csv").write_text("1,2\n")
    assert ".mat or .npy" in refusal(tmp_path / "notes.csv")
    assert "does not exist" in refusal(tmp_path / "nowhere.mat")
    np.save(tmp_path / "scene.npy", numbered(2, 2))
    assert "variable 'cube'" in refusal(tmp_path / "scene.npy", variable="cube")


def test_an_array_that_does_not_fit_into_memory(write, monkeypatch):
    path = write(plane=numbered(3, 4))

    def full(*_):
        raise MemoryError

    monkeypatch.setattr("specdm.sources.arrays._read_mat5", full)
    monkeypatch.setattr("specdm.sources.arrays._read_hdf5", full)
    assert "memory" in refusal(path, CODES)


@pytest.mark.parametrize("reader", ["_read_mat5", "_read_hdf5"])
def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch, reader):
    path = tmp_path / "a.mat"

    def save(array):
        if reader == "_read_mat5":
            io.savemat(path, {"a": array})
        else:
            with h5py.File(path, "w", userblock_size=512) as file:
                file.create_dataset("a", data=array.T).attrs["MATLAB_class"] = np.bytes_("double")

    read, original = [], getattr(arrays, reader)
    monkeypatch.setattr(arrays, reader, lambda *a: read.append(a) or original(*a))
    save(numbered(3, 4).astype(float))
    first = read_array(path, CODES)
    assert read_array(path, CODES) is first or np.shares_memory(read_array(path, CODES), first)
    assert len(read) == 1 and not first.flags.writeable
    save(numbered(3, 4) + 1.0)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))  # clocks of file systems may be coarse
    np.testing.assert_array_equal(read_array(path, CODES), first + 1)
    assert len(read) == 2


def test_samson_is_aligned_with_its_abundances(real_data):
    path = real_data / "samson" / "Samson.mat"
    cube = read_array(path, IMAGE, variable="Y", shape=(156, 95, 95), axes=("band", "col", "row"))
    shares = read_array(path, SHARES, variable="S_GT", axes=("row", "col", "class"))
    ends = read_array(path, CODES, variable="GT")
    raw = io.loadmat(path)["Y"]
    np.testing.assert_array_equal(np.moveaxis(cube, 0, -1), raw.reshape(156, 95, 95).transpose(2, 1, 0))
    largest = shares.argmax(axis=0)
    assert np.bincount(largest.ravel()).tolist() == [3015, 3666, 2344]

    def nearest_ends(classes):
        """For each class the endmember at the smallest spectral angle from its mean."""
        means = np.stack([cube[:, classes == k].mean(axis=1) for k in range(3)])
        cosines = (means @ ends.T) / np.linalg.norm(means, axis=1)[:, None] / np.linalg.norm(ends, axis=1)
        return cosines.argmax(axis=1).tolist()

    assert nearest_ends(largest) == [0, 1, 2]
    assert nearest_ends(largest.T) != [0, 1, 2]  # so that exchanged rows and columns would be seen
