"""What every HTML page must be: whole, and one file that fetches nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

EMPTY = {"meta", "img", "br"}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.links = [], {}, []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen[tag] = self.seen.get(tag, 0) + 1
        self.links += [value for key, value in attrs if key in {"src", "href"}]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen[tag] = self.seen.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def whole(text):
    page = Page(text)
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert not re.search(r"https?:|url\(|@import|<script|<link", text)
    return page
