"""The photo domain of the sample set: coloured, lit and textured objects before a busy background.

Every colour is drawn per instance, never per class, so that only shape tells the classes apart.
Tested through ``tests/data/test_sample.py``.
"""

from __future__ import annotations

import colorsys
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from msedge.data.sample_objects.parts import Part, Points, Tone, posed

Colour = tuple[float, float, float]
Field = NDArray[np.float32]
OVERSAMPLING = 2
_SMOOTH = Image.Resampling.BICUBIC


def render_photo(parts: list[Part], rng: np.random.Generator, size: int) -> Image.Image:
    """Return the object as a photo, RGB, ``size`` pixels a side."""
    placed = posed(parts, rng, size=size, angle=15.0, slant=0.16, extent=(0.5, 0.88))
    hue = float(rng.random())
    base = max(float(part.points[:, 1].max()) for part in placed) / size
    bearing = rng.uniform(math.pi * 0.15, math.pi * 0.85)
    light = (math.cos(bearing), math.sin(bearing))  # towards the light; up is positive
    scene = _field(_background(rng, size // 2, hue, base).resize((size, size), _SMOOTH))
    flat, relief, patterned = _paint(placed, _palette(rng, hue), rng, size)
    cover = flat.getchannel("A")
    scene *= 1 + _pattern(rng, size)[..., None] * rng.uniform(0.3, 0.8)
    scene *= 1 - _shadow(cover, placed, light, rng, size)[..., None]
    shade = _shading(relief, cover, light, rng, size)
    shade *= 1 + _pattern(rng, size) * _field(patterned)
    shade *= 1 + rng.uniform(0.02, 0.08) * _noise(rng, size, size // 2)
    alpha = _field(cover)[..., None]
    scene += (_field(flat)[..., :3] * shade[..., None] - scene) * alpha
    return _develop(scene, rng, size)


def _field(image: Image.Image) -> Field:
    return np.asarray(image, np.float32) / np.float32(255)


def _image(field: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray((np.clip(field, 0, 1) * 255).astype(np.uint8))


def _colour(hue: float, saturation: float, value: float) -> Colour:
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, value)


def _bytes(colour: Colour, gain: float = 1.0) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, round(255 * gain * channel))) for channel in colour)
    return red, green, blue


def _palette(rng: np.random.Generator, backdrop: float) -> dict[Tone, Colour]:
    """Return a colour a tone, their hues away from the backdrop's so that the object stands out."""
    away = backdrop + rng.uniform(0.25, 0.75, 3)
    tint = float(rng.random())
    return {
        "body": _colour(away[0], rng.uniform(0.45, 0.95), rng.uniform(0.6, 1.0)),
        "second": _colour(away[1], rng.uniform(0.3, 0.9), rng.uniform(0.45, 0.95)),
        "third": _colour(away[2], rng.uniform(0.5, 1.0), rng.uniform(0.6, 1.0)),
        "dark": _colour(tint, rng.uniform(0.2, 0.7), rng.uniform(0.08, 0.25)),
        "light": _colour(tint, rng.uniform(0.02, 0.15), rng.uniform(0.88, 1.0)),
    }


def _noise(rng: np.random.Generator, size: int, cells: int) -> Field:
    """Return smooth noise in [-1, 1] with about ``cells`` bumps a side."""
    coarse = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), _SMOOTH))


def _grid(size: int) -> tuple[Field, Field]:
    axis = np.linspace(0, 1, size, dtype=np.float32)
    return axis[None, :], axis[:, None]


