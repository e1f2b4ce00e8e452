"""Batches of randomly changed pictures: Keras PyDatasets, and endless Python iterators.

base      order and seeds, as Keras has them
pictures  from numbers of pictures to a batch: parameters, pixels, targets
asked     what a generator's settings ask for
pixels    the stream's engine, as these iterators use it
arrays    pictures in memory
files     pictures in files: what folders and tables have in common
folders   class folders
tables    a pandas table of file names
"""

from sightline.preprocessing.iterators.arrays import NumpyArrayIterator
from sightline.preprocessing.iterators.base import Iterator
from sightline.preprocessing.iterators.files import validate_filename
from sightline.preprocessing.iterators.folders import DirectoryIterator
from sightline.preprocessing.iterators.tables import DataFrameIterator

__all__ = [
    "DataFrameIterator",
    "DirectoryIterator",
    "Iterator",
    "NumpyArrayIterator",
    "validate_filename",
]
