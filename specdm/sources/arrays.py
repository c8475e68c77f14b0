"""Array files that explain nothing about themselves: MATLAB .mat (up to v7, and v7.3, which is HDF5) and NumPy .npy.

What their dimensions mean must be said by the user; whatever does not fit is answered with what the file holds.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm.errors import UserError

ARRAYS = (".mat", ".npy")  # suffixes of the files that are read here
# MATLAB's names for real numbers, and what they become here.
_TYPES = {"double": "float64", "single": "float32", "logical": "uint8"} | {
    f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_MATLAB_NAMES = {"float64": "double", "float32": "single", "bool": "logical"}


@dataclass(frozen=True)
class _Variable:
    """A variable of a .mat file: name, shape as MATLAB shows it, MATLAB's name of its type."""

    name: str
    shape: tuple[int, ...]
    type: str

    def __str__(self) -> str:
        return f"{self.name} {self.shape} {self.type}"


def read_array(
    path: Path,
    wanted: tuple[str, ...],
    *,
    variable: str | None = None,
    shape: tuple[int, ...] | None = None,
    axes: tuple[str, ...] | None = None,
    time: int | None = None,
) -> np.ndarray:
    """Read an array and bring its dimensions into order.

    Args:
        path: a .mat or .npy file.
        wanted: axes of the result: ("band", "row", "col") for images, ("row", "col") for label codes,
            ("class", "row", "col") for abundances.
        variable: name within a .mat file; needed where it holds several arrays.
        shape: the array as MATLAB or NumPy shows it is first reshaped to this, last index fastest.
        axes: what each dimension is: "band", "class", "row", "col", "time", or "-" for one of length 1 that is
            dropped; needed unless a matrix is read as ("row", "col"). A wanted "band" that is not among them becomes
            a new axis of length 1.
        time: which index of the axis "time" is taken.

    Returns:
        The array with the axes `wanted`, in the type that MATLAB or NumPy shows, bool as uint8. That of a .npy file
        stays on disk (a read-only memory map), except when one in Fortran order must be reshaped.

    Raises:
        UserError: for a file that is missing, damaged or not of real numbers, and for a variable, shape, axes or time
            that do not fit it.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist: check the folder and the file name.")
    if path.suffix.lower() == ".mat":
        array, where, held = _read_mat(path, path.stat().st_mtime_ns, variable)
    elif path.suffix.lower() == ".npy":
        if variable is not None:
            raise UserError(f"{path} holds one array without a name: leave out variable {variable!r}.")
        array, where, held = _read_npy(path), str(path), ""
    else:
        raise UserError(f"{path} is no array file: its name must end in {' or '.join(ARRAYS)}.")
    if shape is not None:
        if any(n < 1 for n in shape) or math.prod(shape) != array.size:
            raise UserError(
                f"{where} has shape {array.shape}, {array.size} values, which do not fill the shape {tuple(shape)}: "
                f"give a shape of as many values{held}."
            )
        array = array.reshape(shape)
    return _arranged(array, where, held, wanted, axes, time)


def _arranged(
    array: np.ndarray,
    where: str,
    held: str,
    wanted: tuple[str, ...],
    axes: tuple[str, ...] | None,
    time: int | None,
) -> np.ndarray:
    """A view of the array with the axes `wanted`; `where` names it in errors and `held` is what its file holds."""
    if axes is None and array.ndim == 2 and wanted == ("row", "col"):
        axes = wanted
    if axes is None or len(axes) != array.ndim:
        given = "" if axes is None else f" but axes name {len(axes)} dimensions"
        raise UserError(
            f"{where} has shape {array.shape}{given}: set axes to one of {', '.join(wanted)}, time and - "
            f"for each dimension{held}."
        )
    named = f"{where} has shape {array.shape} and axes {', '.join(axes)}"
    wrong = [a for a in axes if a not in (*wanted, "time", "-") or (a != "-" and list(axes).count(a) > 1)]
    if wrong:
        raise UserError(
            f"{named}: the axis {wrong[0]!r} is unknown here or repeated, use {', '.join(wanted)}, time and -."
        )
    missing = [a for a in wanted if a not in axes and a != "band"]
    if missing:
        raise UserError(f"{named}: name the dimension that is the {missing[0]}.")
    if any(n != 1 for a, n in zip(axes, array.shape, strict=True) if a == "-"):
        raise UserError(f"{named}: only a dimension of length 1 can be dropped with -, name the others.")
    if "time" not in axes and time is not None:
        raise UserError(f"{named}: time {time} is set, name the dimension that is the time or leave it out.")
    if "time" in axes and (time is None or not 0 <= time < array.shape[axes.index("time")]):
        last = array.shape[axes.index("time")] - 1
        raise UserError(f"{named}, but time is {'not set' if time is None else time}: set it to one of 0 to {last}.")
    array = array[tuple({"time": time, "-": 0}.get(a, slice(None)) for a in axes)]
    left = [a for a in axes if a in wanted]
    array = array.transpose([left.index(a) for a in wanted if a in left])
    return array if len(left) == len(wanted) else np.expand_dims(array, wanted.index("band"))


def _read_npy(path: Path) -> np.ndarray:
    with _reading(path):
        with path.open("rb") as stream:
            first = np.lib.format.read_magic(stream) == (1, 0)
            header = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(stream)
        if dtype.hasobject:
            raise UserError(f"{path} holds pickled Python objects, which are never loaded: save a plain numeric array.")
        _check_numbers(str(path), shape, str(dtype), dtype.kind in "biuf")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array.view(np.uint8) if array.dtype == bool else array


@functools.lru_cache(maxsize=2)  # image and labels of one file, which are opened once to look and once to cut
def _read_mat(path: Path, saved: int, variable: str | None) -> tuple[np.ndarray, str, str]:
    """An array, how to name it in errors, and the rest of a sentence that lists what the file holds.

    `saved` is the time of the file's last change: a file that was mended is read anew.
    """
    import h5py

    with _reading(path):
        hdf5 = h5py.is_hdf5(path)
        variables = _list_hdf5(path) if hdf5 else _list_mat5(path)
    held = f"; the file holds {', '.join(map(str, variables)) or 'no variables'}"
    if variable is None:
        found = [v for v in variables if v.type in _TYPES and len(v.shape) > 1 and math.prod(v.shape) > 1]
        if len(found) != 1:
            raise UserError(f"{path} has {len(found)} arrays that could be meant: set variable to one name{held}.")
    else:
        found = [v for v in variables if v.name == variable]
        if not found:
            raise UserError(f"{path} has no variable {variable!r}: set variable to a name that is there{held}.")
    one = found[0]
    where = f"The variable {one.name} of {path}"
    _check_numbers(where, one.shape, one.type, one.type in _TYPES)
    with _reading(path):
        array = _read_hdf5(path, one.name) if hdf5 else _read_mat5(path, one.name)
    # MATLAB packs numbers into smaller types where it can; their own type does not depend on the values.
    real = isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
    _check_numbers(where, one.shape, f"sparse or complex {one.type}", real)
    array = array.astype(_TYPES[one.type], copy=False)
    array.setflags(write=False)
    return array, where, held


def _list_mat5(path: Path) -> list[_Variable]:
    from scipy import io

    return [_Variable(*entry) for entry in io.whosmat(path) if not entry[0].startswith("__")]


def _read_mat5(path: Path, name: str) -> np.ndarray:
    from scipy import io

    return io.loadmat(path, variable_names=[name])[name]


def _list_hdf5(path: Path) -> list[_Variable]:
    import h5py

    with h5py.File(path) as file:
        return [_describe(name, file[name]) for name in file if not name.startswith("#")]


def _describe(name: str, item) -> _Variable:
    matlab = item.attrs.get("MATLAB_class", b"")
    matlab = matlab.decode() if isinstance(matlab, bytes) else str(matlab)
    if not hasattr(item, "dtype"):  # a group of datasets
        return _Variable(name, (), "sparse" if "MATLAB_sparse" in item.attrs else matlab or "struct")
    if "MATLAB_empty" in item.attrs:  # such a dataset holds the shape
        return _Variable(name, tuple(int(n) for n in np.ravel(item[()])), matlab)
    return _Variable(name, (item.shape or ())[::-1], matlab or _MATLAB_NAMES.get(item.dtype.name, item.dtype.name))


def _read_hdf5(path: Path, name: str) -> np.ndarray:
    import h5py

    with h5py.File(path) as file:
        return file[name][()].T  # MATLAB stores the first index fastest, HDF5 counts it as the last


def _check_numbers(where: str, shape: tuple[int, ...], kind: str, real: bool) -> None:
    if not real:
        raise UserError(f"{where} is {kind}: save it as a plain array of real numbers.")
    if 0 in shape:
        raise UserError(f"{where} ({kind}) is empty, its shape is {shape}: choose another or save it again.")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(
            f"{path} needs more memory than there is: save its array as .npy, which is read piece by piece, "
            "or fetch the file again if it is damaged."
        ) from error
    except Exception as error:  # the libraries raise whatever the damaged bytes lead them to
        raise UserError(
            f"{path} cannot be read, it is damaged or no {path.suffix.lower()} file: fetch it again."
        ) from error