def _pattern(rng: np.random.Generator, size: int) -> Field:
    """Return a surface pattern around 0: stripes, checks, dots, blotches or nothing."""
    kind, depth = int(rng.integers(6)), np.float32(rng.uniform(0.12, 0.45))
    if kind >= 4:
        return _noise(rng, size, 5) * (depth * np.float32(0.4))
    if kind == 3:
        return _noise(rng, size, int(rng.integers(6, 14))) * depth
    x, y = _grid(size)
    angle, pitch = rng.uniform(0, math.pi), 2 * math.pi * rng.uniform(5, 16)
    along = np.sin(pitch * (x * math.cos(angle) + y * math.sin(angle)))
    if kind == 0:
        return np.asarray(np.tanh(3 * along) * depth)
    across = np.sin(pitch * (y * math.cos(angle) - x * math.sin(angle)))
    steep, level = ((4, 0.0), (8, 0.5))[kind - 1]
    return np.asarray(np.tanh(steep * (along * across - level)) * depth)


def _background(rng: np.random.Generator, size: int, hue: float, base: float) -> Image.Image:
    """Return a scene without the object, and soft clutter in it.

    Args:
        rng: the image's generator.
        size: side in pixels; half the picture's will do, since it is out of focus.
        hue: what its colours lie around.
        base: where the object stands, as a share of the height.
    """
    x, y = _grid(size)
    value, pale = rng.uniform(0.55, 1.0), rng.uniform(0.08, 0.55)
    above = [_colour(hue + d, pale, value * gain) for d, gain in ((0, 1.0), (0.06, 0.85))]
    under = _colour(hue + rng.uniform(-0.15, 0.15), pale + 0.1, value * rng.uniform(0.5, 0.9))
    lean = rng.uniform(-0.6, 0.6)
    ramp = np.clip(y + lean * (x - 0.5), 0, 1)[..., None]
    scene = np.array(above[0], np.float32) * (1 - ramp) + np.array(above[1], np.float32) * ramp
    if rng.random() < 0.65:
        horizon = base - rng.uniform(0.05, 0.3) + rng.uniform(-0.05, 0.05) * (x - 0.5)
        ground = np.clip((y - horizon) * rng.uniform(15, 90), 0, 1)[..., None]
        floor = np.array(under, np.float32) * (0.75 + 0.5 * y[..., None])
        scene = scene * (1 - ground) + floor * (1 + _pattern(rng, size)[..., None]) * ground
    else:
        scene = scene * (1 + _pattern(rng, size)[..., None] * rng.uniform(0.5, 1.2))
    scene = scene * (1 + 0.12 * _noise(rng, size, 4) + 0.08 * _noise(rng, size, 20))[..., None]
    return _clutter(_image(scene), rng, hue)


def _clutter(image: Image.Image, rng: np.random.Generator, hue: float) -> Image.Image:
    """Return the scene with out-of-focus things of no class: blobs, boxes, poles."""
    size = image.width
    for blur in (rng.uniform(3, 7), rng.uniform(0.0, 1.5)):
        draw = ImageDraw.Draw(image)
        for _ in range(int(rng.integers(2, 8))):
            near, wide = rng.uniform(-0.1, 1.0, 2) * size, rng.uniform(0.06, 0.32, 2) * size
            spread = 0.18 if rng.random() < 0.7 else 0.5
            colour = _colour(
                hue + rng.uniform(-spread, spread), rng.uniform(0.1, 0.65), rng.uniform(0.3, 1.0)
            )
            fill = _bytes(colour)
            box = (float(near[0]), float(near[1]), *(float(v) for v in near + wide))
            kind = rng.random()
            if kind < 0.45:
                draw.ellipse(box, fill)
            elif kind < 0.7:
                draw.rectangle(box, fill)
            elif kind < 0.85:
                draw.line(box, fill, max(1, round(rng.uniform(0.012, 0.055) * size)))
            else:
                corners = near + rng.uniform(0, 0.35, (4, 2)) * size
                draw.polygon(corners.ravel().tolist(), fill)
        image = image.filter(ImageFilter.BoxBlur(blur * size / 160))
    return image


