"""The site: builds without a warning, leads nowhere, leaves nobody out, asks no other host for anything."""
from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urldefrag

import pytest

import nn
import tinygrad_conv as tg

ROOT = Path(__file__).resolve().parent.parent
ASKED_FOR = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("object", "data"), ("use", "href")}


class Page(HTMLParser):
    """The ids, links and headings of a page, and what a browser loads for it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.headings: list[str] = []
        self._heading = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values[k] for k in ("id", "name") if values.get(k)]
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        wanted = [values[k] for t, k in ASKED_FOR if t == tag and values.get(k)]
        if values.get("rel") != "canonical":
            self.loaded += [w for w in wanted if not w.startswith("data:")]
        if re.fullmatch("h[1-6]", tag):
            self._heading = True
            self.headings.append("")

    def handle_endtag(self, tag):
        if re.fullmatch("h[1-6]", tag):
            self._heading = False

    def handle_data(self, data):
        if self._heading:
            self.headings[-1] += data


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    for needed in ("material", "mkdocstrings_handlers", "nbconvert"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip("what makes the site is not installed: pip install 'tinygrad_conv[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder], cwd=ROOT, capture_output=True,
                          text=True, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_link_inside_leads_somewhere(site, pages):
    lost = []
    for path, page in pages.items():
        for link in page.links + page.loaded:
            target, anchor = urldefrag(link)
            if re.match("[a-z]+:", target):
                continue
            there = (path.parent / unquote(target)).resolve() if target else path
            there = there / "index.html" if there.is_dir() else there
            if not there.is_file() or anchor and there.suffix == ".html" and unquote(anchor) not in pages[there].ids:
                lost.append(f"{path.relative_to(site)}: {link}")
    assert lost == []
    assert sum(len(page.links) for page in pages.values()) > 1000  # there was something to check


def test_no_two_things_of_a_page_have_one_anchor(site, pages):
    """Of the pages made here; pictures drawn by others name their parts alike."""
    for path in site.glob("reference/*.html"):
        twice = [name for name, n in Counter(pages[path].ids).items() if n > 1 and not name.startswith("__")]
        assert twice == [], path.name


def names(package: ModuleType, prefix: str) -> set[str]:
    """What users write, of a package and of the public modules in it."""
    found = set()
    for name in package.__all__:
        value = getattr(package, name)
        if not isinstance(value, ModuleType):
            found.add(f"{prefix}.{name}")
        elif hasattr(value, "__all__"):
            found |= names(value, f"{prefix}.{name}")
        else:
            found |= {f"{prefix}.{name}.{k}" for k, v in vars(value).items() if callable(v) and not k.startswith("_")
                      and getattr(v, "__module__", None) == value.__name__}
    return found


def test_every_public_name_is_once_in_the_reference(site, pages):
    headings = Counter(heading.strip().removesuffix("¶").strip() for path in site.glob("reference/*.html")
                       for heading in pages[path].headings)
    expected = names(tg, "tg") | names(nn, "nn")
    assert {name: headings[name] for name in expected if headings[name] != 1} == {}
    assert {heading for heading in headings if heading.startswith(("tg.", "nn."))} == expected


def test_every_entry_of_the_reference_says_something(site):
    """A heading, a signature, and at least a line."""
    for path in sorted(site.glob("reference/*.html")):
        parts = re.split(r'<h3 id="', path.read_text(encoding="utf-8"))[1:]
        assert parts
        assert [part.split('"')[0] for part in parts if not re.search("<p>.*?</p>", part, re.S)] == [], path.name


def test_nothing_is_asked_of_another_host(site, pages):
    assert {link for page in pages.values() for link in page.loaded if re.match("([a-z]+:)?//", link)} == set()
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", path.read_text(encoding="utf-8")), path


def test_the_notebooks_are_there_with_their_pictures(site, pages):
    for notebook in (ROOT / "demos" / "notebooks").glob("*.ipynb"):
        page = pages[site / "notebooks" / f"{notebook.stem}.html"]
        assert [link for link in page.loaded if link.endswith(".svg")], notebook.name


def test_the_citation_is_of_this_version():
    assert f"\nversion: {tg.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
