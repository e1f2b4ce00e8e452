"""The run folder of several networks that were put together."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sightline import runs
from sightline.errors import RecipeError
from sightline.learning.models import backend
from sightline.recipes import OWN, Recipe, dump_recipe
from sightline.records import DataFacts, Manifest
from sightline.records.ensembles import Ensemble
from sightline.runs import Journal, Run

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """What is kept of an ensemble.

    Attributes:
        model: The whole network, with its weights.
        recipe: Names the members.
        opened: Their runs, those left out too.
        images: Of all of them.
        found: What came of it.
    """

    model: keras.Model
    recipe: Recipe
    opened: Sequence[Run]
    images: Manifest
    found: Ensemble

    def write(self, folder: Path) -> None:
        """Make the run folder beside its place, and put it there in one step."""
        from sightline.learning.models import forward
        from sightline.learning.models import kept as networks

        recipe, names = self.recipe, list(self.opened[0].model["class_names"])
        model, network = self.model, self.opened[0].network
        if self.found.method != "soup":
            network = networks.content(model, recipe, len(names))
            model = networks.rebuild(recipe, len(names), network)
        arrays = forward.get_weights(model)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
            path = runs.create_run(Path(beside) / "run")
            said = "\n".join(self.found.told) + "\n"
            texts = {"recipe.toml": dump_recipe(recipe), "plan.txt": said}
            kept = {} if network is None else {runs.NETWORK: network}
            for file, content in (texts | kept).items():
                runs.write_content(path / file, content)
            runs.save_manifest(self.images, path / "manifest.parquet")
            runs.write_best(path, arrays, epoch=0)
            card = runs.model_card(recipe, names, runs.fingerprint(path, arrays))
            runs.write_sealed(path / "model.json", card | {"best_epoch": 0, "last_epoch": 0})
            summary = dataclasses.asdict(forward.summarise(model))
            machine = backend.describe(backend.choose())
            about = runs.run_card(recipe, machine, self._facts(names), summary)
            about["manifest_fingerprint"] = self.images.fingerprint()
            own = _manifests(self.opened)
            about["ensemble"] = self.found.to_dict() | {
                "roots": sorted({str(each.root) for each in own}),
                "looks": max((runs.count_looks(each) for each in own), default=0),
            }
            Journal(path, about).end(runs.COMPOSED, self.found.told[0])
            path.rename(folder)  # in one step: no half run is ever there

    def _facts(self, names: Sequence[str]) -> DataFacts:
        """Return what is known of the images of all members; sizes of 0 where nothing is."""
        counts, table = self.images.counts(), self.images.table
        turned = pl.col("orientation").fill_null(1) >= 5
        sizes = table.select(
            height=pl.when(turned).then("width").otherwise("height"),
            width=pl.when(turned).then("height").otherwise("width"),
        ).drop_nulls()
        by_area = sizes.sort(pl.col("height") * pl.col("width"))
        own = [run.facts for run in self.opened if run.state != runs.IMPORTED]
        middle = [int(np.median(sizes[side])) if len(sizes) else 0 for side in sizes.columns]
        return DataFacts(
            count=int(counts["total"].sum()),
            class_counts=dict.fromkeys(names, 0)
            | dict(counts.select("label", "total").iter_rows()),
            looked_at=sum(each.looked_at for each in own),
            unreadable=(),
            height=middle[0],
            width=middle[1],
            smallest=by_area.row(0) if len(by_area) else (0, 0),
            largest=by_area.row(-1) if len(by_area) else (0, 0),
            all_grey=bool(own) and all(each.all_grey for each in own),
            formats={name: each.formats[name] for each in own for name in each.formats},
            bytes=int(table["bytes"].sum()),
            read_seconds=max((each.read_seconds for each in own), default=0.0),
        )


def network_of(opened: Sequence[Run]) -> str:
    """Return what the recipe of an ensemble calls its network.

    It is "own"; where members have layers of the user's own, "module:function" of one of them, as
    opening the run has to import that module.

    Raises:
        RecipeError: Such layers are of several modules.
    """
    from sightline.learning.models import kept as networks

    named = dict[str, str]()
    for run in opened:
        name, network = run.recipe.model.network, run.network
        if ":" in name and network is not None and networks.own_classes(network):
            named.setdefault(name.partition(":")[0], name)
    if len(named) > 1:
        raise RecipeError(
            f"the networks have layers of your own out of the modules {' and '.join(named)}, and "
            "a run can name only one to be imported. Put together runs of one module."
        )
    return next(iter(named.values()), OWN)


def _manifests(opened: Sequence[Run]) -> list[Manifest]:
    return [run.manifest for run in opened if run.state != runs.IMPORTED]
