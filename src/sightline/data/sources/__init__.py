"""From folders, tables and files to a manifest: what is there, and what each image is called.

options   what the user may ask of every scan, and the groups of records
walk      the one way folders are read: what counts as an image, links, hidden files
passed    what is passed over: how many of each kind, and the first names
kept      what a walk keeps: names alone, or names, sizes and times
layout    class folders, or split folders holding those; what is in neither way is refused
checks    what no labelled set may have: one class, empty ones, lopsided splits
folders   class folders, split folders, three unrelated folders
listing   the same without sizes and times: an index of a million files in seconds
shards    .tar files in WebDataset's layout
members   what is inside one of them
arrays    images that are in memory, or mapped
table     a CSV, TSV or parquet table that names files and labels
beside    what else a table knows of the images: age, sex, scanner ...
files     images without labels, for prediction
source    one door for every form of labelled images
"""

from __future__ import annotations

from sightline.data.sources.arrays import index_arrays
from sightline.data.sources.beside import columns_beside
from sightline.data.sources.checks import check_classes
from sightline.data.sources.files import scan_files
from sightline.data.sources.folders import scan_folder, scan_splits
from sightline.data.sources.listing import index_folder
from sightline.data.sources.options import ScanOptions
from sightline.data.sources.shards import scan_shards
from sightline.data.sources.source import SourceOptions, read_source
from sightline.data.sources.table import TableColumns, scan_table

__all__ = [
    "ScanOptions",
    "SourceOptions",
    "TableColumns",
    "check_classes",
    "columns_beside",
    "index_arrays",
    "index_folder",
    "read_source",
    "scan_files",
    "scan_folder",
    "scan_shards",
    "scan_splits",
    "scan_table",
]
