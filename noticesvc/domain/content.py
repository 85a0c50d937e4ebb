"""What a notice says, and the hash that all its deliveries share."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Content:
    """The rendered content: a one-line subject, the body as Markdown, the text for SMS, and the hashes of its documents."""

    subject: str
    body: str
    sms: str | None
    sms_carries: str | None
    documents: tuple[str, ...] = ()
    template: tuple[str, int] | None = None
    params: tuple[tuple[str, str], ...] = ()  # what filled the template, for vendors that fill in one of their own

    def to_json(self) -> dict[str, Any]:
        """What a proof opens as `content`."""
        template: dict[str, Any] | None = None
        if self.template is not None:
            template = {"name": self.template[0], "version": self.template[1], "params": dict(self.params)}
        return {"subject": self.subject, "body": self.body, "sms": self.sms, "sms_carries": self.sms_carries,
                "documents": list(self.documents), "template": template}

    @property
    def sha256(self) -> str:
        """The notice's `content_sha256`."""
        return content_sha256(self.subject, self.body, self.documents)


def content_sha256(subject: str, body: str, documents: Sequence[str]) -> str:
    """SHA-256, in hex, of the RFC 8785 canonical JSON of `{"body", "documents", "subject"}`: the full text and the hashes of
    the documents in order. The SMS text is another form of the same content and not part of it.
    """
    # Of strings alone, json.dumps with sorted names and no escapes beyond JSON's own writes exactly what RFC 8785 asks for.
    text = json.dumps({"body": body, "documents": list(documents), "subject": subject}, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def from_json(value: dict[str, Any]) -> Content:
    """The content that `to_json` wrote."""
    template = value["template"]
    return Content(value["subject"], value["body"], value["sms"], value["sms_carries"], tuple(value["documents"]),
                   None if template is None else (template["name"], template["version"]),
                   () if template is None else tuple(template.get("params", {}).items()))
