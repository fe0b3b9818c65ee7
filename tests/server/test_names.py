"""Names over HTTP: what an answer says of them, what can be told, and completion."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from galleries import make_gallery
from msedge.models.bank import Bank, Name, save_bank
from msedge.search.gallery import Gallery
from msedge.server.app import ServerSettings, create_app
from named_things import BAR, CROSS, PICTURES, NamedEncoder


def client_of(gallery, settings=None):
    return TestClient(create_app(gallery, settings), base_url="http://localhost:8765")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_gallery(tmp_path_factory.mktemp("named"), PICTURES, NamedEncoder())


@pytest.fixture
def named(path):
    """A gallery whose model knows names."""
    with Gallery.open(path, model=NamedEncoder()) as opened:
        yield opened


@pytest.fixture
def client(named):
    with client_of(named) as asking:
        yield asking


def strokes(drawing):
    return [[list(xs), list(ys)] for xs, ys in drawing]


def ask(client, **body):
    answer = client.post("/api/search", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    return [hit["id"] for hit in answer["hits"]]


class TestSearch:
    def test_as_python(self, client, named):
        answer, query = ask(client, strokes=strokes(CROSS)), named.query([CROSS])
        assert ids(answer) == [hit.photo.id for hit in named.find(query)]
        assert answer["names"] == [
            {"name": each.name, "likelihood": round(each.likelihood, 4), "settled": False}
            for each in query.names
        ]
        assert answer["names"][0]["name"] == "red cross"

    @pytest.mark.parametrize("name", ["Grass", ["grass"], ["grass", "red_cross"]])
    def test_a_settled_name(self, client, named, name):
        answer = ask(client, strokes=strokes(BAR), name=name)
        assert ids(answer) == [hit.photo.id for hit in named.search([BAR], names=name)]
        first = answer["names"][0]
        assert (first["name"], first["likelihood"], first["settled"]) == ("grass", 1.0, True)

    def test_a_word_alone(self, client):
        answer = ask(client, name="grass")
        assert ids(answer)[0] == 2
        assert answer["names"] == [{"name": "grass", "likelihood": 1.0, "settled": True}]

    def test_not_that(self, client):
        answer = ask(client, strokes=strokes(CROSS), not_names=["plus sign"])
        assert "red cross" not in [each["name"] for each in answer["names"]]

    def test_the_drawing_alone(self, client, named):
        answer = ask(client, strokes=strokes(CROSS), names=False)
        assert answer["names"] == []
        assert ids(answer) == [hit.photo.id for hit in named.search([CROSS], names=False)]

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ({"name": "grasp"}, "no name 'grasp' is known: did you mean grass?"),
            ({"name": "times"}, "several meanings"),
            ({"name": "grass", "names": False}, "given and switched off"),
            ({"strokes": strokes(BAR), "not_names": ["ring"], "names": False}, "switched off"),
            ({"strokes": strokes(BAR), "name": "ring", "not_names": ["Ring"]}, "both"),
            ({"name": ""}, "name.0: String should have at least 1 character"),
            ({"name": "x" * 201}, "at most 200"),
            ({"name": ["ring"] * 21}, "at most 20"),
            ({"name": 7}, "name: "),
            ({"name": "ring", "names": "no"}, "names: "),
            ({"name": []}, "nothing is asked"),
            ({"not_names": ["ring"]}, "nothing is asked"),
        ],
    )
    def test_refusals_are_one_line(self, client, body, says):
        answer = client.post("/api/search", json=body)
        assert answer.status_code == 422
        assert says in answer.json()["detail"]
        assert "\n" not in answer.json()["detail"]


class TestCompletion:
    def complete(self, client, word):
        answer = client.get("/api/names", params={"q": word})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def test_a_beginning(self, client):
        answer = self.complete(client, "gra")
        assert answer == {
            "known": 4,
            "found": None,
            "names": [
                {"name": "grass", "synonyms": [], "drawings": False, "photos": True, "own": False}
            ],
        }

    @pytest.mark.parametrize(
        ("word", "found", "first"),
        [
            ("Plus_Sign", "red cross", "red cross"), ("times", None, "Blue_bar"),
            ("grasp", None, "grass"), ("", None, "Blue_bar"),
        ],
    )  # fmt: skip
    def test_what_a_word_means(self, client, word, found, first):
        answer = self.complete(client, word)
        assert (answer["found"], answer["names"][0]["name"]) == (found, first)

    def test_what_nobody_knows(self, client):
        assert self.complete(client, "zebra")["names"] == []

    def test_where_no_names_are_known(self, gallery):
        with client_of(gallery) as asking:
            assert self.complete(asking, "cat") == {"known": 0, "found": None, "names": []}
            answer = asking.post("/api/search", json={"name": "cat"})
        assert answer.status_code == 422
        assert "knows none" in answer.json()["detail"]

    def test_a_word_that_is_too_long(self, client):
        answer = client.get("/api/names", params={"q": "x" * 201})
        assert (answer.status_code, list(answer.json())) == (422, ["detail"])

    def test_it_is_asked_no_more_often_than_searches(self, named):
        with client_of(named, ServerSettings(searches_per_second=1)) as asking:
            statuses = [asking.get("/api/names").status_code for _ in range(6)]
        assert statuses[0] == 200
        assert statuses[-1] == 429

    def test_it_wants_the_token(self, named):
        with client_of(named, ServerSettings(token="correct-horse-battery")) as asking:
            assert asking.get("/api/names").status_code == 401


def test_own_names_that_are_damaged_are_the_server_s_trouble(path, tmp_path):
    bank, file = NamedEncoder().bank, tmp_path / "own.safetensors"
    own = Bank(bank.model, bank.drawings, (Name(name="Tom"),), bank.name_drawings[:1],
               bank.name_photos[:1])  # fmt: skip
    save_bank(file, own)
    with (
        Gallery.open(path, model=NamedEncoder(), names=file) as opened,
        client_of(opened) as asking,
    ):
        assert asking.get("/api/names", params={"q": "tom"}).json()["found"] == "Tom"
        file.write_bytes(b"no names")
        assert asking.get("/api/names").status_code == 503
        assert asking.post("/api/search", json={"strokes": strokes(BAR)}).status_code == 503
        assert ask(asking, strokes=strokes(BAR), names=False)["names"] == []
        assert asking.get("/readyz").status_code == 503
        assert "msedge_gallery_readable 1" in asking.get("/metrics").text
        file.unlink()  # one that was named
        assert asking.post("/api/search", json={"strokes": strokes(BAR)}).status_code == 503
        save_bank(file, own)
        assert asking.get("/readyz").status_code == 200
