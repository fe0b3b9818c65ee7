"""Names steer a query by their likelihood, a person's name by certainty, and a word is enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encoders import ColourEncoder
from galleries import make_gallery, photo
from msedge.errors import ConfigError, WeightsError
from msedge.models.bank import Bank, Name, save_bank
from msedge.search.gallery import Gallery
from msedge.search.names import CONFIDENCE, TEMPERATURE, WEIGHT, Names, own_names_file
from named_things import BAR, CROSS, NAMES, PICTURES, RING, NamedEncoder, drawn, taken

ENCODER = NamedEncoder()
BANK = ENCODER.bank
KNOWN = Names(BANK)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_gallery(tmp_path_factory.mktemp("named"), PICTURES, ENCODER)


@pytest.fixture
def gallery(path):
    with Gallery.open(path, model=NamedEncoder()) as opened:
        yield opened


def unit(vector):
    return vector / np.linalg.norm(vector)


def own_bank(name, *, drawings=None, photos=None, synonyms=()):
    none = np.zeros(ENCODER.dim, np.float16)
    rows = [none if given is None else given for given in (drawings, photos)]
    empty = np.empty((0, ENCODER.dim), np.float16)
    return Bank(BANK.model, empty, (Name(name=name, synonyms=synonyms),), *(r[None] for r in rows))


class TestFormula:
    def test_by_hand(self):
        """In Python's own numbers, straight from the formula."""
        q = drawn(CROSS).astype(float)
        means = [row.astype(float) for row in BANK.name_drawings]
        powers = [np.exp(q @ means[i] / TEMPERATURE) for i in (0, 1, 3)]
        p = dict(zip((0, 1, 3), powers / np.sum(powers), strict=True))
        np.testing.assert_allclose(KNOWN.likelihoods(drawn(CROSS)), [p[0], p[1], 0, p[3]])
        weight = WEIGHT * max(p.values()) ** CONFIDENCE
        wanted = q + weight * sum(p[i] * BANK.name_photos[i].astype(float) for i in (0, 1, 3))
        (steered,) = KNOWN.steer([drawn(CROSS)]).wanted
        np.testing.assert_allclose(steered, unit(wanted), atol=1e-6)
        assert (WEIGHT, TEMPERATURE, CONFIDENCE) == (1.5, 0.03, 3)

    def test_not_that_gives_its_share_to_the_others(self):
        before, after = KNOWN.likelihoods(drawn(RING)), KNOWN.likelihoods(drawn(RING), ["ring"])
        assert after[3] == 0
        np.testing.assert_allclose(after[:2], before[:2] / before[:2].sum())

    def test_a_settled_name_has_probability_1(self):
        (steered,) = KNOWN.steer([drawn(CROSS)], "grass").wanted
        by_hand = drawn(CROSS).astype(float) + WEIGHT * taken(photo("green")).astype(float)
        np.testing.assert_allclose(steered, unit(by_hand), atol=1e-6)

    def test_several_share_it(self):
        (steered,) = KNOWN.steer([drawn(RING)], ["grass", "red cross"]).wanted
        both = taken(photo("green")).astype(float) + taken(photo("red")).astype(float)
        np.testing.assert_allclose(
            steered, unit(drawn(RING).astype(float) + WEIGHT * both / 2), atol=1e-6
        )

    def test_a_word_alone_is_its_photos_else_its_drawings(self):
        for name, vector in (("grass", taken(photo("green"))), ("ring", drawn(RING))):
            (wanted,) = KNOWN.steer([], name).wanted
            np.testing.assert_allclose(wanted, unit(vector.astype(float)), atol=1e-6)

    @pytest.mark.parametrize(
        "names", [Names(), Names(own=own_bank("Tom", drawings=drawn(CROSS), photos=drawn(BAR)))]
    )
    def test_without_a_bank_nothing_is_guessed(self, names):
        vector = drawn(CROSS).astype(np.float32)
        steered = names.steer([vector])
        np.testing.assert_array_equal(steered.wanted, [vector])
        assert steered.told == ()

    def test_what_is_told(self):
        told = KNOWN.steer([drawn(CROSS)]).told
        assert told[0].name == "red cross"
        assert all(each.likelihood > 0.005 and not each.settled for each in told)
        assert [each.likelihood for each in told] == sorted(
            (each.likelihood for each in told), reverse=True
        )
        many = [Name(name=f"name {number}") for number in range(8)]
        rows = np.repeat(drawn(CROSS)[None], 8, axis=0)
        bank = Bank(BANK.model, BANK.drawings, tuple(many), rows, np.zeros_like(rows))
        assert [each.likelihood for each in Names(bank).steer([drawn(BAR)]).told] == [0.125] * 5
        told = KNOWN.steer([drawn(CROSS)], ["grass"]).told
        assert (told[0].name, told[0].likelihood, told[0].settled) == ("grass", 1.0, True)
        assert told[1].name == "red cross"


