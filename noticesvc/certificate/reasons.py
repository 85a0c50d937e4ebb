"""Why a result is what it is, in plain sentences: for each rule what it asks, what met it, and what the result hangs on.

Called by story. Reads outcomes as a proof bundle has them, and invents nothing: no service time is told that the outcome lacks.
"""

from collections.abc import Mapping
from typing import Any

from noticesvc.certificate.words import CHANNELS, KINDS, Pair, of, pair
from noticesvc.domain import instant
from noticesvc.domain.rules import Rule

_ORDER = ("in_site", "sms", "email", "postal", "announcement")


def beijing(text: str | None) -> str:
    """An RFC 3339 time as it was in Beijing, to the second."""
    return "—" if text is None else f"{instant.parse(text).astimezone(instant.SHANGHAI):%Y-%m-%d %H:%M:%S}"


def asks(rule: Rule) -> Pair:
    """From what on service counts under a rule."""
    if rule.after is not None:
        days = rule.after.days
        return pair(f"公告发布之日起经过 {days} 日（每日 24 小时）视为送达。",
                    f"Service {days} × 24 hours after the announcement was published.")
    by_kind: dict[str, list[str]] = {}
    for channel in _ORDER:
        if channel in rule.levels:
            by_kind.setdefault(rule.levels[channel], []).append(channel)
    zh = "；".join(f"{'、'.join(CHANNELS[c]['zh'] for c in channels)}：{KINDS[kind]['zh']}" for kind, channels in by_kind.items())
    en = "; ".join(f"{', '.join(CHANNELS[c]['en'] for c in channels)}: {KINDS[kind]['en']}" for kind, channels in by_kind.items())
    if rule.presumed:
        zh += "。联系方式须经本人确认；仅“已知属于本人”的，须已打开阅读（推定）；仅发送链接的，须已打开阅读"
        en += (". The contact must be confirmed; one only known to be theirs counts once opened (presumed); "
               "a mere link counts once opened")
    elif rule.confirmations is not None:
        zh += "。仅限特定确认等级的联系方式"
        en += ". Only contacts of certain confirmation count"
    return pair(f"送达自下列情形发生时起算：{zh}。多种方式并用的，以最先者为准。", f"Service begins with: {en}. Of several means the earliest prevails.")


def why(outcome: Mapping[str, Any], evidence: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str]) -> Pair:
    """Why this result: the event that served and how, or why nothing did. `labels` are the short names of evidence (E1, E2 …)."""
    if not outcome["served"]:
        if outcome["basis"] == "consequence_on_recipient":
            return pair(
                "除站内信和公告外，各渠道最后一次投递均因收件人的联系方式失效而永久失败或退回；依协议 6.3 第四款及二.4，由此产生的后果由收件人承担。"
                "本系统不因此推定任何送达时间。",
                "Apart from in-site and announcement the last attempt on every channel failed for good or came back because of the recipient's "
                "contact details; under clauses 6.3 (4) and 2.4 the consequence falls on the recipient. No service time is invented.")
        return pair("现有证据中没有任何一项达到本规则的要求，故在本规则下未送达。", "No evidence reaches what this rule asks for, so there is no service under it.")
    item, cited = evidence.get(outcome["evidence_id"], {}), _cited(labels, outcome["evidence_id"])
    kind, channel = of(KINDS, item.get("kind")), of(CHANNELS, outcome["channel"])
    at = beijing(outcome["served_at"])
    zh = f"在计入的证据中，{channel['zh']}的“{kind['zh']}”{cited['zh']}最先达到本规则的要求，时间为 {at}（北京时间），故以该时间为送达时间。"
    en = (f"Of the evidence that counts, “{kind['en']}” by {channel['en']}{cited['en']} was the first to reach what this rule asks for, at {at} "
          "(Beijing time), which is the service time.")
    if item.get("kind") == "returned":
        zh = f"邮件因收件人的原因退回{cited['zh']}，依本规则以退回之日 {at} 视为送达；后果由收件人承担。"
        en = f"The letter came back through the recipient's fault{cited['en']}; under this rule it counts as served when it came back, {at}."
    if item.get("kind") == "arrived" and outcome["rule"] == "court-95":
        zh, en = f"公告{cited['zh']}期满，以 {at} 为送达时间。", f"The time after the announcement{cited['en']} ended at {at}."
    if outcome["basis"] == "presumed":
        zh, en = zh + "该结果属于推定送达。", en + " This is presumed service."
    return pair(zh, en)


def _cited(labels: Mapping[str, str], evidence_id: str) -> Pair:
    """The short name of evidence in brackets; nothing where the certificate does not list evidence."""
    label = labels.get(evidence_id)
    return pair("", "") if label is None else pair(f"（{label}）", f" ({label})")


def notes(outcome: Mapping[str, Any]) -> list[Pair]:
    """What must be said beside a result: provisional, conflict, analysis."""
    found = []
    if outcome["provisional"]:
        found.append(pair("暂定：该结果依赖邮件服务器的接收，自送达时起五日内仍可能收到退信。",
                          "Provisional: it rests on a mail server's acceptance, and a bounce may still come within five days."))
    if outcome["conflict"]:
        found.append(pair("矛盾：同一次投递既有到达的证据，也有失败的证据，须由人判断。",
                          "Conflict: evidence of arrival and of failure stand side by side in one attempt; a person must judge."))
    if outcome["analysis"]:
        found.append(pair("仅为对法院可能认定的分析；司法送达只能由法院作出。",
                          "Analysis of what a court might find; only a court's own service is judicial service."))
    return found


def weakest_link(outcome: Mapping[str, Any]) -> Pair:
    """Whether service still stands if what it rests on falls."""
    if not outcome["served"]:
        return pair("未送达，无从检验。", "Not served, so nothing to test.")
    left = outcome["without_winner"]
    if left is None:
        return pair("若否定该次投递，则没有其他投递能够支持送达。", "If that delivery falls, no other supports service.")
    at, channel = beijing(left["served_at"]), of(CHANNELS, left["channel"])
    return pair(f"即使否定该次投递，仍可由{channel['zh']}于 {at} 送达。", f"Even if that delivery falls, service stands by {channel['en']} at {at}.")


def independent(outcome: Mapping[str, Any], labels: Mapping[str, str]) -> Pair:
    """What remains of service when the platform's own channels are left aside."""
    own = outcome["independent"]
    if own is None:
        return pair("不计站内信和公告（平台自有渠道）时，没有送达。", "Leaving aside the platform's own channels there is no service.")
    at, channel, cited = beijing(own["served_at"]), of(CHANNELS, own["channel"]), _cited(labels, own["evidence_id"])
    return pair(f"不计站内信和公告（平台自有渠道）时，由{channel['zh']}于 {at} 送达{cited['zh']}。期限自此起算。",
                f"Leaving aside the platform's own channels, service was by {channel['en']} at {at}{cited['en']}. Deadlines run from it.")
