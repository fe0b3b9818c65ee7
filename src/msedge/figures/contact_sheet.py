"""A page of photos that were found, with what was asked: one HTML file that needs nothing else.

Pictures lie within it as data URIs, there is no script, and its policy lets a browser load nothing,
so it can be sent and kept. It follows the reader's choice of light or dark and the width of the
screen. Tested in ``tests/figures/test_contact_sheet.py``.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from msedge.data.images import one_line
from msedge.errors import ShapeError

_KINDS = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))


@dataclass(frozen=True, slots=True)
class Asked:
    """One picture of the query.

    Attributes:
        picture: the content of a JPEG or PNG file.
        label: what it is, and where it comes from.
    """

    picture: bytes
    label: str


@dataclass(frozen=True, slots=True)
class Outline:
    """A part of a photo, in pixels.

    Attributes:
        size: width and height of the whole photo.
        left, top, width, height: of the part.
    """

    size: tuple[int, int]
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Shown:
    """One photo of the answer.

    Attributes:
        rank: from 1.
        score: what ranks it; a cosine similarity, or what is left of one.
        picture: a thumbnail, the content of a JPEG or PNG file; None where it cannot be read.
        name: of the file.
        place: the folder that it lies in.
        link: where the whole photo is, a URI.
        copies: near-duplicates, each its path and URI.
        box: where in it the thing is, drawn over the picture.
    """

    rank: int
    score: float
    picture: bytes | None
    name: str
    place: str
    link: str
    copies: tuple[tuple[str, str], ...] = ()
    box: Outline | None = None


def contact_sheet(
    photos: Sequence[Shown], *, title: str, asked: Sequence[Asked] = (), note: str = ""
) -> str:
    """Lay out an answer as a page.

    Args:
        photos: best first; may be empty.
        title: printed above.
        asked: what was searched with.
        note: a line below the title, such as what was searched.

    Returns:
        The text of an HTML file, to be written as UTF-8.

    Raises:
        ShapeError: a picture is neither JPEG nor PNG.

    Example:
        >>> page = contact_sheet([], title="A <cat>")
        >>> "<h1>A &lt;cat&gt;</h1>" in page, "No photo was found." in page
        (True, True)
    """
    body = [f"<h1>{_text(title)}</h1>"]
    if note:
        body.append(f'<p class="note">{_text(note)}</p>')
    if asked:
        body += ['<ul class="asked" aria-label="What was asked">', *map(_query, asked), "</ul>"]
    if photos:
        body += ['<ol class="photos" aria-label="Photos, best first">']
        body += [line for photo in photos for line in _card(photo)]
        body += ["</ol>"]
    else:
        body.append("<p>No photo was found.</p>")
    return _PAGE.format(title=_text(title), style=_STYLE, body="\n".join(body))


def _query(asked: Asked) -> str:
    label = _text(asked.label)
    return (
        f'<li><figure><img src="{_data_uri(asked.picture)}" alt="">'
        f"<figcaption>{label}</figcaption></figure></li>"
    )


def _card(photo: Shown) -> Iterator[str]:
    name = _text(photo.name)
    yield '<li><figure><a class="frame" href="' + _text(photo.link) + f'" title="{name}">'
    if photo.picture is None:
        yield f'<span class="missing">{name} cannot be read</span>'
    else:
        yield f'<img src="{_data_uri(photo.picture)}" alt="{name}" decoding="async">'
        if photo.box is not None:
            yield _outline(photo.box)
    yield (
        f'</a><figcaption><span class="rank">{photo.rank}</span>'
        f'<span class="score" title="score">{photo.score:.3f}</span>'
        f'<span class="name">{name}</span><span class="place">{_text(photo.place)}</span>'
    )
    if photo.copies:
        count = len(photo.copies)
        yield f"<details><summary>{count} near-duplicate{'s' * (count > 1)}</summary><ul>"
        for path, link in photo.copies:
            yield f'<li><a href="{_text(link)}">{_text(path)}</a></li>'
        yield "</ul></details>"
    yield "</figcaption></figure></li>"


def _outline(box: Outline) -> str:
    """Fitted into the frame as the picture is; a light line on a dark one, seen on any photo."""
    place = f'x="{box.left}" y="{box.top}" width="{box.width}" height="{box.height}"'
    return (
        f'<svg class="box" viewBox="0 0 {box.size[0]} {box.size[1]}" role="img">'
        f"<title>where it is</title><rect {place}/><rect {place}/></svg>"
    )


def _text(value: str) -> str:
    """Safe in text and in quoted attributes, and valid as UTF-8 whatever a file was called."""
    return escape(one_line(value))


def _data_uri(picture: bytes) -> str:
    for magic, kind in _KINDS:
        if picture.startswith(magic):
            return f"data:{kind};base64,{base64.b64encode(picture).decode()}"
    raise ShapeError(f"a picture of a contact sheet must be JPEG or PNG, got {picture[:4]!r}")


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root {
  --ground: #f6f6f4; --card: #fff; --ink: #1b1c1e; --soft: #5c5f66; --line: #dcdcd8;
  --frame: #ecece8; --link: #0a58a8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #141517; --card: #1f2124; --ink: #ececec; --soft: #a5a9b0; --line: #34373c;
    --frame: #17181a; --link: #82b8f5;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.4 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1500px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { margin: 0; font-size: 1.5rem; font-weight: 650; overflow-wrap: anywhere; }
.note { margin: 4px 0 0; color: var(--soft); overflow-wrap: anywhere; }
ul, ol { list-style: none; margin: 0; padding: 0; }
figure { margin: 0; }
.asked { display: flex; flex-wrap: wrap; gap: 14px; margin-top: 18px; }
.asked li { width: 150px; }
.asked img {
  display: block; width: 150px; height: 150px; object-fit: contain; background: #fff;
  border: 1px solid var(--line); border-radius: 8px;
}
.asked figcaption { margin-top: 5px; font-size: .8rem; color: var(--soft);
  overflow-wrap: anywhere; }
.photos {
  display: grid; gap: 16px; margin-top: 26px;
  grid-template-columns: repeat(auto-fill, minmax(min(200px, 44vw), 1fr));
}
.photos > li {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: hidden;
}
.frame { display: block; position: relative; aspect-ratio: 1; background: var(--frame); }
.frame img { display: block; width: 100%; height: 100%; object-fit: contain; }
.box { position: absolute; inset: 0; width: 100%; height: 100%; fill: none; stroke: #000a;
  stroke-width: 4; }
.box rect { vector-effect: non-scaling-stroke; }
.box rect + rect { stroke: #fff; stroke-width: 2; }
.frame:focus-visible { outline: 3px solid var(--link); outline-offset: -3px; }
.missing {
  display: flex; height: 100%; align-items: center; justify-content: center; padding: 12px;
  text-align: center; color: var(--soft); overflow-wrap: anywhere;
}
.photos figcaption {
  display: grid; grid-template-columns: 1fr auto; gap: 0 8px; padding: 9px 12px 11px;
  font-size: .85rem;
}
.rank { font-weight: 650; }
.score { color: var(--soft); font-variant-numeric: tabular-nums; }
.name, .place, details { grid-column: 1 / -1; overflow-wrap: anywhere; }
.place { color: var(--soft); font-size: .8rem; }
details { margin-top: 6px; font-size: .8rem; }
summary { cursor: pointer; color: var(--soft); }
a { color: var(--link); }
@media (max-width: 500px) {
  main { padding: 16px 12px 32px; }
  .photos { gap: 10px; margin-top: 18px; }
  .asked li, .asked img { width: 96px; }
  .asked img { height: 96px; }
}
@media print { .photos > li { break-inside: avoid; } }
"""
