"""A run in words: what was trained, on what, how good it is, and what is not known of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import timedelta

from sightline import runs
from sightline.errors import DataError
from sightline.judging import reports
from sightline.records import MANIFEST_SCHEMA, SPLITS, Evaluation, Interval, rounded
from sightline.records.ensembles import titled
from sightline.runs import Run

_FEW = 30  # images of a class, below which its figures say little
_COVERAGE = 0.9  # of the sets that `evaluate` makes by itself


def stale(run: Run, judged: Evaluation) -> reports.Stale | None:
    """Return why figures are not of the model as it is now, and how to have those; else None.

    Raises:
        RunError: `model.json` is damaged.
    """
    if not run.is_of(judged):
        before = f"of {judged.weights} weights that the run had before, of epoch {judged.epoch + 1}"
        return reports.Stale(reason=before, again=judge_again(run, judged), former=True)
    if not (run.path / "model.json").exists():  # it keeps the choice
        return None
    now = runs.settled(run, run.kept(judged.weights)).decision
    if now.chooses_as(judged.decision):
        return None
    names = judged.class_names
    chosen = (
        f"of classes chosen otherwise ({judged.decision.in_words(names)}) than the run chooses "
        f"now ({now.in_words(names)})"
    )
    return reports.Stale(reason=chosen, again=judge_again(run, judged), former=False)


def judge_again(run: Run, judged: Evaluation) -> reports.Again:
    """Return how to make the figures of an evaluation anew, as far as it was kept."""
    own = judged.source in SPLITS
    if not own and judged.root and judged.source != judged.root:  # a table, read who knows how
        return reports.Again(
            note=f"Judge it again as before: {judged.source}, with its images below {judged.root} "
            "and the same options."
        )
    words = ["sightline", "evaluate", str(run.path), "--split" if own else "--data", judged.source]
    if judged.weights != "best":
        words += ["--weights", judged.weights]
    if judged.leak_effect is not None:
        words.append("--leak-effect")
    elif judged.leaked and judged.source in ("validation", "test"):  # else it is refused
        words.append("--allow-leak")
    if judged.sets is not None and judged.sets.rule.coverage != _COVERAGE:
        words += ["--coverage", str(judged.sets.rule.coverage)]
    columns = list(dict.fromkeys(each.column for each in judged.slices))
    for column in columns:
        words += ["--slice-by", column]
    if _knows_similar(run, judged):
        words.append("--neighbours")
    beside = [name for name in columns if name not in MANIFEST_SCHEMA]
    note = f"Name the table of {', '.join(beside)} as well: --metadata TABLE." if beside else ""
    return reports.Again(command=shlex.join(words), note=note)


def _knows_similar(run: Run, judged: Evaluation) -> bool:
    """Say whether training images like each mistake were asked for."""
    try:
        return run.predictions(judged.source, judged.weights).embeddings is not None
    except DataError:
        return False


def headline(
    run: Run, evaluations: Sequence[Evaluation], stale: Sequence[reports.Stale | None]
) -> str:
    """Return what was trained, and how good it is on the most honest set, beside guessing.

    Args:
        run: Which.
        evaluations: The most honest first, those of weights that it has no more last.
        stale: One of each.
    """
    trained = f"{len(run.facts.class_counts)} classes, {run.facts.count:,} images"
    if run.state == runs.IMPORTED or not run.facts.count:
        trained = f"{len(run.facts.class_counts)} classes, trained elsewhere"
    if made := run.recipe.ensemble:
        trained = f"{titled(len(made.members), made.method, made.flips)}: {trained}"
    if not evaluations:
        return f"{trained}. Nothing was evaluated yet: the run is {run.state}."
    judged, outdated = evaluations[0], stale[0]
    if outdated and outdated.former:
        return f"{trained}. It was not judged with the weights that it has now."
    own = judged.source in SPLITS
    where = "" if own else f" of “{reports.titled(judged.source)}”"
    cautions = [judged.caution, "of classes chosen otherwise than now" if outdated else ""]
    caution = "".join(f" ({each})" for each in cautions if each)
    guessed = judged.baselines.get("majority", {}).get("accuracy")
    guess = "" if guessed is None else (
        f"; always the most frequent class would have {rounded(guessed, 1, percent=True)}"
    )  # fmt: skip
    return (
        f"{trained}. {f'{judged.source.capitalize()} accuracy' if own else 'Accuracy'} "
        f"{_percent(judged, 'accuracy')}, balanced accuracy "
        f"{_percent(judged, 'balanced_accuracy')} on {judged.count:,} images"
        f"{where}{caution}, {reports.weights_of(judged)}{guess}."
    )


def no_curves(run: Run) -> str:
    """Return why a run of no epochs has no curves, in a sentence."""
    why = {
        runs.IMPORTED: "The model was trained elsewhere",
        runs.COMPOSED: "It was put together from trained runs, whose own reports have theirs",
    }.get(run.state, "No epoch has finished yet")
    return f"{why}, so there are no curves."


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
    """Return (name, value) of the images that the run was trained on, without their place."""
    facts, manifest = run.facts, run.manifest
    if run.state == runs.IMPORTED or not facts.count:
        return [("Images", "not known: the model was trained elsewhere")]
    rows = [("Images", f"{facts.count:,}, {facts.bytes / 1e6:,.1f} MB")]
    if facts.formats:  # else nobody looked at them: they were given to judge imported models
        rows.append(("Formats", ", ".join(facts.formats)))
        rows.append(("Colour", "grey" if facts.all_grey else "colour"))
    if facts.height:
        rows += [
            ("Smallest", f"{facts.smallest[0]} x {facts.smallest[1]} pixels (height x width)"),
            ("Median", f"{facts.height} x {facts.width}"),
            ("Largest", f"{facts.largest[0]} x {facts.largest[1]}"),
        ]
    if all(facts.class_counts.values()):
        rows.append(("Largest class over smallest", f"{facts.imbalance:.1f}"))
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
            (
                f"Predictions, {reports.titled(judged.source)}, {judged.weights} weights",
                judged.predictions_hash,
            )
            for judged in evaluations
        ),
        ("Seed", str(run.recipe.seed)),
        ("Python", f"{info.get('python', '')}, {info.get('system', '')}"),
        ("Packages", ", ".join(f"{name} {version}" for name, version in packages.items())),
        ("Looks at the test split", str(max((each.looks for each in evaluations), default=0))),
    ]
    return [(name, value) for name, value in rows if value]


def limits(run: Run, evaluations: Sequence[Evaluation]) -> list[str]:
    """Return what the figures do not say and what the model is not for, a sentence each.

    Args:
        run: Which.
        evaluations: Those of the weights that it has now, the most honest first.
    """
    return list(_limits(run, evaluations))


def _limits(run: Run, evaluations: Sequence[Evaluation]) -> Iterator[str]:
    names = [scores.name for scores in evaluations[0].classes] if evaluations else []
    known = f"the {len(names)} classes it was trained on" if names else "the classes it knows"
    yield f"It knows {known} and nothing else: an image of anything else is put into one of them."
    if run.state != runs.IMPORTED:
        yield from _of_data(run)
    if run.state == runs.COMPOSED and run.info["ensemble"]["difference"] is None:
        yield "That it is better than its members was not measured."
    if not evaluations:
        yield "It was not evaluated as it is now, so nothing is known of how good it is."
        return
    yield from _of_figures(evaluations)
    yield (
        "Intervals say how far chance in drawing the images may have moved a figure. They do not "
        "cover wrong labels, leaks that no check found, or images unlike these."
    )
    yield (
        "Nothing here shows that it is safe to act on without a person who checks; where people "
        "are concerned, that has to be shown apart, in use."
    )


def _of_figures(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """Yield what the figures leave open; of those of images that decided nothing, if there are."""
    honest = [each for each in evaluations if not each.caution]
    if not honest:
        yield f"Its best figures are not honest ones: {evaluations[0].caution}."
    if all(each.source in SPLITS and each.source != "external" for each in honest):
        yield (
            "It was judged on images of the same source as those it was trained on. Other cameras, "
            "sites and populations are not known to it; there it may do much worse. Judge it on "
            "images from there: sightline evaluate RUN --data."
        )
    first = (honest or evaluations)[0]
    told = [each for each in honest if each.weights == first.weights] or [first]
    counts = {
        scores.name: max(each.classes[place].count for each in told)
        for place, scores in enumerate(told[0].classes)
    }
    few = ", ".join(f"{name} ({count})" for name, count in counts.items() if count < _FEW)
    if few:
        yield f"Too few images were judged to say how good it is at {few}: {_FEW} are needed."
    for judged in told:
        it = f"On “{reports.titled(judged.source)}” it" if len(told) > 1 else "It"
        missed = [scores.name for scores in judged.classes
                  if scores.count and not scores.metrics.get("recall")]  # fmt: skip
        if missed:
            yield f"{it} found not one image of {', '.join(missed)}."
        worse = [each for each in judged.slices if each.differs and _below(each.difference)]
        if worse:
            said = ", ".join(f"{each.column} {each.value}" for each in worse)
            yield f"{it} does worse on some parts of the images: {said}."
    looks = max(each.looks for each in evaluations)
    if looks > 1:
        yield (
            f"The test split was looked at {looks} times. If any choice followed from that, its "
            "figures are too good."
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
    if run.state not in ("finished", runs.COMPOSED):
        yield f"The training is {run.state}: it did not come to its end."


def _percent(judged: Evaluation, metric: str) -> str:
    """Return a share with its interval, e.g. "61.3% (57.8% to 64.7%)"."""
    found = judged.intervals.get(metric)
    value = _unbroken(judged.metrics[metric])
    if found is None or found.low is None:
        return value
    return f"{value} ({_unbroken(found.low)} to {_unbroken(found.high)})"


def _unbroken(share: float | None) -> str:
    """Return a share whose sign stays on the line of its number."""
    return rounded(share, 1, percent=True).replace(" ", "\N{NO-BREAK SPACE}")


def _below(difference: Interval | None) -> bool:
    return difference is not None and difference.value < 0
