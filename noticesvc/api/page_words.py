"""The words of the document page in Chinese and English, and which of the two a reader wants."""

from collections.abc import Mapping
from typing import Final

_ZH: Final[Mapping[str, str]] = {
    "html": "zh-CN",
    "other": "English", "other_lang": "en",
    "kicker": "您有一份通知",
    "from": "发送方", "sent": "发送时间", "zone": "（北京时间）",
    "button": "打开并阅读",
    "recorded": "按下按钮后显示全文。我们会记录打开的时间，作为您已收到本通知的依据。",
    "again": "页面已停留太久，或请求不是从本页面发出的。请再按一次按钮。",
    "private": "这个链接只发给您本人，请不要转发。",
    "documents": "附件", "document": "附件",
    "fingerprint": "内容指纹（SHA-256）", "fingerprint_note": "可用于核对您读到的内容与发送的内容一致。",
    "sandbox": "沙箱（sandbox）：这是试用系统，没有真实发送。",
    "missing_title": "找不到这份通知", "missing": "链接不完整或已失效。请从短信中完整地复制链接，或联系发送方。",
    "unreadable_title": "无法处理这个请求", "unreadable": "请回到通知页面再试一次。",
    "later_title": "暂时无法打开", "later": "系统正忙，请稍后再试。链接仍然有效。",
}
_EN: Final[Mapping[str, str]] = {
    "html": "en",
    "other": "中文", "other_lang": "zh",
    "kicker": "A notice for you",
    "from": "From", "sent": "Sent", "zone": "(Beijing time)",
    "button": "Open and read",
    "recorded": "The button shows the full text. We record when it is opened, as evidence that this notice reached you.",
    "again": "The page was open for too long, or the request did not come from it. Please press the button again.",
    "private": "This link was sent to you alone; please do not pass it on.",
    "documents": "Documents", "document": "Document",
    "fingerprint": "Fingerprint of the content (SHA-256)",
    "fingerprint_note": "It shows that what you read is what was sent.",
    "sandbox": "Sandbox: this is a trial system, nothing was really sent.",
    "missing_title": "This notice cannot be found",
    "missing": "The link is incomplete or no longer valid. Copy the whole link from the message, or ask the sender.",
    "unreadable_title": "This request cannot be understood", "unreadable": "Please go back to the notice and try again.",
    "later_title": "It cannot be opened right now", "later": "The system is busy, please try again soon. The link stays valid.",
}
_WORDS: Final = {"zh": _ZH, "en": _EN}


def words(lang: str) -> Mapping[str, str]:
    """The words of a language."""
    return _WORDS[lang]


def language(asked: str | None, accepted: str) -> str:
    """`zh` or `en`: what the address asks for, else what the browser likes best (RFC 9110, 12.5.4), else Chinese."""
    if asked in _WORDS:
        return str(asked)
    best, found = 0.0, "zh"
    for part in accepted[:500].split(","):
        tag, _, weight = part.strip().partition(";")
        lang = tag.strip().lower().partition("-")[0]
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            quality = 0.0
        if lang in _WORDS and quality > best:
            best, found = quality, lang
    return found
