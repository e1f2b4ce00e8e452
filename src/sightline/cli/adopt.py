"""adopt."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.adoption import Adoption, adopt, copy_path, write_copy
from sightline.cli import console, options
from sightline.records import Finding


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(name="adopt")(console.told_plainly(adopt_script))


def adopt_script(
    script: Annotated[Path, typer.Argument(help="A Keras script or notebook: .py or .ipynb.")],
    write: Annotated[
        bool, typer.Option("--write", help="Write a mended copy beside the script.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Where the copy goes; it is written then.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Read a Keras script without running it; tell what is wrong, and write a mended copy."""
    adoption = adopt(script)
    wanted = write or out is not None
    copy = write_copy(adoption, out) if wanted and adoption.mended is not None else None
    if as_json:
        console.show_json(_as_json(adoption, copy))
    else:
        _tell(adoption, copy, wanted)
    left = [each for each in adoption.findings if copy is None or not each.evidence["mended"]]
    if any(each.severity == "error" for each in left):
        raise SystemExit(console.FINDINGS)


def _tell(adoption: Adoption, copy: Path | None, wanted: bool) -> None:
    if not adoption.uses_keras:
        console.show(f"{adoption.path} does not use Keras: there is nothing to adopt.")
        return
    if not adoption.findings:
        console.show(f"{adoption.path}: nothing is wrong with it.")
        return
    for finding in adoption.findings:
        console.show("\n".join(_block(adoption, finding)))
    console.show(_summary(adoption))
    mended = sum(each.evidence["mended"] for each in adoption.findings)
    if adoption.refused:
        console.show(
            "Nothing is mended: the changed text would be no program. That is a defect of "
            "Sightline; please report it with this script."
        )
    elif copy is not None:
        console.show(f"Wrote {copy}: {mended} of {len(adoption.findings)} mended.")
    elif not mended:
        console.show("None of them can be mended without you" + ("; no copy." if wanted else "."))
    else:
        name = copy_path(adoption.path).name
        console.show(
            f"{mended} of {len(adoption.findings)} are mended in a copy, {name}:\n"
            f"  sightline adopt {shlex.quote(str(adoption.path))} --write"
        )


def _block(adoption: Adoption, finding: Finding) -> list[str]:
    """Return the lines about one finding."""
    evidence = finding.evidence
    cell = "" if evidence["cell"] is None else f" cell {evidence['cell']}, line "
    place = f"{adoption.path}{cell or ':'}{evidence['line']}"
    mended = "  (--write mends it)" if evidence["mended"] else ""
    lines = [
        f"{place}  {finding.severity}  {finding.code}{mended}",
        f"    {evidence['source']}",
        f"  {finding.title}",
        f"  {finding.advice}",
        "",
    ]
    return lines


def _summary(adoption: Adoption) -> str:
    counts = Counter(str(each.severity) for each in adoption.findings)
    words = (
        ("error", "errors", "error"),
        ("warning", "warnings", "warning"),
        ("note", "notes", "info"),
    )
    parts = [
        f"{counts[severity]} {one if counts[severity] == 1 else many}"
        for one, many, severity in words
        if counts[severity]
    ]
    cells = " Cells are counted from 1, text cells included." if _has_cells(adoption) else ""
    return f"{', '.join(parts)}.{cells}"


def _has_cells(adoption: Adoption) -> bool:
    return any(each.evidence["cell"] is not None for each in adoption.findings)


def _as_json(adoption: Adoption, copy: Path | None) -> dict[str, Any]:
    return {
        "path": str(adoption.path),
        "uses_keras": adoption.uses_keras,
        "findings": [
            {
                "code": each.code,
                "severity": each.severity,
                **each.evidence,
                "title": each.title,
                "advice": each.advice,
            }
            for each in adoption.findings
        ],
        "copy": None if copy is None else str(copy),
    }
