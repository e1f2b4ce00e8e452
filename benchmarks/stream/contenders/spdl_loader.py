"""SPDL: a pipeline of threads; a stage takes the paths of one batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from benchmarks.stream.contenders import picture
from benchmarks.stream.workload import BATCH, SIZE, Epoch, Work, labelled_files
from spdl.pipeline import PipelineBuilder


def build(work: Work) -> Epoch:
    """A batch a task and one generator a batch: the least work in Python that SPDL allows."""
    cv2.setNumThreads(0)
    paths, labels = labelled_files(work.folder)
    classes = np.array(labels)

    def load(task: tuple[int, list[int]]) -> tuple[Any, Any]:
        rng = np.random.default_rng(task[0])
        images = np.empty((len(task[1]), *SIZE, 3), np.float32)
        for place, row in enumerate(task[1]):
            images[place] = picture.change(picture.read(paths[row]), rng)
        return images, classes[task[1]]

    def epoch(number: int) -> Iterator[tuple[Any, Any]]:
        order = np.random.default_rng(number).permutation(len(paths)).tolist()
        tasks = [
            (number * len(order) + begin, order[begin : begin + BATCH])
            for begin in range(0, len(order), BATCH)
        ]
        pipeline = (
            PipelineBuilder()
            .add_source(tasks)
            .pipe(load, concurrency=work.threads)
            .add_sink(4)
            .build(num_threads=work.threads)
        )
        with pipeline.auto_stop():
            yield from pipeline

    return epoch
