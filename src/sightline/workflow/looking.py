"""A run's network, ready to be asked where it looks at images of a manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

import numpy as np
import numpy.typing as npt

from sightline import runs
from sightline.data.images import RuleSet
from sightline.data.stream import Stream, StreamConfig
from sightline.errors import DataError
from sightline.progress import Progress
from sightline.records import Decision, ExplainMethod, Explanation, Manifest, Weights
from sightline.runs import KeptWeights, Run
from sightline.workflow import predicting

if TYPE_CHECKING:
    from sightline.learning.explanation import Place, Probe

Method = Literal[ExplainMethod, "features", "filters"]
METHODS: tuple[str, ...] = (*get_args(ExplainMethod), "features", "filters")

_AT_ONCE = 32  # images of one step


class ExplainOptions(TypedDict, total=False):
    """What may be asked of `explain`.

    Attributes:
        method: "gradcam" (default), "gradcam++", "occlusion", "integrated-gradients"; "features",
            what a layer puts out; "filters", the first convolution's.
        class_name: The class to explain; by default the one that `predict` gives each image.
        layer: By its name; by default the last with a height and a width.
        weights: "best" (default), "last" or "average".
    """

    method: Method
    class_name: str | None
    layer: str | None
    weights: Weights


@dataclass(frozen=True, slots=True)
class Asked:
    """`ExplainOptions`, checked and complete.

    Raises:
        ValueError: There is no such method.
    """

    method: Method = "gradcam"
    class_name: str | None = None
    layer: str | None = None
    weights: Weights = "best"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {self.method!r}")


@dataclass(frozen=True, slots=True)
class Looked:
    """One batch of images after the network.

    Attributes:
        images: (B, H, W, C) float32, as the network got them.
        targets: (B,) indices of the classes that are explained.
        explanations: B of them.
    """

    images: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    explanations: tuple[Explanation, ...]


@dataclass(frozen=True, slots=True)
class Looking:
    """A network and what is asked of it.

    Attributes:
        run: Whose network.
        asked: What is asked.
        class_names: The model's.
        kept: Its weights.
        probe: The network.
        place: The layer that is looked into; None for methods of the whole network.
        decision: How probabilities become the class that is explained.
        unreadable: Why an image could not be read, by record id; grows with the batches.
    """

    run: Run
    asked: Asked
    class_names: tuple[str, ...]
    kept: KeptWeights
    probe: Probe
    place: Place | None
    decision: Decision
    unreadable: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run, asked: Asked, progress: Progress) -> Looking:
        """Return the network of a run with its weights.

        Raises:
            DataError: There is no such class or layer, or the method needs a convolution.
            RunError: The run has no model, or it is damaged.
            SetupError: No Keras backend is installed, or the one of KERAS_BACKEND is not.
        """
        class_names, kept = tuple(run.model["class_names"]), run.kept(asked.weights)
        if asked.class_name is not None and asked.class_name not in class_names:
            raise DataError(
                f"{asked.class_name!r} is none of the model's {len(class_names)} classes: "
                f"{', '.join(class_names)}"
            )
        for line in kept.told:
            progress.say(line)
        model = predicting.rebuild(run, kept, progress)
        from sightline.learning.explanation import NEED_A_LAYER, Probe

        config = _config(run)
        shape = (*config.image_size, config.channels)
        # The names in a file that was given stay as its owner knows them.
        probe = Probe.of(model, shape, counted_anew=run.network is None)
        if not probe.from_logits:
            progress.say(
                "How the network makes probabilities of its last layer cannot be seen, so their "
                "logarithm is explained in place of the logit: of sure predictions it says less."
            )
        inside = asked.method in (*NEED_A_LAYER, "features")
        if asked.layer is not None and not inside:
            raise DataError(
                f"--method {asked.method} asks the whole network, so --layer {asked.layer} would "
                "change nothing. Leave it out, or use gradcam, gradcam++ or features."
            )
        place = probe.place(asked.layer) if inside else None
        if asked.layer is None and asked.method in NEED_A_LAYER and probe.has_parts:
            place = None  # the maps of all members, each at a layer of its own
        decision = runs.settled(run, kept).decision
        return cls(run, asked, class_names, kept, probe, place, decision)

    @property
    def layer(self) -> str:
        """Whose output is looked at; "" for the whole network."""
        return self.place.name if self.place else ""

    @property
    def rule_set(self) -> RuleSet:
        """How the network's images are decoded; a picture below a map has to be, too."""
        return _config(self.run).rule_set

    @property
    def method(self) -> ExplainMethod:
        """What makes the maps."""
        method = self.asked.method
        assert method != "features", "no map is made of them"
        assert method != "filters", "no map is made of them"
        return method

    def batches(
        self, manifest: Manifest
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """Yield rows of a manifest and their images, as the network gets them; only readable ones.

        The reasons of the others go into `unreadable`.
        """
        config = _config(self.run).forgiving(len(manifest))
        with Stream(manifest, split=None, config=config) as stream:
            for batch in stream.epoch(0):
                readable = np.asarray([int(row) not in stream.faults for row in batch.rows], bool)
                for row in batch.rows[~readable]:
                    fault = stream.faults[int(row)]
                    self.unreadable[manifest.table["record_id"][int(row)]] = fault.reason
                if readable.any():
                    yield batch.rows[readable], batch.images[readable].astype(np.float32)

    def looked(
        self,
        manifest: Manifest,
        *,
        wanted: Mapping[str, int] | None = None,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> Iterator[Looked]:
        """Yield explanations of the images of a manifest that can be read, batch by batch.

        Args:
            manifest: All of its rows are explained.
            wanted: Class indices by record id; others, and those without, are explained for the
                class that was asked for, or for the one that they are taken for.
            on_batch: Called with the number of images of each batch.
        """
        from sightline.learning.explanation import METHODS as MAPS

        wanted = wanted or {}
        method = self.method
        for rows, images in self.batches(manifest):
            table = manifest.table.select("record_id", "label")[rows]
            scores = self.probe.scores(images)
            probabilities = self.probe.probabilities(scores)
            targets = self._targets(probabilities)
            for number, record_id in enumerate(table["record_id"]):
                targets[number] = wanted.get(record_id, targets[number])
            found = MAPS[method](self.probe, images, targets, self.place)
            explanations = tuple(
                Explanation(
                    record_id=record_id,
                    method=method,
                    class_name=self.class_names[target],
                    probability=float(probabilities[number, target]),
                    map=found.maps[number],
                    layer=self.layer,
                    label=label,
                    measured={name: float(value[number]) for name, value in found.measured.items()},
                )
                for number, ((record_id, label), target) in enumerate(
                    zip(table.iter_rows(), targets, strict=True)
                )
            )
            yield Looked(images, targets, explanations)
            on_batch(len(rows))

    def _targets(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        if self.asked.class_name is None:
            return self.decision.choose(probabilities)
        return np.full(len(probabilities), self.class_names.index(self.asked.class_name), np.int64)


def _config(run: Run) -> StreamConfig:
    """Return how images go into a run's network, in steps of one size whatever it was."""
    config = StreamConfig.of(run.recipe, training=False)
    return dataclasses.replace(config, batch_size=_AT_ONCE)
