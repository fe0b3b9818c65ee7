"""A drawing off its paper: even the light of a photographed sheet, keep what was drawn.

A telephone sees a sheet grey or yellow, brighter at the window, under the shadow of a hand, on a
table. None of it was drawn. What was drawn is darker than the paper around it, thin, and hangs
together. So the light on bare paper is estimated by a closing (a maximum filter wider than any
line, then a minimum filter), the picture divided by it, and what then stays dark enough, is long
enough and does not run out of the picture is the ink. A blackboard is inverted first. Tested in
``tests/data/test_paper.py``.

References:
    Serra, Image Analysis and Mathematical Morphology, 1982: closing, and its use for uneven light.
    Canny, A Computational Approach to Edge Detection, PAMI 1986: two thresholds, the lower counting
    where marks reach the higher.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from msedge.data.components import Components, find_components
from msedge.data.sketches import INK

_Plane = npt.NDArray[np.float32]
_Mask = npt.NDArray[np.bool_]

_SIDE = 1000  # of the picture worked on; a pencil's line on a telephone's photo has 2 or 3
_LIGHT_SIDE = 200  # of the picture in which the light is estimated
_CLOSING = 17  # pixels of that: what is wider than a twelfth of the picture counts as ground
_JUMP = 1.7  # between levels of light that a shadow does not make within 5 pixels of that
_SAME = 6  # grey levels: a ground that spreads less was never before a lens
_DARK = 100  # grey levels from the ground that a network's training saw at least
_FAINTEST = 0.05  # of the light; less is grain, whatever the noise
_LEVELS = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma, as Pillow's


def is_clean(sheet: Image.Image) -> bool:
    """Whether a drawing is strong ink on a ground of one colour, as programs make them.

    Args:
        sheet: mode ``RGB``.
    """
    step = max(1, max(sheet.size) // 1024)
    pixels = np.asarray(sheet)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(border, axis=0).astype(np.int16)
    distance = np.abs(pixels[::step, ::step].astype(np.int16) - ground)
    farthest = distance.max(axis=2)
    inked = farthest > INK
    if inked.all() or (farthest[~inked] <= _SAME).mean() < 0.8:
        return False
    if not inked.any():
        return not (farthest > 2 * _SAME).any()
    contrast = np.abs(pixels[::step, ::step][inked] @ _LEVELS - ground @ _LEVELS)
    return bool((contrast > _DARK).mean() > 0.05)


def lift_ink(sheet: Image.Image) -> Image.Image:
    """Draw the ink of a photographed or faint drawing in black on white.

    Args:
        sheet: mode ``RGB``.

    Returns:
        The ink, mode ``RGB``, at most 1,000 pixels on the longer side; all white where there is
        none.
    """
    sheet = sheet.copy()
    sheet.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    colours = np.asarray(sheet, np.float32)
    luma = colours @ _LEVELS
    page = _page(luma)
    if _is_blackboard(luma, page):
        colours, luma = 255 - colours, 255 - luma
    drawn = _drawn(_darkness(luma, page))
    if drawn is None:  # yellow is as light as paper, but not in every channel
        bands = [_darkness(colours[..., band], page) for band in range(3)]
        drawn = _drawn(np.maximum.reduce(bands))
    if drawn is None:
        return Image.new("RGB", sheet.size, "white")
    return _levels(255 * (1 - drawn)).convert("RGB")


def _page(luma: _Plane) -> _Mask:
    """What is sheet and not the table around it, which the light leaves in a jump."""
    light = _reduced(luma, _LIGHT_SIDE).filter(ImageFilter.MedianFilter(7))
    high = np.asarray(light.filter(ImageFilter.MaxFilter(5)), np.float32)
    low = np.asarray(light.filter(ImageFilter.MinFilter(5)), np.float32)
    smooth = find_components(high < _JUMP * np.maximum(low, 8.0))
    if not len(smooth.areas):
        return np.ones(luma.shape, bool)
    even = smooth.labels >= 0
    glow = np.bincount(smooth.labels[even], weights=np.asarray(light)[even])
    around = find_components(smooth.labels != glow.argmax())
    off = around.pixels(~_inside(around))
    return _enlarged(~_grown(off, 2), luma)


def _is_blackboard(luma: _Plane, page: _Mask) -> bool:
    """Whether thin marks are lighter than what lies around them: the sign of a third moment."""
    small = _reduced(luma, 2 * _LIGHT_SIDE)
    around = np.asarray(small.filter(ImageFilter.GaussianBlur(8)), np.float32)
    levels = np.asarray(small, np.float32)
    there = _enlarged(page, levels)
    skew = float(((levels - around)[there] ** 3).sum())
    return bool(there.any() and np.median(levels[there]) < 128 and skew > 0)


def _darkness(plane: _Plane, page: _Mask) -> _Plane:
    """How much darker each pixel is than bare paper would be there, 0 to 1."""
    image = _reduced(plane, _LIGHT_SIDE)
    for kind in (ImageFilter.MaxFilter, ImageFilter.MinFilter):
        for _ in range(_CLOSING // 2):  # small ones in a row: Pillow's cost grows with the square
            image = image.filter(kind(3))
    smooth = image.filter(ImageFilter.GaussianBlur(2)).convert("F")
    size = plane.shape[1], plane.shape[0]
    paper = np.asarray(smooth.resize(size, Image.Resampling.BICUBIC), np.float32)
    darkness = np.clip(1 - plane / np.maximum(paper, 8.0), 0, 1).astype(np.float32) * page
    grain = _levels(255 * darkness).filter(ImageFilter.GaussianBlur(max(plane.shape) / _SIDE))
    return np.asarray(grain, np.float32) / np.float32(255)


def _drawn(darkness: _Plane) -> _Plane | None:
    """How much of each pixel is ink, 0 to 1; nothing where there is no ink."""
    middle = float(np.median(darkness))
    noise = 1.4826 * float(np.median(np.abs(darkness - middle)))
    faintest = max(_FAINTEST, middle + 5 * noise)
    surely = _surely_ink(darkness, faintest)
    if surely is None:
        return None
    strength = float(np.percentile(darkness[surely], 90))
    if strength < 2 * faintest:
        return None
    for share in (
        0.35,
        0.5,
        0.65,
    ):  # higher where the ink hangs together with a ruled sheet's lines
        low, high = max(faintest, share * strength), max(0.65, share + 0.15) * strength
        found = find_components(darkness > low)
        drawn = found.pixels(_marks(found, darkness > high))
        if (drawn & surely).sum() > 0.8 * surely.sum():
            break
    ink: _Plane = np.clip((darkness - 0.6 * low) / (high - 0.6 * low), 0, 1) * _grown(drawn, 1)
    return ink


def _surely_ink(darkness: _Plane, faintest: float) -> _Mask | None:
    """The darkest that is longer than a speck and no part of the picture's border."""
    for threshold in (0.5, 0.35, 0.25, 0.17, 0.12, 0.08, 0.0):
        found = find_components(darkness > max(threshold, faintest))
        if not len(found.areas):
            continue
        left, top, right, bottom = found.boxes.T
        extent = np.maximum(right - left, bottom - top)
        inside = _inside(found)
        if extent[inside].max(initial=0) >= 0.05 * max(darkness.shape):
            return found.pixels(inside)
        if threshold == 0.0 and extent.max() >= 0.05 * max(darkness.shape):
            return found.pixels(~inside)  # it fills the picture
    return None


