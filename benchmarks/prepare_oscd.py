"""CPU time and memory of `oscd.prepare` against reading and resampling alone, on the real data.

    python benchmarks/prepare_oscd.py ../shared/data/oscd

Target: at most 1.3 times the CPU time of reading and resampling, below 2 GiB. Libraries are imported and files are in
the cache before either clock starts.
"""

import importlib
import resource
import sys
import tempfile
import time
from pathlib import Path

from specdm.bands import BAND_SETS
from specdm.sources import oscd, oscd_raster


def main(root: Path) -> None:
    for library in ("scipy.ndimage", "pandas", "geopandas", "rasterio.warp", "pyarrow.parquet", "PIL.Image"):
        importlib.import_module(library)
    cities = oscd.find_cities(root, ())
    for path in root.rglob("*.tif"):
        path.read_bytes()
    started = time.process_time()
    for city in cities:
        oscd_raster.read_dates(city.images, BAND_SETS["paper"], "official")
    reading = time.process_time() - started
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        report = oscd.prepare(root, Path(folder) / "patches")
        preparing = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"read and resample {len(cities)} cities: {reading:.2f} CPU s")
    print(f"prepare {report.kept('train', 'val', 'test')} patches: {preparing:.2f} CPU s")
    print(f"ratio {preparing / reading:.2f} (target <= 1.3), peak {peak:.2f} GiB (target < 2)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
