"""What is answered, as it is documented in ``/openapi.json``."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field


class FoundPhoto(BaseModel):
    """A photo that was found."""

    rank: Annotated[int, Field(description="From 1.")]
    id: Annotated[int, Field(description="To ask for the photo, its thumbnail, or more like it.")]
    name: Annotated[str, Field(description="The file's name.", examples=["cat.jpg"])]
    folder: Annotated[str, Field(description="The file's folder.", examples=["/photos/cats"])]
    similarity: Annotated[float, Field(description="Cosine similarity with what was asked.")]
    score: Annotated[
        float,
        Field(description="What ranks it: the similarity, less half of its hubness for drawings."),
    ]
    width: Annotated[int, Field(description="Pixels, upright.")]
    height: Annotated[int, Field(description="Pixels, upright.")]
    taken: Annotated[datetime.datetime, Field(description="By EXIF, else the file's own time.")]
    copies: Annotated[list[int], Field(description="Ids of near-duplicates that it stands for.")]


class LikelyName(BaseModel):
    """What a drawing is likely of."""

    name: Annotated[str, Field(examples=["cat"])]
    likelihood: Annotated[float, Field(description="From 0 to 1; 1 where the name was given.")]
    settled: Annotated[bool, Field(description="Whether it was given.")]


class SearchAnswer(BaseModel):
    """Photos by falling score."""

    took_ms: Annotated[float, Field(description="Milliseconds, waiting for a turn included.")]
    searched: Annotated[int, Field(description="Photos in the gallery.")]
    names: Annotated[
        list[LikelyName],
        Field(
            description="The names that were given, then at most 5 that the drawing is likely of, "
            "above 2 %; none where the model knows no names."
        ),
    ]
    hits: list[FoundPhoto]


class PhotoBox(BaseModel):
    """Where in a photo the thing is, in shares of the sides of the upright picture."""

    id: Annotated[int, Field(description="The photo's.")]
    left: float
    top: float
    right: float
    bottom: float


class WhereAnswer(BaseModel):
    """The boxes of photos."""

    took_ms: Annotated[float, Field(description="Milliseconds, waiting for turns included.")]
    boxes: Annotated[
        list[PhotoBox],
        Field(
            description="In the order asked for; none of photos that are gone or changed, and none "
            "at all where the model does not tell places."
        ),
    ]


class NameAnswer(BaseModel):
    """A name that can be asked by."""

    name: str
    synonyms: list[str]
    drawings: Annotated[bool, Field(description="Whether it can be guessed from a drawing.")]
    photos: Annotated[bool, Field(description="Whether photos of it are known.")]
    own: Annotated[bool, Field(description="Whether it is of those that a person added.")]


class NamesAnswer(BaseModel):
    """What a word means, and what it could become."""

    known: Annotated[int, Field(description="Names in all; 0 where the model knows none.")]
    found: Annotated[str | None, Field(description="The name that the word means, if it does.")]
    names: Annotated[
        list[NameAnswer],
        Field(description="At most 20 that begin like the word, else the nearest; best first."),
    ]


class ModelAnswer(BaseModel):
    """What made the gallery's vectors."""

    name: str
    dim: Annotated[int, Field(description="Width of the vectors.")]
    image_size: Annotated[int, Field(description="Pixels on a side of what it reads.")]
    places: Annotated[
        bool, Field(description="Whether `POST /api/where` tells where in a photo a thing is.")
    ]


class FolderAnswer(BaseModel):
    """A folder with photos."""

    folder: str
    photos: Annotated[int, Field(description="Photos directly in it.")]


class GalleryAnswer(BaseModel):
    """The gallery that is served."""

    name: Annotated[str, Field(examples=["photos.msedge"])]
    photos: int
    model: ModelAnswer
    folders: list[FolderAnswer]
    version: Annotated[int, Field(description="Rises whenever photos come, change or go.")]


class HealthAnswer(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"


class Problem(BaseModel):
    """Why there is no answer."""

    detail: Annotated[str, Field(description="One line.", examples=["photo 7 is not in here"])]
