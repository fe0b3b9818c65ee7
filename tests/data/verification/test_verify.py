"""Verification of prepared trees with the official class names of all three datasets."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from msedge.data.prepare import DEFAULT_PROTOCOLS, MARKER, prepare_dataset
from msedge.data.protocols import Expected, Protocol, load_protocol
from msedge.data.verification.verify import Verification, protocol_of_dataset, verify_dataset
from msedge.errors import ConfigError, DataError

EVERY = pytest.mark.parametrize("dataset", ["sketchy", "tuberlin", "quickdraw"])


@dataclass(frozen=True)
class Prepared:
    """A dataset of 3 sketches and 2 photos a class, and the protocol that says so."""

    data_root: Path
    dataset: str
    protocol: Protocol

    def verify(self) -> Verification:
        return verify_dataset(self.data_root, self.dataset, self.protocol)

    def found(self) -> list[str]:
        return [str(finding) for finding in self.verify().findings]

    def folder(self, side: str, domain: str, name: str) -> Path:
        return self.data_root / self.dataset / side / domain / name


@pytest.fixture
def prepared(tmp_path: Path, download) -> Callable[..., Prepared]:
    """Write a download with all official class names of a dataset, and prepare it."""

    def prepare(dataset: str, **options: bool) -> Prepared:
        protocol = load_protocol(DEFAULT_PROTOCOLS[dataset])
        names = [*protocol.unseen, *protocol.seen]
        source = tmp_path / "source"
        if not source.exists():
            download(source, dataset, names)
        expected = Expected(
            seen_classes=len(protocol.seen),
            unseen_classes=len(protocol.unseen),
            queries=3 * len(protocol.unseen),
            gallery_unique=2 * len(protocol.unseen),
        )
        small = replace(protocol, expected=expected, class_photos=())
        prepare_dataset(dataset, source, small, tmp_path / "data", copy=True, **options)
        return Prepared(tmp_path / "data", dataset, small)

    return prepare


@EVERY
def test_a_sound_dataset_agrees(dataset: str, prepared) -> None:
    sound = prepared(dataset)
    found = sound.verify()
    assert found.findings == ()
    assert found.agrees
    assert found.opened
    assert all(total.agrees for total in found.totals)
    assert len(found.classes) == len(sound.protocol.seen) + len(sound.protocol.unseen)
    assert {(count.sketches, count.photos) for count in found.classes} == {(3, 2)}
    assert len(found.notes) == (1 if dataset == "tuberlin" else 0)


@EVERY
def test_the_whole_set_is_expected(dataset: str, prepared) -> None:
    sound = prepared(dataset)
    whole = load_protocol(DEFAULT_PROTOCOLS[dataset])
    found = verify_dataset(sound.data_root, dataset, whole)
    assert not found.agrees
    queries = {"sketchy": "12,694", "tuberlin": "2,400", "quickdraw": "92,291"}[dataset]
    gallery = {"sketchy": "10,453", "tuberlin": "27,989", "quickdraw": "54,151"}[dataset]
    first, second = found.findings[:2]
    assert f"expected {queries}, found {3 * len(whole.unseen)}: " in first.message
    assert f"expected {gallery}, found {2 * len(whole.unseen)}: " in second.message
    assert {finding.kind for finding in found.findings} == {"missing"}


@EVERY
def test_every_defect_is_found_at_once(dataset: str, prepared, draw) -> None:
    broken = prepared(dataset)
    unseen, seen = broken.protocol.unseen, broken.protocol.seen
    for domain in ("sketch", "photo"):
        folder = broken.folder("val", domain, unseen[0])
        folder.rename(folder.with_name(f"{unseen[0]}x"))  # misnamed
        shutil.rmtree(broken.folder("train", domain, seen[0]))  # missing
        draw(broken.folder("train", domain, "zzz") / "1.png")  # surplus
        draw(broken.folder("train", domain, unseen[1]) / "1.png")  # leak
        source = broken.folder("train", domain, seen[1])
        source.rename(broken.folder("val", domain, seen[1]))  # misplaced
    photos = broken.folder("val", "photo", unseen[2])
    first = min(photos.iterdir())
    shutil.copy(first, photos / "zz.jpg")  # duplicated
    (broken.folder("val", "sketch", unseen[2]) / "zz.png").write_bytes(b"no image")  # unreadable
    found = broken.found()
    kinds = Counter(line.split(":")[0] for line in found)
    assert kinds == {
        "surplus": 4,  # the class; the counts of unseen classes, sketches and photos
        "missing": 1,
        "misnamed": 1,
        "leak": 1,
        "misplaced": 1,
        "duplicated": 1,
        "unreadable": 1,
    }
    assert (
        f"duplicated: val/photo/{unseen[2]}/zz.jpg: has the content of val/photo/{unseen[2]}/"
        in ("\n".join(found))
    )
    assert all("\n" not in line for line in found)


@EVERY
def test_other_spellings_of_classes_are_fine(dataset: str, prepared) -> None:
    sound = prepared(dataset)
    spelled = {
        name: name.title().replace("_", " ").replace("-", "_")
        for name in (*sound.protocol.unseen, *sound.protocol.seen)
    }
    assert sum("_" in name or "-" in name or " " in name for name in spelled) > 5
    for side in ("train", "val"):
        for domain in ("sketch", "photo"):
            for folder in list(sound.folder(side, domain, "").iterdir()):
                folder.rename(folder.with_name(spelled[folder.name]))
    assert sound.found() == []


def test_the_doubled_gallery(prepared, tmp_path: Path, draw) -> None:
    once = prepared("sketchy")
    for folder in (tmp_path / "source/256x256/photo/tx_000000000000").iterdir():
        for path in folder.iterdir():
            draw(tmp_path / "source/EXTEND_image_sketchy" / folder.name / path.name)
    shutil.rmtree(once.data_root)
    twice = prepared("sketchy", keep_duplicates=True)
    lines = replace(twice.protocol.expected, gallery_lines=84)
    found = verify_dataset(twice.data_root, "sketchy", replace(twice.protocol, expected=lines))
    assert Counter(finding.kind for finding in found.findings) == {"duplicated": 1 + 250}
    assert "this is the doubled gallery" in found.findings[0].message
    assert "it was prepared with --keep-duplicates" in found.notes[0]


def test_a_photo_that_repeats_by_name_and_content_is_told_once(prepared) -> None:
    broken = prepared("sketchy")
    photos = broken.folder("val", "photo", "cow")
    first = min(photos.iterdir())
    shutil.copy(first, photos / f"{first.stem}_extended.jpg")
    (told,) = [line for line in broken.found() if "_extended" in line]
    assert told.endswith(f"repeats the original photo {first.stem}")


def test_what_preparing_left_out_for_its_content_is_known(prepared, tmp_path: Path) -> None:
    """Published counts go by names: TU-Berlin's include photos that hold the same picture."""
    sound = prepared("tuberlin")
    shutil.rmtree(sound.data_root)
    for side, names in (("unseen", sound.protocol.unseen), ("seen", sound.protocol.seen)):
        photos = tmp_path / "source/ImageResized_ready" / names[1]
        shutil.copy(min(photos.iterdir()), photos / f"{side}.jpg")
    again = prepared("tuberlin")
    expected = replace(again.protocol.expected, gallery_unique=61)
    counted = replace(again.protocol, expected=expected)
    found = verify_dataset(again.data_root, "tuberlin", counted)
    assert found.agrees
    assert "they repeat others: 1; " in found.notes[0]
    assert "61 with them" in found.notes[0]


