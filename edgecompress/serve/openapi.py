"""The OpenAPI document: paths from the table of endpoints, predictions from the classes that predictors return."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import GenericAlias
from typing import Any, get_args, get_origin, get_type_hints

from edgecompress import __version__
from edgecompress.runtime.predictions import Label, Span, Tagged, Tags, Word
from edgecompress.serve.api import ENDPOINTS, Endpoint
from edgecompress.serve.asked import FIELDS
from edgecompress.serve.refusal import REFUSALS
from edgecompress.serve.settings import Settings

_PLAIN = {str: "string", float: "number", int: "integer", bool: "boolean"}
_TYPES = {"text/plain": "string", "text/html": "string"}


def document(settings: Settings) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a server with these limits."""
    paths = {endpoint.path: {endpoint.method.lower(): _operation(endpoint, settings)} for endpoint in ENDPOINTS}
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgecompress", "version": __version__, "description": "Labels for texts, by small models."},
        "paths": paths,
        "components": {
            "schemas": _schemas(settings),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint, settings: Settings) -> dict[str, Any]:
    schema = _ref(endpoint.schema) if endpoint.schema else {"type": _TYPES[endpoint.media]}
    responses = {"200": {"description": "The result.", "content": {endpoint.media: {"schema": schema}}}}
    codes = (*endpoint.refusals, *(["unauthorized"] if endpoint.guarded and settings.token else []))
    for code in (*codes, "bad_http", "head_too_large", "internal"):
        status, meaning = REFUSALS[code]
        known = responses.get(str(status), {"description": ""})["description"]
        text = f"{known} {code}: {meaning}".strip()
        responses[str(status)] = {"description": text, "content": {"application/json": {"schema": _ref("Error")}}}
    operation: dict[str, Any] = {
        "operationId": endpoint.path.strip("/").replace("/", "_").replace(".", "_") or "page",
        "summary": endpoint.summary,
        "responses": responses,
    }
    if endpoint.guarded and settings.token:
        operation["security"] = [{"bearer": []}]
    if endpoint.method == "POST":
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref("Request")}}}
    return operation


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas(settings: Settings) -> dict[str, Any]:
    file = {name: {"type": "string"} for name in ("name", "model_sha256", "loaded_at")}
    head = {**{name: {"type": "string"} for name in ("task", "kind", "scheme")}, "spans": {"type": "boolean"},
            "labels": _list({"type": "string"}), "max_length": {"type": "integer"},
            "parameters": {"type": "integer"}}  # fmt: skip
    one = [_ref("Label"), _ref("Tagged"), _ref("Tags")]
    error = _object({"code": {"type": "string", "enum": list(REFUSALS)}, "message": {"type": "string"}})
    return {
        "Request": _request(settings),
        "Predictions": _object({"model": {"type": "string"}, "predictions": _list({"oneOf": [*one, _ref("Heads")]})}),
        "Heads": _object({"heads": _by_name({"oneOf": one})}),
        "Models": _object({"models": _list({"oneOf": [_ref("Model"), _ref("Pack")]})}),
        "Model": _object({**file, **head}),
        "Pack": _object({**file, "heads": _by_name(_object(head))}),
        "Status": _object({"status": {"type": "string"}}),
        "OpenAPI": {"type": "object"},
        "Error": _object({"error": error}),
        **{kind.__name__: _of_class(kind) for kind in (Label, Tagged, Tags, Word, Span)},
    }


def _request(settings: Settings) -> dict[str, Any]:
    text = {"type": "string", "maxLength": settings.max_chars}
    many = {"minItems": 1, "maxItems": settings.max_texts}
    shapes = {"text": text, "texts": {**_list(text), **many}, "words": {**_list(_list(text)), **many}}
    fields = {name: {**shapes[name], "description": meaning} for name, meaning in FIELDS.items()}
    return {
        "type": "object",
        "description": "Exactly one of text, texts and words; model may be left out where one model is served.",
        "properties": {"model": {"type": ["string", "null"]}, **fields},
        "oneOf": [{"required": [name]} for name in FIELDS],
        "additionalProperties": False,
    }


def _object(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(fields), "required": list(fields)}


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(items)}


def _by_name(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": dict(values)}


def _of_class(kind: type[Any]) -> dict[str, Any]:
    """Return the schema of what dataclasses.asdict makes of ``kind``."""
    hints = get_type_hints(kind, localns={"Mapping": Mapping, "Sequence": Sequence})
    return _object({field.name: _of_type(hints[field.name]) for field in dataclasses.fields(kind)})


def _of_type(hint: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _ref(hint.__name__)
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if get_origin(hint) is Mapping:
        return _by_name(_of_type(get_args(hint)[1]))
    if isinstance(hint, GenericAlias) and get_origin(hint) is tuple:
        return _list(_of_type(get_args(hint)[0]))
    raise TypeError(f"no JSON schema is known for {hint}: add it to {__name__}")
