"""A picture on its way into a report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded thumbnail with the words that go under it.

    Attributes:
        content: The bytes of the picture file.
        media_type: "image/jpeg" or "image/png".
        caption: Plain text; a report escapes it.
        width: Pixels.
        height: Pixels.
    """

    content: bytes
    media_type: str
    caption: str
    width: int
    height: int
