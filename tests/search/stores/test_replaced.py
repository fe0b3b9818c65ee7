"""A gallery file that is moved, restored, replaced or made anew while others have it open.

SQLite's log belongs to a file by its name: each of these acts once gave a gallery another's log.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from made_photos import compact, held, ids, make, names, photo, photos
from msedge.errors import DataError
from msedge.search.stores import check_gallery, copy_gallery, open_store, restore_gallery
from msedge.search.stores.sqlite import connections
from msedge.search.stores.sqlite.connections import ANOTHERS, is_whole
from msedge.search.stores.sqlite.file import SCHEMA_VERSION
from msedge.search.stores.store import MissingGalleryError

TESTS = Path(__file__).parent.parent.parent
WRITER = """
import os, sys; sys.path.insert(0, sys.argv[2])
from pathlib import Path
from made_photos import photo
from msedge.search.stores import open_store
store = open_store(Path(sys.argv[1]), writable=True)
reader = store.blocks(10); next(reader)  # keeps the log from being moved into the file
store.change(put=[photo(n) for n in range(500, 520)], remove=[1, 2])
"""
KILLED = WRITER + f"os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
READER = """
import sys
from pathlib import Path
from msedge.search.stores import open_store
store = open_store(Path(sys.argv[1]))
view = store.view()
if sys.argv[3] == "in the midst":
    blocks = store.blocks(10); next(blocks)
