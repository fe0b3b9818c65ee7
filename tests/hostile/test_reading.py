"""Every hostile image by every way of reading one: a picture or one line, at a bounded cost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bounded import MEASURABLE, measured
from hostile_images import Hostile, corpus
from msedge.data.drawings import open_drawing
from msedge.data.image_content import decode, read_content
from msedge.data.images import open_image
from msedge.data.layouts import Record
from msedge.errors import DataError
from msedge.search.reading import Decoded, read_photo
from msedge.search.sources.objects import Item

pytestmark = pytest.mark.skipif(not MEASURABLE, reason="needs Linux, to measure memory")

KINDS = sorted({file.kind for file in corpus()})
SIZE = 64
MEGABYTES, SECONDS = 200, 8
"""Of memory and of CPU that a small file may take."""
MEGABYTES_OF_LARGE, SECONDS_OF_LARGE = 1_300, 60


def _told(file: Hostile, work) -> str:
    """``read``, or the line that an image is refused with."""
    try:
        work()
    except DataError as error:
        line = str(error)
        assert line.isprintable(), f"not one line: {line!r}"
        assert file.name in line, f"it does not say which file: {line}"
        assert len(line) < 400 + len(file.name), line
        return line
    return "read"


def _as_photo(file: Hostile, content: bytes) -> str:
    found = read_photo(Item(file.name, len(content), 0), content, SIZE)
    if isinstance(found, Decoded):
        assert found.pixels.shape == (3, SIZE, SIZE)
        assert min(found.facts.width, found.facts.height) > 0
        return "read"
    assert found.is_damaged
    assert found.reason.isprintable(), found.reason
    return found.reason


def _by_every_way(files: list[tuple[Hostile, bytes]], folder: Path) -> list[str]:
    """What is wrong with how some files were read."""
    wrong = []
    for file, content in files:
        path = folder / file.name
        path.write_bytes(content)
        record = Record(path, "sketch", "cat")
        told = {
            "photo": _as_photo(file, content),
            "image": _told(file, lambda p=path: open_image(p, size=SIZE)),
            "framed": _told(
                file,
                lambda p=path, r=record: decode(read_content(p), r, size=9, frame_sketches=True),
            ),
        }
        _told(file, lambda p=path: open_drawing(p))  # a photo may be read, and show no drawing
        path.unlink()
        fates = {"read" if line == "read" else "refused" for line in told.values()}
        if len(fates) > 1 or (file.fate != "either" and fates != {file.fate}):
            wrong.append(f"{file.kind}/{file.name} was to be {file.fate}: {told}")
    return wrong


@pytest.mark.parametrize("kind", KINDS)
def test_each_file_is_read_or_refused_in_a_line_at_little_cost(kind, tmp_path):
    files = [(f, f.make()) for f in corpus() if f.kind == kind and not f.large]
    if not files:
        pytest.skip("all files of this kind are large: see below")
    cost = measured(lambda: _by_every_way(files, tmp_path))
    assert cost.answer == []
    assert cost.megabytes < MEGABYTES
    assert cost.seconds < SECONDS * len(files)


@pytest.mark.slow
@pytest.mark.parametrize("file", [file for file in corpus() if file.large], ids=lambda f: f.name)
@pytest.mark.parametrize("way", ["photo", "drawing"])
def test_pictures_at_the_limit_cost_what_is_promised(file, way):
    content = file.make()

    def work() -> str:
        if way == "photo":
            return _as_photo(file, content)
        return _told(file, lambda: open_drawing(content, name=file.name))

    cost = measured(work)
    print(f"{way} {file.name}: {cost.megabytes:.0f} MB, {cost.seconds:.1f} s, {cost.answer}")
    assert way == "drawing" or cost.answer == "read"
    assert cost.megabytes < MEGABYTES_OF_LARGE
    assert cost.seconds < SECONDS_OF_LARGE


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_cost_of_each_small_file(kind):
    files = [file for file in corpus() if file.kind == kind and not file.large]
    if not files:
        pytest.skip("all files of this kind are large: see above")
    made = [(file, file.make()) for file in files]
    costs = [measured(lambda f=file, c=content: _as_photo(f, c)) for file, content in made]
    most, longest = max(c.megabytes for c in costs), max(c.seconds for c in costs)
    print(f"{kind}: {len(files)} files, at most {most:.0f} MB and {longest:.2f} s")
    assert most < MEGABYTES
    assert longest < SECONDS


def test_the_corpus_has_at_least_three_hundred_files_that_all_differ_in_name():
    names = Counter((file.kind, file.name) for file in corpus())
    assert len(names) >= 300
    assert max(names.values()) == 1
