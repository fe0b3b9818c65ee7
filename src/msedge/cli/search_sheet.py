"""The answer of a search as a page; see :mod:`msedge.figures.contact_sheet`.

Tested in ``tests/cli/test_search_sheet.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from msedge.cli.search_output import short_path, told_names
from msedge.data.drawings import open_drawing
from msedge.data.images import one_line, open_image
from msedge.errors import DataError
from msedge.figures.contact_sheet import Asked, Outline, Shown, contact_sheet
from msedge.search.locations import uri
from msedge.search.thumbnails import thumbnail
from msedge.storage import atomic_path

if TYPE_CHECKING:
    from msedge.search.gallery import Gallery, Hit
    from msedge.search.names import Likely
    from msedge.search.photo import Photo
    from msedge.search.where import Box

NOT_LIKE = "not like"
"""What a drawing or photo that is not wanted was given as."""

_SIDE = 400  # pixels of a thumbnail, so that it is sharp on a dense screen


def write_sheet(
    path: Path,
    hits: Sequence[Hit],
    gallery: Gallery,
    *,
    sketches: Sequence[tuple[str, Path | bytes]],
    photos: Sequence[tuple[str, Path]],
    names: Sequence[Likely] = (),
    boxes: Mapping[int, Box] | None = None,
) -> None:
    """Write an answer as one HTML file.

    Args:
        path: where.
        hits: best first.
        gallery: where they were found.
        sketches: what was asked, each with what it was given as, such as ``sketch``; shown as the
            network saw them.
        photos: likewise.
        names: that were given, and that the sketches are likely of.
        boxes: where in a photo it is, by the photo's id; drawn over it.

    Raises:
        DataError: the file cannot be written.
    """
    asked = [
        *(
            Asked(_png(open_drawing(source)), f"{role}: {_name(source)}")
            for role, source in sketches
        ),
        *(Asked(_jpeg(open_image(source)), f"{role}: {_name(source)}") for role, source in photos),
    ]
    wanted = [_name(source) for role, source in (*sketches, *photos) if role != NOT_LIKE]
    wanted += [one_line(each.name) for each in names if each.settled]
    told = f"; {told_names(names)}" if names else ""
    page = contact_sheet(
        [_shown(hit, (boxes or {}).get(hit.photo.id)) for hit in hits],
        title=", ".join(wanted),
        asked=asked,
        note=f"{len(hits)} of {gallery.photos:,} photos of {gallery.path.name}, found by "
        f"{Path(gallery.model.name).name}{told}",
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _shown(hit: Hit, box: Box | None) -> Shown:
    path = hit.photo.path
    try:
        picture = thumbnail(hit.photo, _SIDE)
    except DataError:  # it was removed since, or its disk is away
        picture = None
    return Shown(
        rank=hit.rank,
        score=hit.score,
        picture=picture,
        name=path.name,
        place=short_path(path.parent),
        link=uri(path),
        copies=tuple((short_path(copy.path), uri(copy.path)) for copy in hit.copies),
        box=None if box is None or box.is_whole else _in_pixels(box, hit.photo),
    )


def _in_pixels(box: Box, photo: Photo) -> Outline:
    wide, high = photo.width, photo.height
    left, top = round(box.left * wide), round(box.top * high)
    width, height = round(box.right * wide) - left, round(box.bottom * high) - top
    return Outline((wide, high), left, top, width, height)


def _name(source: Path | bytes) -> str:
    return "standard input" if isinstance(source, bytes) else source.name


def _png(sketch: Image.Image) -> bytes:
    small = sketch.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).convert("L")
    content = BytesIO()
    small.save(content, "PNG", optimize=True)
    return content.getvalue()


def _jpeg(photo: Image.Image) -> bytes:
    photo.thumbnail((_SIDE, _SIDE))
    content = BytesIO()
    photo.save(content, "JPEG", quality=82)
    return content.getvalue()
