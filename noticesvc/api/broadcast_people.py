"""Routes of broadcasts that people use: whom it goes to, what they would get, what to know before approval, who was served."""

from noticesvc.api import broadcast_upload
from noticesvc.api.broadcast_people_wire import Uploaded
from noticesvc.api.endpoint import Endpoint

_WRITE, _EITHER = ("broadcasts:write",), ("broadcasts:write", "broadcasts:approve")
_ONE = "/v1/broadcasts/{broadcast_id}"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", f"{_ONE}/recipients", broadcast_upload.upload, "Add recipients to a draft, streamed", _WRITE, reply=Uploaded,
             media_type=broadcast_upload.NDJSON, more_media_types=(broadcast_upload.CSV,), raw_body=True, errors=(404, 409, 415)),
)
