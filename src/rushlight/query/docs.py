"""The API's documentation: one page made from the OpenAPI schema, without a script and without a request elsewhere.

Every route can be tried from its form, which asks the running server.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape
from typing import Any

from litestar import Request
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin

from rushlight.query.described import with_failures

Schema = Mapping[str, Any]

STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 56rem; padding: 2rem 1.25rem 6rem; font: 16px/1.55 system-ui, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.9rem; letter-spacing: -.02em; }
h2 { margin: 0; font-size: 1.05rem; font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
h2 b { font-size: .8em; padding: .15em .5em; margin-right: .5em; border-radius: .3em; border: 1px solid var(--line); }
code, pre, input, select { font-family: ui-monospace, monospace; font-size: .9em; }
nav { margin: 1.25rem 0 2.5rem; display: flex; flex-wrap: wrap; gap: .35rem 1.1rem; }
nav a { text-decoration: none; font-family: ui-monospace, monospace; font-size: .85rem; }
section { border-top: 1px solid var(--line); padding: 1.6rem 0; }
section > p { margin: .5rem 0 1rem; max-width: 46rem; }
form { display: grid; gap: .5rem 1rem; grid-template-columns: max-content minmax(9rem, 15rem) 1fr; }
form { align-items: baseline; }
label { font-family: ui-monospace, monospace; font-size: .9em; }
form small { opacity: .75; }
input, select, button { padding: .3rem .5rem; border: 1px solid var(--line); border-radius: .35rem; width: 100%;
  background: transparent; color: inherit; }
option { background: Canvas; }
button { grid-column: 2; width: auto; justify-self: start; cursor: pointer; font: inherit; padding: .3rem 1.1rem; }
details { margin-top: 1rem; }
summary { cursor: pointer; }
pre { overflow-x: auto; padding: .8rem 1rem; border: 1px solid var(--line); border-radius: .5rem; line-height: 1.45; }
@media (max-width: 40rem) { form { grid-template-columns: 1fr; } button { grid-column: 1; } }
"""

_HASH = base64.b64encode(sha256(STYLE.encode()).digest()).decode()
# For every answer of the API; only this page has anything to show.
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
METHODS = ("get", "post")
MAX_DEPTH = 6
MAX_CHOICES = 5


class DocsPage(OpenAPIRenderPlugin):
    """Renders the schema as one page of HTML.

    Args:
        others: what is added to ``paths`` and ``components``.
    """

    def __init__(self, others: Schema) -> None:
        super().__init__(path="/")
        self._others = others

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002
        """The page."""
        return _page(_merged(openapi_schema, self._others)).encode()


