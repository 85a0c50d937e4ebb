"""Why a recipient was not served, in the words of the coverage report: what became of each delivery, in Chinese and English.

Used by operations.broadcast_report for every recipient and by the summary for the sums.
"""

from collections.abc import Mapping
from typing import Final

from noticesvc.certificate.words import CHANNELS, Pair, of, pair

OUTCOMES: Final[Mapping[str, Pair]] = {
    "delivered": pair("已到达，但按适用规则不足以认定送达", "arrived, but that does not count as service under the rule"),
    "sent": pair("已发出，尚无送达回执", "sent, without a receipt so far"),
    "failed/failed_permanent": pair("号码或邮箱不存在", "no such number or mailbox"),
    "failed/rejected": pair("被对方系统拒收", "refused by the other side"),
    "failed/failed_temporary": pair("多次尝试仍未被接收", "not taken within the time in spite of repeated tries"),
    "failed/returned": pair("被退回", "returned"),
    "failed/expired": pair("对方系统逾期未递送", "not delivered by the other side within its time"),
    "failed/rebutted": pair("送达被反证推翻", "the arrival was rebutted"),
    "failed": pair("没有可用的服务商", "no provider could send it"),
    "undeliverable": pair("没有有效的联系方式", "no contact in effect"),
    "expired/failed_temporary": pair("多次尝试仍未被接收，期限已过", "not taken before the time was over"),
    "expired": pair("期限已过，没有送达回执", "no receipt before the time was over"),
    "unknown": pair("结果不明", "outcome unknown"),
    "pending": pair("等待发送", "waits to be sent"),
    "claimed": pair("正在发送", "being sent"),
    "cancelled": pair("已取消", "cancelled"),
    "cancelled/refused": pair("收件人拒绝接收商业信息", "the recipient refuses commercial messages"),
}
SKIPPED: Final[Mapping[str, Pair]] = {
    "anonymised": pair("收件人已匿名化", "the recipient was anonymised"),
    "agreement_void": pair("与收件人的协议无效", "the agreement with the recipient is void"),
    "broadcast_cancelled": pair("群发在生成其通知前被取消", "the broadcast was cancelled before the notice was made"),
    "waits": pair("尚未轮到", "their turn has not come"),
}


def outcome(state: str, kind: str | None) -> Pair:
    """What became of a delivery in this state whose last negative evidence is of this kind (null: none)."""
    return OUTCOMES.get(f"{state}/{kind}") or of(OUTCOMES, state)


def delivery(channel: str, state: str, kind: str | None, code: str | None) -> Pair:
    """The same with its channel, and the other side's own code."""
    word, said = of(CHANNELS, channel), outcome(state, kind)
    shown = code is not None and kind is not None and state in {"failed", "expired"}
    return pair(f"{word['zh']}：{said['zh']}{f'（{code}）' if shown else ''}", f"{word['en']}: {said['en']}{f' ({code})' if shown else ''}")
