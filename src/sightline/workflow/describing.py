"""A run in words: what was trained, on what, how good it is, and what is not known of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from sightline import runs
from sightline.records import SPLITS, Evaluation, Interval, rounded
from sightline.runs import Run

_FEW = 30  # images of a class, below which its figures say little


def headline(run: Run, evaluations: Sequence[Evaluation]) -> str:
    """Return what was trained, and how good it is on the most honest set, beside guessing."""
    trained = f"{len(run.facts.class_counts)} classes, {run.facts.count:,} images"
    if run.state == runs.IMPORTED:
        trained = f"{len(run.facts.class_counts)} classes, trained elsewhere"
    if not evaluations:
        return f"{trained}. Nothing was evaluated yet: the run is {run.state}."
    judged = evaluations[0]
    own = judged.source in SPLITS
    where = "" if own else f" of “{judged.source}”"
    which = {"best": "", "last": ", with the weights as training left them",
             "average": ", with the average of its last weights"}[judged.weights]  # fmt: skip
    caution = f" ({judged.caution})" if judged.caution else ""
    guessed = judged.baselines.get("majority", {}).get("accuracy")
    guess = "" if guessed is None else (
        f"; always the most frequent class would have {rounded(guessed, 1, percent=True)}"
    )  # fmt: skip
    return (
        f"{trained}. {f'{judged.source.capitalize()} accuracy' if own else 'Accuracy'} "
        f"{_percent(judged, 'accuracy')}, balanced accuracy "
        f"{_percent(judged, 'balanced_accuracy')} on {judged.count:,} images"
        f"{where}{caution}{which}{guess}."
    )


def facts(run: Run) -> list[tuple[str, str]]:
    """Return (name, value) of how the run was made."""
    info, git = run.info, run.info["git"]
    dirty = ", with changes not committed" if git and git["dirty"] else ""
    facts = [
        ("State", f"{run.state}. {info.get('reason', '')}"),
        ("Recipe", run.recipe.name),
        ("Seed", str(run.recipe.seed)),
        ("Started", info["started"][:16].replace("T", " ") + " UTC"),
        ("Training time", str(timedelta(seconds=round(info.get("seconds", 0))))),
        ("Peak memory", f"{info.get('peak_memory_mb', 0):,} MB"),
        ("Device", f"{info['device']}, {info['threads']} threads"),
        ("Precision", info["precision"]),
        ("Backend", f"{info['backend']} {info['packages'].get(info['backend'], '')}"),
        ("Keras", info["packages"].get("keras", "")),
        ("Sightline", info["packages"].get("sightline", "")),
    ]
    return [*facts, ("Started in", f"git {git['commit'][:12]}{dirty}")] if git else facts


def data_facts(run: Run) -> list[tuple[str, str]]:
    """Return (name, value) of the images that the run was trained on."""
    facts, manifest = run.facts, run.manifest
    if run.state == runs.IMPORTED:
        return [("Images", "not known: the model was trained elsewhere")]
    rows = [
        ("Folder", str(manifest.root)),
        ("Images", f"{facts.count:,}, {facts.bytes / 1e6:,.1f} MB"),
        ("Formats", ", ".join(facts.formats)),
        ("Smallest", f"{facts.smallest[0]} x {facts.smallest[1]} pixels (height x width)"),
        ("Median", f"{facts.height} x {facts.width}"),
        ("Largest", f"{facts.largest[0]} x {facts.largest[1]}"),
        ("Colour", "grey" if facts.all_grey else "colour"),
        ("Largest class over smallest", f"{facts.imbalance:.1f}"),
    ]
    groups = manifest.table["group"]
    if groups.null_count() < len(groups):
        rows.append(("Groups", manifest.groups_in_words()))
    return rows


def provenance(run: Run, evaluations: Sequence[Evaluation]) -> list[tuple[str, str]]:
    """Return (name, value) that identify weights, images, versions and what was looked at."""
    info = run.info
    packages = info.get("packages", {})
    card = run.model if (run.path / "model.json").exists() else {}
    rows = [
        ("Weights, network and preprocessing", str(card.get("fingerprint", ""))),
        ("Manifest", str(info.get("manifest_fingerprint", ""))),
        ("Recipe", str(next(iter(info.get("files", {}).get("recipe.toml", [])), ""))),
        *(
            (f"Predictions, {judged.source}, {judged.weights} weights", judged.predictions_hash)
            for judged in evaluations
        ),
        ("Seed", str(run.recipe.seed)),
        ("Python", f"{info.get('python', '')}, {info.get('system', '')}"),
        ("Packages", ", ".join(f"{name} {version}" for name, version in packages.items())),
        ("Looks at the test split", str(max((each.looks for each in evaluations), default=0))),
    ]
    return [(name, value) for name, value in rows if value]


def limits(run: Run, evaluations: Sequence[Evaluation]) -> list[str]:
    """Return what the figures do not say and what the model is not for, a sentence each."""
    return list(_limits(run, evaluations))


def _limits(run: Run, evaluations: Sequence[Evaluation]) -> Iterator[str]:
    names = [scores.name for scores in evaluations[0].classes] if evaluations else []
    known = f"the {len(names)} classes it was trained on" if names else "the classes it knows"
    yield f"It knows {known} and nothing else: an image of anything else is put into one of them."
    if run.state != runs.IMPORTED:
        yield from _of_data(run)
    judged = next(iter(evaluations), None)
    if judged is None:
        yield "It was not evaluated, so nothing is known of how good it is."
        return
    if judged.caution:
        yield f"Its best figures are not honest ones: {judged.caution}."
    if all(each.source in SPLITS and each.source != "external" for each in evaluations):
        yield (
            "It was judged on images of the same source as those it was trained on. Other cameras, "
            "sites and populations are not known to it; there it may do much worse. Judge it on "
            "images from there: sightline evaluate RUN --data."
        )
    few = [scores for scores in judged.classes if scores.count < _FEW]
    if few:
        said = ", ".join(f"{scores.name} ({scores.count})" for scores in few)
        yield f"Too few images were judged to say how good it is at {said}: {_FEW} are needed."
    missed = [scores.name for scores in judged.classes
              if scores.count and not scores.metrics.get("recall")]  # fmt: skip
    if missed:
        yield f"It found not one image of {', '.join(missed)}."
    worse = [each for each in judged.slices if each.differs and _below(each.difference)]
    if worse:
        said = ", ".join(f"{each.column} {each.value}" for each in worse)
        yield f"It does worse on some parts of the images: {said}."
    if judged.looks > 1:
        yield (
            f"The test split was looked at {judged.looks} times. If any choice followed from that, "
            "its figures are too good."
        )
    yield (
        "Intervals say how far chance in drawing the images may have moved a figure. They do not "
        "cover wrong labels, leaks that no check found, or images unlike these."
    )
    yield (
        "Nothing here shows that it is safe to act on without a person who checks; where people "
        "are concerned, that has to be shown apart, in use."
    )


def _of_data(run: Run) -> Iterator[str]:
    groups = run.manifest.table["group"]
    if groups.null_count() == len(groups):
        yield (
            "No groups were given. If several images show one patient, object or session, they may "
            "stand on two sides of the split, and the figures are too good."
        )
    errors = [finding for finding in run.findings if finding.stands and finding.severity == "error"]
    for finding in errors:
        yield f"The audit found: {finding.title.rstrip('.')}."
    if run.state != "finished":
        yield f"The training is {run.state}: it did not come to its end."


def _percent(judged: Evaluation, metric: str) -> str:
    """Return a share with its interval, e.g. "61.3% (57.8% to 64.7%)"."""
    found = judged.intervals.get(metric)
    value = rounded(judged.metrics[metric], 1, percent=True)
    if found is None or found.low is None:
        return value
    low, high = (rounded(edge, 1, percent=True) for edge in (found.low, found.high))
    return f"{value} ({low} to {high})"


def _below(difference: Interval | None) -> bool:
    return difference is not None and difference.value < 0
