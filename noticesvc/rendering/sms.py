"""The text of an SMS."""

from noticesvc.domain.content import Content


def text(content: Content, link: str | None) -> str:
    """The text as sent: with the link to the document page in place of `{link}`, if it carries one."""
    plain = content.sms or ""
    return plain.replace("{link}", link) if link is not None else plain
