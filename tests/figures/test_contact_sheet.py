from __future__ import annotations

import base64
import io
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from msedge.errors import ShapeError
from msedge.figures.contact_sheet import Asked, Shown, contact_sheet


def content(kind: str = "JPEG", colour: str = "tan") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (30, 20), colour).save(stream, kind)
    return stream.getvalue()


def shown(**changes) -> Shown:
    values = {
        "rank": 1, "score": 0.81234, "picture": content(), "name": "cat.jpg",
        "place": "photos/cats", "link": "file:///photos/cats/cat.jpg",
    }  # fmt: skip
    return Shown(**(values | changes))


class Reader(HTMLParser):
    """Elements with their attributes, and all text."""

    VOID = ("meta", "img", "!doctype")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements, self.text, self.open = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


class TestPage:
    def test_a_card_a_photo(self):
        photos = [shown(rank=rank, name=f"{rank}.jpg") for rank in (1, 2, 3)]
        reader = Reader(contact_sheet(photos, title="Cats", note="3 of 9"))
        assert reader.open == []  # every element is closed, in order
        assert [image["alt"] for image in reader.all("img")] == ["1.jpg", "2.jpg", "3.jpg"]
        assert [link["href"] for link in reader.all("a")] == ["file:///photos/cats/cat.jpg"] * 3
        text = " ".join("".join(reader.text).split())
        for part in ("Cats", "3 of 9", "0.812", "photos/cats"):
            assert part in text

    def test_pictures_are_within(self):
        jpeg, png = content("JPEG"), content("PNG")
        page = contact_sheet([shown(picture=jpeg)], title="", asked=[Asked(png, "sketch: a.png")])
        asked, found = [image["src"] for image in Reader(page).all("img")]
        assert asked == "data:image/png;base64," + base64.b64encode(png).decode()
        assert found == "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()

    def test_it_loads_and_runs_nothing(self):
        reader = Reader(contact_sheet([shown()], title="", asked=[Asked(content(), "")]))
        assert not {"script", "link", "iframe", "object", "form"} & {n for n, _ in reader.elements}
        assert all(not name.startswith("on") for _, a in reader.elements for name in a)
        assert all(image["src"].startswith("data:") for image in reader.all("img"))
        (policy,) = [m["content"] for m in reader.all("meta") if "http-equiv" in m]
        assert policy.startswith("default-src 'none'; img-src data:;")

    def test_near_duplicates_can_be_unfolded(self):
        copies = (("a/b.jpg", "file:///a/b.jpg"), ("c.jpg", "file:///c.jpg"))
        reader = Reader(contact_sheet([shown(copies=copies)], title=""))
        assert [a["href"] for a in reader.all("a")][1:] == ["file:///a/b.jpg", "file:///c.jpg"]
        assert "2 near-duplicates" in reader.text
        assert "1 near-duplicate<" in contact_sheet([shown(copies=copies[:1])], title="")

    def test_a_photo_that_cannot_be_read(self):
        reader = Reader(contact_sheet([shown(picture=None)], title=""))
        assert reader.all("img") == []
        assert "cat.jpg cannot be read" in reader.text

    def test_nothing_found(self):
        assert "No photo was found." in contact_sheet([], title="")

    @pytest.mark.parametrize("wrong", [b"", b"GIF89a", b"<svg onload=alert(1)>"])
    def test_other_contents_are_refused(self, wrong):
        with pytest.raises(ShapeError, match="JPEG or PNG"):
            contact_sheet([shown(picture=wrong)], title="")


@given(text=st.text(st.characters(codec=None), max_size=40))
def test_no_text_becomes_markup(text):
    """Whatever files are called: the same elements, and a page that can be written."""
    picture = b"\xff\xd8\xff"
    plain, odd = (
        contact_sheet(
            [
                Shown(1, 0.5, picture, word, word, word, ((word, word),)),
                Shown(2, 0.4, None, word, word, word),
            ],
            title=word,
            asked=[Asked(picture, word)],
            note="note " + word,
        )
        for word in ("plain", text)
    )
    odd.encode("utf-8")
    expected, found = Reader(plain), Reader(odd)
    assert [name for name, _ in found.elements] == [name for name, _ in expected.elements]
    assert [sorted(a) for _, a in found.elements] == [sorted(a) for _, a in expected.elements]
    assert found.open == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_shows_it(tmp_path, width):
    """The photo's colour is on the screen, so its policy lets what is within be seen."""
    photos = [
        shown(rank=rank, picture=content("PNG", "#c0107a"), name="long" * 40)
        for rank in range(1, 9)
    ]
    (tmp_path / "sheet.html").write_text(contact_sheet(photos, title="x" * 200), encoding="utf-8")
    subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={tmp_path / 'seen.png'}",
            f"--window-size={width},900", (tmp_path / "sheet.html").as_uri(),
        ],
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    seen = Image.open(tmp_path / "seen.png").convert("RGB")
    counts = {colour: count for count, colour in seen.getcolors(1 << 24)}
    assert counts[192, 16, 122] > 20_000
