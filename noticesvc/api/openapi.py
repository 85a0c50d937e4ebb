"""The OpenAPI 3.1 document, made from the same list of endpoints as the routes.

Called by `app`. Schemas are pydantic's JSON Schemas of the wire models (draft 2020-12, which OpenAPI 3.1 uses).
"""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from noticesvc.api import wire
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.problem import TITLES

_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"\{(\w+)(?::(\w+))?\}")
# A caller's own words are percent-encoded; all other path parameters are our UUIDs.
_BY_NAME: dict[str, dict[str, Any]] = {
    "recipient_id": wire.CALLER_ID, "case_number": wire.CALLER_ID,
    "name": {"type": "string", "minLength": 1, "maxLength": 128}, "number": {"type": "string", "minLength": 1, "maxLength": 64},
    "kind": {"type": "string", "enum": ["no_acceptance", "no_contact", "no_sms", "no_email", "no_postal", "invalid_contact", "no_notice"]},
    "path": {"type": "string", "minLength": 1}, "token": {"type": "string", "pattern": "^[A-Za-z0-9_-]{24}$"},
}
_FORM = {"type": "object", "required": ["file"], "additionalProperties": False,
         "properties": {"file": {"type": "string", "format": "binary", "description": "The file; its type is found from its bytes."}}}
_PROBLEM = {
    "type": "object", "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:noticesvc:problem:"}, "title": {"type": "string"},
        "status": {"type": "integer"}, "detail": {"type": "string"},
        "errors": {"type": "array", "items": {
            "type": "object", "required": ["pointer", "detail"],
            "properties": {"pointer": {"type": "string", "description": "RFC 6901, into the body or the query"},
                           "detail": {"type": "string"}}}},
    },
}


def document(endpoints: Iterable[Endpoint], software: str, server_url: str) -> dict[str, Any]:
    """The document for these endpoints."""
    made = tuple(endpoints)
    taken = {model for e in made for model in (e.body, e.query) if model is not None}
    given = {e.reply for e in made if e.reply is not None} | {model for e in made for _, model in e.also}
    names, definitions = models_json_schema(
        [*((m, "validation") for m in sorted(taken, key=_named)), *((m, "serialization") for m in sorted(given, key=_named))],
        ref_template=_REF)
    schemas = dict(definitions.get("$defs", {}))
    schemas["Problem"] = _PROBLEM
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in made:
        path = _PARAMETER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, names, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "noticesvc", "version": software.rpartition(" ")[2] if " " in software else "0",
                 "description": "Delivers notices that have legal effect, and can prove it. "
                 "Times are RFC 3339; errors are RFC 9457."},
        "servers": [{"url": server_url}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key with one of the scopes that the operation names."},
                "inboxToken": {"type": "http", "scheme": "bearer", "description": "A token for one recipient's inbox alone."},
            },
            "responses": {_response_name(status): _problem(status) for status in TITLES},
        },
    }


def _named(model: type[BaseModel]) -> str:
    return f"{model.__module__}.{model.__qualname__}"


def _operation(endpoint: Endpoint, names: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"summary": endpoint.summary, "operationId": _operation_id(endpoint), "responses": _responses(endpoint, names)}
    doc = (endpoint.run.__doc__ or "").strip()
    if doc:
        made["description"] = doc.partition("\n\n")[0]
    if endpoint.scopes:
        made["description"] = f"{made.get('description', '')} Needs the scope {' or '.join(endpoint.scopes)}.".strip()
        made["security"] = [{"key": []}, *([{"inboxToken": []}] if endpoint.inbox_token else [])]
    parameters = [*_path_parameters(endpoint.path), *_query_parameters(endpoint, names, schemas)]
    parameters += [{"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
                   for name, text in endpoint.headers]
    if parameters:
        made["parameters"] = parameters
    if endpoint.body is not None:
        made["requestBody"] = {"required": True, "content": {
            "application/json": {"schema": dict(names[endpoint.body, "validation"])}}}
    elif endpoint.raw_body:
        lines = "ndjson" in endpoint.media_type  # of lines none is a number too, and they are text to whoever does not know the type
        shape = _FORM if endpoint.media_type == "multipart/form-data" else {}
        content: dict[str, Any] = {endpoint.media_type: {"schema": shape}}
        more = endpoint.more_media_types or (("text/plain",) if lines else ())
        content |= {one: {"schema": {"type": "string"}} for one in more}
        made["requestBody"] = {"required": not lines, "content": content}
    return made


def _operation_id(endpoint: Endpoint) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", _PARAMETER.sub(r"by_\1", endpoint.path)) if word]
    return "_".join([endpoint.method.lower(), *words])


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, "schema": _BY_NAME.get(name, wire.OUR_ID)}
            for name, _ in _PARAMETER.findall(path)]


def _query_parameters(endpoint: Endpoint, names: Any, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    schema = schemas[names[endpoint.query, "validation"]["$ref"].rpartition("/")[2]]
    made = []
    for name, property_ in schema.get("properties", {}).items():
        shown = {key: value for key, value in _without_null(property_).items() if key not in ("title", "description")}
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": shown}
        if "description" in property_:
            parameter["description"] = property_["description"]
        made.append(parameter)
    return made


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter cannot be null, only absent."""
    choices = schema.get("anyOf")
    if not choices:
        return {k: v for k, v in schema.items() if not (k == "default" and v is None)}
    kept = [choice for choice in choices if choice.get("type") != "null"]
    rest = {k: v for k, v in schema.items() if k != "anyOf" and not (k == "default" and v is None)}
    return rest | (kept[0] if len(kept) == 1 else {"anyOf": kept})


def _responses(endpoint: Endpoint, names: Any) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done"}
    if endpoint.status != 204:
        schema = dict(names[endpoint.reply, "serialization"]) if endpoint.reply is not None else {}
        success["content"] = {endpoint.reply_media_type: {"schema": schema}}
    made: dict[str, Any] = {str(endpoint.status): success}
    for status, model in endpoint.also:
        made[str(status)] = {"description": "Done", "content": {"application/json": {"schema": dict(names[model, "serialization"])}}}
    for status in sorted(_problems(endpoint)):
        made[str(status)] = {"$ref": f"#/components/responses/{_response_name(status)}"}
        if endpoint.error_media_type is not None:
            made[str(status)] = _problem(status)
            made[str(status)]["content"][endpoint.error_media_type] = {"schema": {}}
    return made


def _problems(endpoint: Endpoint) -> set[int]:
    """The statuses that follow from what an endpoint takes, with those that it names itself."""
    found = set(endpoint.errors)
    if endpoint.scopes:
        found |= {401, 403, 503}
    if "{" in endpoint.path:
        found.add(404)
    if endpoint.body is not None:
        found |= {400, 413, 422}
    if endpoint.raw_body:
        found |= {400, 413, 422}
    if endpoint.query is not None or "{recipient_id}" in endpoint.path:
        found.add(422)
    return found


def _response_name(status: int) -> str:
    return f"Problem{status}"


def _problem(status: int) -> dict[str, Any]:
    made: dict[str, Any] = {"description": TITLES.get(status, "Refused"), "content": {
        "application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}}}
    if status == 503:
        made["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before repeating."}}
    return made
