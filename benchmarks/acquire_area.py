"""Acquiring a whole Sentinel-2 tile from a local imagery service: memory, requests and time.

    python benchmarks/acquire_area.py [--side-px 10980]

The service of the tests runs in this process, the command in another one. Beside it the same requests are made one
after the other and their answers written as they come, which is the least that any acquisition must do.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).parents[1]))

from specdm.sources.areas import LARGEST_PX
from tests.service.certificate import make_certificate
from tests.service.scenes import TILE_M, sentinel2
from tests.service.server import LocalSentinelHub

WEST, NORTH = 600_000, 5_400_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side-px", type=int, default=TILE_M // 10)
    side_m = 10 * parser.parse_args().side_px
    client = secrets.token_hex(8), secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(Path(folder))
        environ = os.environ | {"REQUESTS_CA_BUNDLE": str(certificate.authority), "NO_PROXY": "localhost"}
        environ |= {"SH_CLIENT_ID": client[0], "SH_CLIENT_SECRET": client[1], "XDG_CONFIG_HOME": folder}
        with LocalSentinelHub(certificate, *client, [sentinel2("2024-07-03T10:10:31Z")]) as hub:
            settings = {
                "areas": {"bounds": [WEST, NORTH - side_m, WEST + side_m, NORTH], "crs": "EPSG:32632"},
                "dates": "2024-07-03",
                "base_url": hub.base_url,
                "token_url": hub.token_url,
                "budget": {"units": 1e6},
            }
            started = time.monotonic()
            command = [sys.executable, "-m", "specdm", "acquire", "--out", f"{folder}/raw", "--yes"]
            subprocess.run([*command, "--settings", json.dumps(settings)], env=environ, check=True)
            seconds = time.monotonic() - started
            peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            sent = [request.body for request in hub.sent("process")]
            plain_s = _plain(hub, client, str(certificate.authority), sent, Path(folder))
        fewest = math.ceil(side_m / 10 / LARGEST_PX) ** 2
        size = (Path(folder) / "raw/area/image1.tif").stat().st_size
    print(f"{side_m // 10} x {side_m // 10} pixels of ten bands, {dt.date.today()}")
    print(f"requests {len(sent)}, the fewest that the limit of {LARGEST_PX} pixels allows are {fewest}")
    print(f"memory   {peak_mib:.0f} MiB at most")
    print(
        f"time     {seconds:.0f} s for a file of {size / 1e9:.2f} GB; the requests alone, one by one: {plain_s:.0f} s"
    )


def _plain(hub: LocalSentinelHub, client: tuple[str, str], authority: str, bodies: list, folder: Path) -> float:
    """Seconds that the same requests take when their answers are only written."""
    started = time.monotonic()
    form = {"grant_type": "client_credentials", "client_id": client[0], "client_secret": client[1]}
    token = requests.post(hub.token_url, data=form, verify=authority, timeout=60).json()["access_token"]
    for body in bodies:
        headers = {"Authorization": f"Bearer {token}", "Accept": "image/tiff"}
        answer = requests.post(
            f"{hub.base_url}/api/v1/process", json=body, headers=headers, verify=authority, timeout=600
        )
        (folder / "plain.tif").write_bytes(answer.content)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