class TestWords:
    @pytest.mark.parametrize(
        "word", ["red cross", "Red Cross", "RED_CROSS", " red-cross ", "redcross", "Plus  sign"]
    )
    def test_case_and_separators_are_forgiven(self, word):
        assert KNOWN.find(word).name == "red cross"

    def test_the_name_goes_before_a_synonym(self):
        names = Names(replace(BANK, names=(Name(name="grass", synonyms=("ring",)), *NAMES[1:2],
                                           Name(name="sky"), NAMES[3])))  # fmt: skip
        assert names.find("ring").name == "ring"

    @pytest.mark.parametrize(
        ("word", "says"),
        [
            ("gras", "no name 'gras' is known: did you mean grass?"),
            ("zebra", "`msedge names` lists"),
            ("times", "has several meanings: say red cross or Blue_bar"),
            ("two\nlines", r"two\\nlines"),
        ],
    )
    def test_an_unknown_one_is_one_line(self, word, says):
        with pytest.raises(ConfigError, match=says) as refused:
            KNOWN.find(word)
        assert "\n" not in str(refused.value)

    def test_where_none_are_known(self):
        with pytest.raises(ConfigError, match="msedge names add"):
            Names().find("cat")

    def test_completion(self):
        def complete(text):
            return [known.name for known in KNOWN.complete(text)]

        assert complete("gra") == ["grass"]
        assert complete("SIG") == ["red cross"]  # a word of its synonym
        assert complete("r")[:2] == ["red cross", "ring"]
        assert complete("ing") == ["ring"]
        assert complete("times") == ["Blue_bar", "red cross"]
        assert complete("zebra") == []
        assert len(complete("")) == 4

    def test_whether_drawings_and_photos_are_known(self):
        known = {each.name: (each.drawings, each.photos, each.own) for each in KNOWN}
        assert known["grass"] == (False, True, False)
        assert known["ring"] == (True, False, False)


