"""``docs/serve.md`` cannot drift: its questions are asked, its figures compared."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from msedge.search.thumbnails import MOST_BYTES, THUMBNAIL_SIDE
from msedge.server.body_limit import FREE_BYTES
from msedge.server.clients import FREE_GUESSES, GUESS_SECONDS
from msedge.server.connections import MOST_CONNECTIONS
from msedge.server.protocol import MAX_HEAD_BYTES, MAX_HEAD_LINES
from msedge.server.settings import (
    PICTURES_PER_CLIENT,
    SEARCHES_PER_CLIENT,
    SEARCHES_PER_SECOND,
    SHORTEST_TOKEN,
    ServerSettings,
)
from served import encoded, picture

PAGE = (Path(__file__).parents[2] / "docs/serve.md").read_text()
TEXT = " ".join(PAGE.split())
QUESTIONS = re.findall(
    r"8765(/api/[a-z]+) [^']*'Content-Type: application/json'[^']*-d '(.*?)'", PAGE
)


def rows(header: str) -> list[list[str]]:
    """The cells of the rows below a header row, which must occur once."""
    (found,) = re.findall(re.escape(header) + r"\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found.splitlines()]


def test_there_are_questions():
    assert {path for path, _ in QUESTIONS} == {"/api/search", "/api/similar", "/api/where"}
    assert len(QUESTIONS) == 4


@pytest.mark.parametrize(("path", "body"), QUESTIONS)
def test_questions_are_answered(client, path, body):
    numbers = json.loads(body)
    if 8 in numbers.get("like", []):  # the tests' gallery is smaller
        numbers["like"] = [3, 6]
    answer = client.post(path, json=numbers)
    assert answer.status_code == 200, answer.text


def test_answers_have_the_fields_that_are_shown(client):
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    document = json.loads(shown)
    answer = client.post("/api/search", json={"image": encoded(picture(3)), "k": 1}).json()
    assert set(document) == set(answer)
    assert {*map(tuple, document["hits"])} == {tuple(answer["hits"][0])}


def test_every_route_is_named(client):
    for path in client.get("/openapi.json").json()["paths"]:
        assert path.replace("{id}", "3") in PAGE, path


def test_every_refusal_is_explained(connect):
    token = "correct-horse-battery"
    headers = {"Authorization": f"Bearer {token}"}
    described = connect(token=token).get("/openapi.json", headers=headers).json()["paths"]
    statuses = {
        status
        for methods in described.values()
        for operation in methods.values()
        for status in operation["responses"]
        if int(status) >= 400
    }
    assert {status for status, _ in rows("| status | when |")} == statuses


def test_every_metric_is_named_and_no_other(client):
    told = {
        name for cells in rows("| name | is |") for name in re.findall(r"msedge_[a-z_]+", cells[0])
    }
    text = client.get("/metrics").text
    found = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE msedge")}
    assert told == {name for name in found if not name.endswith("_created")}


def test_figures():
    settings = ServerSettings()
    assert f"{settings.max_body_bytes // 2**20} MiB" in TEXT
    assert f"{settings.max_pixels // 10**6} Mpx" in TEXT
    assert f"{settings.searches_waiting} more may wait" in TEXT
    assert (
        f"{settings.max_bodies_bytes // 2**20} MiB, of each the first {FREE_BYTES // 1024} KiB"
        in TEXT
    )
    assert f"{MOST_CONNECTIONS:,}, or half of the files" in TEXT
    assert f"{MAX_HEAD_BYTES // 1024} KiB or {MAX_HEAD_LINES} lines" in TEXT
    assert f"complete {settings.header_seconds:g} s after" in TEXT
    assert f"closed {settings.idle_seconds:g} s after" in TEXT
    assert f"may stop for {settings.body_seconds:g} s" in TEXT
    assert f"each {settings.bytes_per_second // 1000} kB" in TEXT
    assert f"takes nothing for {settings.reader_seconds:g} s" in TEXT
    assert f"have {settings.finish_seconds:g} seconds to finish" in TEXT
    assert f"after at most {settings.finish_seconds + 5:g} seconds" in TEXT
    assert f"{SEARCHES_PER_SECOND:g} a second" in TEXT
    assert f"{SEARCHES_PER_CLIENT} that run or wait" in TEXT
    assert f"thumbnails and conversions {PICTURES_PER_CLIENT}." in TEXT
    assert f"at least {SHORTEST_TOKEN} characters" in TEXT
    assert f"at most {SHORTEST_TOKEN - 1} letters" in TEXT
    assert (
        f"{FREE_GUESSES} in a minute; then it waits 1 s, after the next 2 s, 4 s, "
        f"up to {GUESS_SECONDS:g} s" in TEXT
    )
    assert f"at most {MOST_BYTES // 2**20} MiB" in TEXT
    assert f"at most {THUMBNAIL_SIDE} pixels" in TEXT
