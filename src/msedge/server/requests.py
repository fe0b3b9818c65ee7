"""What can be asked: the bodies of requests, every part of them bounded.

Tested in ``tests/server/test_requests.py``.
"""

from __future__ import annotations

import base64
import datetime
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

MAX_STROKES, MAX_POINTS, MAX_HITS, MAX_EXAMPLES = 1_000, 100_000, 500, 100
MAX_BOXES = 48  # photos that are read for one question: a page of them
MAX_NAMES, MAX_NAME = 20, 200
MAX_ID = 2**53 - 1
"""What every reader of JSON can hold exactly; galleries count their photos from 1."""

Id = Annotated[StrictInt, Field(ge=0, le=MAX_ID)]
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
# Without FailFast each wrong value would be an error of its own, and a body has room for millions.
Axis = Annotated[list[Coordinate], Field(max_length=MAX_POINTS), FailFast()]
Examples = Annotated[list[Id], Field(max_length=MAX_EXAMPLES), FailFast()]


def unpacked(text: object) -> bytes:
    """The bytes of an image in base64; as they are where they were unpacked before."""
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise ValueError("an image must be a string of base64")
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError as error:  # characters beyond ASCII raise it, and binascii's is one
        raise ValueError("the image is not base64") from error
    if not content:
        raise ValueError("the image is empty")
    return content


Base64 = Annotated[
    bytes,
    BeforeValidator(unpacked),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
Names = Annotated[list[Name], Field(max_length=MAX_NAMES), FailFast()]
_NAME_SCHEMA: dict[str, JsonValue] = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
OneOrMoreNames = Annotated[
    Names,
    BeforeValidator(lambda given: [given] if isinstance(given, str) else given),
    WithJsonSchema(
        {"anyOf": [_NAME_SCHEMA, {"type": "array", "items": _NAME_SCHEMA, "maxItems": MAX_NAMES}]}
    ),
]


def _text(day: object) -> object:
    if isinstance(day, str | datetime.date):
        return day
    raise ValueError("a day is a text such as 2020-01-31")  # a number would be seconds since 1970


Day = Annotated[
    datetime.date,
    BeforeValidator(_text),
    WithJsonSchema({"type": "string", "format": "date"}),
]

_CAT: list[JsonValue] = [
    [[10, 20, 30, 40, 10], [40, 10, 10, 40, 40]],
    [[18, 18], [22, 26]],
    [[32, 32], [22, 26]],
]


class _Asked(BaseModel):
    """What every search can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unlike: Annotated[
        Examples, Field(description="Ids of photos of the gallery that are not what is meant.")
    ] = []
    k: Annotated[StrictInt, Field(ge=1, le=MAX_HITS, description="Most photos to answer.")] = 48
    folder: Annotated[
        str | None,
        Field(
            max_length=4096,
            description="Only photos in this folder and below, as `GET /api/gallery` spells it.",
        ),
    ] = None
    after: Annotated[Day | None, Field(description="Only photos of this day and later.")] = None
    before: Annotated[Day | None, Field(description="Only photos of this day and earlier.")] = None
    orientation: Annotated[
        Literal["landscape", "portrait", "square"] | None, Field(description="Only such photos.")
    ] = None


class SearchRequest(_Asked):
    """A drawing, photos that are like what is meant, its name, or several of these."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"strokes": _CAT, "k": 20},
                {"like": [5, 8], "unlike": [2]},
                {"name": "grand piano"},
            ]
        }
    )

    strokes: Annotated[
        list[tuple[Axis, Axis]],
        Field(
            max_length=MAX_STROKES,
            description="The drawing: for each stroke its x and its y, y downwards, in any unit; "
            f"at most {MAX_POINTS} points in all.",
        ),
        FailFast(),
    ] = []
    image: Annotated[
        Base64 | None,
        Field(description="A drawing as a file (PNG, JPEG, WebP, SVG ...), in base64."),
    ] = None
    like: Annotated[
        Examples, Field(description="Ids of photos of the gallery that are like what is meant.")
    ] = []

    name: Annotated[
        OneOrMoreNames,
        Field(
            description="What is drawn, or without a drawing what is looked for: a name that "
            "`GET /api/names` knows, or several."
        ),
    ] = []
    not_names: Annotated[Names, Field(description="Names of what is not drawn.")] = []
    names: Annotated[
        StrictBool,
        Field(
            description="Whether what the drawing is likely of draws the search there, where the "
            "model knows names; false for the drawing alone."
        ),
    ] = True

    @field_validator("strokes")
    @classmethod
    def _check_strokes(
        cls, strokes: list[tuple[list[float], list[float]]]
    ) -> list[tuple[list[float], list[float]]]:
        if sum(len(xs) for xs, _ in strokes) > MAX_POINTS:
            raise ValueError(f"more than {MAX_POINTS} points")
        for xs, ys in strokes:
            if len(xs) != len(ys) or not xs:
                raise ValueError("a stroke needs as many x as y, and at least one of each")
        return strokes

    @model_validator(mode="after")
    def _check_something_is_asked(self) -> Self:
        if not (self.strokes or self.image or self.like or self.name):
            raise ValueError(
                "nothing is asked: give strokes, an image, photos to be like, or a name"
            )
        if not self.names and (self.name or self.not_names):
            raise ValueError("names are given and switched off: do one of the two")
        return self


class WhereRequest(SearchRequest):
    """What a search was asked, and the photos to look at."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"like": [5], "photos": [8, 2]}]})

    photos: Annotated[
        list[Id],
        Field(min_length=1, max_length=MAX_BOXES, description="Ids of photos to look at."),
        FailFast(),
    ]


class SimilarRequest(_Asked):
    """A photo of the gallery, to find more like it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": 5, "k": 20}]})

    id: Annotated[Id, Field(description="The photo's id.")]
