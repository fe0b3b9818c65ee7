from __future__ import annotations

import os
from pathlib import Path

import pytest

from msedge.search.locations import is_remote, location, whole


@pytest.mark.parametrize(
    "url", ["s3://bucket/cats/1.jpg", "gs://b/k", "memory://photos", "https://host:80/a/b.jpg"]
)
def test_a_location_survives_being_a_path(url):
    assert location(Path(url)) == url
    assert is_remote(Path(url))
    assert is_remote(url)
    assert whole(Path(url)) == Path(url)


@pytest.mark.parametrize("path", ["/photos/1.jpg", "photos/a:b.jpg", "a:/b".replace(":", ";"), "."])
def test_files_stay_as_they_are(path):
    assert location(Path(path)) == str(Path(path))
    assert not is_remote(Path(path))


def test_a_member_belongs_to_its_shard():
    member = Path("s3://bucket/shard-1.tar/cat.jpg")
    assert location(member.parent) == "s3://bucket/shard-1.tar"
    assert member.name == "cat.jpg"


def test_whole_paths_of_files_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert whole(Path("a/../b")) == tmp_path / "b"


def test_names_with_newlines_and_names_that_are_not_utf8():
    name = os.fsdecode(b"/photos/caf\xe9\n.jpg")
    assert location(Path(name)) == name
    assert location(Path(f"s3:/{name}")) == f"s3://{name.lstrip('/')}"
