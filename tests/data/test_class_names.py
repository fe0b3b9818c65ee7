"""Spellings of downloads against the classes of the protocols that come with the package."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msedge.data.class_names import match_spellings, most_alike, squeeze
from msedge.data.protocols import load_protocol, normalise_class_name

NAMES = st.lists(st.text("ab -()", max_size=6), unique=True, max_size=8)


@pytest.fixture(scope="module")
def tuberlin() -> list[str]:
    protocol = load_protocol("tuberlin-30-sake")
    return [normalise_class_name(name) for name in (*protocol.seen, *protocol.unseen)]


@pytest.mark.parametrize(
    "name", ["hot-air_balloon", "hot air balloon", "HotAirBalloon", "hot  air-balloon"]
)
def test_squeezed_names_are_letters_alone(name: str) -> None:
    assert squeeze(name) == "hotairballoon"


def test_what_fits_stays_and_the_rest_is_found_by_its_letters() -> None:
    names = ["cow", "flyingbird", "bearanimal", "yak"]
    found = match_spellings(names, ["bear (animal)", "cow", "flying bird"], "tuberlin")
    assert found == {
        "cow": "cow",
        "flyingbird": "flying bird",
        "bearanimal": "bear (animal)",
        "yak": "yak",
    }


def test_all_photo_folders_of_tuberlin_are_found(tuberlin: list[str]) -> None:
    """They leave out what parts the words, and these nine are other words altogether."""
    folders = {
        "chandelier": "chandeler",
        "diamond": "diamod",
        "giraffe": "griaffe",
        "mouse (animal)": "mouse",
        "pipe (for smoking)": "pipe",
        "space shuttle": "spacesshuttle",
        "spider": "spidar",
        "trombone": "tromobone",
        "wrist watch": "wristwatching",
    }
    assert folders.keys() <= set(tuberlin)
    spelled = {folders.get(name, "".join(filter(str.isalnum, name))): name for name in tuberlin}
    assert len(spelled) == 250
    assert match_spellings(spelled, tuberlin, "tuberlin") == spelled


def test_misspellings_are_of_one_dataset_and_never_take_a_class_away() -> None:
    assert match_spellings(["mouse"], ["mouse (animal)"], "sketchy") == {"mouse": "mouse"}
    both = match_spellings(["mouse", "mouse (animal)"], ["mouse (animal)"], "tuberlin")
    assert both == {"mouse": "mouse", "mouse (animal)": "mouse (animal)"}


def test_two_classes_of_the_same_letters_are_not_guessed_between() -> None:
    classes = ["t shirt", "tshi rt"]
    assert match_spellings(["tshirt"], classes, "tuberlin") == {"tshirt": "tshirt"}


@given(names=NAMES, classes=NAMES)
def test_no_class_is_given_twice(names: list[str], classes: list[str]) -> None:
    found = match_spellings(names, classes, "tuberlin")
    assert list(found) == names
    assert all(found[name] == name for name in set(names) & set(classes))
    assert len(set(found.values())) == len(names)
    assert all(squeeze(name) == squeeze(meant) for name, meant in found.items())


@pytest.mark.parametrize(
    ("name", "others", "found"),
    [
        ("giraffe", ["ape", "girafe"], "girafe"),
        ("zebra", ["zebrra", "zebraa x"], "zebrra"),
        ("bat", ["cat", "bath tub"], None),
        ("cow", [], None),
    ],
)
def test_names_that_may_be_one_misspelt(name: str, others: list[str], found: str | None) -> None:
    assert most_alike(name, others) == found
