"""Reading HTML in tests."""

from html.parser import HTMLParser
from typing import Dict, List, Optional, Tuple

VOID = ("meta", "br", "link", "img", "hr", "input")


class Page(HTMLParser):
    """A parsed page; elements that are not closed, or closed twice, are an error.

    html (str): The page.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: List[Tuple[str, Dict[str, Optional[str]]]] = []
        self.texts: Dict[str, List[str]] = {}
        self._open: List[Tuple[str, str]] = []
        self.feed(html)
        self.close()
        if self._open:
            raise ValueError(f"Not closed: {self._open}")

    def handle_starttag(self, tag: str, attrs: list) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self._open.append((tag, attributes.get("class") or tag))
            self.texts.setdefault(self._open[-1][1], []).append("")

    def handle_endtag(self, tag: str) -> None:
        found, _ = self._open.pop()
        if found != tag:
            raise ValueError(f"<{found}> closed by </{tag}>")

    def handle_data(self, data: str) -> None:
        for name in {name for _, name in self._open}:
            self.texts[name][-1] += data

    def text(self, name: str) -> List[str]:
        """Return the text of each element of that class, or without one of that tag."""
        return [" ".join(text.split()) for text in self.texts.get(name, [])]

    @property
    def outside(self) -> List[str]:
        """Everything that a browser would run or fetch."""
        scripts = [tag for tag, _ in self.tags if tag in ("script", "link", "img")]
        sources = [
            f"{name}={value}"
            for _, attributes in self.tags
            for name, value in attributes.items()
            if name in ("src", "href") or name.startswith("on")
        ]
        urls = [text for text in self.texts.get("style", []) if "url(" in text]
        return scripts + sources + urls
