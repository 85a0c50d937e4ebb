"""The text of a cure notice: which contact is dead, what the recipient is to do, and by when (clause 五.2②)."""

from typing import NamedTuple

_WORDS = {"sms": ("手机号码", "telephone number"), "email": ("电子邮箱", "mail address"), "postal": ("通信地址", "postal address")}


class Texts(NamedTuple):
    """Subject, body in Markdown, and the text for SMS, which says all that the body says."""

    subject: str
    body: str
    sms: str


def texts(issuer: str, channel: str, masked: str, locale: str | None) -> Texts:
    """The texts, in English for a recipient whose locale is English, else in Chinese; `masked` is the dead address, shown in part."""
    chinese, english = _WORDS[channel]
    # Markdown takes no asterisk of the mask for emphasis.
    shown = masked.replace("*", "＊")
    if (locale or "").lower().startswith("en"):
        said = (f"Your {english} {shown} no longer exists or can receive nothing. Give us a new contact within three working days "
                "after you receive this notice (the day of receipt is not counted). Otherwise the user agreement can be terminated "
                "under clause 5.2(2).")
        return Texts("Please renew your contact details", said, f"[{issuer}] {said}")
    said = (f"您登记的{chinese}{shown}已不存在或无法接收信息。请您自收到本通知之日起三个工作日内（收到当日不计）登录平台，"
            "提供新的有效联系方式；逾期未提供的，平台有权依据用户协议第五条第2款第②项终止协议。")
    return Texts("请更新您的联系方式", said, f"【{issuer}】{said}")
