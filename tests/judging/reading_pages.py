"""Pages as a reader meets them, and a picture to put into one."""

from __future__ import annotations

import io
from html.parser import HTMLParser

from PIL import Image

from sightline.records import Picture

HOSTILE = "<img src=x onerror=alert(1)>"
UNCLOSED = {"meta", "link", "img", "input", "br", "hr", "path", "use", "image", "rect"}


class Page(HTMLParser):
    """What a reader meets: elements with their attributes, words, and faults of nesting."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.comments: list[str] = []
        self.feed(source)
        self.close()
        self.faults += [f"{tag} is never closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in UNCLOSED:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in UNCLOSED:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"{tag} is closed but was not the last one opened")

    def handle_data(self, text: str) -> None:
        if not {"style", "title"} & set(self.open):
            self.words.append(text)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def unknown_decl(self, data: str) -> None:
        self.comments.append(data)

    def handle_pi(self, data: str) -> None:
        self.comments.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def picture(caption: str, width: int = 80) -> Picture:
    file = io.BytesIO()
    Image.new("RGB", (width, 60), "teal").save(file, "PNG")
    return Picture(file.getvalue(), "image/png", caption, width, 60)
