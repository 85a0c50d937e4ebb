"""Route of templates: each PUT stores the next version; notices name a template and, if they like, a version."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from noticesvc.api import wire
from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.notice_wire import PutTemplate, TemplateReply
from noticesvc.errors import Fault, InputError
from noticesvc.operations import contents

_NAME: TypeAdapter[str] = TypeAdapter(wire.CallerId)


async def put_template(call: Call) -> Any:
    """Store the texts as the next version of the template."""
    try:
        name = _NAME.validate_python(call.request.path_params["name"], strict=True)
    except ValidationError:
        raise InputError("The name of the template cannot be one.", (Fault(
            "/name", "must be 1 to 128 characters without /, control characters, and not . or .."),)) from None
    body: PutTemplate = call.body
    return await call.write(contents.put_template, name, body.subject, body.body, body.sms, body.sms_carries)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("PUT", "/v1/templates/{name}", put_template, "Store the next version of a template", ("notices:write",), body=PutTemplate,
             reply=TemplateReply, status=201),
)
