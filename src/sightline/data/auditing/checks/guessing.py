"""Groups told by file names: a pattern is proposed where the names give strong reason for it.

Strong means: one pattern makes several groups of several images, the groups are not just the
classes or years, and their images are not just running numbers that every class begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from sightline.data.auditing.checks.crossing import divided, spread
from sightline.data.auditing.checks.outcomes import joined
from sightline.data.sources import ScanOptions
from sightline.errors import DataError

# Words that are followed by the number of somebody or something that several images are of.
_WORDS = (
    "patient", "person", "participant", "subject", "individual", "donor", "animal", "case",
    "lesion", "study", "subj", "sub", "pat", "pid", "pt", "id",
)  # fmt: skip
# An exported DICOM series: the third of NORMAL2-IM-0115-0001 is the patient's, the last the view.
_SERIES = r"(?:^|[^A-Za-z])IM-\d+"
_SERIES_PREFIX = r"([A-Z]+\d*)-IM-\d"
# What systems append to the name of a file that is copied beside itself.
_COPY = r"(?: ?\(\d+\)| copy(?: \d+)?| - Copy(?: \(\d+\))?)"
_COPY_NAME = rf"^(.+?){_COPY}$"
# Frames: what stands before the last number is an identifier, so it holds a digit itself.
_FRAME_NAME = r"^(.*\d.*?)[-_ ](?:frame|slice|view|img|image|f|z|t)?[-_ ]?(\d+)$"
# At the beginning of a name, or a search would begin again at every letter of it.
_AT_NAME, _EXTENSION = r"(?<![^/])", r"(?:\.[^./]+)?$"
_FRAME_REGEX = (
    rf"{_AT_NAME}([^/]*\d[^/]*?)[-_ ](?:frame|slice|view|img|image|f|z|t)?[-_ ]?\d+{_EXTENSION}"
)

# A spelling met less often than this is an accident of some names.
_LEAST_SHARE = 0.001
# After a word that only such numbers follow, and no more of them than this, they are years.
_YEAR = r"^(?:19|20)\d\d$"
_MOST_YEARS = 30
# Numbers begin anew in each class where so many groups hold one image of each of several classes.
_ANEW_SHARE = 0.9
# A file with more numbered copies than this is the beginning of a numbered series.
_MOST_COPIES = 5
# Frames: nearly every name is of that form, there are many groups with about as many images as
# their numbers go up to, and at least two images each on average.
_FRAME_SHARE = 0.8
_FRAME_GROUPS = 10
_FRAME_GAPS = 2.0
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Guess:
    """A pattern for `--group-regex`, and what it makes of the file names.

    Attributes:
        what: What it is about, in words.
        regex: The pattern.
        num_images: Images that it matches.
        num_groups: Groups it puts those into.
        num_several: Groups of several images.
        largest: Images of the largest group.
        examples: The record ids of some groups of several images.
        across: Every group with images on several sides of the present split: record ids by side.
    """

    what: str
    regex: str
    num_images: int
    num_groups: int
    num_several: int
    largest: int
    examples: dict[str, list[str]]
    across: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def guesses(rows: pl.DataFrame) -> list[Guess]:
    """Return the patterns that the names of the records give strong reason for, the best first.

    Args:
        rows: record_id, label and split of every record.
    """
    names = rows.select(
        "record_id",
        "label",
        "split",
        pl.col("record_id").str.extract(r"([^/]*)$").alias("name"),
    ).with_columns(stem=pl.col("name").str.replace(r"\.[^.]*$", ""))
    found = []
    for what, regex in _candidates(names):
        guess = _weighed(what, regex, names)
        if guess is not None:
            found.append(guess)
    return found


def _candidates(names: pl.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield what to try, in words and as a pattern; the most telling first."""
    numbered = _spelled_words(names) | _series(names)
    if numbered:
        # Without the guard "Sid12" is an id and "basecase3" a case.
        words = joined([repr(word) for word in numbered])
        yield f"the number after {words}", f"(?<![A-Za-z])({'|'.join(numbered.values())})"
    yield from _copy_names(names)
    if not numbered and _are_frames(names):
        yield "numbered frames", _FRAME_REGEX


def _spelled_words(names: pl.DataFrame, words: tuple[str, ...] = _WORDS) -> dict[str, str]:
    """Return a pattern for each word that precedes a number, spelled as the names spell it."""
    word = rf"(?i)(?:^|[^a-z])({'|'.join(words)})([-_ ]?)(\d+)"
    met = names.select(pl.col("record_id").str.extract_groups(word).alias("met")).unnest("met")
    met = met.drop_nulls("1")
    before_years = _before_years(met)
    if before_years:  # the first word of study2019_patient3 hid the second
        words = tuple(word for word in words if word not in before_years)
        return _spelled_words(names, words) if words else {}
    met = met.group_by("1", "2").len()
    met = met.filter(pl.col("len") >= max(2, _LEAST_SHARE * len(names)))
    separators: dict[str, list[str]] = {}
    for word, separator in met.sort("1", "2").select("1", "2").iter_rows():
        separators.setdefault(word, []).append(separator)
    # Longer words first, as "sub" also begins "subject".
    spelled = sorted(separators.items(), key=lambda item: (-len(item[0]), item[0]))
    return {word: f"{word}{_any_of(marks)}\\d+" for word, marks in spelled}


