"""Galleries that earlier releases wrote, read and written by this one.

``files/galleries`` holds the same eight photos four times: in the tables of the first release, in
those of the second, as a Lance dataset, and as one with an index. They answer alike, to the digit:
``files/galleries.json`` says what. ``make_galleries.py`` says how they were made.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

import msedge
from msedge.data.sample import draw_sketch
from msedge.server.app import create_app

KEPT = Path(__file__).parent / "files" / "galleries"
FILES = ["schema-1.msedge", "schema-2.msedge"]
DATASETS = ["lance.lance", "lance-indexed.lance"]
IDS = [1, 2, 3, 4, 5, 6, 7, 8, 9]
TABLE = "galleries.json"
OF_VECTORS = 1e-6  # between machines, whose BLAS adds in another order
OF_THE_NETWORK = 1e-5  # likewise, and through more sums


def unpacked(name: str, folder: Path) -> Path:
    """A copy that a test may change."""
    if name in FILES:
        return Path(shutil.copy(KEPT / name, folder))
    with tarfile.open(KEPT / name.replace(".lance", ".tar")) as packed:
        packed.extractall(folder, filter="data")
    return folder / name


@pytest.fixture(scope="module", params=[*FILES, *DATASETS])
def kept(request, tmp_path_factory):
    """Each of them, for reading."""
    return unpacked(request.param, tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def opened(kept):
    with msedge.Gallery.open(kept) as gallery:
        yield gallery


def described(photo) -> dict[str, object]:
    """All that a gallery says of a photo."""
    return {
        "id": photo.id,
        "path": ascii(str(photo.path)),
        "size": photo.size,
        "mtime_ns": photo.mtime_ns,
        "content_hash": photo.content_hash,
        "width": photo.width,
        "height": photo.height,
        "taken": photo.taken,
    }


def similar_by_id(gallery, as_documents) -> dict[str, object]:
    """What is like each photo; of the one that was removed, what is said of it."""
    found = {}
    for number in IDS:
        try:
            found[str(number)] = as_documents(gallery.similar(number))
        except msedge.MSEdgeError as error:
            found[str(number)] = str(error).replace(str(gallery.path), "<gallery>")
    return found


class TestReading:
    def test_what_it_holds(self, golden, opened):
        photos = []
        for number in IDS:
            try:
                photos.append(described(opened.photo(number)))
            except msedge.MSEdgeError as error:
                photos.append(str(error).replace(str(opened.path), "<gallery>"))
        folders = sorted((ascii(str(folder)), count) for folder, count in opened.folders())
        model = [opened.model.name, opened.model.fingerprint, opened.model.dim]
        held = {"count": opened.photos, "photos": photos, "folders": folders, "model": model}
        golden.entry(TABLE, "what they hold", held)

    def test_similar(self, golden, opened, as_documents):
        found = similar_by_id(opened, as_documents)
        golden.entry(TABLE, "similar", found, within=OF_VECTORS)

    def test_similar_otherwise_asked(self, golden, opened, as_documents):
        found = {
            "at most three": opened.similar(1, k=3),
            "every copy": opened.similar(2, collapse=False),
            "unlike a photo": opened.similar(5, unlike=[6]),
            "like two photos": opened.search(like=[1, 7]),
            "by its path": opened.similar("/photos/lamp.jpg"),
        }
        documents = {about: as_documents(hits) for about, hits in found.items()}
        golden.entry(TABLE, "similar, otherwise asked", documents, within=OF_VECTORS)

    @pytest.mark.parametrize("name", ["cup", "fish", "lamp"])
    def test_search(self, golden, opened, as_documents, name):
        drawn = draw_sketch(name, np.random.default_rng(11))
        hits = as_documents(opened.search(drawn))
        golden.entry(TABLE, f"search for a {name}", hits, within=OF_THE_NETWORK)

    def test_search_with_everything(self, golden, opened, as_documents):
        cup, fish = (draw_sketch(name, np.random.default_rng(11)) for name in ("cup", "fish"))
        hits = opened.search([cup, cup.rotate(90)], like=[7], unlike=[2], not_sketch=fish)
        golden.entry(TABLE, "search with everything", as_documents(hits), within=OF_THE_NETWORK)

    def test_exactly(self, golden, kept, as_documents):
        with msedge.Gallery.open(kept, exact=True) as gallery:
            found = similar_by_id(gallery, as_documents)
        golden.entry(TABLE, "similar", found, within=OF_VECTORS)


@pytest.mark.parametrize(
    "filters",
    [
        (),
        ("--folder", "/photos/2019"),
        ("--folder", "/photos/20"),
        ("--after", "2020-01-04"),
        ("--before", "2020-01-04"),
        ("--after", "2020-01-03", "--before", "2020-01-05"),
        ("--orientation", "landscape"),
        ("--orientation", "portrait"),
        ("--orientation", "square", "--folder", "/photos/2019"),
        ("--all",),
        ("-k", "2", "--exact"),
        ("--unlike", "/photos/2019/cup 1.jpg"),
    ],
    ids=" ".join,
)
def test_command_line(golden, kept, type_in, filters):
    like = ("--like", "/photos/lamp.jpg")
    found = type_in("search", *like, "--gallery", kept, "--json", *filters).document()
    assert Path(found.pop("gallery")) == kept
    golden.entry(TABLE, f"search --like {' '.join(filters)}", found, within=OF_VECTORS)


def test_paths_as_the_file_system_has_them(golden, kept, type_in):
    """Answers are decoded where they are UTF-8; one of these is not."""
    like = ("--like", "/photos/lamp.jpg")
    answer = type_in("search", *like, "--gallery", kept, "--json").document()
    paths = {hit["path"] for hit in answer["hits"]}
    assert {"/photos/caf\ufffd/fish.jpg", "/photos/line\nbreak/lamp.jpg"} <= paths
    assert "file:///photos/caf%E9/fish.jpg" in {hit["uri"] for hit in answer["hits"]}
    refused = type_in("search", *like, "--gallery", kept, "--paths")
    golden.entry(TABLE, "search --paths", [refused.status, refused.out, refused.err])


@pytest.mark.parametrize("command", ["stats", "check"])
def test_counts(golden, steady, kept, type_in, command):
    answer = type_in("gallery", command, kept, "--json").document()
    golden.entry(TABLE, f"{command} of {kept.name}", steady(answer, kept.parent))


def test_check_of_the_photos(golden, steady, kept, type_in):
    """None of which is there."""
    answer = type_in("gallery", "check", kept, "--photos", "--json")
    found = {"status": answer.status, "said": steady(json.loads(answer.out), kept.parent)}
    golden.entry(TABLE, f"check --photos of {kept.name}", found)


def test_over_http(golden, steady, opened):
    with TestClient(create_app(opened), base_url="http://localhost:8765") as client:
        held = client.get("/api/gallery").json()
        assert held.pop("name") == opened.path.name
        assert held.pop("version") == opened.version
        found = client.post("/api/similar", json={"id": 5, "orientation": "landscape"}).json()
        gone = client.get("/api/photos/1")
    answers = {"gallery": held, "similar": steady(found), "photo": [gone.status_code, gone.json()]}
    golden.entry(TABLE, "over HTTP", answers, within=OF_VECTORS)


@pytest.mark.parametrize("target", ["copy.msedge", "copy.lance"])
def test_copies(golden, steady, kept, type_in, as_documents, tmp_path, target):
    copied = type_in("gallery", "copy", kept, tmp_path / target, "--json").document()
    assert (Path(copied.pop("gallery")), Path(copied.pop("copy"))) == (kept, tmp_path / target)
    golden.entry(TABLE, "copy", steady(copied))
    with msedge.Gallery.open(tmp_path / target) as copy:
        assert copy.photos == 8
        found = as_documents(copy.similar(3, collapse=False))
    golden.entry(TABLE, "similar of a copy", found, within=OF_VECTORS)


class TestReadingLeavesItAsItIs:
    def test_to_the_byte(self, tmp_path, type_in):
        path = unpacked("schema-1.msedge", tmp_path)
        with msedge.Gallery.open(path) as gallery:
            gallery.similar(1)
        assert type_in("gallery", "stats", path).status == 0
        assert type_in("gallery", "check", path).status == 0
        assert path.read_bytes() == (KEPT / "schema-1.msedge").read_bytes()


def schema_of(path: Path) -> dict[str, object]:
    """The number of a file's schema, what its tables hold, and what it says of itself."""
    with closing(sqlite3.connect(path)) as connection:

        def first(query: str) -> list[str]:
            return sorted(row[0] for row in connection.execute(query))

        tables = first("SELECT name FROM sqlite_schema WHERE type = 'table'")
        return {
            "version": first("PRAGMA user_version"),
            "application": first("PRAGMA application_id"),
            "page_size": first("PRAGMA page_size"),
            "journal": first("PRAGMA journal_mode"),
            "parts": first("SELECT name FROM sqlite_schema WHERE sql IS NOT NULL"),
            "columns": {
                name: [row[1:4] for row in connection.execute(f"PRAGMA table_info({name})")]
                for name in tables
            },
            "meta": first("SELECT key FROM meta"),
        }


