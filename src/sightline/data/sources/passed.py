"""What a scan passed over: how many of each kind, and the first names, to find them by."""

from __future__ import annotations

from collections import Counter, defaultdict

_NAMED = 100  # names of each kind that are kept; all are counted


class PassedOver:
    """Counts and names by kind; the same whatever order they are added in.

    Takes memory for 200 names of each kind at most.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: defaultdict[str, list[str]] = defaultdict(list)
        self._last: dict[str, str] = {}  # of a kind with enough names, the last that counts

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each kind; kinds sorted."""
        return dict(sorted(self._counts.items()))

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The first 100 paths of each kind, each once, sorted; kinds sorted."""
        return {kind: tuple(_first_of(self._first[kind])) for kind in sorted(self._first)}

    def add(self, kind: str, path: str) -> None:
        """Count one entry.

        Args:
            kind: Why it is passed over.
            path: Relative to what is read; one that is not UTF-8 is kept as `printable` text.
        """
        self._counts[kind] += 1
        self._keep(kind, path)

    def merge(self, other: PassedOver, prefix: str = "") -> None:
        """Add what another one holds, with `prefix` before each path."""
        self._counts += other._counts
        for kind, names in other.names.items():
            for name in names:
                self._keep(kind, prefix + name)

    def _keep(self, kind: str, path: str) -> None:
        path = printable(path)
        if kind in self._last and path >= self._last[kind]:
            return
        first = self._first[kind]
        first.append(path)
        if len(first) >= 2 * _NAMED:
            first[:] = _first_of(first)
            if len(first) == _NAMED:
                self._last[kind] = first[-1]


def printable(name: str) -> str:
    r"""Return a name from the file system as text.

    One that is not UTF-8 comes in ASCII, its other bytes as a shell reads them in $'...':
    caf\xe9.jpg.
    """
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("ascii", "backslashreplace")
    return name


def _first_of(names: list[str]) -> list[str]:
    return sorted(set(names))[:_NAMED]
