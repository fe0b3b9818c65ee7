"""What a server says of the gallery and of itself."""

from __future__ import annotations

from served import ENCODER, add, picture


class TestGallery:
    def test_what_it_says(self, client, gallery, photos):
        top = photos[0].parent.parent
        assert client.get("/api/gallery").json() == {
            "name": "photos.msedge",
            "photos": 6,
            "model": {"name": "colours", "dim": 32, "image_size": 32, "places": False},
            "folders": [
                {"folder": str(top / "cats"), "photos": 2},
                {"folder": str(top / "cats" / "big"), "photos": 1},
                {"folder": str(top / "dogs"), "photos": 3},
            ],
            "version": gallery.version,
        }

    def test_it_grows(self, own_client, own_gallery, tmp_path):
        before = own_client.get("/api/gallery").json()
        new = tmp_path / "photos" / "new" / "new.png"
        new.parent.mkdir()
        picture(99).save(new)
        add(own_gallery.path, new)
        after = own_client.get("/api/gallery").json()
        assert after["photos"] == before["photos"] + 1
        assert after["version"] > before["version"]
        assert {"folder": str(new.parent), "photos": 1} in after["folders"]
        assert after["model"]["dim"] == ENCODER.dim


def test_what_it_says_is_of_one_state(own_client, own_gallery, tmp_path, monkeypatch):
    new, folders = tmp_path / "photos" / "new.png", own_gallery.folders
    picture(99).save(new)

    def add_and_count():
        monkeypatch.undo()
        add(own_gallery.path, new)
        return folders()

    monkeypatch.setattr(own_gallery, "folders", add_and_count)
    said = own_client.get("/api/gallery").json()
    assert said["photos"] == sum(folder["photos"] for folder in said["folders"]) == 7


def test_health(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_no_session_without_a_token(client):
    answer = client.post("/api/session")
    assert answer.status_code == 404
    assert "no token" in answer.json()["detail"]
    assert "set-cookie" not in answer.headers
