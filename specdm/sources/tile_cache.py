"""Tiles of images from the service: each request is made once, and its answer kept under a hash of its content."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from specdm import files, rasters
from specdm.errors import UserError
from specdm.sources.areas import Tile
from specdm.sources.imagery_service import ATTEMPTS, ImageryService

AT_ONCE = 4  # requests, fewer where their answers are large:
BYTES_AT_ONCE = 160 << 20  # while they come they take twice as much
SPENT = "x-processingunits-spent"


@dataclass(frozen=True)
class Wanted:
    """A tile, and the request for it (sentinelhub's DownloadRequest)."""

    tile: Tile
    request: object


class _NoImage(Exception):
    """An answer that is no image."""


class TileCache:
    """A folder of answers.

    Args:
        folder: where they lie; they can be deleted when an acquisition is complete.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, wanted: Wanted) -> Path:
        """Where the answer to a request lies, or will lie."""
        return self.folder / f"{wanted.request.get_hashed_name()}.tif"

    def missing(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Those without an answer so far."""
        return [one for one in wanted if not self.path(one).is_file()]

    def units(self, wanted: Sequence[Wanted]) -> float:
        """Processing units that the answers so far have cost, whenever that was."""
        notes = (self.path(one).with_suffix(".json") for one in wanted)
        return sum(json.loads(note.read_text())["units"] for note in notes if note.is_file())

    def fetch(self, service: ImageryService, wanted: Sequence[Wanted], count: int, tell: Callable[[int], None]) -> None:
        """Make the requests that have no answer so far. Answers are looked through before they are kept.

        Args:
            service: that is asked.
            wanted: what for.
            count: bands of an answer.
            tell: is told the number of answers after each.

        Raises:
            UserError: when the service refuses, or does not answer; what has come is kept.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        queue, done = self.missing(wanted), 0
        largest = max((2 * count * one.tile.height * one.tile.width for one in queue), default=1)
        at_once = max(1, min(AT_ONCE, BYTES_AT_ONCE // largest))
        running: set[Future] = set()
        # Leaving it waits for the requests under way: they are paid for, and kept.
        with ThreadPoolExecutor(at_once) as pool:
            while queue or running:
                while queue and len(running) < at_once:
                    running.add(pool.submit(self._fetch, service, queue.pop(0), count))
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for one in finished:
                    one.result()
                    done += 1
                    tell(done)

    def _fetch(self, service: ImageryService, wanted: Wanted, count: int) -> None:
        """Make one request, again while its answer is no image."""
        units, problem = 0.0, ""
        for _ in range(ATTEMPTS):
            with service.errors("fetching images"):
                (answer,) = service.client.download([wanted.request], max_threads=1, decode_data=False)
            headers = {key.lower(): value for key, value in answer.headers.items()}
            units += float(headers.get(SPENT, 0))
            files.write_json(self.path(wanted).with_suffix(".json"), {"units": units})
            try:
                self._keep(answer.content, wanted, count)
                return
            except _NoImage as error:
                problem = str(error)
        raise UserError(f"fetching images: {service.provider.title} sent {problem}: run the command again later.")

    def _keep(self, content: bytes, wanted: Wanted, count: int) -> None:
        with files.new_file(self.path(wanted)) as temporary:
            temporary.write_bytes(content)
            if problem := rasters.why_not(temporary, count, wanted.tile.height, wanted.tile.width):
                raise _NoImage(problem)
