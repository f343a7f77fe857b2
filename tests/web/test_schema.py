"""`/schema`: an OpenAPI 3.1 document of every route, with examples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.web.world import World, world

from usher.web.auth import Access, routes


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("schema"), documents={}) as made:
        yield made


@pytest.fixture(scope="module")
def schema(usher: World) -> dict[str, Any]:
    response = usher.ask("GET", "/schema", None)
    assert response.headers["content-type"] == "application/vnd.oai.openapi+json"
    assert response.text == usher.ask("GET", "/schema/openapi.json", None).text
    document: dict[str, Any] = response.json()
    return document


def operations(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{method} {path}": op for path, item in schema["paths"].items() for method, op in item.items()}


def test_it_is_openapi_3_1(schema: dict[str, Any]) -> None:
    """Version, info, and paths that begin with `/`; every reference leads somewhere, every operation id is its own."""
    assert schema["openapi"].startswith("3.1.")
    assert set(schema["info"]) >= {"title", "version"}
    assert all(path.startswith("/") for path in schema["paths"])
    named = {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}
    assert set(_references(schema)) <= named
    ids = [operation["operationId"] for operation in operations(schema).values()]
    assert len(set(ids)) == len(ids)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_every_route_is_documented(usher: World, schema: dict[str, Any]) -> None:
    """With a summary, its answers, each of them described, and whether it takes a key."""
    served = {path.replace(":str}", "}"): access for path, _, access in routes(usher.app)}
    served.pop("/ws/chat")  # a WebSocket has a schema of its own
    public = {path: access for path, access in served.items() if not path.startswith("/schema")}
    assert set(schema["paths"]) == set(public)
    for name, operation in operations(schema).items():
        access = public[name.split(" ")[1]]
        assert isinstance(access, Access)
        assert operation["summary"]
        assert any(answer["description"] for status, answer in operation["responses"].items() if status[0] == "2")
        assert operation.get("security", []) == ([{"key": []}] if access.key else [])
        assert set(operation["responses"]) >= ({"400", "401", "403", "503"} if access.key else set())


def test_errors_are_documented_in_the_shape_that_they_have(schema: dict[str, Any]) -> None:
    """OpenAI's under `/v1`, problems elsewhere; the framework's own shape nowhere."""
    for name, operation in operations(schema).items():
        for status, answer in operation["responses"].items():
            if not status.startswith("2"):
                openai = name.split(" ")[1].startswith("/v1/")
                kind = "application/json" if openai else "application/problem+json"
                named = "OpenAIError" if openai else "Problem"
                assert answer["content"] == {kind: {"schema": {"$ref": f"#/components/schemas/{named}"}}}
    assert "status_code" not in json.dumps(schema)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/search"])
def test_bodies_have_examples_that_work(usher: World, schema: dict[str, Any], path: str) -> None:
    """Each is accepted as it stands."""
    content = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    examples = content["schema"]["examples"]
    assert examples
    for example in examples:
        assert usher.ask("POST", path, json=example).status_code == 200


def test_chat_tells_of_its_header_and_of_all_its_errors(schema: dict[str, Any]) -> None:
    """A client's maker has nothing else to know them from."""
    chat = schema["paths"]["/v1/chat/completions"]["post"]
    (header,) = chat["parameters"]
    assert (header["in"], header["name"], header["required"]) == ("header", "x-usher-conversation", False)
    assert {"400", "401", "403", "404", "413", "429", "503"} <= chat["responses"].keys()
