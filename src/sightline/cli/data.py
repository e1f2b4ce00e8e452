"""scan, audit, split."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import sightline
from sightline import runs
from sightline.cli import console, options
from sightline.data.sources.walk import absolute
from sightline.errors import DataError
from sightline.records import SPLITS, Audit, Manifest
from sightline.workflow import splitting
from sightline.workflow.splitting import Divided, SplitOptions


class ResplitChoice(StrEnum):
    """What is divided anew."""

    all = "all"
    train = "train"


AuditFolder = Annotated[
    Path | None, typer.Option(help="Folder for it all; by default audits/NAME-DATE-TIME.")
]
MutingRecipe = Annotated[
    str | None, typer.Option(help="A recipe whose audit.mute counts: a name or a .toml file.")
]
Mute = Annotated[
    list[str] | None, typer.Option(help="Code of a finding that does not count; repeatable.")
]
Against = Annotated[
    Path | None,
    typer.Option(
        help="An earlier audited manifest: every file is read, what changed is quarantined."
    ),
]
Reread = Annotated[
    bool, typer.Option("--reread", help="Read every file anew, whatever is known of it.")
]
MaxMegapixels = Annotated[float, typer.Option(help="Larger pictures are quarantined unread.")]
ManifestOut = Annotated[Path | None, typer.Option(help="Save the manifest (.parquet).")]
Folds = Annotated[
    int | None, typer.Option(help="Deal all but the test split into folds; 0 is validation.")
]
Repeats = Annotated[
    int, typer.Option(min=1, max=1000, help="Divide so many times: M.repeat-0.parquet, and so on.")
]
Resplit = Annotated[
    ResplitChoice | None,
    typer.Option(
        help="Divide anew what was divided: all folders pooled; or train alone, the given test "
        "folder kept aside as external."
    ),
]
Keep = Annotated[
    list[Path] | None,
    typer.Option(
        help="An earlier manifest: what it assigned stays, new images go around it; repeatable, "
        "the newest first."
    ),
]
DiscoveredGroups = Annotated[
    bool,
    typer.Option(
        "--discovered-groups", help="Group by what file names suggest (see guessed-groups)."
    ),
]
MinPerClass = Annotated[int, typer.Option(help="Images that every class must have on every side.")]
RareWeights = Annotated[
    bool, typer.Option("--rare-weights", help="Weights that let every class count the same.")
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(console.told_plainly(scan))
    app.command()(console.told_plainly(audit))
    app.command()(console.told_plainly(split))


def scan(
    data: options.Data = None,
    train: options.Train = None,
    validation: options.Validation = None,
    test: options.Test = None,
    labels: options.Labels = None,
    path_col: options.PathCol = None,
    label_col: options.LabelCol = None,
    group_col: options.GroupCol = None,
    split_col: options.SplitCol = None,
    fold_col: options.FoldCol = None,
    group_regex: options.GroupRegex = None,
    follow_links: options.FollowLinks = False,
    out: ManifestOut = None,
    as_json: options.Json = False,
) -> None:
    """Look at images: classes, splits and groups, from names and sizes alone."""
    manifest = sightline.scan(data, **options.source_options(locals()))
    _show(manifest, out, as_json)


def audit(
    data: options.Data = None,
    train: options.Train = None,
    validation: options.Validation = None,
    test: options.Test = None,
    labels: options.Labels = None,
    path_col: options.PathCol = None,
    label_col: options.LabelCol = None,
    group_col: options.GroupCol = None,
    split_col: options.SplitCol = None,
    fold_col: options.FoldCol = None,
    group_regex: options.GroupRegex = None,
    follow_links: options.FollowLinks = False,
    out: AuditFolder = None,
    recipe: MutingRecipe = None,
    mute: Mute = None,
    against: Against = None,
    reread: Reread = False,
    max_megapixels: MaxMegapixels = 64.0,
    as_json: options.Json = False,
) -> None:
    """Look at every file in full: what is unusable, there twice, leaks or gives the label away.

    Ends with 1 where an error-level finding stands.
    """
    if out is None:
        options.refuse_among_images(data, train, validation, test)
    folder = out or _audit_folder(data or labels or train)
    done = sightline.audit(
        data,
        mute=mute or (),
        recipe=recipe,
        against=against,
        reuse=not reread,
        max_megapixels=max_megapixels,
        out=folder,
        progress=console.progress(as_json),
        **options.source_options(locals()),
    )
    if as_json:
        console.show_json({**done.to_dict(), "folder": str(folder)})
    else:
        _show_audit(done, folder)
    if done.errors:
        raise typer.Exit(console.FINDINGS)


def split(
    data: options.Data = None,
    validation: Annotated[
        float | None, typer.Option(help="Share for validation; by default 0.15.")
    ] = None,
    test: Annotated[
        float | None, typer.Option(help="Share for the test; by default 0.15, 0 for none.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another division.")] = 0,
    folds: Folds = None,
    repeats: Repeats = 1,
    resplit: Resplit = None,
    keep: Keep = None,
    discovered_groups: DiscoveredGroups = False,
    min_per_class: MinPerClass = 1,
    rare_weights: RareWeights = False,
    labels: options.Labels = None,
    path_col: options.PathCol = None,
    label_col: options.LabelCol = None,
    group_col: options.GroupCol = None,
    split_col: options.SplitCol = None,
    fold_col: options.FoldCol = None,
    group_regex: options.GroupRegex = None,
    follow_links: options.FollowLinks = False,
    out: ManifestOut = None,
    as_json: options.Json = False,
) -> None:
    """Divide images into train, validation and test; copies and groups are never on two sides.

    Splits that the images came with are kept, and those they lack are taken out of train. Images
    that were not audited are audited first. Without --out the division is only shown.
    """
    shares = ("validation", "test")  # here they are numbers, in a scan they are folders
    source = {name: value for name, value in locals().items() if name not in shares}
    wanted = SplitOptions(
        validation=validation, test=test, seed=seed, folds=folds, keep=tuple(keep or ()),
        resplit=None if resplit is None else resplit.value,
        discovered_groups=discovered_groups, min_per_class=min_per_class, rare_weights=rare_weights,
    )  # fmt: skip
    paths = _manifest_paths(out, repeats)
    scanned = sightline.scan(data, **options.source_options(source))
    manifest = splitting.audited(scanned, console.progress(as_json))
    # All of them before the first is written: a refusal leaves nothing half done.
    done = [splitting.divide(manifest, replace(wanted, repeat=repeat)) for repeat in range(repeats)]
    for divided, path in zip(done, paths, strict=True):
        _save(divided.manifest, path)
    _show_divisions(done, paths, as_json)
    if any(finding.severity == "error" for divided in done for finding in divided.findings):
        raise typer.Exit(console.FINDINGS)


def _audit_folder(given: Path | None) -> Path:
    """Return a folder for a new audit, called after what is audited."""
    path = Path(absolute(given)) if given is not None else Path()
    name = path.stem if path.is_file() else path.name
    return runs.new_run_path(name or "images", parent=Path("audits"))


def _show_audit(audit: Audit, folder: Path) -> None:
    """Print what stands, what is quarantined, and where the page is."""
    files = len(audit.manifest)
    console.show(f"{files:,} file{'s' * (files != 1)} in {audit.manifest.root}")
    order = ("error", "warning", "info")
    standing = [
        f for severity in order for f in audit.findings if f.stands and f.severity == severity
    ]
    if standing:
        rows = [[finding.severity, finding.code, finding.title] for finding in standing]
        console.show_table(["severity", "finding", ""], rows)
    else:
        console.show("No check found anything that stands.")
    quiet = sum(finding.outcome != "found" for finding in audit.findings)
    muted = [f.code for f in audit.findings if f.muted and f.outcome == "found"]
    told = f" Muted: {', '.join(muted)}." if muted else ""
    console.show(f"Checks that passed or do not apply: {quiet}.{told}")
    reasons = (
        audit.quarantine["reason_code"]
        .value_counts(sort=True)
        .sort("count", "reason_code", descending=[True, False])
    )
    for reason, count in reasons.iter_rows():
        console.show(f"quarantined: {count:,} {reason}")
    console.show(f"Page: {folder / 'audit.html'}")
    console.show(f"Manifest: {folder / 'manifest.parquet'}")


def _manifest_paths(out: Path | None, repeats: int) -> list[Path | None]:
    """Return where each division is to be saved: M.parquet, or M.repeat-0.parquet and so on.

    Raises:
        DataError: The name is not that of a manifest, or a folder.
    """
    if out is not None:
        _refuse_no_manifest(out)
    if out is None or repeats == 1:
        return [out] * repeats
    return [out.with_name(f"{out.stem}.repeat-{number}.parquet") for number in range(repeats)]


def _refuse_no_manifest(out: Path) -> None:
    if out.suffix != ".parquet":
        raise DataError(f"a manifest is saved as .parquet, got {out}")
    if out.is_dir():
        raise DataError(f"the output {out} is a folder. Name a file in it.")


def _save(manifest: Manifest, out: Path | None) -> None:
    if out is not None:
        _refuse_no_manifest(out)
        runs.save_manifest(manifest, out)


def _show_divisions(done: list[Divided], paths: list[Path | None], as_json: bool) -> None:
    """Print what each side holds, what there is to say about it, and where it was saved."""
    if as_json:
        told = [
            {
                **_as_json(divided.manifest, path),
                "sides": list(divided.sides),
                "findings": [finding.to_dict() for finding in divided.findings],
            }
            for divided, path in zip(done, paths, strict=True)
        ]
        console.show_json(told[0] if len(told) == 1 else {"repeats": told})
        return
    for number, (divided, path) in enumerate(zip(done, paths, strict=True)):
        if len(done) > 1:
            console.show(f"{chr(10) if number else ''}Repeat {number}")
        _show_counts(divided.manifest)
        for line in divided.sides:
            console.show(line)
        for finding in divided.findings:
            console.show(
                f"{finding.severity.capitalize()} {finding.code}: {finding.title} {finding.advice}"
            )
        if path is not None:
            console.show(f"Saved as {path}")


def _show(manifest: Manifest, out: Path | None, as_json: bool) -> None:
    """Print the counts, and save the manifest where that was asked for."""
    _save(manifest, out)
    if as_json:
        console.show_json(_as_json(manifest, out))
        return
    _show_counts(manifest)
    for kind, count in manifest.ignored.items():
        console.show(f"passed over: {count:,} {kind}")
    if out is not None:
        console.show(f"Saved as {out}")


def _as_json(manifest: Manifest, out: Path | None) -> dict[str, Any]:
    return {
        "root": str(manifest.root),
        "images": len(manifest),
        "classes": manifest.counts().rows(named=True),
        "groups": manifest.table["group"].drop_nulls().n_unique(),
        "ignored": dict(manifest.ignored),
        "saved": str(out) if out else None,
    }


def _show_counts(manifest: Manifest) -> None:
    counts = manifest.counts()
    console.show(f"{len(manifest):,} image{'s' * (len(manifest) != 1)} in {manifest.root}")
    splits = [name for name in SPLITS if name in counts.columns]
    divided = bool(counts[splits].sum_horizontal().sum())
    columns = ["label", *(splits if divided else []), "total"]
    console.show_table(
        columns,
        [
            [f"{value:,}" if isinstance(value, int) else value or "-" for value in row]
            for row in counts.select(columns).rows()
        ],
    )
