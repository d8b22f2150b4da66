"""What is asked of a picture, from query, form and Accept: the same for `/v1/upscale` and `/v1/jobs`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from repsr_deploy.imaging.container import WebFormat
from repsr_deploy.imaging.image_file import QUALITY
from repsr_deploy.imaging.upscaler import MAX_FACTOR
from repsr_serve.http.body import FIELDS
from repsr_serve.http.errors import parameters_problem
from repsr_serve.pictures import FORMAT_OF_MEDIA, Order
from repsr_serve.problems import Problem
from repsr_serve.validation import shown


def _decimal(text: Any) -> Any:
    """Refuse what only Python takes for a number, such as 1_0."""
    if isinstance(text, str) and "_" in text:
        raise ValueError("a number in decimal digits")
    return text


class Asked(BaseModel):
    """The parameters, with their ranges."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None,
        description="Name of a served model; without it, the smallest that reaches the scale.",
        examples=["photo-x2"],
    )
    scale: Annotated[float, Field(gt=0, le=MAX_FACTOR), BeforeValidator(_decimal)] | None = Field(
        None, description="Enlargement; without it, the model's.", examples=[2]
    )
    format: WebFormat | None = Field(
        None, description="Of the result; without it, what Accept says, else the source's.", examples=["png"]
    )
    quality: Annotated[int, BeforeValidator(_decimal)] = Field(QUALITY, ge=1, le=100, description="Of JPEG and WebP.")


def read_order(request: Request, fields: Mapping[str, str] | None = None) -> Order:
    """The order of a request; Accept is not looked at.

    Args:
        request: its query is read.
        fields: of its form.

    Raises:
        Problem: `parameters`: unknown, given twice, or of an impossible value.
    """
    given = _once([*request.query_params.multi_items(), *(fields or {}).items()])
    try:
        asked = Asked.model_validate(given)
    except ValidationError as error:
        raise parameters_problem(error.errors(include_url=False), FIELDS) from error
    return Order(model=asked.model, factor=asked.scale, format=asked.format, quality=asked.quality)


def _once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise Problem("parameters", f"The parameter {shown(name)} is given twice; expected it once.")
        given[name] = value
    return given


def _documented(schema: dict[str, Any]) -> dict[str, Any]:
    """A property as OpenAPI takes it: text in a query or a form is never null, it is left away."""
    kinds: list[dict[str, Any]] = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    kept = {key: value for key, value in schema.items() if key not in ("title", "anyOf", "default") or value == QUALITY}
    return {**(kinds[0] if kinds else {}), **kept}


_PROPERTIES = {name: _documented(schema) for name, schema in Asked.model_json_schema()["properties"].items()}
_BINARY = {"type": "string", "format": "binary"}

DOCUMENTED: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in _PROPERTIES.items()
    ],
    "requestBody": {
        "required": True,
        "description": "The picture: the body itself, or the field `image` of a form. What it is, its content says.",
        "content": {
            **{media: {"schema": _BINARY} for media in FORMAT_OF_MEDIA},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": _BINARY, **_PROPERTIES},
                    "additionalProperties": False,
                }
            },
        },
    },
}
"""Query and body for OpenAPI: `openapi_extra=` of FastAPI."""
