"""The document and the pages say what the server does."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from serving import call, drive, predict, tiny_service

from edgecompress.serve import openapi, pages
from edgecompress.serve.api import ENDPOINTS
from edgecompress.serve.app import handlers
from edgecompress.serve.refusal import REFUSALS
from edgecompress.serve.settings import Settings

DOCUMENT = openapi.document(Settings(token="t"))
PYTHON = {"string": str, "number": (int, float), "integer": int, "boolean": bool, "array": list, "object": dict}


def conform(value, schema, document=DOCUMENT):
    """Assert that ``value`` has the form of ``schema``, and no field beside."""
    if "$ref" in schema:
        return conform(value, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if "oneOf" in schema:
        fitting = [one for one in schema["oneOf"] if fits(value, one, document)]
        assert len(fitting) == 1, (value, fitting)
        return None
    assert isinstance(value, PYTHON[schema["type"]]), (value, schema)
    if schema["type"] == "array":
        for one in value:
            conform(one, schema["items"], document)
    elif "properties" in schema:
        assert set(value) == set(schema["properties"]) >= set(schema["required"])
        for name, one in value.items():
            conform(one, schema["properties"][name], document)
    elif "additionalProperties" in schema:
        for one in value.values():
            conform(one, schema["additionalProperties"], document)
    return None


def fits(value, schema, document):
    try:
        conform(value, schema, document)
    except AssertionError:
        return False
    return True


def test_every_path_is_routed_and_described(tmp_path):
    service = tiny_service(tmp_path)
    paths = {one.path for one in ENDPOINTS}
    assert set(handlers(service)) == set(DOCUMENT["paths"]) == paths
    for path, methods in DOCUMENT["paths"].items():
        (method,) = methods
        answer = drive(service, lambda app, m=method, p=path: call(app, m.upper(), p, {"text": "a"}))
        (media,) = methods[method]["responses"]["200"]["content"]
        assert answer.status == 200
        assert answer.headers["content-type"].partition(";")[0] == media


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.schema], ids=lambda one: one.path)
@pytest.mark.parametrize("task", ["sentiment", "ner", "pos"])
def test_answers_have_the_form_that_is_described(tmp_path, endpoint, task):
    service = tiny_service(tmp_path, (task,))
    bodies = [{"text": "Ján film"}, *([] if task == "sentiment" else [{"words": [["Ján"], []]}])]
    responses = DOCUMENT["paths"][endpoint.path][endpoint.method.lower()]["responses"]
    for body in bodies:
        answer = drive(service, lambda app, body=body: call(app, endpoint.method, endpoint.path, body))
        assert answer.status == 200
        conform(answer.json, responses["200"]["content"]["application/json"]["schema"])


def test_errors_have_the_form_that_is_described(tmp_path):
    answer = predict(tiny_service(tmp_path), {"texts": "a"})
    assert answer.status == REFUSALS["bad_request"][0]
    conform(answer.json, DOCUMENT["components"]["schemas"]["Error"])


def test_references_lead_somewhere_and_codes_are_all_known():
    text = str(DOCUMENT)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in DOCUMENT["components"]["schemas"]
    named = {code for one in ENDPOINTS for code in one.refusals}
    assert set(REFUSALS) - named == {
        "unauthorized",
        "unknown_path",
        "wrong_method",
        "internal",
        "head_too_large",
        "bad_http",
    }


def test_the_limits_and_the_token_are_those_of_the_server():
    request = openapi.document(Settings(max_chars=7, max_texts=3))["components"]["schemas"]["Request"]["properties"]
    assert (request["text"]["maxLength"], request["texts"]["maxItems"]) == (7, 3)
    assert DOCUMENT["paths"]["/v1/predict"]["post"]["security"] == [{"bearer": []}]
    assert "security" not in DOCUMENT["paths"]["/healthz"]["get"]
    assert "security" not in openapi.document(Settings())["paths"]["/v1/predict"]["post"]


def test_a_new_kind_of_field_is_not_described_wrongly():
    @dataclass
    class Strange:
        field: bytes

    with pytest.raises(TypeError, match="no JSON schema"):
        openapi._of_type(Strange.__annotations__["field"])


@pytest.mark.parametrize("page", [pages.try_page(), pages.docs_page(DOCUMENT)])
def test_pages_ask_nothing_of_others(page):
    outside = re.findall(r"""(?:src|href)=["']([^"']*)|url\(([^)]*)|@import|https?://[^/\s]+""", page)
    assert {one for pair in outside for one in pair if one} <= {"data:,", "docs", ".", "openapi.json"}
    assert "width=device-width" in page
    assert "prefers-color-scheme: dark" in page


def test_the_docs_page_names_all_paths_and_codes():
    page = pages.docs_page(DOCUMENT)
    for word in [one.path for one in ENDPOINTS] + [
        code for code in REFUSALS if code not in ("unknown_path", "wrong_method")
    ]:
        assert word in page
    assert "Authorization: Bearer TOKEN" in page
    assert "Authorization" not in pages.docs_page(openapi.document(Settings()))


def test_the_policy_allows_the_script_and_style_of_the_page(tmp_path):
    answer = drive(tiny_service(tmp_path), lambda app: call(app, "GET", "/"))
    policy = answer.headers["content-security-policy"]
    page = answer.body.decode()
    for tag in ("script", "style"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert f"{tag}-src {pages._hash(inside)};" in policy
    assert "default-src 'none'" in policy