def _inside(found: Components) -> _Mask:
    """Which components keep off the picture's border, where the table is.

    A line that runs out of the picture counts where little else is drawn.
    """
    height, width = found.labels.shape
    left, top, right, bottom = found.boxes.T
    off: _Mask = (left > 1) & (top > 1) & (right < width - 1) & (bottom < height - 1)
    rows, columns = [min(1, height - 1), max(height - 2, 0)], [min(1, width - 1), max(width - 2, 0)]
    edge = np.concatenate([found.labels[rows].ravel(), found.labels[:, columns].ravel()])
    contact = np.bincount(edge[edge >= 0], minlength=len(off))
    crossing = ~off & (contact < 0.03 * len(edge))
    inside, outside = found.areas[off].sum(), found.areas[crossing].sum()
    return off if inside > 0.1 * (inside + outside) else off | crossing


def _marks(found: Components, strong: _Mask) -> _Mask:
    """Which components were drawn: dark somewhere, and long, or a dot among long ones."""
    dark = np.bincount(found.labels[strong], minlength=len(found.areas)) >= 3
    kept = dark & _inside(found)
    kept = kept if kept.any() else dark
    left, top, right, bottom = found.boxes.T
    extent = np.maximum(right - left, bottom - top)
    if not kept.any():
        return kept
    long = kept & (extent >= 0.2 * extent[kept].max())
    room = 0.1 * max(right[long].max() - left[long].min(), bottom[long].max() - top[long].min())
    among = (left >= left[long].min() - room) & (right <= right[long].max() + room)
    among &= (top >= top[long].min() - room) & (bottom <= bottom[long].max() + room)
    marks: _Mask = kept & among & (extent >= 0.004 * max(found.labels.shape))
    return marks


def _reduced(plane: _Plane, side: int) -> Image.Image:
    image = _levels(plane)
    image.thumbnail((side, side), Image.Resampling.BOX)
    return image


def _levels(plane: _Plane) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(plane, 0, 255)).astype(np.uint8))


def _enlarged(mask: _Mask, plane: _Plane) -> _Mask:
    image = Image.fromarray(mask).resize(plane.shape[::-1], Image.Resampling.NEAREST)
    return np.asarray(image)


def _grown(mask: _Mask, by: int) -> _Mask:
    image = Image.fromarray(mask.astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * by + 1))
    return np.asarray(image) > 0