print("open", flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be renamed")


@pytest.fixture
def gallery(tmp_path):
    return make(tmp_path / "g.msedge", photos(100))


@pytest.fixture
def backup(gallery, tmp_path):
    copy_gallery(gallery, tmp_path / "backup.msedge")
    return tmp_path / "backup.msedge"


@pytest.fixture
def plain_backup(gallery, tmp_path):
    return Path(shutil.copy(gallery, tmp_path / "plain.msedge"))


def run(program, path):
    return subprocess.run([sys.executable, "-c", program, path, TESTS], check=False).returncode


@contextmanager
def opened(path, how="idle"):
    """Another process has it open."""
    command = [sys.executable, "-c", READER, path, TESTS, how]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "open\n"
        yield process
        process.stdin.close()
        assert process.wait(60) == 0


def index_more(path):
    with open_store(path, writable=True) as store:
        store.change(put=[photo(number) for number in range(500, 520)], remove=[1, 2])


def contents(folder):
    return {each: each.read_bytes() for each in folder.iterdir() if not each.name.endswith("-shm")}


def set_aside(folder):
    return [each for each in folder.iterdir() if ANOTHERS in each.name]


def is_sound(path):
    with closing(sqlite3.connect(path)) as connection:
        sqlite_says = connection.execute("PRAGMA integrity_check").fetchall()
    return sqlite_says == [("ok",)] and not check_gallery(path)


class TestTheFileByItself:
    def test_is_whole_after_each_commit_though_others_have_it_open(self, gallery, tmp_path):
        with opened(gallery), open_store(gallery, writable=True) as store:
            for number in range(3):
                store.change(put=[photo(500 + number)])
                shutil.copy(gallery, tmp_path / "plain.msedge")
                assert held(tmp_path / "plain.msedge") == held(gallery)
                assert is_whole(gallery)

    def test_is_not_while_a_reader_stays_in_the_way_and_that_can_be_asked(self, gallery):
        with opened(gallery, "in the midst"):
            index_more(gallery)
            assert not is_whole(gallery)
            assert len(ids(gallery)) == 118
        assert len(ids(gallery)) == 118
        assert is_whole(gallery)
        assert names(gallery.parent) == {gallery.name}

    def test_check_gives_no_alarm_beside_readers(self, gallery):
        with opened(gallery):
            assert check_gallery(gallery) == []
            index_more(gallery)
            assert check_gallery(gallery) == []


class TestRestoring:
    @pytest.mark.parametrize("kind", ["backup", "plain_backup"])
    @pytest.mark.parametrize("put", [os.replace, shutil.copy], ids=["mv", "cp"])
    def test_over_one_whose_writer_was_killed(self, gallery, kind, put, request):
        path = request.getfixturevalue(kind)
        with open_store(gallery, writable=True) as store:
            store.change(remove=[50])
        wanted = held(path)
        assert run(KILLED, gallery) == -signal.SIGKILL
        put(path, gallery)
        assert held(gallery) == wanted
        assert is_sound(gallery)
        assert len(set_aside(gallery.parent)) == 1
        index_more(gallery)
        assert is_sound(gallery)

    @pytest.mark.parametrize("how", ["idle", "in the midst"])
    @pytest.mark.parametrize("put", [os.replace, shutil.copy], ids=["mv", "cp"])
    def test_over_one_that_others_read(self, gallery, backup, put, how):
        wanted = held(backup)
        with opened(gallery, how):
            index_more(gallery)
            put(backup, gallery)
            assert held(gallery) == wanted
            assert is_sound(gallery)
            index_more(gallery)
            after = held(gallery)
            assert is_sound(gallery)
        assert held(gallery) == after
        assert is_sound(gallery)

    def test_a_log_put_aside_goes_with_its_own_gallery_and_no_other(self, gallery, backup):
        assert run(KILLED, gallery) == -signal.SIGKILL
        moved = gallery.with_name("moved.msedge")
        gallery.rename(moved)
        backup.rename(gallery)
        assert len(ids(gallery)) == 100
        (log,) = set_aside(gallery.parent)
        log.rename(f"{moved}-wal")
        assert len(ids(moved)) == 118
        assert is_sound(moved)
        assert is_sound(gallery)

    def test_check_tells_of_anothers_log_and_changes_nothing(self, gallery, backup):
        assert run(KILLED, gallery) == -signal.SIGKILL
        backup.replace(gallery)
        before = contents(gallery.parent)
        (finding,) = check_gallery(gallery)
        assert (finding.name, finding.can_mend) == ("log", True)
        assert contents(gallery.parent) == before
        (finding,) = check_gallery(gallery, repair=True)
        assert finding.is_mended
        assert is_sound(gallery)

    def test_an_open_store_goes_on_with_what_is_there_now(self, gallery, plain_backup):
        """The same gallery as it was before: a copy made by `cp` says so of itself."""
        with open_store(gallery) as store:
            index_more(gallery)
            view = store.view()
            assert view.vector(1) is None
            plain_backup.replace(gallery)
            now = store.view(view)
            assert (store.count(), now.vector(1) is None) == (100, False)
            with open_store(gallery, writable=True) as writer:
                writer.change(remove=[3])
                writer.change(put=[photo(900)])
            later = store.view(now)
            assert (later.vector(3), len(later.vectors.ids)) == (None, 100)

    def test_the_same_version_of_another_past_is_told_apart(self, gallery, plain_backup):
        with open_store(gallery) as store:
            with open_store(gallery, writable=True) as writer:
                writer.change(remove=[1])
            view = store.view()
            plain_backup.replace(gallery)
            with open_store(gallery, writable=True) as writer:
                writer.change(remove=[2])
            now = store.view(view)
            assert now.version == view.version
            assert (now.vector(1) is None, now.vector(2) is None) == (False, True)

    def test_from_before_it_was_compacted(self, tmp_path):
        gallery = make(tmp_path / "g.msedge", photos(2000))
        with open_store(gallery, writable=True) as store:
            store.change(remove=range(1, 1500))
        plain_backup = Path(shutil.copy(gallery, tmp_path / "plain.msedge"))
        wanted = held(plain_backup)
        compact(gallery)
        assert run(KILLED, gallery) == -signal.SIGKILL
        plain_backup.replace(gallery)
        assert held(gallery) == wanted
        assert is_sound(gallery)

    def test_behind_a_link(self, gallery, backup, tmp_path):
        wanted = held(backup)
        (tmp_path / "links").mkdir()
        (link := tmp_path / "links" / "l.msedge").symlink_to(gallery)
        assert run(KILLED, link) == -signal.SIGKILL
        assert not is_whole(link)
        backup.replace(gallery)
        assert held(link) == wanted
        assert len(set_aside(gallery.parent)) == 1
        index_more(link)
        assert is_sound(gallery)

    def test_leaves_the_log_to_readers_until_the_last_moment(self, gallery, backup, monkeypatch):
        seen = []

        def open_to_write(path):
            seen.append((path.name, len(ids(gallery))))
            return open_it(path)

        open_it = connections.open_to_write
        with opened(gallery, "in the midst"):
            index_more(gallery)
            monkeypatch.setattr(connections, "open_to_write", open_to_write)
            kept = Path(restore_gallery(backup, gallery).kept)
            assert (len(ids(gallery)), len(ids(kept))) == (100, 118)
        assert {name for name, _ in seen} >= {f"{gallery.name}-restoring.msedge"}
        assert {count for _, count in seen} == {118}


class TestAnewWhereOneWas:
    @pytest.mark.parametrize("left", [KILLED, WRITER], ids=["killed", "ended"])
    @pytest.mark.parametrize("moved", [True, False])
    def test_made(self, gallery, tmp_path, left, moved):
        run(left, gallery)
        away = gallery.rename(tmp_path / "moved.msedge")
        log = Path(f"{gallery}-wal")
        if moved and log.exists():
            (tmp_path / "kept").write_bytes(log.read_bytes())
        make(gallery, photos(7))
        assert len(ids(gallery)) == 7
        assert is_sound(gallery)
        if left == WRITER:
            assert len(ids(away)) == 118
        elif moved:
            shutil.copy(tmp_path / "kept", f"{away}-wal")
            assert len(ids(away)) == 118
        assert is_sound(away)

    def test_copied_to(self, gallery, backup):
        run(KILLED, gallery)
        gallery.unlink()
        assert copy_gallery(backup, gallery).photos == 100
        assert held(gallery) == held(backup)
        assert check_gallery(gallery, repair=True) == []
        assert held(gallery) == held(backup)

    @pytest.mark.parametrize("how", ["idle", "in the midst"])
    def test_while_others_have_the_old_one_open(self, gallery, how):
        with opened(gallery, how):
            index_more(gallery)
            gallery.unlink()
            make(gallery, photos(7))
            index_more(gallery)
            assert is_sound(gallery)
        assert is_sound(gallery)
        assert len(ids(gallery)) == 25

    @pytest.mark.parametrize("put", ["mkdir", "mkfifo"])
    def test_an_open_store_says_what_is_no_file(self, gallery, put):
        with open_store(gallery) as store:
            gallery.unlink()
            getattr(os, put)(gallery)
            with pytest.raises(DataError, match="is not a gallery"):
                store.count()

    def test_an_open_store_says_that_it_has_gone(self, gallery):
        with open_store(gallery) as store:
            gallery.unlink()
            with pytest.raises(MissingGalleryError, match="no gallery"):
                store.count()


class TestWriting:
    def test_goes_on_behind_a_link_while_a_reader_is_in_the_midst(self, gallery, tmp_path):
        (link := tmp_path / "l.msedge").symlink_to(gallery.name)
        with opened(link, "in the midst"), open_store(link, writable=True) as store:
            for number in range(3):
                store.change(put=[photo(500 + number)])
        assert len(ids(link)) == 103
        assert names(tmp_path) == {gallery.name, link.name}

    @pytest.mark.parametrize("repaired", [False, True])
    def test_goes_on_where_a_power_cut_tore_the_page_of_states(
        self, gallery, tmp_path, repaired, monkeypatch
    ):
        monkeypatch.setattr("msedge.search.stores.sqlite.store._PATIENCE", 1)
        torn = tmp_path / "torn.msedge"
        with open_store(gallery, writable=True) as store, opened(gallery, "in the midst"):
            for number in range(20):
                store.write_note(f"n{number % 3}", "x" * number * 10)
            # Not by Python, which would take this process's locks on it away
            subprocess.run(["cp", gallery, torn], check=True)
            subprocess.run(["cp", f"{gallery}-wal", f"{torn}-wal"], check=True)
        pages, after = bytearray(torn.read_bytes()), gallery.read_bytes()
        pages[8192 + 4096 : 2 * 8192] = after[8192 + 4096 : 2 * 8192]
        torn.write_bytes(pages)
        assert held(torn) == held(gallery)
        if repaired:
            assert check_gallery(torn, repair=True)
            assert check_gallery(torn) == []
        index_more(torn)
        assert len(ids(torn)) == 118
        assert is_sound(torn)
        assert is_whole(torn)

    def test_half_the_name_of_a_state_is_not_another_gallerys(self, gallery):
        assert run(KILLED, gallery) == -signal.SIGKILL
        with closing(sqlite3.connect(f"file:{gallery}?immutable=1", uri=True)) as connection:
            query = "SELECT value FROM meta WHERE key = 'states'"
            newest = connection.execute(query).fetchone()[0].split()[-2]
        torn = gallery.read_bytes().replace(newest.encode(), newest[:5].encode() + b"fed")
        gallery.write_bytes(torn)
        assert len(ids(gallery)) == 118
        index_more(gallery)
        assert is_sound(gallery)
        assert set_aside(gallery.parent) == []

    def test_stops_when_the_file_was_moved(self, gallery, tmp_path):
        with open_store(gallery, writable=True) as store:
            store.change(remove=[1])
            gallery.rename(tmp_path / "moved.msedge")
            with pytest.raises(DataError, match="was moved, or another file took its place"):
                store.change(remove=[2])
        assert len(ids(tmp_path / "moved.msedge")) == 99
        assert is_sound(tmp_path / "moved.msedge")

    @pytest.mark.parametrize("put", [os.replace, shutil.copy], ids=["mv", "cp"])
    @pytest.mark.parametrize("kind", ["backup", "plain_backup"])
    def test_stops_when_another_took_its_place(self, gallery, kind, put, request):
        path = request.getfixturevalue(kind)
        wanted = held(path)
        with open_store(gallery, writable=True) as store:
            store.change(remove=[1])
            put(path, gallery)
            with pytest.raises(DataError, match="took its place"):
                store.change(remove=[2])
        assert held(gallery) == wanted
        assert is_sound(gallery)

    def test_stops_when_a_newer_release_was_there_meanwhile(self, gallery):
        newer = f"PRAGMA user_version = {SCHEMA_VERSION + 1}"
        with open_store(gallery, writable=True) as store, opened(gallery, "in the midst"):
            with closing(sqlite3.connect(gallery)) as connection:
                connection.execute(newer)
            with pytest.raises(DataError, match="update msedge"):
                store.change(remove=[2])
            for writable in (False, True):  # its file by itself says nothing of it yet
                with pytest.raises(DataError, match="update msedge"):
                    open_store(gallery, writable=writable)


class TestANewerRelease:
    @pytest.fixture
    def newer(self, gallery):
        """One that adds a column of words that this release does not know, in the log alone."""
        with opened(gallery, "in the midst"):
            with closing(sqlite3.connect(gallery)) as connection:
                connection.execute("PRAGMA wal_autocheckpoint = 0")
                connection.execute("ALTER TABLE photos ADD COLUMN mood TEXT DEFAULT 'calm'")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
                connection.execute("DELETE FROM photos WHERE id = 7")
                connection.commit()
                yield gallery
            assert set_aside(gallery.parent) == []
            with closing(sqlite3.connect(gallery)) as connection:
                assert connection.execute("SELECT count(*) FROM photos").fetchone() == (99,)

    @pytest.mark.parametrize("writable", [False, True])
    def test_keeps_its_log_where_an_older_one_opens_the_gallery(self, newer, writable):
        with pytest.raises(DataError, match="update msedge"):
            open_store(newer, writable=writable)

    def test_is_noticed_by_an_older_one_that_has_the_gallery_open(self, gallery, request):
        with open_store(gallery) as store:
            assert store.count() == 100
            request.getfixturevalue("newer")
            with pytest.raises(DataError, match="update msedge"):
                store.count()


class TestTidying:
    def test_old_removals_are_forgotten_and_readers_read_all_anew(self, tmp_path, monkeypatch):
        monkeypatch.setattr("msedge.search.stores.sqlite.store._REMOVALS", 5)
        gallery = make(tmp_path / "g.msedge", photos(40))
        with open_store(gallery) as reader, open_store(gallery, writable=True) as store:
            old = reader.view()
            for number in range(1, 21):
                store.change(remove=[number])
            recent = reader.view(old)
            assert store.tidy() == []
            store.change(remove=[21])
            for view in (old, recent):
                assert reader.view(view).vectors.ids.tolist() == list(range(22, 41))
        with closing(sqlite3.connect(gallery)) as connection:
            assert connection.execute("SELECT count(*) FROM removed").fetchone() == (6,)
        assert is_sound(gallery)

    def test_nothing_is_written_where_nothing_is_due(self, gallery):
        content = gallery.read_bytes()
        with open_store(gallery, writable=True) as store:
            assert store.tidy() == []
        assert gallery.read_bytes() == content

    def test_readers_in_the_way_are_told(self, gallery, monkeypatch):
        monkeypatch.setattr("msedge.search.stores.sqlite.store._LAST_PATIENCE", 100)
        with open_store(gallery, writable=True) as store:
            with opened(gallery, "in the midst"):
                store.change(remove=[1])
                (line,) = store.tidy()
                assert "g.msedge-wal" in line
                assert "msedge gallery copy" in line
            assert store.tidy() == []
