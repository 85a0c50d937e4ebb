"""Wire models' common ground: strict, unknown members refused, text valid Unicode, times with an offset; and how bodies are read.

Validation messages are constant sentences at JSON pointers; rejected values never appear in them.
"""

import json
import re
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote_to_bytes

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError
from starlette.requests import Request

from noticesvc.domain import instant
from noticesvc.errors import Fault, InputError, InputTooLarge, MalformedInput

M = TypeVar("M", bound=BaseModel)
BODY_LIMIT = 1 << 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DECIMAL = re.compile(r"[0-9]{1,9}")
_NO_NUMBER = re.compile(rb"NaN|Infinity")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Wire(BaseModel):
    """A JSON object from outside: unknown members and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


def _text(value: str) -> str:
    if "\x00" in value or _SURROGATE.search(value):
        raise PydanticCustomError("text", "must be valid Unicode without U+0000")
    return value


def is_line(value: str) -> bool:
    """Whether this is one line of valid Unicode without control characters."""
    return not (_CONTROL.search(value) or _SURROGATE.search(value))


def _line(value: str) -> str:
    if not is_line(value):
        raise PydanticCustomError("line", "must be one line of valid Unicode without control characters")
    return value


NO_CALLER_ID = "must be 1 to 128 characters without /, control characters, and not . or .."


def is_caller_id(value: str) -> bool:
    """Whether a caller may call something so."""
    return 1 <= len(value) <= 128 and "/" not in value and value not in {".", ".."} and is_line(value)


def _caller_id(value: str) -> str:
    if not is_caller_id(value):
        raise PydanticCustomError("id", NO_CALLER_ID)
    return value


def _instant(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("instant", "must be an RFC 3339 time with an offset")
    try:
        return instant.parse(value)
    except ValueError:
        raise PydanticCustomError("instant", "must be an RFC 3339 time with an offset") from None


# As the OpenAPI document shows ids: ours, and the caller's.
OUR_ID = {"type": "string", "format": "uuid", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"}
CALLER_ID = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": r"^(?!\.{1,2}$)[^/\x00-\x1f\x7f-\x9f\u2028\u2029]+$"}


class _Shown:
    """What the OpenAPI document says of a text beside its length: the same as its validator, for whoever generates a client."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(core) | {"pattern": self._pattern}


Text = Annotated[str, AfterValidator(_text), _Shown(r"^[^\x00]*$")]
Line = Annotated[str, AfterValidator(_line), _Shown(r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$")]
CallerId = Annotated[str, AfterValidator(_caller_id), WithJsonSchema(CALLER_ID)]
Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]


def check_json(value: JsonValue, depth: int = 0) -> JsonValue:
    """Free JSON (metadata, parameters): valid text, numbers that RFC 8785 can write exactly, at most 32 deep."""
    if depth > 32:
        raise PydanticCustomError("json", "is nested too deeply")
    if isinstance(value, str):
        _text(value)
    elif isinstance(value, bool) or value is None:
        pass
    elif isinstance(value, int):
        if abs(value) > 2**53 - 1:
            raise PydanticCustomError("json", "holds an integer beyond 2^53 - 1; write it as a string")
    elif isinstance(value, float):
        if not abs(value) <= 2**53 - 1:  # infinities and NaN too
            raise PydanticCustomError("json", "holds a number beyond 2^53 - 1; write it as a string")
    elif isinstance(value, list):
        for item in value:
            check_json(item, depth + 1)
    else:
        for name, item in value.items():
            _text(name)
            check_json(item, depth + 1)
    return value


FreeJson = Annotated[dict[str, JsonValue], AfterValidator(check_json)]


def _decimal(value: Any) -> Any:
    """A whole number in a query string has one spelling: pydantic would also take `+5`, ` 5`, `5_0` and `5.0`."""
    if not isinstance(value, str):
        return value
    if not _DECIMAL.fullmatch(value):
        raise PydanticCustomError("decimal", "must be a whole number in decimal digits")
    return int(value)


Limit = Annotated[int, BeforeValidator(_decimal), Field(ge=1, le=200)]


def pointer(loc: tuple[int | str, ...]) -> str:
    """A JSON pointer (RFC 6901)."""
    # A member's name may be as long as the body, and may hold half a character, which no answer could be written with.
    return "".join("/" + str(part)[:200].encode("utf-8", "replace").decode().replace("~", "~0").replace("/", "~1") for part in loc)


def faults(error: ValidationError, base: tuple[int | str, ...] = ()) -> tuple[Fault, ...]:
    """What pydantic found, as faults; its messages for our models never hold the input."""
    found = []
    for item in error.errors(include_url=False, include_input=False, include_context=False)[:50]:
        detail = "is no member of this object" if item["type"] == "extra_forbidden" else item["msg"]
        loc = item["loc"]
        if loc[-1:] == ("[key]",) and item["type"] != "extra_forbidden":  # pydantic's own word: the member's name is at fault
            loc = loc[:-1]
        found.append(Fault(pointer(base + loc), detail))
    return tuple(found)


def parse(model: type[M], data: bytes) -> M:
    """A wire model from JSON bytes. MalformedInput if it is no JSON, InputError with pointers if it does not fit."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid" or _NO_NUMBER.search(data):
            return _second_look(model, data)
        raise InputError("The body does not have the form that this route takes.", faults(error)) from None
    except RecursionError:
        raise MalformedInput("The body is nested too deeply.") from None


def _second_look(model: type[M], data: bytes) -> M:
    """Pydantic's parser takes half a surrogate pair for broken JSON; it is JSON (RFC 8259, 8.2) that holds no valid text.

    And it takes NaN and Infinity for numbers, which no JSON holds; every model refuses them, so that they come here.
    """
    try:
        value = json.loads(data.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise MalformedInput("The body is not JSON in UTF-8.") from None
    return fitted(model, value)


def _no_constant(_text: str) -> float:
    raise ValueError("JSON has no NaN and no Infinity")


def fitted(model: type[M], value: object) -> M:
    """A wire model from JSON that was read before. InputError with pointers if it does not fit."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InputError("The body does not have the form that this route takes.", faults(error)) from None
    except RecursionError:
        raise InputError("The body is nested too deeply.") from None


def parse_query(model: type[M], request: Request) -> M:
    """A wire model from the query string; a parameter given twice or unknown is an error."""
    try:
        # Bytes that are no UTF-8 would be read as U+FFFD: a filter for another text than was meant.
        unquote_to_bytes(request.scope.get("query_string", b"")).decode()
    except UnicodeDecodeError:
        raise InputError("The query string is not percent-encoded UTF-8.") from None
    pairs = request.query_params.multi_items()
    if len({name for name, _ in pairs}) != len(pairs):
        raise InputError("A query parameter is given twice.")
    try:
        return model.model_validate_strings(dict(pairs))
    except ValidationError as error:
        raise InputError("A query parameter cannot be used.", faults(error)) from None


def check_declared(request: Request, limit: int = BODY_LIMIT) -> None:
    """Raise InputTooLarge for a body that is announced to be over the limit."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise InputTooLarge(f"The body is over {limit} bytes.")


async def read_body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """The whole body, or InputTooLarge without reading further."""
    check_declared(request, limit)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise InputTooLarge(f"The body is over {limit} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)
