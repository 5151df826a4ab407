"""The two pages, each whole in one answer: nothing is fetched from elsewhere, and the browser is told to refuse it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

_STYLE = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
_SCRIPT = files(__package__).joinpath("page.js").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


CONTENT_POLICY = (
    f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; connect-src 'self'; "
    f"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="data:,"><style>{style}</style></head><body>
"""
_TRY = """<main><h1>Try the models</h1>
<p class="soft">Served by edgecompress on this address. <a href="docs">How to call it</a></p>
<form id="form">
<div id="guard" hidden><label for="token">Token</label><input id="token" type="password" autocomplete="off"></div>
<label for="model">Model</label><select id="model"></select>
<label for="text">Text</label><textarea id="text" required></textarea>
<button id="go">Label it</button></form>
<div id="result" aria-live="polite"></div></main>
"""


def try_page() -> str:
    """Return the page to try the models."""
    head = _HEAD.format(title="edgecompress", style=_STYLE)
    return f"{head}{_TRY}<script>{_SCRIPT}</script></body></html>\n"


def docs_page(document: Mapping[str, Any]) -> str:
    """Return the OpenAPI document as a page."""
    schemas = document["components"]["schemas"]
    parts = [
        '<main><h1>How to call it</h1><p><a href=".">Try the models</a> · <a href="openapi.json">openapi.json</a></p>',
        _example(guarded="security" in document["paths"]["/v1/predict"]["post"]),
        _request(schemas["Request"]),
        _answers(schemas),
        *(_operation(path, *next(iter(methods.items()))) for path, methods in document["paths"].items()),
    ]
    head = _HEAD.format(title="edgecompress: how to call it", style=_STYLE)
    return f"{head}{''.join(parts)}</main></body></html>\n"


def _example(*, guarded: bool) -> str:
    token = " \\\n    -H 'Authorization: Bearer TOKEN'" if guarded else ""
    call = f"""curl http://ADDRESS/v1/predict -H 'Content-Type: application/json'{token} \\\n    -d '{{"text": "…"}}'"""
    return f"<pre>{escape(call, quote=False)}</pre>"


def _request(schema: Mapping[str, Any]) -> str:
    rows = [(name, field.get("description", "a name from /v1/models"), _limits(field))
            for name, field in schema["properties"].items()]  # fmt: skip
    return f"<h2>Request</h2><p>{escape(schema['description'])}</p>{_table(('field', 'holds', 'at most'), rows)}"


def _limits(field: Mapping[str, Any]) -> str:
    count, inner = field.get("maxItems"), field.get("items", field)
    length = inner.get("maxLength", inner.get("items", {}).get("maxLength"))
    parts = [f"{count} of them" if count else "", f"{length} characters each" if count else f"{length} characters"]
    return ", ".join(part for part in parts if part) if length else ""


def _answers(schemas: Mapping[str, Any]) -> str:
    rows = [
        (task, ", ".join(schemas[name]["properties"]))
        for task, name in (("text task", "Label"), ("token task", "Tagged"), ("token task asked with words", "Tags"),
                           ("one of words", "Word"), ("one of spans", "Span"), ("pack, each head by name", "Heads"))
    ]  # fmt: skip
    intro = "<code>model</code>, and in <code>predictions</code> one object a text, in the order of the request."
    places = "start and end count characters (Unicode code points) of the text."
    return f"<h2>Result</h2><p>{intro} {places}</p>{_table(('of a', 'fields'), rows)}"


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    rows = [(status, one["description"]) for status, one in operation["responses"].items()]
    title = f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
    return f"{title}<p>{escape(operation['summary'])}</p>{_table(('status', 'code and meaning'), rows)}"


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