def _before_years(met: pl.DataFrame) -> list[str]:
    """Return the words, in small letters, that nothing but a few years follow."""
    numbers = met.group_by(pl.col("1").str.to_lowercase()).agg(
        pl.col("3").str.contains(_YEAR).all().alias("alike"), pl.col("3").n_unique().alias("many")
    )
    return numbers.filter(pl.col("alike") & (pl.col("many") <= _MOST_YEARS))["1"].to_list()


def _any_of(separators: list[str]) -> str:
    """Return a pattern for one of several separators, of which "" may be one."""
    marks = [mark for mark in separators if mark]
    if not marks:
        return ""
    # A blank and a dash stand for themselves inside brackets, the dash at their end.
    text = marks[0] if len(marks) == 1 else f"[{''.join(sorted(marks, reverse=True))}]"
    return text if "" not in separators else f"{text}?"


def _series(names: pl.DataFrame) -> dict[str, str]:
    """Return the pattern for exported DICOM series, if there are any."""
    if not names["name"].str.contains(_SERIES).any():
        return {}
    prefixes = names["name"].str.extract(_SERIES_PREFIX).drop_nulls().unique().sort().to_list()
    before = f"(?:(?:{'|'.join(prefixes)})-)?" if len(prefixes) > 1 else ""
    before = f"(?:{prefixes[0]}-)?" if len(prefixes) == 1 else before
    return {"IM": rf"{before}IM-\d+"}


def _copy_names(names: pl.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield the patterns that join "name(1)" with the "name" that also exists."""
    copies = names.with_columns(base=pl.col("stem").str.extract(_COPY_NAME)).drop_nulls("base")
    made = copies.group_by("base").agg(pl.len().alias("copies"))
    made = made.with_columns(exists=pl.col("base").is_in(names["stem"].implode()))
    # "Covid (1)" to "Covid (900)" are a series, not copies of one picture, and a pattern cannot
    # tell the two apart: one such series, and none is proposed.
    too_many = pl.when("exists").then(_MOST_COPIES).otherwise(1)
    if not made["exists"].any() or len(made.filter(pl.col("copies") > too_many)):
        return
    what = "copies that a system numbered, such as 'name(1)' of 'name'"
    # By name alone where no name is in two folders, so that a copy in another folder counts too.
    if names["stem"].n_unique() == len(names):
        yield what, rf"{_AT_NAME}([^/]+?){_COPY}?{_EXTENSION}"
    else:
        yield what, rf"^(.+?){_COPY}?{_EXTENSION}"


def _are_frames(names: pl.DataFrame) -> bool:
    """Return whether the names are those of numbered frames of numbered things."""
    frames = names.select(pl.col("stem").str.extract_groups(_FRAME_NAME).alias("met"))
    frames = frames.unnest("met").drop_nulls("1")
    if len(frames) < _FRAME_SHARE * len(names):
        return False
    number = pl.col("2").str.slice(-9).cast(pl.Int64)
    groups = frames.group_by("1").agg(pl.len().alias("images"), number.max().alias("last"))
    dense = (groups["last"] <= _FRAME_GAPS * groups["images"] + 1).mean()
    return (
        len(groups) >= _FRAME_GROUPS
        and len(frames) >= 2 * len(groups)
        and isinstance(dense, float)
        and dense >= _FRAME_SHARE
    )


def _weighed(what: str, regex: str, names: pl.DataFrame) -> Guess | None:
    """Return what the pattern makes of the names; None where that is no sensible grouping."""
    try:
        groups = ScanOptions(group_regex=regex).groups(names["record_id"])
    except DataError:  # it matches nothing: what made it likely was not where it is searched
        return None
    assert groups is not None  # a pattern was given
    rows = names.with_columns(groups.alias("group"))
    # A record that does not match is its own group, by its whole id.
    matched = rows.filter(pl.col("group") != pl.col("record_id"))
    made = matched.group_by("group").agg(
        pl.len().alias("images"),
        pl.col("name").n_unique().alias("names"),
        pl.col("label").drop_nulls().n_unique().alias("labels"),
        pl.struct("label", "split").n_unique().alias("folders"),
    )
    several = made.filter(pl.col("images") > 1)
    if not len(several) or _are_classes(matched):
        return None
    if _COPY not in regex and _begin_anew(several):  # the number of a copy is not one's own
        return None
    shared = several.sort("images", "group", descending=[True, False])["group"].head(_SHOWN)
    examples = matched.filter(pl.col("group").is_in(shared.implode()))
    lists = examples.group_by("group", maintain_order=True).agg(pl.col("record_id").head(_SHOWN))
    return Guess(
        what=what,
        regex=regex,
        num_images=len(matched),
        num_groups=len(made),
        num_several=len(several),
        largest=int(several["images"].max() or 0),  # type: ignore[arg-type]
        examples=dict(lists.iter_rows()),
        across=spread(divided(matched, "group", "split"), "group", "split"),
    )


def _begin_anew(several: pl.DataFrame) -> bool:
    """Return whether a group is no case in several classes, but a number that each begins at 1.

    Such are case1.png in each class folder, and cat_case1.png beside dog_case1.png. That an image
    of the test side has its like in train, of one class, is no sign of it.
    """
    alike = pl.col("names") == 1
    one_each = (pl.col("labels") > 1) & (pl.col("images") == pl.col("folders"))
    shares = several.select(alike.all(), (alike | one_each).mean().alias("anew"))
    return bool(shares["names"][0]) or float(shares["anew"][0]) >= _ANEW_SHARE


def _are_classes(matched: pl.DataFrame) -> bool:
    """Return whether there are no more groups than one a label."""
    pairs = matched.select("label", "group").n_unique()
    return bool(pairs <= max(1, matched["label"].n_unique()))