class DocsJson(JsonRenderPlugin):
    """Renders the schema as JSON; ``others`` as for `DocsPage`."""

    def __init__(self, others: Schema) -> None:
        super().__init__(path="/openapi.json")
        self._others = others

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The document."""
        return super().render(request, _merged(openapi_schema, self._others))


def _merged(own: Schema, others: Schema) -> dict[str, Any]:
    schema = with_failures(own)
    components = {name: dict(part) for name, part in schema.get("components", {}).items()}
    for name, part in others.get("components", {}).items():
        components[name] = components.get(name, {}) | part
    return {**schema, "paths": {**others.get("paths", {}), **schema["paths"]}, "components": components}


def _page(schema: Schema) -> str:
    operations = list(_operations(schema))
    info = schema["info"]
    links = "".join(
        f'<a href="#{_anchor(method, path)}">{"" if method == "get" else f"{method.upper()} "}{escape(path)}</a>'
        for method, path, _ in operations
    )
    sections = "".join(_section(schema, method, path, operation) for method, path, operation in operations)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} API</h1><p>{_prose(info.get('description', ''))}</p>"
        f'<nav>{links}<a href="/docs/openapi.json">openapi.json</a></nav>{sections}</body></html>'
    )


def _operations(schema: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, item in schema["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def _section(schema: Schema, method: str, path: str, operation: Schema) -> str:
    described = _prose(operation.get("description") or "")
    parameters = operation.get("parameters", ())
    tried = _form(path, parameters) if method == "get" and "{" not in path else _list(parameters)
    body = _body(schema, operation)
    return (
        f'<section id="{_anchor(method, path)}"><h2><b>{method.upper()}</b>{escape(path)}</h2>'
        f"<p><strong>{escape(operation.get('summary') or '')}.</strong> {described}</p>{tried}{body}"
        f"{_answers(schema, operation)}</section>"
    )


def _form(path: str, parameters: Any) -> str:
    rows = "".join(
        f"<label for='{_anchor(path, p['name'])}'>{escape(p['name'])}</label>{_input(path, p)}<small>{_note(p)}</small>"
        for p in parameters
    )
    return f'<form action="{escape(path)}" method="get">{rows}<button>Ask</button></form>'


def _list(parameters: Any) -> str:
    rows = "".join(f"<li><code>{escape(p['name'])}</code> {_note(p)}</li>" for p in parameters)
    return f"<ul>{rows}</ul>" if rows else ""


def _input(path: str, parameter: Schema) -> str:
    schema = parameter.get("schema", {})
    attributes = f'id="{_anchor(path, parameter["name"])}" name="{escape(parameter["name"])}"'
    if "enum" in schema:
        default = schema.get("default")
        options = "".join(
            f"<option{' selected' if value == default else ''}>{escape(str(value))}</option>"
            for value in schema["enum"]
        )
        return f"<select {attributes}>{options}</select>"
    default = schema.get("default")
    value = "" if default is None else f' value="{escape(str(default))}"'
    return f"<input {attributes}{value}>"


def _note(parameter: Schema) -> str:
    required = "Required. " if parameter.get("required") else ""
    return required + _prose(parameter.get("description") or "")


def _body(schema: Schema, operation: Schema) -> str:
    content: Schema = next(iter(operation.get("requestBody", {}).get("content", {}).values()), {})
    return f"<p>Body</p><pre>{escape(_shape(schema, content['schema']))}</pre>" if content else ""


def _answers(schema: Schema, operation: Schema) -> str:
    shown = ""
    for status, answer in operation.get("responses", {}).items():
        content = answer.get("content", {}).get("application/json", {})
        if content and status.startswith("2"):
            shape = escape(_shape(schema, content["schema"]))
            shown += f"<details><summary>Answer {escape(status)}</summary><pre>{shape}</pre></details>"
    return shown


def _shape(schema: Schema, part: Schema, depth: int = 0) -> str:
    """What a value looks like: names and types, indented."""
    pad = "  " * depth
    if "$ref" in part:
        found: Schema = schema["components"]["schemas"][part["$ref"].rsplit("/", 1)[1]]
        return _shape(schema, found, depth)
    if depth > MAX_DEPTH:
        return "…"
    if "properties" in part:
        rows = [f"{pad}  {name}: {_shape(schema, each, depth + 1)}" for name, each in part["properties"].items()]
        return "{\n" + "\n".join(rows) + f"\n{pad}}}"
    if isinstance(part.get("additionalProperties"), Mapping):
        return "{ name: " + _shape(schema, part["additionalProperties"], depth) + " }"
    if part.get("type") == "array":
        return f"[ {_shape(schema, part.get('items', {}), depth)} ]"
    for name in ("oneOf", "anyOf"):
        if name in part:
            return " | ".join(_choices(schema, part[name], depth))
    if "enum" in part:
        return " | ".join(str(value) for value in part["enum"])
    return str(part.get("format") or part.get("type") or "any")


def _choices(schema: Schema, parts: Sequence[Schema], depth: int) -> list[str]:
    """The shapes, or of many only the names."""
    if len(parts) > MAX_CHOICES:
        return [str(part.get("$ref", part.get("type"))).rsplit("/", 1)[-1] for part in parts]
    return [_shape(schema, part, depth) for part in parts]


def _prose(text: str) -> str:
    """Escaped text in which ``code`` in backticks is marked up."""
    pieces = escape(" ".join(text.split())).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))


def _anchor(*names: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in "-".join(names)).strip("-")