@pytest.mark.parametrize("name", FILES)
class TestWriting:
    def test_photos_are_added(
        self, golden, steady, type_in, drawn_photos, as_documents, tmp_path, name
    ):
        path = unpacked(name, tmp_path)
        photos = drawn_photos(tmp_path / "photos")
        index = ("index", photos, "--gallery", path, "--threads", "1", "--json")
        first, second = (steady(type_in(*index).document(), tmp_path) for _ in range(2))
        for answer in (first, second):
            assert answer.pop("gallery") == f"<here>/{name}"
        golden.entry(TABLE, "index of six photos more", [first, second])
        with msedge.Gallery.open(path) as gallery:
            new = [described(gallery.photo(number)) for number in range(10, 16)]
            found = as_documents(gallery.similar(1)), as_documents(gallery.similar(12))
        golden.entry(TABLE, "photos that were added", steady(new, tmp_path))
        golden.entry(TABLE, "similar of photos that were added", found, within=OF_THE_NETWORK)
        answer = type_in("gallery", "check", path, "--json").document()
        assert (answer["is_sound"], answer["findings"]) == (True, [])

    def test_it_becomes_one_of_this_release(self, golden, type_in, drawn_photos, tmp_path, name):
        """Whatever that is; today the second schema."""
        path = unpacked(name, tmp_path)
        assert schema_of(path)["version"] == [int(name[len("schema-")])]
        assert type_in("index", drawn_photos(tmp_path / "a"), "--gallery", path).status == 0
        made = tmp_path / "made.msedge"
        assert type_in("index", tmp_path / "a", "--gallery", made).status == 0
        assert schema_of(path) == schema_of(made)
        golden.entry(TABLE, "schema", schema_of(path))

    def test_photos_are_removed(self, type_in, drawn_photos, as_documents, tmp_path, name):
        path = unpacked(name, tmp_path)
        photos = drawn_photos(tmp_path / "photos")
        index = ("index", photos, "--gallery", path, "--json")
        type_in(*index).document()
        with msedge.Gallery.open(path) as gallery:
            before = as_documents(gallery.similar(1))
            for photo in (photos / "fish").iterdir():
                photo.unlink()
            assert type_in(*index).document()["removed"] == 4
            after = as_documents(gallery.similar(1))  # seen by who has it open
        assert {hit["id"] for hit in before} - {hit["id"] for hit in after} == {12, 13, 14}
        assert sum(1 + len(hit["copies"]) for hit in after) == 10

    @pytest.mark.parametrize("way", [(), ("copy.msedge",), ("copy.lance", "back.msedge")])
    def test_ids_are_never_given_again(self, type_in, drawn_photos, tmp_path, name, way):
        """Nor by a copy: who remembers a photo by its id must not be shown another."""
        path = unpacked(name, tmp_path)
        photos = drawn_photos(tmp_path / "photos")
        index = ("index", photos, "--json", "--gallery")
        type_in(*index, path).document()
        kept = (photos / "fish" / "fish 1.jpg").read_bytes()
        for photo in (photos / "fish").iterdir():
            photo.unlink()
        assert type_in(*index, path).document()["removed"] == 4
        for target in way:
            assert type_in("gallery", "copy", path, tmp_path / target).status == 0
            path = tmp_path / target
        (photos / "fish" / "fish 1.jpg").write_bytes(kept)
        assert type_in(*index, path).document()["new"] == 1
        with msedge.Gallery.open(path) as gallery:
            ids = {hit.photo.id for hit in gallery.similar(1, collapse=False)}
        assert ids == {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 16}

    def test_upkeep(self, type_in, tmp_path, name):
        path = unpacked(name, tmp_path)
        assert type_in("gallery", "compact", path).status == 0
        assert type_in("gallery", "approximate", path, "--force").status == 0
        answer = type_in("gallery", "check", path, "--repair", "--json").document()
        assert answer["is_sound"]
        assert type_in("gallery", "stats", path, "--json").document()["photos"] == 8


@pytest.mark.parametrize("name", DATASETS)
def test_upkeep_of_datasets(golden, type_in, as_documents, tmp_path, name):
    path = unpacked(name, tmp_path)
    assert type_in("gallery", "compact", path).status == 0
    assert type_in("gallery", "approximate", path, "--force").status == 0
    answer = type_in("gallery", "check", path, "--repair", "--json").document()
    assert answer["is_sound"]
    assert type_in("gallery", "stats", path, "--json").document()["photos"] == 8
    with msedge.Gallery.open(path) as gallery:
        found = as_documents(gallery.similar(3, collapse=False))
    golden.entry(TABLE, "similar of a copy", found, within=OF_VECTORS)
