"""A drawing off its paper: even the light of a photographed sheet, keep what was drawn.

A telephone sees a sheet grey or yellow, brighter at the window, under the shadow of a hand, on a
table. None of it was drawn. What was drawn is darker than the paper around it, thin, and hangs
together. So the light on bare paper is estimated by a closing (a maximum filter wider than any
line, then a minimum filter), the picture divided by it, and what then stays dark enough, is long
enough and does not run out of the picture is the ink. A blackboard is inverted first. How much
this gains on pictures made so is in ``docs/results.md``; tested in ``tests/data/test_paper.py``.

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

_SIDE = (
    1000  # of the picture worked on; a pencil line of a 12 Mpx photo is 2 to 3 pixels wide there
)
_LIGHT_SIDE = 200  # of the picture in which the light is estimated
_CLOSING = 17  # pixels of that: what is wider than a twelfth of the picture counts as ground
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
    if (farthest[~inked] <= _SAME).mean() < 0.8:
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
    if _is_blackboard(luma):
        colours, luma = 255 - colours, 255 - luma
    drawn = _drawn(_darkness(luma))
    if drawn is None:  # yellow is as light as paper, but not in every channel
        drawn = _drawn(np.maximum.reduce([_darkness(colours[..., band]) for band in range(3)]))
    if drawn is None:
        return Image.new("RGB", sheet.size, "white")
    return _levels(255 * (1 - drawn)).convert("RGB")


def _is_blackboard(luma: _Plane) -> bool:
    """Whether thin marks are lighter than what lies around them: the sign of a third moment."""
    small = _reduced(luma, 2 * _LIGHT_SIDE)
    around = np.asarray(small.filter(ImageFilter.GaussianBlur(8)), np.float32)
    difference = np.asarray(small, np.float32) - around
    return bool(np.median(luma) < 128 and (difference**3).sum() > 0)


def _darkness(plane: _Plane) -> _Plane:
    """How much darker each pixel is than bare paper would be there, 0 to 1."""
    light = _closed(_reduced(plane, _LIGHT_SIDE))
    smooth = _levels(light).filter(ImageFilter.GaussianBlur(2)).convert("F")
    size = plane.shape[1], plane.shape[0]
    paper = np.asarray(smooth.resize(size, Image.Resampling.BICUBIC), np.float32)
    darkness = np.clip(1 - plane / np.maximum(paper, 8.0), 0, 1).astype(np.float32)
    darkness[_enlarged(_steep(light), size)] = 0
    grain = _levels(255 * darkness)
    radius = max(plane.shape) / _SIDE
    return np.asarray(grain.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def _steep(light: _Plane) -> _Mask:
    """Where the estimated light jumps as no shadow does: the edge of the sheet on its table."""
    levels = _levels(light)
    high = np.asarray(levels.filter(ImageFilter.MaxFilter(5)), np.float32)
    low = np.asarray(levels.filter(ImageFilter.MinFilter(5)), np.float32)
    jumps: _Mask = high > 1.7 * np.maximum(low, 8.0)
    return jumps


def _drawn(darkness: _Plane) -> _Plane | None:
    """How much of each pixel is ink, 0 to 1; nothing where there is no ink."""
    noise = 1.4826 * float(np.median(np.abs(darkness - np.median(darkness))))
    faintest = max(_FAINTEST, 5 * noise + float(np.median(darkness)))
    found = find_components(darkness > faintest)
    inside = _inside(found)[found.labels] & (found.labels >= 0)
    if not inside.any():
        return None
    strength = float(np.percentile(darkness[inside], 90))
    if strength < 2 * faintest:
        return None
    low, high = max(faintest, 0.35 * strength), 0.65 * strength
    found = find_components(darkness > low)
    marks = _marks(found, darkness > high)
    if not marks.any():
        return None
    near = _grown(marks[found.labels] & (found.labels >= 0))
    ink: _Plane = np.clip((darkness - 0.6 * low) / (high - 0.6 * low), 0, 1) * near
    return ink


def _inside(found: Components) -> _Mask:
    """Which components keep off the picture's border, where the table is; all if none does."""
    height, width = found.labels.shape
    left, top, right, bottom = found.boxes.T
    inside: _Mask = (left > 1) & (top > 1) & (right < width - 1) & (bottom < height - 1)
    return inside if found.areas[inside].sum() > 0.1 * found.areas.sum() else inside | True


def _marks(found: Components, strong: _Mask) -> _Mask:
    """Which components were drawn: dark somewhere, and long, or a dot among long ones."""
    kept = _inside(found)
    seen = np.bincount(found.labels[strong & (found.labels >= 0)], minlength=len(kept))
    kept &= seen >= 3
    left, top, right, bottom = found.boxes.T
    extent = np.maximum(right - left, bottom - top)
    if not kept.any():
        return kept
    long = kept & (extent >= 0.2 * extent[kept].max())
    room = 0.1 * max(right[long].max() - left[long].min(), bottom[long].max() - top[long].min())
    among = (left >= left[long].min() - room) & (right <= right[long].max() + room)
    among &= (top >= top[long].min() - room) & (bottom <= bottom[long].max() + room)
    return kept & among & (extent >= 0.004 * max(found.labels.shape))


def _reduced(plane: _Plane, side: int) -> Image.Image:
    image = _levels(plane)
    image.thumbnail((side, side), Image.Resampling.BOX)
    return image


def _levels(plane: _Plane) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(plane, 0, 255)).astype(np.uint8))


def _closed(image: Image.Image) -> _Plane:
    for kind in (ImageFilter.MaxFilter, ImageFilter.MinFilter):
        for _ in range(_CLOSING // 2):  # small ones in a row: Pillow's cost grows with the square
            image = image.filter(kind(3))
    return np.asarray(image, np.float32)


def _enlarged(mask: _Mask, size: tuple[int, int]) -> _Mask:
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.resize(size, Image.Resampling.NEAREST)) > 0


def _grown(mask: _Mask) -> _Mask:
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.filter(ImageFilter.MaxFilter(3))) > 0
