"""Satellite images of areas from an imagery service: searched, reckoned, fetched tile by tile and put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specdm import bands as tables
from specdm import files, rasters
from specdm.errors import UserError
from specdm.progress import Progress
from specdm.rasters import Annotations
from specdm.settings import AcquireSettings, When
from specdm.sources import acquire_plan as planning
from specdm.sources.acquire_plan import Cost, Image
from specdm.sources.areas import Ground, ground
from specdm.sources.catalogue import choose, passes
from specdm.sources.evalscript import COLLECTIONS, SCALE, band_names, evalscript
from specdm.sources.imagery_service import Account, ImageryService
from specdm.sources.tile_cache import TileCache, Wanted

MARKER = "acquire.json"  # written last: whoever finds it finds the rest complete
CACHE = "requests"  # the folder of the service's answers
NODATA = 0
STRIP = 512  # rows that are put together at once


@dataclass(frozen=True)
class Job:
    """An image, and the requests for its tiles."""

    image: Image
    wanted: tuple[Wanted, ...]


@dataclass(frozen=True)
class Plan:
    """What an acquisition will do.

    Attributes:
        jobs: images to make.
        left_out: what the budget does not allow, in words.
        cost: of the requests that have no answer yet.
        known: requests that have one.
        account: what the account's month has left, None where the service does not tell.
    """

    jobs: tuple[Job, ...]
    left_out: tuple[str, ...]
    cost: Cost
    known: int
    account: Account | None

    def lines(self) -> list[str]:
        """The plan in words."""
        out = []
        for job in self.jobs:
            image = job.image
            grid, step = image.ground.grid, image.ground.grid.transform[0]
            out.append(
                f"{image.path}: {image.seen.day}, {image.seen.clouds:.0%} clouds, {image.seen.missing:.0%} missing, "
                f"{grid.width} x {grid.height} pixels of {step:g} m in {grid.crs}, {len(job.wanted)} tiles"
            )
        out += [f"left out: {text}" for text in self.left_out]
        known = f", {self.known} requests are answered already" if self.known else ""
        out.append(f"estimated cost: {self.cost}{known}")
        if self.account:
            out.append(
                f"left in the account's month: {self.account.requests:.0f} requests and {self.account.units:.6g} "
                "processing units"
            )
        else:
            out.append("left in the account's month: the service does not tell, its dashboard does")
        return out


@dataclass(frozen=True)
class AcquireReport:
    """What was made: images with the folder, and what was spent now and altogether."""

    images: tuple[str, ...]
    spent: Cost
    altogether: Cost

    def lines(self) -> list[str]:
        """The report in words."""
        before = f", {self.altogether} altogether" if self.altogether != self.spent else ""
        return [f"spent: {self.spent}{before}"]


def acquire(
    root: Path,
    settings: AcquireSettings,
    confirm: Callable[[Plan], None],
    say: Callable[[str], None] = print,
) -> AcquireReport:
    """Fetch the images that are not there yet; the same command goes on where it was interrupted.

    Labelled acquisitions make <area>/image1.tif, and with two dates <area>/image2.tif on the same grid; unlabelled ones
    <area>_<day>.tif. They are cloud-optimised GeoTIFFs of 16-bit numbers: reflectance = number x scale, 0 in all bands
    where there is no data, with band names and the times of acquisition as tags.

    Args:
        root: folder of the raw files; paths of areas start from it.
        settings: where, when, what.
        confirm: is given the plan before anything is fetched, and raises to stop.
        say: receives progress in lines.

    Raises:
        UserError: for areas, dates, bands, credentials or budgets that are of no use, and when the service refuses.
    """
    root = Path(root)
    bands = band_names(settings.bands, settings.level)
    grounds = [ground(area, root, settings.resolution_m) for area in settings.areas]
    service = ImageryService(settings)
    cache = TileCache(root / CACHE)
    plan = _plan(service, cache, settings, grounds, bands, say)
    for line in plan.lines():
        say(line)
    _check_budget(plan, settings)
    confirm(plan)
    with files.explain_os_errors(root), rasters.block_cache():
        root.mkdir(parents=True, exist_ok=True)
        (root / MARKER).unlink(missing_ok=True)
        wanted = [one for job in plan.jobs for one in job.wanted]
        new = cache.missing(wanted)
        try:
            if new:
                progress = Progress("fetching images", len(new), unit="tiles")
                cache.fetch(service, wanted, len(bands) + 1, progress.update)
        finally:
            came = [one for one in new if cache.path(one).is_file()]
            report = AcquireReport(
                tuple(job.image.path for job in plan.jobs),
                Cost(len(came), cache.units(new)),
                Cost(len(wanted) - len(new) + len(came), cache.units(wanted)),
            )
            for line in report.lines():
                say(line)
        for job in plan.jobs:
            _put_together(root, job, cache, settings, bands, say)
        files.write_json(root / MARKER, _record(plan, settings, service, cache, bands))
    return report


def _plan(
    service: ImageryService,
    cache: TileCache,
    settings: AcquireSettings,
    grounds: Sequence[Ground],
    bands: Sequence[str],
    say: Callable[[str], None],
) -> Plan:
    collection = service.collection(COLLECTIONS[settings.level])
    jobs, left_out, sum_of = [], [], Cost()
    # Unlabelled: one date of every area before the next, so that a small budget shows many places.
    for number, when in enumerate(settings.dates, start=1):
        for place in grounds:
            for image in _images(service, collection, settings, place, when, number, say):
                wanted = tuple(
                    Wanted(tile, planning.request(service, collection, image, tile, bands, settings.resampling))
                    for tile in place.tiles
                )
                price = planning.cost([one.tile for one in cache.missing(wanted)], len(bands))
                if settings.unlabelled and not (sum_of + price).within(settings.budget.requests, settings.budget.units):
                    left_out.append(f"{image.path} ({price}), beyond the budget")
                    continue
                if image.path not in {job.image.path for job in jobs}:  # two periods may share a day
                    jobs.append(Job(image, wanted))
                    sum_of += price
    wanted = [one for job in jobs for one in job.wanted]
    return Plan(tuple(jobs), tuple(left_out), sum_of, len(wanted) - sum_of.requests, service.account())


def _images(
    service: ImageryService,
    collection,
    settings: AcquireSettings,
    place: Ground,
    when: When,
    number: int,
    say: Callable[[str], None],
) -> list[Image]:
    """The images of one area that a date asks for; of unlabelled ones, those that there are."""
    found = passes(service, collection, place, when)
    try:
        chosen = choose(found, when, settings.max_missing, place.name)
    except UserError as error:
        if not settings.unlabelled:
            raise
        say(f"left out: {error}")
        return []
    if settings.unlabelled:
        return [Image(f"{place.name}_{one.day.replace('-', '')}.tif", place, one) for one in chosen]
    return [Image(f"{place.name}/image{number}.tif", place, chosen[0])]


def _check_budget(plan: Plan, settings: AcquireSettings) -> None:
    if not plan.jobs:
        raise UserError("Nothing is left to acquire: raise the budget, or choose other dates.")
    budget = settings.budget
    if not plan.cost.within(budget.requests, budget.units):
        raise UserError(
            f"The budget of {budget.requests} requests and {budget.units:g} processing units does not suffice for "
            f"{plan.cost}: raise it, or take a smaller area, fewer bands or larger pixels."
        )
    if plan.account and not plan.cost.within(plan.account.requests, plan.account.units):
        raise UserError(
            f"The account's month has {plan.account.requests:.0f} requests and {plan.account.units:.6g} units "
            f"left, too few for {plan.cost}: wait for the next month, or take less."
        )


def _put_together(
    root: Path,
    job: Job,
    cache: TileCache,
    settings: AcquireSettings,
    bands: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Write one image from its tiles, unless it is there already."""
    image, grid = job.image, job.image.ground.grid
    identity = files.digest(planning.description(settings, image, bands))
    path = root / image.path
    if path.is_file() and rasters.read_header(path).about.tags.get("content") == identity:
        return
    times = [one.time.isoformat(timespec="seconds").replace("+00:00", "Z") for one in image.seen.acquisitions]
    tags = {
        "sensor": "Sentinel-2 MSI",
        "level": settings.level,
        "harmonised": "yes",
        "acquired": ",".join(dict.fromkeys(times)),
        "products": ",".join(one.id for one in image.seen.acquisitions),
        "content": identity,
    }
    progress = Progress(f"writing {image.path}", grid.height, unit="rows")
    scaling = (SCALE,) * len(bands), (0.0,) * len(bands)
    about = Annotations(tuple(bands), tables.wavelengths(bands), *scaling, NODATA, tags)
    with rasters.CogWriter(path, grid, np.uint16, about) as target:
        for row in range(0, grid.height, STRIP):
            height = min(STRIP, grid.height - row)
            target.write(row, 0, _strip(job, cache, row, height, len(bands)))
            progress.update(row + height)
    say(f"{image.path}: written")


