"""Preparing a small archive of Sketchy: links, copies, interruptions; and the real one."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image

from msedge.data.layouts import find_unreadable, fingerprint, read_dataset
from msedge.data.prepare import (
    MARKER,
    PreparedCounts,
    SplitCounts,
    prepare_dataset,
    read_marker,
)
from msedge.data.protocols import Protocol, load_protocol
from msedge.errors import ConfigError, DataError
from msedge.training.config import TrainConfig

PROTOCOL = Protocol(
    id="tiny-2",
    dataset="sketchy",
    title="t",
    citation="c",
    unseen=("Hot-Air Balloon", "cow"),
)
CLASSES = ("camel", "cat", "cow", "hot-air_balloon")
COUNTS = PreparedCounts(train=SplitCounts(2, 6, 4), val=SplitCounts(2, 6, 4))


def image(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def leftovers(data_root: Path) -> list[str]:
    return [path.name for path in data_root.iterdir() if path.name.startswith(".")]


# smoke


def test_links_into_the_layout(source: Path, tmp_path: Path) -> None:
    data_root = tmp_path / "new" / "data"
    assert prepare_dataset("sketchy", source, PROTOCOL, data_root) == COUNTS
    dataset = read_dataset(data_root, "sketchy")
    assert dataset.train.classes == ("camel", "cat")
    assert dataset.val.classes == ("cow", "hot-air_balloon")
    assert find_unreadable(dataset.val.records) == []
    link = dataset.val.of("photo")[0].path
    assert link.is_symlink()
    assert link.readlink() == source.resolve() / "256x256/photo/tx_000000000000/cow/n02_0.jpg"
    assert leftovers(data_root) == []


def test_copies_on_request(source: Path, tmp_path: Path) -> None:
    assert prepare_dataset("sketchy", source, PROTOCOL, tmp_path, name="mine", copy=True) == COUNTS
    before = fingerprint(read_dataset(tmp_path, "mine"))
    prepare_dataset("sketchy", source, PROTOCOL, tmp_path, name="linked")
    assert fingerprint(read_dataset(tmp_path, "linked")) == before
    shutil.rmtree(source)
    dataset = read_dataset(tmp_path, "mine")
    assert find_unreadable(dataset.train.records + dataset.val.records) == []


def test_source_may_be_the_inner_folder_or_relative(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source)
    assert prepare_dataset("sketchy", Path("256x256"), PROTOCOL, tmp_path / "data") == COUNTS
    assert (
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path / "data") == COUNTS
    )  # the same request
    monkeypatch.chdir("/")
    assert len(read_dataset(tmp_path / "data", "sketchy").train.records) == 10


def test_others_can_read_what_was_written(source: Path, tmp_path: Path) -> None:
    """A temporary folder is private by default; a dataset has the rights of any new folder."""
    (tmp_path / "plain").mkdir()
    prepare_dataset("sketchy", source, PROTOCOL, tmp_path)
    assert (tmp_path / "sketchy").stat().st_mode == (tmp_path / "plain").stat().st_mode


# exceptions


@pytest.mark.parametrize("broken", ["all", "sketch"])
def test_no_archive(source: Path, tmp_path: Path, broken: str) -> None:
    shutil.rmtree(source if broken == "all" else source / "256x256" / "sketch")
    with pytest.raises(DataError, match=r"no sketchy dataset in .*archive.*: looked for 256x256"):
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_missing_unseen_class_is_named(source: Path, tmp_path: Path) -> None:
    for domain in ("photo", "sketch"):
        shutil.rmtree(source / "256x256" / domain / "tx_000000000000" / "hot-air_balloon")
    with pytest.raises(DataError, match=r"unseen classes of tiny-2 are missing .*Hot-Air Balloon"):
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path / "data")


@pytest.mark.parametrize("domain", ["photo", "sketch"])
def test_class_without_one_domain(source: Path, tmp_path: Path, domain: str) -> None:
    shutil.rmtree(source / "256x256" / domain / "tx_000000000000" / "cat")
    with pytest.raises(DataError, match=f"class cat has no images in .*{domain}"):
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path / "data")


def test_one_class_in_two_spellings(source: Path, tmp_path: Path) -> None:
    image(source / "256x256/photo/tx_000000000000/hot_air balloon/a.jpg", (1, 2, 3))
    with pytest.raises(DataError, match=r"one class twice, hot-air_balloon and hot_air balloon"):
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path / "data")


def test_only_unseen_classes(source: Path, tmp_path: Path) -> None:
    everything = Protocol(id="x", dataset="sketchy", title="", citation="", unseen=CLASSES)
    with pytest.raises(DataError, match="holds unseen classes of x only"):
        prepare_dataset("sketchy", source, everything, tmp_path / "data")


def test_protocol_of_another_dataset(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is for tuberlin: choose one for sketchy"):
        prepare_dataset("sketchy", source, load_protocol("tuberlin-30-sake"), tmp_path / "data")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_name_is_one_visible_folder(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="one folder"):
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path / "data", name=name)


@pytest.mark.parametrize("marker", [None, "", "[]", '{"counts": 3}'])
def test_folders_of_the_user_are_left_alone(
    source: Path, tmp_path: Path, marker: str | None
) -> None:
    own = tmp_path / "sketchy" / "thesis.txt"
    own.parent.mkdir()
    own.write_text("three years")
    if marker is not None:
        (own.parent / MARKER).write_text(marker)
    with pytest.raises(DataError, match=r"exists and was not written by .*remove it, or .*--name"):
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path)
    assert own.read_text() == "three years"


def test_links_not_allowed(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(DataError, match=r"symbolic link in .*not permitted.*--copy"):
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_disk_full(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(DataError, match=r"cannot prepare .*sketchy: .*No space left"):
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path / "data", copy=True)
    assert list((tmp_path / "data").iterdir()) == []


# twice, interrupted, at the same time


def test_the_same_again_changes_nothing(source: Path, tmp_path: Path) -> None:
    first = prepare_dataset("sketchy", source, PROTOCOL, tmp_path)
    before = (tmp_path / "sketchy" / MARKER).stat().st_mtime_ns
    calls: list[int] = []
    again = prepare_dataset(
        "sketchy", source, PROTOCOL, tmp_path, progress=lambda done, _: calls.append(done)
    )
    assert again == first
    assert calls == []
    assert (tmp_path / "sketchy" / MARKER).stat().st_mtime_ns == before


def test_another_request_is_refused(source: Path, tmp_path: Path) -> None:
    prepare_dataset("sketchy", source, PROTOCOL, tmp_path)
    before = tree(tmp_path / "sketchy")
    other = Protocol(id="tiny-1", dataset="sketchy", title="", citation="", unseen=("cow",))
    with pytest.raises(DataError, match=r"prepared otherwise \(protocol tiny-2, .*--name"):
        prepare_dataset("sketchy", source, other, tmp_path)
    with pytest.raises(DataError, match=r"prepared otherwise \(copy False\)"):
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path, copy=True)
    shutil.copytree(source, tmp_path / "twin")
    with pytest.raises(DataError, match=r"prepared otherwise \(source .*archive"):
        prepare_dataset("sketchy", tmp_path / "twin", PROTOCOL, tmp_path)
    image(source / "EXTEND_image_sketchy/cat/ext_1.jpg", (9, 9, 9))
    with pytest.raises(DataError, match=r"prepared otherwise \(extension None\)"):
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path)
    assert tree(tmp_path / "sketchy") == before
    assert prepare_dataset("sketchy", source, other, tmp_path, name="other").val == SplitCounts(
        1, 3, 2
    )


def test_interrupted_by_the_user(source: Path, tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path / "data", progress=stop)
    assert list((tmp_path / "data").iterdir()) == []


def _killed_midway(source: Path, data_root: Path) -> None:
    def die(done: int, _: int) -> None:
        if done == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    prepare_dataset("sketchy", source, PROTOCOL, data_root, progress=die)


def test_killed_then_started_again(source: Path, tmp_path: Path) -> None:
    data_root = tmp_path / "data"
    process = multiprocessing.get_context("fork").Process(
        target=_killed_midway, args=(source, data_root)
    )
    process.start()
    process.join(timeout=20)
    assert process.exitcode == -signal.SIGKILL
    assert not (data_root / "sketchy").exists()
    assert len(leftovers(data_root)) == 1
    own = data_root / ".sketchy.preparing-notes"
    own.mkdir()
    assert prepare_dataset("sketchy", source, PROTOCOL, data_root) == COUNTS
    assert leftovers(data_root) == [own.name]
    assert (source / "256x256/photo/tx_000000000000/cow/n02_0.jpg").is_file()


def test_second_at_the_same_time_is_told_to_wait(source: Path, tmp_path: Path) -> None:
    heard: list[str] = []

    def meanwhile(done: int, _: int) -> None:
        if done == 1:
            with pytest.raises(DataError, match="another `msedge data prepare`") as caught:
                prepare_dataset("sketchy", source, PROTOCOL, tmp_path)
            heard.append(str(caught.value))

    assert prepare_dataset("sketchy", source, PROTOCOL, tmp_path, progress=meanwhile) == COUNTS
    assert len(heard) == 1


# cardinality


def test_progress_counts_every_file(source: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    prepare_dataset(
        "sketchy",
        source,
        PROTOCOL,
        tmp_path,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(done, 20) for done in range(1, 21)]


def test_class_names_vary_between_the_folders(source: Path, tmp_path: Path) -> None:
    sketches = source / "256x256/sketch/tx_000000000000"
    (sketches / "hot-air_balloon").rename(sketches / "Hot Air Balloon")
    image(source / "EXTEND_image_sketchy/hot_air_balloon/ext_1.jpg", (9, 9, 9))
    counts = prepare_dataset("sketchy", source, PROTOCOL, tmp_path)
    assert counts == PreparedCounts(COUNTS.train, SplitCounts(2, 6, 5))
    assert read_dataset(tmp_path, "sketchy").val.classes == ("Hot Air Balloon", "cow")


@pytest.mark.parametrize("where", ["", "256x256"])
@pytest.mark.parametrize("inner", [False, True])
def test_added_photos_without_repeats(
    source: Path, tmp_path: Path, where: str, inner: bool
) -> None:
    added = source / where / "EXTEND_image_sketchy"
    photos = source / "256x256/photo/tx_000000000000"
    for number in range(3):
        image(added / f"cow/ext_{number}.jpg", (200, 80 * number, 0))
    shutil.copy(added / "cow/ext_0.jpg", added / "cow/ext_9.jpg")  # repeats an added photo
    shutil.copy(photos / "cow/n02_1.jpg", added / "cow/ext_8.jpg")  # an original, renamed
    image(added / "cow/n02_0.jpg", (1, 1, 1))  # an original, encoded again
    image(added / "camel/c.jpg", (2, 2, 2))  # the misnamed original
    image(added / "cat/c.jpg", (2, 2, 2))  # no such rule for other classes
    image(added / "yak/ext_1.jpg", (3, 3, 3))  # no sketches
    shutil.copy(photos / "cow/n02_1.jpg", added / "cat/ext_1.jpg")  # of another class: kept
    counts = prepare_dataset("sketchy", source / "256x256" if inner else source, PROTOCOL, tmp_path)
    assert (counts.train, counts.val) == (SplitCounts(2, 6, 6), SplitCounts(2, 6, 7))
    assert counts.dropped == (
        "camel/c.jpg: repeats the original photo n02437136_5405",
        "cow/ext_8.jpg: has the content of n02_1.jpg",
        "cow/ext_9.jpg: has the content of ext_0.jpg",
        "cow/n02_0.jpg: repeats the original photo n02_0",
        "yak: the class has added photos only, no sketches",
    )
    dataset = read_dataset(tmp_path, "sketchy")
    assert dataset.val.counts("photo") == {"cow": 5, "hot-air_balloon": 2}
    kept = next(record for record in dataset.val.records if record.path.name == "n02_0.jpg")
    assert kept.path.resolve() == (photos / "cow/n02_0.jpg").resolve()
    assert prepare_dataset("sketchy", source, PROTOCOL, tmp_path) == counts


def test_originals_are_never_dropped(source: Path, tmp_path: Path) -> None:
    """Each has its own sketches: dropping one would leave them without their photo."""
    photos = source / "256x256/photo/tx_000000000000/cow"
    shutil.copy(photos / "n02_0.jpg", photos / "n02_7.jpg")
    assert (
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path).val.photos == COUNTS.val.photos + 1
    )


# numbers


def test_marker_says_what_was_asked(source: Path, tmp_path: Path) -> None:
    prepare_dataset("sketchy", source, PROTOCOL, tmp_path)
    assert json.loads((tmp_path / "sketchy" / MARKER).read_text()) == {
        "source": str(source.resolve() / "256x256"),
        "extension": None,
        "protocol": "tiny-2",
        "protocol_hash": PROTOCOL.hash,
        "copy": False,
        "keep_duplicates": False,
        "lone_classes": "refuse",
        "protocol_file": None,
        "counts": {
            "train": {"classes": 2, "sketches": 6, "photos": 4},
            "val": {"classes": 2, "sketches": 6, "photos": 4},
            "dropped": [],
        },
    }


def test_a_marker_without_the_newer_key_counts_as_without_repeats(
    source: Path, tmp_path: Path
) -> None:
    counts = prepare_dataset("sketchy", source, PROTOCOL, tmp_path)
    marker = tmp_path / "sketchy" / MARKER
    noted = json.loads(marker.read_text())
    del noted["keep_duplicates"], noted["lone_classes"]
    marker.write_text(json.dumps(noted))
    assert prepare_dataset("sketchy", source, PROTOCOL, tmp_path) == counts
    with pytest.raises(DataError, match=r"prepared otherwise \(keep_duplicates False\)"):
        prepare_dataset("sketchy", source, PROTOCOL, tmp_path, keep_duplicates=True)


def test_read_marker(source: Path, tmp_path: Path) -> None:
    assert read_marker(tmp_path) == {}
    (tmp_path / MARKER).write_text("[]")
    assert read_marker(tmp_path) == {}
    prepare_dataset("sketchy", source, PROTOCOL, tmp_path)
    assert read_marker(tmp_path / "sketchy")["protocol"] == "tiny-2"


def test_the_real_archive(tmp_path: Path) -> None:
    folder = Path(os.environ.get("MSEDGE_TEST_DATA", "")) / "sketchy-mini"
    if "MSEDGE_TEST_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("MSEDGE_TEST_DATA does not name a folder with sketchy-mini")
    counts = prepare_dataset("sketchy", folder, load_protocol("sketchy-21"), tmp_path)
    assert counts.train == SplitCounts(104, 2600, 2600)
    assert counts.val == SplitCounts(21, 525, 525)
    dataset = read_dataset(tmp_path, "sketchy")
    assert find_unreadable(dataset.val.records[::25]) == []


def test_real_sketches_with_classes_that_have_no_photos(tmp_path: Path) -> None:
    folder = Path(os.environ.get("MSEDGE_TEST_DATA", "")) / "tuberlin-mini"
    if "MSEDGE_TEST_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("MSEDGE_TEST_DATA does not name a folder with tuberlin-mini")
    source = tmp_path / "all"
    (source / "png_ready").mkdir(parents=True)
    (source / "ImageResized_ready").symlink_to(folder / "ImageResized_ready")
    for sketches in ("png_ready", "sketches_only"):
        for of_class in (folder / sketches).iterdir():
            (source / "png_ready" / of_class.name).symlink_to(of_class)
    protocol = load_protocol(str(folder / "tuberlin-mini-20.toml"))
    with pytest.raises(DataError, match=r"class angel has .*109 more classes lack"):
        prepare_dataset("tuberlin", source, protocol, tmp_path)
    counts = prepare_dataset("tuberlin", source, protocol, tmp_path, lone_classes="leave-out")
    assert counts.train == SplitCounts(120, 7200, 6773)
    assert counts.val == SplitCounts(20, 1200, 1010)
    assert len(counts.dropped) == 110
    taken = prepare_dataset(
        "tuberlin", source, protocol, tmp_path, name="taken", lone_classes="take"
    )
    assert taken.train == SplitCounts(230, 13800, 6773)
    assert read_marker(tmp_path / "taken")["protocol_file"] == protocol.file
    assert TrainConfig(data_root=tmp_path, data_name="tuberlin").val_photos_needed == 0
