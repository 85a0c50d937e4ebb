"""The words of the certificate in Chinese and English: for each enumerated word of the product what a judge calls it.

A pair holds both; the template shows one or both. Used by story and reasons.
"""

from collections.abc import Mapping
from typing import Final

Pair = dict[str, str]


def pair(zh: str, en: str) -> Pair:
    """The same in both languages."""
    return {"zh": zh, "en": en}


def same(text: str) -> Pair:
    """What is the same in both."""
    return {"zh": text, "en": text}


CHANNELS: Final[Mapping[str, Pair]] = {
    "in_site": pair("站内信", "in-site message"), "sms": pair("短信", "SMS"), "email": pair("电子邮件", "e-mail"),
    "postal": pair("邮寄", "post"), "announcement": pair("公告", "announcement"),
}
KINDS: Final[Mapping[str, Pair]] = {
    "intended": pair("发送前封存", "sealed before sending"), "submitted": pair("已被发送系统接收", "taken by the sending system"),
    "relayed": pair("已交中继", "relayed"), "arrived": pair("到达", "arrived"), "accessed": pair("已打开阅读", "opened"),
    "acknowledged": pair("已确认收悉", "acknowledged"), "rejected": pair("被拒绝接收", "rejected"),
    "failed_temporary": pair("暂时失败", "failed for now"), "failed_permanent": pair("永久失败（地址不存在）", "failed for good (no such address)"),
    "expired": pair("逾期未递送", "expired"), "no_receipt": pair("期满无回执", "no receipt within the time"),
    "returned": pair("退回", "returned"), "rebutted": pair("被反证", "rebutted"), "unknown": pair("结果不明", "outcome unknown"),
    "displayed": pair("已在列表显示", "shown in the list"), "link_fetched": pair("链接被读取（不计）", "link fetched (proves nothing)"),
    "unmapped": pair("未识别的回执（不计）", "unrecognised receipt (counts for nothing)"), "not_sent": pair("未发出", "not sent"),
}
NEGATIVE: Final = frozenset({"rejected", "failed_temporary", "failed_permanent", "expired", "no_receipt", "returned", "rebutted",
                             "unknown", "not_sent"})
STATES: Final[Mapping[str, Pair]] = {
    "queued": pair("待发送", "queued"), "in_progress": pair("进行中", "in progress"), "served": pair("已送达", "served"),
    "unserved": pair("未送达", "not served"), "cancelled": pair("已取消", "cancelled"), "expired": pair("已过期", "expired"),
    "pending": pair("等待中", "pending"), "claimed": pair("发送中", "being sent"), "sent": pair("已发出", "sent"),
    "delivered": pair("已到达", "delivered"), "failed": pair("失败", "failed"), "undeliverable": pair("无有效联系方式", "no contact in effect"),
    "unknown": pair("结果不明", "unknown"),
}
CATEGORIES: Final[Mapping[str, Pair]] = {
    "agreement": pair("协议变更通知", "change of agreement"), "platform": pair("平台通知", "platform notice"),
    "handling": pair("处理通知", "notice of handling"), "termination": pair("终止通知", "notice of termination"),
    "contact_cure": pair("联系方式更正通知", "notice to correct contact details"), "inquiry": pair("询问／改正通知", "inquiry or correction"),
    "judicial": pair("法律文书送达", "legal document"), "commercial": pair("商业信息", "commercial message"),
}
CONFIRMATIONS: Final[Mapping[str, Pair]] = {
    "confirmed": pair("本人提供或确认", "given or confirmed by the recipient"), "identified": pair("已知属于本人", "known to be theirs"),
    "unknown": pair("未确认", "unknown"),
}
CARRIES: Final[Mapping[str, Pair]] = {
    "full": pair("全文", "whole content"), "link": pair("全文链接", "link to the content"), "pointer": pair("仅提示", "pointer only"),
}
STAGES: Final[Mapping[str, Pair]] = {
    "first_instance": pair("一审", "first instance"), "second_instance": pair("二审", "second instance"), "retrial": pair("再审", "retrial"),
    "execution": pair("执行", "execution"), "supervision": pair("督促程序", "supervision procedure"), "other": pair("其他", "other"),
}
DEADLINES: Final[Mapping[str, Pair]] = {
    "cure": pair("更正期限", "time to correct contact details"), "response": pair("答复期限", "time to respond"),
    "appeal": pair("申诉期限", "time to appeal"), "effective": pair("变更生效时间", "change takes effect"),
}
RESPONSES: Final[Mapping[str, Pair]] = {
    "accept": pair("接受", "accepts"), "refuse": pair("拒绝", "refuses"), "object": pair("提出异议", "objects"),
}
RULES: Final[Mapping[str, Pair]] = {
    "agreement-6.2": pair("协议 6.2（发送成功：以到达为准）", "Agreement 6.2, read as arrival"),
    "agreement-6.2-sent": pair("协议 6.2（发送成功：以发出为准）", "Agreement 6.2, read as sending"),
    "agreement-6.3": pair("协议 6.3（法律文书：以到达为准）", "Agreement 6.3, read as arrival"),
    "agreement-6.3-sent": pair("协议 6.3（法律文书：以发出为准）", "Agreement 6.3, read as sending"),
    "court-31": pair("《民事诉讼法》第90条、《人民法院在线诉讼规则》第31条（仅供参考）",
                     "Civil Procedure Law art. 90, Online Litigation Rules art. 31 (analysis only)"),
    "court-95": pair("《民事诉讼法》第95条 公告送达（仅供参考）", "Civil Procedure Law art. 95, by announcement (analysis only)"),
}
ASIDE: Final[Mapping[str, Pair]] = {
    "duplicate": pair("与先前证据重复", "repeats earlier evidence"),
    "contact_not_in_effect": pair("发送时该联系方式并非有效", "the contact was not in effect when it was sent"),
    "pointer": pair("仅为提示，不含通知内容", "only a pointer, without the content"),
    "other_content": pair("所涉内容与本通知不同", "is about another content"),
    "not_authenticated": pair("来源未经验证", "its source is not authenticated"),
    "rebutted": pair("被反证推翻", "rebutted"), "struck": pair("被其后的失败推翻", "undone by a later failure"),
}
PASSED_OVER: Final[Mapping[str, Pair]] = {
    "breaker_open": pair("其连续失败，暂停使用", "it had failed again and again and was left alone"),
    "refused": pair("其刚拒绝了本次投递", "it had just refused this delivery"),
}
SOURCES: Final[Mapping[str, Pair]] = {
    "noticesvc": pair("本系统", "this system"), "smtp": pair("SMTP 会话应答", "SMTP reply in our session"),
    "dsn": pair("邮件递送状态通知（DSN）", "delivery status notification (DSN)"), "mdn": pair("邮件阅读回执（MDN）", "read receipt (MDN)"),
    "gateway": pair("短信网关", "SMS gateway"), "inbox": pair("站内信收件箱", "in-site inbox"), "page": pair("文书阅读页面", "document page"),
    "person": pair("工作人员陈述", "stated by a person"), "clock": pair("期限届满", "a time that passed"),
    "announcement": pair("公告栏", "announcements"),
}
_NONE: Final = pair("—", "—")


def of(table: Mapping[str, Pair], word: str | None) -> Pair:
    """The pair of a word; a word that no table knows stands for itself."""
    return _NONE if word is None else table.get(word) or same(word)
