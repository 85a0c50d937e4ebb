"""Route of documents: one file in the part `file` of a multipart body, streamed under a limit, its type found from its bytes."""

import asyncio
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from noticesvc.api import problem
from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.notice_wire import DocumentReply
from noticesvc.errors import Fault, InputError, InputTooLarge, MalformedInput
from noticesvc.operations import documents

LARGEST = 20 << 20
_FRAME = 64 << 10  # room for the headers and boundaries around the file
_LONGEST_HEADER = 4096


class _Parts:
    """Takes what the parser finds: the bytes of the part `file`, and the names of the parts."""

    def __init__(self) -> None:
        self.file = bytearray()
        self.found = 0
        self.finished = False
        self._field, self._value, self._name = bytearray(), bytearray(), ""

    def callbacks(self) -> dict[str, Any]:
        """What the parser calls."""
        return {"on_part_begin": self._begin, "on_header_field": self._on_field, "on_header_value": self._on_value,
                "on_header_end": self._on_header, "on_headers_finished": self._on_headers, "on_part_data": self._on_data,
                "on_end": self._end}

    def _begin(self) -> None:
        self._name = ""

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]
        self._bounded()

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._bounded()

    def _bounded(self) -> None:
        if len(self._field) + len(self._value) > _LONGEST_HEADER:
            raise InputError("A header of a part is too long.")

    def _on_header(self) -> None:
        if bytes(self._field).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._field.clear()
        self._value.clear()

    def _on_headers(self) -> None:
        if self._name != "file" or self.found:
            raise InputError("The body must hold one part, named file.", (Fault("/file", "must be the only part, and there once"),))
        self.found += 1

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if len(self.file) + end - start > LARGEST:
            raise InputTooLarge(f"The document is over {LARGEST} bytes.")
        self.file += data[start:end]

    def _end(self) -> None:
        self.finished = True


async def one_file(request: Request) -> bytes:
    """The bytes of the part `file`. Raises InputError, MalformedInput or InputTooLarge without reading further."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > LARGEST + _FRAME:
        raise InputTooLarge(f"The document is over {LARGEST} bytes.")
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:  # RFC 2046, 5.1.1
        raise MalformedInput("The multipart body names no boundary.")
    parts = _Parts()
    parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]  # its callbacks are a TypedDict of all
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > LARGEST + _FRAME:
                raise InputTooLarge(f"The document is over {LARGEST} bytes.")
            parser.write(chunk)
        parser.finalize()
    except FormParserError:
        raise MalformedInput("The body is not a multipart form.") from None
    if not parts.found or not parts.finished:
        raise InputError("The body must hold one part, named file.", (Fault("/file", "is missing or cut short"),))
    return bytes(parts.file)


async def post_document(call: Call) -> Any:
    """Store a document; PDF, PNG or JPEG, decided by its bytes and nothing else."""
    if call.request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        return problem.answer(415, "unsupported-media-type", "Send the document as multipart/form-data with a part named file.")
    data = await one_file(call.request)
    media_type = documents.media_type(data)
    if media_type is None:
        return problem.answer(415, "unsupported-media-type", "The file is neither PDF nor PNG nor JPEG.")
    document_id = call.house.database.sources.new_id()
    # Hashing and sealing 20 MiB takes a while; it needs no transaction.
    made = await asyncio.to_thread(documents.prepared, call.house.world, document_id, media_type, data)
    return await call.write(documents.store, made)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", "/v1/documents", post_document, "Store a document: PDF, PNG or JPEG of at most 20 MiB", ("notices:write",),
             reply=DocumentReply, status=201, media_type="multipart/form-data", raw_body=True, errors=(415,)),
)
