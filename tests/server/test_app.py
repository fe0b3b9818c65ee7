"""The API's own description is complete, true, and loads nothing from elsewhere."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

import msedge
from msedge.server.app import create_app
from served import STROKES

ROUTES = {
    ("post", "/api/search"): {200, 400, 401, 403, 404, 408, 413, 415, 422, 429, 503},
    ("post", "/api/similar"): {200, 400, 401, 403, 404, 408, 413, 415, 422, 429, 503},
    ("post", "/api/where"): {200, 400, 401, 403, 404, 408, 413, 415, 422, 429, 503},
    ("post", "/api/session"): {204, 400, 401, 403, 404, 429},
    ("get", "/api/photos/{id}"): {200, 304, 400, 401, 403, 404, 410, 413, 415, 422, 429, 503},
    ("get", "/api/photos/{id}/thumbnail"): {
        *(200, 304, 400, 401, 403, 404, 410, 413, 415, 422, 429, 503),
    },
    ("get", "/api/gallery"): {200, 400, 401, 403, 429, 503},
    ("get", "/api/names"): {200, 400, 401, 403, 422, 429, 503},
    ("get", "/healthz"): {200, 400, 403},
    ("get", "/readyz"): {200, 400, 403, 503},
    ("get", "/metrics"): {200, 400, 401, 403, 429},
}


TOKEN = "correct-horse-battery"


@pytest.fixture
def described(connect):
    """The document of a server with a token."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = connect(token=TOKEN).get("/openapi.json", headers=headers)
    assert answer.status_code == 200
    return answer.json()


def operations(described):
    return {
        (method, path): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


class TestDescription:
    def test_every_route_and_every_status(self, described):
        found = {
            place: {int(status) for status in operation["responses"]}
            for place, operation in operations(described).items()
        }
        assert found == ROUTES
        assert described["info"]["version"] == msedge.__version__

    def test_every_route_of_the_application_is_in_it_or_the_page_s(self, client, described):
        paths = {route.path for route in client.app.router.routes if hasattr(route, "path")}
        hidden = paths - set(described["paths"])
        assert hidden <= {"/", "/page/{name:path}", "/openapi.json"}

    def test_refusals_have_the_form_of_a_problem(self, described):
        for place, operation in operations(described).items():
            for status, answer in operation["responses"].items():
                assert answer["description"], (place, status)
                if int(status) >= 400:
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Problem"}, (place, status)

    def test_everything_is_explained(self, described):
        for place, operation in operations(described).items():
            assert operation["summary"], place
            assert operation["description"], place
            assert operation["tags"], place
        for name in ("SearchRequest", "SimilarRequest", "WhereRequest"):
            schema = described["components"]["schemas"][name]
            assert schema["examples"]
            assert schema["additionalProperties"] is False
            for field, value in schema["properties"].items():
                assert value.get("description"), (name, field)

    def test_bounds_are_told(self, described):
        fields = described["components"]["schemas"]["SearchRequest"]["properties"]
        k = fields["k"]
        assert (k["minimum"], k["maximum"], k["default"]) == (1, 500, 48)
        assert fields["strokes"]["maxItems"] == 1000
        assert fields["like"]["maxItems"] == fields["unlike"]["maxItems"] == 100

    def test_the_token(self, described):
        for (_, path), operation in operations(described).items():
            assert ("security" in operation) == (path not in ("/healthz", "/readyz")), path

    def test_of_a_server_without_a_token(self, client):
        document = client.get("/openapi.json").json()
        found = {
            place: {int(status) for status in operation["responses"]}
            for place, operation in operations(document).items()
        }
        expected = {place: statuses - {401} for place, statuses in ROUTES.items()}
        del expected["post", "/api/session"]
        for place in (("get", "/api/gallery"), ("get", "/metrics")):
            expected[place].remove(429)  # which is for wrong tokens there
        assert found == expected
        assert not any("security" in operation for operation in operations(document).values())

    def test_examples_are_true(self, described, client):
        for example in described["components"]["schemas"]["SearchRequest"]["examples"]:
            fitting = {k: v for k, v in example.items() if k in ("strokes", "k")}
            if fitting.get("strokes"):
                assert client.post("/api/search", json=fitting).status_code == 200

    def test_answers_are_as_described(self, described, client):
        hit = client.post("/api/search", json={"strokes": STROKES}).json()["hits"][0]
        schema = described["components"]["schemas"]["FoundPhoto"]
        assert set(hit) == set(schema["properties"]) == set(schema["required"])


class TestNoOtherPages:
    @pytest.mark.parametrize(
        "path", ["/docs", "/redoc", "/docs/oauth2-redirect", "/api", "/api/", "/api/photos",
                 "/api/photos/", "/static", "/page", "/page/", "/api/gallery/"],
    )  # fmt: skip
    def test_there_are_no_listings_and_no_documentation_from_elsewhere(self, client, path):
        answer = client.get(path, follow_redirects=False)
        assert answer.status_code == 404
        assert list(answer.json()) == ["detail"]


def test_the_gallery_outlives_the_application(gallery):
    with TestClient(create_app(gallery), base_url="http://localhost") as client:
        assert client.get("/api/gallery").status_code == 200
    assert gallery.photos == 6
    with TestClient(create_app(gallery), base_url="http://localhost") as client:
        assert client.post("/api/search", json={"strokes": STROKES}).status_code == 200
