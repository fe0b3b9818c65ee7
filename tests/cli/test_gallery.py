"""``msedge gallery``: what is printed, what it ends with, and being stopped."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from made_photos import held, make, names, photos
from msedge.cli.app import main
from msedge.cli.signals import stopped_by_signals
from msedge.search import stores
from msedge.search.stores import open_store
from photo_files import write_photo
from serve_processes import serving

TESTS = Path(__file__).parent.parent


@pytest.fixture
def gallery(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make(tmp_path / "photos.msedge", photos(50))


@pytest.fixture
def ask(type_in):
    return lambda *arguments: type_in(main, "gallery", *arguments)


def spoil(path, count=2):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE photos SET vector = x'' WHERE id <= ?", (count,))


class TestCopy:
    @pytest.mark.parametrize("name", ["b.msedge", "b.lance"])
    def test_it_says_how_many_were_compared(self, ask, gallery, name):
        answer = ask("copy", gallery, name)
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.startswith(f"{name} holds 50 photos, compared one by one")
        assert held(Path(name)) == held(gallery)

    def test_json(self, ask, gallery):
        document = json.loads(ask("copy", gallery, "b.msedge", "--json").out)
        assert (document["copy"], document["photos"]) == ("b.msedge", 50)
        assert len(document["digest"]) == 64

    def test_what_is_there_is_not_overwritten(self, ask, gallery):
        answer = ask("copy", gallery, gallery)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.count("\n") == 1
        assert "is there already" in answer.err


class TestCheck:
    def test_sound(self, ask, gallery):
        answer = ask("check", gallery)
        assert (answer.code, answer.out) == (0, f"{gallery} is sound\n")

    def test_a_line_a_finding_and_how_to_go_on(self, ask, gallery):
        spoil(gallery)
        gallery.with_name("photos.msedge-new").touch()
        answer = ask("check", gallery)
        assert answer.code == 1
        lines = answer.out.splitlines()
        assert [line.partition(":")[0] for line in lines] == ["found", "found", "mend it"]
        assert "2 photos with vectors" in lines[0]
        assert lines[-1] == f"mend it: msedge gallery check --repair {gallery}"
        assert len(names(gallery.parent)) == 2

    def test_mended(self, ask, gallery):
        spoil(gallery)
        answer = ask("check", "--repair", gallery)
        assert answer.code == 0
        assert answer.out.splitlines()[0].startswith("mended: 2 photos with vectors")
        assert answer.out.splitlines()[-1] == f"{gallery} is sound"
        assert ask("check", gallery).code == 0

    def test_json(self, ask, gallery):
        spoil(gallery)
        answer = ask("check", gallery, "--json")
        document = json.loads(answer.out)
        assert (answer.code, document["is_sound"]) == (1, False)
        (finding,) = document["findings"]
        assert (finding["name"], finding["count"], finding["can_mend"]) == ("vectors", 2, True)
        document = json.loads(ask("check", gallery, "--repair", "--json").out)
        assert (document["is_sound"], document["findings"][0]["is_mended"]) == (True, True)

    def test_what_cannot_be_mended_is_left(self, ask, gallery):
        with gallery.open("r+b") as file:
            file.write(os.urandom(8192))
        answer = ask("check", gallery, "--repair")
        assert answer.code == 1
        assert "50 photos are in" in answer.out
        assert "--repair" not in answer.out
        assert "is sound" not in answer.out

    def test_files_of_photos(self, ask, gallery):
        answer = ask("check", gallery, "--photos")
        assert answer.code == 1
        assert "50 photos whose file is not there" in answer.out

    def test_no_gallery(self, ask, gallery):
        answer = ask("check", gallery.with_name("other.msedge"))
        assert (answer.code, answer.out) == (2, "")
        assert "no gallery" in answer.err

    def test_names_that_would_break_a_line_or_are_not_utf8(self, ask, tmp_path):
        path = tmp_path / os.fsdecode(b"a\n\xff.msedge")
        make(path, photos(3))
        answer = ask("check", path)
        assert (answer.code, answer.out.count("\n")) == (0, 1)
        spoil(path)
        assert json.loads(ask("check", path, "--json").out)["gallery"] == str(path)


class TestStats:
    def test_a_number_a_line(self, ask, gallery):
        answer = ask("stats", gallery)
        assert answer.code == 0
        lines = dict(line.split(maxsplit=1) for line in answer.out.splitlines()[:4])
        assert lines["gallery"] == f"{gallery} (sqlite)"
        assert lines["photos"] == "50"
        assert "search              exact" in answer.out

    @pytest.mark.parametrize("name", ["b.msedge", "b.lance"])
    def test_json(self, ask, gallery, name):
        ask("copy", gallery, name)
        document = json.loads(ask("stats", name, "--json").out)
        assert document["photos"] == 50
        assert document["model"] == {"name": "colours", "fingerprint": "colours-1", "dim": 8}
        assert document["kind"] == ("sqlite" if name == "b.msedge" else "lance")


class TestCompact:
    def test_what_it_saved(self, ask, gallery):
        with open_store(gallery, writable=True) as file:
            file.change(put=photos(3000))
            file.change(remove=range(1, 2900))
        answer = ask("compact", gallery)
        assert answer.code == 0
        before, after = (float(x.split()[0]) for x in answer.out.split(": ")[1].split(", "))
        assert after < before / 3

    def test_of_a_dataset(self, ask, gallery):
        ask("copy", gallery, "b.lance")
        answer = ask("compact", "b.lance")
        assert answer.code == 0
        assert answer.out.startswith("fragments: 1 before, 1 now")


class TestApproximate:
    def test_a_small_gallery_needs_none(self, ask, gallery):
        answer = ask("approximate", gallery)
        assert answer.code == 0
        assert "no index was built" in answer.out
        assert names(gallery.parent) == {gallery.name}

    def test_kind_parameters_and_recall_are_told(self, ask, gallery):
        answer = ask("approximate", gallery, "--force", "--recall", "0.9", "--kind", "hnsw")
        assert (answer.code, answer.err) == (0, "")
        assert "hnsw (" in answer.out
        assert "wanted 0.900" in answer.out
        assert "an approximate index of 50 photos, recall" in answer.out.splitlines()[-1]
        assert "approximate, hnsw" in ask("stats", gallery).out

    def test_a_large_gallery_gets_one_without_being_asked_twice(self, ask, gallery, monkeypatch):
        monkeypatch.setattr(stores, "APPROXIMATE_FROM", 50)
        document = json.loads(ask("approximate", gallery, "--json").out)
        assert document["state"]["photos"] == 50
        with open_store(gallery) as file:
            assert not file.is_index_due(50)

    @pytest.mark.parametrize("option", [("--recall", "2"), ("--kind", "flat")])
    def test_bad_input(self, ask, gallery, option):
        answer = ask("approximate", gallery, "--force", *option)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_copy_that_is_stopped_ends_soon_and_leaves_nothing(self, gallery, number):
        program = (
            "import signal, sys, time\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # as from a terminal
            "from msedge.cli.app import main\n"
            "from msedge.search.stores.sqlite.store import SqliteStore\n"
            "blocks = SqliteStore.blocks\n"
            "def slow(store, rows=1):\n"
            "    for block in blocks(store, 1):\n"
            "        yield block\n"
            "        print('going', flush=True)\n"
            "        time.sleep(0.2)\n"
            "SqliteStore.blocks = slow\n"
            "sys.argv = ['msedge', 'gallery', 'copy', *sys.argv[1:]]\n"
            "main()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, gallery, "b.msedge"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout.readline() == "going\n"
            process.send_signal(number)
            went_on, said = process.communicate(timeout=60)
        assert went_on.count("going") < 5  # of fifty blocks
        assert (process.returncode, said) == (130, "msedge: stopped; nothing was made\n")
        assert names(gallery.parent) == {gallery.name}

    def test_the_second_request_ends_at_once(self):
        with stopped_by_signals() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.is_set()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    def test_handlers_are_put_back(self):
        before = signal.getsignal(signal.SIGTERM)
        with stopped_by_signals() as stop:
            assert signal.getsignal(signal.SIGTERM) is not before
            assert not stop.is_set()
        assert signal.getsignal(signal.SIGTERM) is before


def test_help_loads_nothing_heavy():
    heavy = {"lance", "pyarrow", "faiss", "ray", "fsspec", "numpy", "sqlite3"}
    program = (
        "import sys\n"
        "from msedge.cli.app import app\n"
        "app(['gallery', 'copy', '--help'], standalone_mode=False)\n"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


class TestFolders:
    @pytest.fixture
    def indexed(self, type_in, tmp_path, monkeypatch):
        """Sixty photos, indexed in ``old`` by the shipped model, which is ``new`` now."""
        monkeypatch.chdir(tmp_path)
        for number in range(60):
            write_photo(tmp_path / f"old/{number % 3}/{number}.jpg", number)
        assert type_in(main, "index", "old").code == 0
        before = held(Path("photos.msedge"))
        (tmp_path / "old").rename(tmp_path / "new")
        return before

    def test_index_proposes_what_keeps_the_ids(self, type_in, tmp_path, indexed):
        old, new = tmp_path / "old", tmp_path / "new"
        told = type_in(main, "index", "new").out.splitlines()
        assert told[-3].startswith("60 new, 0 changed, 0 moved")
        assert told[-2:] == [
            "photos.msedge holds 120 photos",
            f"60 of these photos are in the gallery under {old}, which is not there any more: "
            f"`msedge gallery reroot {old} {new}` or `msedge gallery forget {old}`",
        ]
        command = shlex.split(re.findall("`msedge (.+?)`", told[-1])[0])
        answer = type_in(main, *command)
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.splitlines() == [
            f"60 photos of {old} are in {new} now",
            "60 of them were known there already, and are there once now",
        ]
        there = os.fsencode(f"{old}/"), os.fsencode(f"{new}/")
        moved = [(id, path.replace(*there), *rest) for id, path, *rest in indexed]
        assert held(Path("photos.msedge")) == moved
        again = type_in(main, "index", "new").out
        assert again.startswith("0 new, 0 changed, 0 moved, 0 removed, 60 unchanged")
        assert "not there any more" not in again

    def test_rerooted_before_indexing(self, type_in, ask, indexed):
        assert ask("reroot", "old", "new").code == 0
        assert [row[0] for row in held(Path("photos.msedge"))] == [row[0] for row in indexed]
        assert "0 removed, 60 unchanged" in type_in(main, "index", "new").out

    @pytest.mark.usefixtures("indexed")
    def test_index_proposes_what_forgets(self, type_in):
        Path("photos.msedge").rename("my photos.msedge")
        told = type_in(main, "index", "new", "--gallery", "my photos.msedge").out.splitlines()[-1]
        command = shlex.split(re.findall("`msedge (.+?)`", told)[1])
        assert command[-2:] == ["--gallery", "my photos.msedge"]
        answer = type_in(main, *command)
        assert answer.out == (
            f"60 photos of {Path.cwd()}/old are no longer in my photos.msedge; their files were "
            "not touched\n"
        )
        assert len(held(Path("my photos.msedge"))) == 60
        assert len(list(Path("new").rglob("*.jpg"))) == 60

    @pytest.mark.usefixtures("indexed")
    def test_json(self, type_in, ask):
        document = json.loads(type_in(main, "index", "new", "--json").out)
        (proposed,) = document["moved_folders"]
        assert proposed == {"old": f"{Path.cwd()}/old", "new": f"{Path.cwd()}/new", "photos": 60}
        assert json.loads(ask("reroot", "old", "new", "--json").out) == {
            "gallery": "photos.msedge", "old": "old", "new": "new", "photos": 60, "known": 60,
            "other": 0,
            "is_there": True,
        }  # fmt: skip
        assert json.loads(ask("forget", "new/0", "--json").out) == {
            "gallery": "photos.msedge", "folder": "new/0", "photos": 20,
        }  # fmt: skip

    @pytest.mark.usefixtures("gallery")
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("reroot", "/photo", "."), "holds no photos in /photo or below; the nearest that it "
                                        "holds: /photos (50); nothing was changed"),
            (("forget", "/photo"), "holds no photos in /photo or below"),
            (("reroot", "/photos", "nwe"), "nwe is no folder, tar or Parquet file that is there"),
            (("reroot", "/photos", "/photos"), "/photos is the old and the new folder"),
            (("forget", "/photos", "--gallery", "other.msedge"), "no gallery"),
        ],
    )  # fmt: skip
    def test_refusals_are_one_line(self, ask, gallery, arguments, told):
        before = held(gallery)
        answer = ask(*arguments)
        assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
        assert told in answer.err
        assert held(gallery) == before

    @pytest.mark.parametrize("name", ["photos.msedge", "photos.lance"])
    def test_a_server_goes_on_with_the_same_ids(self, ask, type_in, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        old, new = tmp_path / "old", tmp_path / "new"
        for number in range(24):
            write_photo(old / f"{number}.jpg", number, size=(640, 480))
        assert type_in(main, "index", "old", "--gallery", name).code == 0
        ids = [row[0] for row in held(Path(name))]
        body = {"strokes": [[[0, 9, 9], [0, 0, 9]]], "k": 50}
        answers, done = [], threading.Event()
        with serving(Path(name)) as (_, address), httpx.Client(
            base_url=address, timeout=60
        ) as client:  # fmt: skip

            def searched():
                answer = client.post("api/search", json=body)
                assert answer.status_code == 200, answer.text
                hits = answer.json()["hits"]
                found = sorted(id for hit in hits for id in (hit["id"], *hit["copies"]))
                return found, {hit["folder"] for hit in hits}

            def search():
                while not done.is_set():
                    answers.append(searched())

            with ThreadPoolExecutor() as pool:
                searching = [pool.submit(search) for _ in range(2)]
                try:
                    for number in ids[:12]:  # these are kept; the others are read then
                        assert client.get(f"api/photos/{number}/thumbnail").status_code == 200
                    old.rename(new)
                    command = [sys.executable, "-m", "msedge", "gallery", "reroot", "old", "new"]
                    subprocess.run([*command, "--gallery", name], check=True, timeout=120)
                    until = time.monotonic() + 60
                    while searched()[1] != {str(new)}:
                        assert time.monotonic() < until
                        time.sleep(0.05)
                finally:
                    done.set()
                for each in searching:
                    each.result()
            for number in ids:
                assert client.get(f"api/photos/{number}/thumbnail").status_code == 200
                assert client.get(f"api/photos/{number}").status_code == 200
            assert len(answers) > 2
            assert all(found == ids for found, _ in answers)
            assert all(folders in ({str(old)}, {str(new)}) for _, folders in answers)
            assert ask("forget", "new", "--gallery", name).code == 0
            while searched()[0]:
                assert time.monotonic() < until + 60
                time.sleep(0.05)
