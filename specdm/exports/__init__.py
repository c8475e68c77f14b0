"""Patch sets in other people's formats, and the data card that goes with them."""

from specdm.exports import geotiff, oscd, segmunich, webdataset
from specdm.exports.card import card
from specdm.exports.geotiff import COMPRESSIONS
from specdm.exports.selection import Selection, select

FORMATS = ("geotiff", "segmunich", "oscd", "webdataset")

__all__ = ["COMPRESSIONS", "FORMATS", "Selection", "card", "geotiff", "oscd", "segmunich", "select", "webdataset"]