class TestOwnNames:
    def test_own_photos_take_the_place_of_the_model_s(self):
        own = own_bank("Grass", photos=taken(photo("yellow")), synonyms=("lawn",))
        names = Names(BANK, own)
        assert len(names) == 4
        assert names.find("lawn").own
        (wanted,) = names.steer([], "grass").wanted
        np.testing.assert_allclose(wanted, unit(taken(photo("yellow")).astype(float)), atol=1e-6)

    def test_own_synonyms_go_before_the_model_s(self):
        names = Names(BANK, own_bank("Tom", photos=drawn(BAR), synonyms=("plus sign", "times")))
        assert [names.find(word).name for word in ("Plus Sign", "times")] == ["Tom", "Tom"]
        assert names.find("red cross").synonyms == KNOWN.find("red cross").synonyms

    def test_the_other_kind_stays(self):
        names = Names(BANK, own_bank("red_cross", photos=taken(photo("yellow"))))
        np.testing.assert_array_equal(
            names.likelihoods(drawn(CROSS)), KNOWN.likelihoods(drawn(CROSS))
        )

    def test_where_they_lie(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        model = "0123456789abcdef" * 4
        file = tmp_path / "msedge/names/0123456789abcdef.safetensors"
        assert own_names_file(model) == file
        monkeypatch.setenv("MSEDGE_NAMES", "mine.safetensors")
        assert str(own_names_file(model)) == "mine.safetensors"
        assert own_names_file(model, tmp_path / "given") == tmp_path / "given"
        monkeypatch.undo()
        monkeypatch.delenv("XDG_DATA_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert own_names_file(model) == tmp_path / ".local/share/msedge/names" / file.name


def names_of(query):
    return [each.name for each in query.names]


class TestGallery:
    def test_a_drawing_finds_what_it_is_likely_of(self, gallery):
        query, alone = gallery.query([CROSS]), gallery.query([CROSS], names=False)
        assert names_of(query)[0] == "red cross"
        red = taken(photo("red")).astype(float)
        assert query.vector @ red > alone.vector @ red
        assert gallery.search([CROSS]) == gallery.find(query)
        assert gallery.search([CROSS], names=False) == gallery.find(alone)
        assert gallery.find(query) != gallery.find(alone)

    def test_a_settled_name_wins(self, gallery):
        assert gallery.search([CROSS], names="blue bar")[0].photo.path.name == "blue.png"

    def test_a_word_alone(self, gallery):
        assert gallery.search(names="Grass")[0].photo.path.name == "green.png"

    def test_not_that(self, gallery):
        without = gallery.query([CROSS], not_names=["plus sign"])
        assert "red cross" not in names_of(without)
        assert gallery.query([CROSS], not_names="plus sign").names == without.names

    def test_off_is_as_an_encoder_that_knows_none(self, gallery, path):
        with Gallery.open(path, model=ColourEncoder()) as plain:
            expected = plain.query([CROSS])
            assert len(plain.names) == 0
        alone = gallery.query([CROSS], names=False)
        np.testing.assert_array_equal(alone.vector, expected.vector)
        assert alone.names == expected.names == ()
        assert not np.array_equal(gallery.query([CROSS]).vector, expected.vector)

    def test_photos_are_not_guessed(self, gallery):
        assert gallery.query(like=[1]).names == ()
        named = gallery.query(like=[1], names="grass")
        assert names_of(named) == ["grass"]
        pair = gallery.query(like=[1]).vector + taken(photo("green")).astype(np.float32)
        np.testing.assert_allclose(named.vector, unit(pair), atol=1e-3)

    @pytest.mark.parametrize(
        ("asked", "says"),
        [
            ({"names": "grass", "not_names": ["Grass"]}, "both what is wanted and what is not"),
            ({"names": False, "not_names": ["grass"]}, "switched off"),
            ({"names": "grasp"}, "did you mean grass"),
            ({"not_names": ["grasp"]}, "did you mean grass"),
        ],
    )
    def test_refusals(self, gallery, asked, says):
        with pytest.raises(ConfigError, match=says):
            gallery.search([CROSS], **asked)

    def test_own_names_are_noticed_while_it_is_open(self, path, tmp_path):
        file = tmp_path / "own.safetensors"
        save_bank(file, own_bank("Tom", photos=taken(photo("yellow"))))
        with Gallery.open(path, model=NamedEncoder(), names=file) as gallery:
            assert gallery.search(names="tom")[0].photo.path.name == "tall.png"
            save_bank(file, own_bank("Tom", photos=taken(photo("green"))))
            assert gallery.search(names="tom")[0].photo.path.name == "green.png"
            file.unlink()
            with pytest.raises(WeightsError, match="no names at"):
                gallery.search(names="tom")

    def test_names_of_another_model_are_refused(self, path, tmp_path, monkeypatch):
        file = tmp_path / "own.safetensors"
        save_bank(file, replace(own_bank("Tom", photos=drawn(BAR)), model="0" * 64))
        monkeypatch.setenv("MSEDGE_NAMES", str(file))
        with Gallery.open(path, model=NamedEncoder()) as gallery:
            with pytest.raises(WeightsError, match="another model") as refused:
                gallery.search([CROSS])
            assert "\n" not in str(refused.value)
            assert gallery.search([CROSS], names=False)
