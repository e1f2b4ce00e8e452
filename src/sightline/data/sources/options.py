"""What the user may ask of every scan."""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from sightline.errors import DataError
from sightline.records import Split

SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "validate": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanOptions:
    """What every scan may be told.

    Attributes:
        group_regex: Searched in each record id: its first capture group, or else the whole
            match, is the record's group (a patient, a lesion). None: no groups.
        follow_links: Follow symbolic links that lead out of the scanned folder.
        learnable: Refuse what cannot be learned from (see `check_classes`); a set that is only
            judged may be like that.
    """

    group_regex: str | None = None
    follow_links: bool = False
    learnable: bool = True

    def groups(self, record_ids: pl.Series) -> pl.Series | None:
        """Return the group of each record; a record that does not match is its own group.

        None without a pattern.

        Raises:
            DataError: `group_regex` is not a regular expression, or matches no record.
        """
        if self.group_regex is None:
            return None
        examples = " and ".join(repr(record_id) for record_id in record_ids[:2])
        try:
            pattern = re.compile(self.group_regex)
        except re.error as error:
            raise DataError(
                f"the group pattern {self.group_regex!r} is not a regular expression: {error}. "
                f"It is searched in record ids such as {examples}."
            ) from error
        found = [_group(pattern, record_id) for record_id in record_ids]
        if all(group is None for group in found):
            raise DataError(
                f"the group pattern {self.group_regex!r} matches none of the {len(record_ids)} "
                f"record ids, such as {examples}. Write a pattern that finds the patient or "
                "lesion in them, or leave it out."
            )
        groups = pl.Series(found, dtype=pl.String)
        return groups.zip_with((groups != "").fill_null(value=False), record_ids)


def _group(pattern: re.Pattern[str], record_id: str) -> str | None:
    """Return what the pattern finds; "" where it matches and finds nothing, None without."""
    match = pattern.search(record_id)
    return None if match is None else match.group(1 if pattern.groups else 0) or ""


DEFAULTS = ScanOptions()
