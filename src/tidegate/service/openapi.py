"""The OpenAPI document, made from the same rows as the endpoints."""

import re
from collections.abc import Sequence
from typing import Any, Final, get_type_hints

import msgspec

from tidegate import __version__
from tidegate.api.answers import Problem
from tidegate.service.calls import Route


REFUSALS: Final = {
    "400": "The body is not JSON",
    "401": "No key, or one that is not known",
    "403": "The key's roles do not allow this",
    "404": "There is nothing of that name",
    "409": "It contradicts what was taken before",
    "413": "The body is too large",
    "415": "The body is not JSON by its type",
    "422": "The body or the query is not what the document says",
    "429": "Too many calls; Retry-After says when again",
    "503": "The queue is full, or this process does not lead; Retry-After says when again",
}
_TEMPLATE: Final = "#/components/schemas/{name}"


def document(routes: Sequence[Route], *, title: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of ``routes``."""
    types = [t for r in routes for t in (r.ask, r.query, r.answer) if t is not None]
    schemas, components = msgspec.json.schema_components([*types, Problem], ref_template=_TEMPLATE)
    named = dict(zip(map(id, types), schemas, strict=False))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, named)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, named: dict[int, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "tags": [route.tag or route.path.split("/")[2] if route.path.count("/") > 1 else "service"],
        "parameters": [
            *(
                {
                    "name": name,
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string", "minLength": 1},
                }
                for name in re.findall(r"{(\w+)}", route.path)
            ),
            *_query(route.query),
        ],
        "responses": {
            str(route.status): {
                "description": "Done",
                "content": {route.media: {"schema": named.get(id(route.answer), {})}},
            },
            **{code: _problem(code) for code in _codes(route)},
        },
    }
    if route.role is not None:
        said["security"] = [{"key": []}]
        said["description"] = f"Role: {route.role}."
    if route.idempotent:
        said["parameters"].append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "What was taken under it once is not taken again.",
                "schema": {"type": "string", "maxLength": 128, "pattern": "^[ -~]*$"},
            }
        )
    if route.ask is not None:
        body = {"application/json": {"schema": named[id(route.ask)]}}
        said["requestBody"] = {"required": True, "content": body}
    return said


def _codes(route: Route) -> list[str]:
    codes = ["429", "503"]
    if route.role is not None:
        codes += ["401", "403"]
    if "{" in route.path:
        codes.append("404")
    if route.query is not None or "{" in route.path:
        codes.append("422")
    if route.ask is not None:
        codes += ["400", "409", "413", "415", "422", "404"]
    return sorted(set(codes))


def _query(kind: Any) -> list[dict[str, Any]]:  # noqa: ANN401 (any struct)
    if kind is None:
        return []
    hints = get_type_hints(kind, include_extras=True)
    return [
        {
            "name": f.encode_name,
            "in": "query",
            "required": f.required,
            "schema": msgspec.json.schema(hints[f.name]),
        }
        for f in msgspec.structs.fields(kind)
    ]


def operation_id(route: Route) -> str:
    """Return the name of an operation: the method, and the words of its path."""
    words = [w.strip("{}") for w in route.path.split("/") if w and w != "v1"]
    return "_".join([route.method.lower(), *words]).replace(".", "_").replace("-", "_")


def _problem(code: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": REFUSALS[code],
        "content": {"application/problem+json": {"schema": schema}},
    }
