"""Names, hashes and counts of the protocols; published facts are written out here by hand."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from msedge.data.protocols import (
    Expected,
    Protocol,
    list_protocols,
    load_protocol,
    normalise_class_name,
)
from msedge.errors import ConfigError

MINIMAL = 'id = "mine"\ndataset = "d"\ntitle = "t"\ncitation = "c"\nunseen = ["cat", "dog"]\n'


# smoke


@pytest.mark.parametrize("name", list_protocols())
def test_each_protocol_loads(name: str) -> None:
    protocol = load_protocol(name)
    assert protocol.id == name
    assert protocol.expected.unseen_classes == len(protocol.unseen)
    assert re.fullmatch("[0-9a-f]{64}", protocol.hash)
    assert "\n" not in protocol.citation
    assert "  " not in protocol.citation


def test_the_three_are_there() -> None:
    assert {"sketchy-21", "sketchy-25-sake", "tuberlin-30-sake"} <= set(list_protocols())


def test_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    expected = Protocol(id="mine", dataset="d", title="t", citation="c", unseen=("cat", "dog"))
    assert load_protocol(str(path)) == expected


# exceptions


def test_unknown_id_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"'sketchy-22'.*sketchy-21.*tuberlin-30-sake"):
        load_protocol("sketchy-22")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml does not exist"):
        load_protocol(str(tmp_path / "gone.toml"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id = ", "cannot read protocol"),
        (MINIMAL.replace('title = "t"\n', ""), "`title` must be a text, got None"),
        (MINIMAL.replace('"t"', "3"), "`title` must be a text, got 3"),
        (MINIMAL.replace('["cat", "dog"]', '"cat"'), "`unseen` must be a list"),
        (MINIMAL.replace('"dog"', "3"), "`unseen` must hold texts only"),
        (MINIMAL.replace('"cat", "dog"', ""), "`unseen` is empty"),
        (MINIMAL.replace('"dog"', '"Cat"'), "'Cat' twice"),
        (MINIMAL + "colour = 1\n", "unknown field `colour`"),
        (MINIMAL + "expected = 3\n", "`expected` must be a table"),
        (MINIMAL + "[expected]\nphotos = 3\n", "unknown field `expected.photos`"),
        (MINIMAL + '[expected]\nqueries = "3"\n', "`expected.queries` must be a whole number"),
        (MINIMAL + "[expected]\nunseen_classes = 3\n", "holds 2 classes, `expected` says 3"),
    ],
)
def test_malformed_file_is_one_clear_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(problem)) as caught:
        load_protocol(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read protocol"):
        load_protocol(str(path))


# cardinality


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sketchy-21", Expected(104, 21, 12_694, 12_553, 10_453)),
        ("sketchy-25-sake", Expected(100, 25, 15_229, 17_101, 14_601)),
        ("tuberlin-30-sake", Expected(220, 30, 2_400, 27_989, None)),
    ],
)
def test_published_counts(name: str, expected: Expected) -> None:
    assert load_protocol(name).expected == expected


@pytest.mark.parametrize("name", ["sketchy-21", "sketchy-25-sake"])
def test_gallery_lists_hold_each_original_twice(name: str) -> None:
    """100 original photos a class: the only difference between lines and unique photos."""
    expected = load_protocol(name).expected
    assert expected.gallery_lines is not None
    assert expected.gallery_unique is not None
    assert expected.unseen_classes is not None
    assert expected.gallery_lines - expected.gallery_unique == 100 * expected.unseen_classes


def test_known_members() -> None:
    yelamarthi = set(load_protocol("sketchy-21").unseen)
    sake = set(load_protocol("sketchy-25-sake").unseen)
    assert {"bat", "skyscraper", "window"} <= yelamarthi
    assert yelamarthi & sake == {"scissors", "tree", "wheelchair", "windmill"}
    assert {"hot air balloon", "t-shirt"} <= set(load_protocol("tuberlin-30-sake").unseen)


# numbers


def test_hash_is_of_the_classes_not_of_their_order_or_spelling() -> None:
    def of(*unseen: str, dataset: str = "d") -> str:
        return Protocol(id="x", dataset=dataset, title="", citation="", unseen=unseen).hash

    assert of("teddy bear", "cat") == of("Cat", "teddy_bear")
    assert len({of("cat"), of("dog"), of("cat", "dog"), of("cat", dataset="e")}) == 4


def test_hash_does_not_change_between_versions() -> None:
    """Stored with every result: a change here cuts them off from their protocol."""
    assert load_protocol("sketchy-21").hash == (
        "77a6fc1fe9079da5e6d32306be60d07ab5535fad132589dd56323595f33be3de"
    )


def test_variants_of_a_name_are_equal() -> None:
    variants = [
        "hot-air_balloon",
        "hot air balloon",
        "Hot-Air Balloon",
        " hot__air \u2013 balloon ",
    ]
    assert {normalise_class_name(name) for name in variants} == {"hot air balloon"}
    assert normalise_class_name("cafe\u0301") == normalise_class_name("caf\u00e9")
    assert normalise_class_name("bat") != normalise_class_name("cat")
    assert normalise_class_name("car_(sedan)") == normalise_class_name("car (sedan)")


@given(st.text())
@example("_̈")
@example("ŉ ΐ ß İ")
def test_normalising_twice_changes_nothing(name: str) -> None:
    once = normalise_class_name(name)
    assert normalise_class_name(once) == once


@given(st.lists(st.text("abcß", min_size=1), min_size=1), st.sampled_from([" ", "_", "-", " - "]))
def test_separators_and_case_do_not_matter(words: list[str], separator: str) -> None:
    expected = normalise_class_name(" ".join(words))
    assert normalise_class_name(separator.join(words).upper()) == expected


# the package


def test_import_is_light() -> None:
    code = (
        "import sys, msedge.data.images, msedge.data.layouts, msedge.data.protocols, "
        "msedge.data.prepare; print(sorted({'torch', 'timm', 'kornia'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_wheel_carries_the_lists(tmp_path: Path) -> None:
    """What pip would install, built from this checkout, and read from inside it."""
    root = Path(__file__).parents[2]
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=root, capture_output=True, check=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); "
        "import msedge.data.protocols as p; print(p.__file__); print(*p.list_protocols())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    where, ids = done.stdout.splitlines()
    assert where == str(tmp_path / "site" / "msedge" / "data" / "protocols.py")
    assert tuple(ids.split()) == list_protocols()