def _paint(
    placed: list[Part], palette: dict[Tone, Colour], rng: np.random.Generator, size: int
) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Return flat colours (RGBA, alpha is the cover), relief and where the pattern lies (L)."""
    side = (size * OVERSAMPLING, size * OVERSAMPLING)
    colours = Image.new("RGBA", side, (0, 0, 0, 0))
    surface = Image.new("RGB", side)
    on_colours, on_surface = ImageDraw.Draw(colours), ImageDraw.Draw(surface)
    plain: Tone = "second" if rng.random() < 0.3 else "body"
    for index, part in enumerate(placed):
        height = min(250, 110 + 18 * index) if part.width == 0 else 200
        _stamp(on_colours, part, (*_bytes(palette[part.tone], rng.uniform(0.88, 1.08)), 255))
        _stamp(on_surface, part, (height, 255 * (part.tone == plain), 0))
    relief, patterned, _ = surface.reduce(OVERSAMPLING).split()
    return colours.reduce(OVERSAMPLING), relief, patterned


def _stamp(draw: ImageDraw.ImageDraw, part: Part, ink: tuple[int, ...]) -> None:
    points: Points = part.points * OVERSAMPLING
    if part.width == 0:
        draw.polygon(points.ravel().tolist(), ink)
        return
    path = np.concatenate([points, points[:2]]) if part.closed else points
    width = max(2, round(part.width * OVERSAMPLING))
    draw.line(path.ravel().tolist(), ink, width, joint="curve")
    if not part.closed and width > 3:
        for x, y in (path[0], path[-1]):
            draw.circle((float(x), float(y)), width / 2 - 0.5, ink)


def _shadow(
    cover: Image.Image,
    placed: list[Part],
    light: tuple[float, float],
    rng: np.random.Generator,
    size: int,
) -> Field:
    """Return how much light the object takes from the scene: a cast and a contact shadow."""
    reach = rng.uniform(0.03, 0.09) * size
    shift = (1, 0, light[0] * reach, 0, 1, -abs(light[1]) * reach)
    cast = cover.transform(cover.size, Image.Transform.AFFINE, shift)
    cloud = np.concatenate([part.points for part in placed])
    (left, _), (right, base) = cloud.min(axis=0), cloud.max(axis=0)
    draw = ImageDraw.Draw(cast)
    thick = 0.035 * size
    draw.ellipse((float(left), float(base - thick), float(right), float(base + thick)), 170)
    blurred = cast.filter(ImageFilter.BoxBlur(rng.uniform(2.0, 6.0) * size / 160))
    return _field(blurred) * np.float32(rng.uniform(0.25, 0.55))


def _shading(
    relief: Image.Image,
    cover: Image.Image,
    light: tuple[float, float],
    rng: np.random.Generator,
    size: int,
) -> Field:
    """Return the gain of the light on the object: bevelled edges, round bulk, overall ramp."""
    unit = size / 160
    shade = np.ones((size, size), np.float32)
    for image, radius, strength in ((relief, 1.5, 0.5), (cover, 7.0, 2.2)):
        height = _field(image.filter(ImageFilter.BoxBlur(radius * unit)))
        down, right = np.gradient(height)
        gain = strength * rng.uniform(0.7, 1.3) * radius * unit
        shade += np.float32(gain) * np.clip(light[1] * down - light[0] * right, -0.12, 0.12)
    x, y = _grid(size)
    ramp = light[0] * (x - 0.5) - light[1] * (y - 0.5)
    return np.clip(shade + rng.uniform(0.1, 0.45) * ramp, 0.35, 1.6)


def _develop(scene: Field, rng: np.random.Generator, size: int) -> Image.Image:
    """Return the picture as a camera gives it: warmth, vignette, soft focus, grain."""
    x, y = _grid(size)
    vignette = 1 - rng.uniform(0.0, 0.5) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    warmth = 1 + rng.uniform(-0.08, 0.08) * np.array([1, 0, -1], np.float32)
    exposed = scene * (vignette * rng.uniform(0.88, 1.1))[..., None] * warmth
    blurred = _image(exposed).filter(ImageFilter.BoxBlur(rng.uniform(0.0, 0.7) * size / 160))
    grain = rng.standard_normal((size, size), np.float32) * np.float32(rng.uniform(0.004, 0.025))
    return _image(_field(blurred) + grain[..., None])