def _strip(job: Job, cache: TileCache, row: int, height: int, n_bands: int) -> np.ndarray:
    """Rows of an image over its whole width (C,height,width), nodata where no tile has seen the ground."""
    out = np.full((n_bands, height, job.image.ground.grid.width), NODATA, np.uint16)
    for one in job.wanted:
        tile = one.tile
        top, bottom = max(row, tile.row), min(row + height, tile.row + tile.height)
        if top >= bottom:
            continue
        with rasters.WindowedRaster(cache.path(one)) as source:
            pixels = source.read(top - tile.row, 0, bottom - top, tile.width, range(n_bands + 1))
        seen = pixels[-1] != 0
        out[:, top - row : bottom - row, tile.col : tile.col + tile.width] = np.where(seen, pixels[:-1], NODATA)
    return out


def _record(
    plan: Plan, settings: AcquireSettings, service: ImageryService, cache: TileCache, bands: Sequence[str]
) -> dict:
    """What was acquired, from where and for how much; no credentials."""
    return {
        "service": service.provider.base_url,
        "settings": settings.model_dump(mode="json"),
        "evalscript": evalscript(bands),
        "scale": SCALE,
        "offset": 0.0,
        "harmonised": True,
        "left_out": list(plan.left_out),
        "images": [
            planning.description(settings, job.image, bands)
            | {
                "path": job.image.path,
                "day": job.image.seen.day,
                "clouds": job.image.seen.clouds,
                "missing": job.image.seen.missing,
                "cost": dataclasses.asdict(Cost(len(job.wanted), cache.units(job.wanted))),
            }
            for job in plan.jobs
        ],
    }