def test_small_classes_of_tuberlin_are_noted(prepared) -> None:
    (note,) = prepared("tuberlin").verify().notes
    assert note.startswith("unseen classes under 400 photos: 30 (ant 2, banana 2, ")


def test_unopened_images_are_not_judged(prepared) -> None:
    broken = prepared("sketchy")
    (broken.folder("val", "photo", "cow") / "zz.jpg").write_bytes(b"no image")
    calls: list[tuple[int, int]] = []
    found = verify_dataset(
        broken.data_root,
        "sketchy",
        broken.protocol,
        open_images=False,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert not found.opened
    assert {finding.kind for finding in found.findings} == {"surplus"}
    assert calls == [(done, 251) for done in range(1, 252)]
    calls.clear()
    verify_dataset(
        broken.data_root,
        "sketchy",
        broken.protocol,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(done, 251 + 626) for done in range(1, 251 + 626 + 1)]


def test_another_protocol_is_noted(prepared) -> None:
    sound = prepared("sketchy")
    other = load_protocol("sketchy-25-sake")
    found = verify_dataset(sound.data_root, "sketchy", other, open_images=False)
    assert found.notes[0] == ("it was prepared by sketchy-21, and is compared with sketchy-25-sake")
    assert "misplaced" in {finding.kind for finding in found.findings}
    renamed = replace(sound.protocol, unseen=sound.protocol.unseen[1:])
    found = verify_dataset(sound.data_root, "sketchy", renamed, open_images=False)
    assert "another version of sketchy-21" in found.notes[0]


def test_protocols_without_counts_say_so(prepared) -> None:
    sound = prepared("sketchy")
    plain = replace(sound.protocol, expected=Expected())
    found = verify_dataset(sound.data_root, "sketchy", plain, open_images=False)
    assert found.agrees
    assert found.notes == (
        "sketchy-21 gives no counts of images: only classes and files were checked",
    )


def test_as_plain_values(prepared) -> None:
    broken = prepared("quickdraw")
    shutil.rmtree(broken.folder("val", "photo", "cow"))
    found = broken.verify()
    document = json.loads(json.dumps(found.as_dict()))
    assert document["agrees"] is False
    assert document["protocol"] == "quickdraw-30"
    assert [f"{one['kind']}: {one['where']}: {one['message']}" for one in document["findings"]] == [
        str(finding) for finding in found.findings
    ]
    gallery = next(total for total in document["totals"] if total["what"].endswith("(gallery)"))
    assert gallery == {
        "what": "photos, unseen (gallery)",
        "expected": 60,
        "found": 58,
        "left_out": 0,
        "agrees": False,
    }
    assert len(document["classes"]) == 110


# which protocol


def test_the_protocol_that_was_noted_or_that_of_the_name(prepared) -> None:
    sound = prepared("sketchy")
    marker = sound.data_root / "sketchy" / MARKER
    noted = json.loads(marker.read_text())
    marker.write_text(json.dumps({**noted, "protocol": "sketchy-25-sake"}))
    assert protocol_of_dataset(sound.data_root, "sketchy").id == "sketchy-25-sake"
    marker.write_text("{}")
    assert protocol_of_dataset(sound.data_root, "sketchy").id == "sketchy-21"
    marker.write_text(json.dumps({**noted, "protocol": "mine"}))
    with pytest.raises(ConfigError, match=r"prepared by mine, which is not .*--protocol"):
        protocol_of_dataset(sound.data_root, "sketchy")


def test_a_name_that_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "photos" / "train").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"photos does not say .*--protocol\), of quickdraw-30"):
        protocol_of_dataset(tmp_path, "photos")


# exceptions


def test_no_such_dataset(tmp_path: Path) -> None:
    protocol = load_protocol("sketchy-21")
    with pytest.raises(DataError, match="no dataset 'gone'"):
        verify_dataset(tmp_path, "gone", protocol)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is not in the training layout"):
        verify_dataset(tmp_path, "empty", protocol)


def test_the_real_archive(tmp_path: Path) -> None:
    folder = Path(os.environ.get("MSEDGE_TEST_DATA", "")) / "sketchy-mini"
    if "MSEDGE_TEST_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("MSEDGE_TEST_DATA does not name a folder with sketchy-mini")
    protocol = load_protocol("sketchy-21")
    prepare_dataset("sketchy", folder, protocol, tmp_path)
    found = verify_dataset(tmp_path, "sketchy", protocol, open_images=False)
    assert {finding.kind for finding in found.findings} == {"missing"}
    assert "expected 12,694, found 525" in found.findings[0].message
