"""The state of the system for the certificate, under the seven factors of article 93 of the Supreme People's Court's provisions on
evidence in civil proceedings (《最高人民法院关于民事诉讼证据的若干规定》第九十三条). Called by story; says only what the bundle shows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from noticesvc.certificate.reasons import beijing
from noticesvc.certificate.words import Pair, pair
from noticesvc.proof.entries import Entry
from noticesvc.proof.verify import Report


def factors(bundle: Mapping[str, Any], entries: Sequence[Entry], report: Report, sandbox: bool) -> list[dict[str, Pair]]:
    """Heading and text of each factor."""
    texts = (_environment(bundle), _working(entries, sandbox), _checks(report), _whole(entries), _ordinary(entries), _subject(bundle),
             _others(bundle, entries))
    return [{"head": head, "text": text} for head, text in zip(_HEADS, texts, strict=True)]


_HEADS = (
    pair("（一）系统的硬件、软件环境是否完整、可靠", "1. Whether the hardware and software environment is complete and reliable"),
    pair("（二）系统是否处于正常运行状态", "2. Whether the system worked normally"),
    pair("（三）是否具备有效的防止出错的监测、核查手段", "3. Whether there are effective means to detect and check errors"),
    pair("（四）数据是否被完整地保存、传输、提取，方法是否可靠", "4. Whether data was kept, transmitted and extracted whole, by reliable methods"),
    pair("（五）数据是否在正常的往来活动中形成和存储", "5. Whether data was formed and stored in ordinary dealings"),
    pair("（六）保存、传输、提取数据的主体是否适当", "6. Whether those who kept, transmitted and extracted it are proper"),
    pair("（七）影响完整性和可靠性的其他因素", "7. Other factors that affect integrity and reliability"),
)


def _environment(bundle: Mapping[str, Any]) -> Pair:
    software = bundle["software"]
    return pair(
        f"由 {software} 生成。每项事实在形成时即写入只可追加的默克尔账本（SHA-256，RFC 6962），由平台的 Ed25519 密钥签署检查点；个人信息加密存放，账本只存加盐承诺。",
        f"Made by {software}. Each fact was appended, as it arose, to an append-only Merkle ledger (SHA-256, RFC 6962) whose checkpoints the "
        "platform signs with Ed25519; personal data is kept encrypted, the ledger holds salted commitments only.")


def _working(entries: Sequence[Entry], sandbox: bool) -> Pair:
    accepted = next(entry for entry in entries if entry.type == "notice.accepted")
    zh = f"自受理（{beijing(accepted['at'])}）至本次提取，有关本通知的记录编号连续、无缺失；每次发送前先封存意图，故发送中的中断会留下记录。"
    en = (f"From acceptance ({beijing(accepted['at'])}) to this extraction the notice's records are numbered without a gap; an intent is sealed "
          "before every sending, so that an interruption leaves a trace.")
    unknown = sum(entry.get("kind") == "unknown" for entry in entries)
    if unknown:
        zh, en = zh + f"其间有 {unknown} 次发送结果不明，已如实列出。", en + f" {unknown} sendings ended in an unknown outcome; they are listed."
    if sandbox:
        zh, en = zh + "系统配置有沙箱，仅供试用，没有真实发送。", en + " A sandbox is configured: this is a trial, nothing was really sent."
    return pair(zh, en)


def _checks(report: Report) -> Pair:
    held = sum(step.taken and not step.failures for step in report.steps)
    return pair(f"出具前对所附证明文件逐步核验，{len(report.steps)} 步中 {held} 步通过；送达结果由核验程序从证据重新推导，与所示一致。",
                f"Before issuing, the attached proof was verified: {held} of {len(report.steps)} steps hold; the results were derived again from the "
                "evidence and agree with what is shown.")


def _whole(entries: Sequence[Entry]) -> Pair:
    return pair(f"附件收录全部 {len(entries)} 条账本条目的原始字节、包含证明与开示；外部系统的应答以原始字节保存。任何一个字节被改动，核验即失败。",
                f"The attachment holds the exact bytes of all {len(entries)} entries with their inclusion proofs and openings; answers of other "
                "systems are kept byte for byte. Changing any byte makes verification fail.")


def _ordinary(entries: Sequence[Entry]) -> Pair:
    providers = sorted({entry["provider"] for entry in entries if entry.get("provider") is not None})
    named = f"（{'、'.join(providers)}）" if providers else ""
    return pair(f"记录由系统在日常发送通知时自动形成，回执由发送服务商{named}及收件人的操作产生，并非为诉讼制作。",
                f"The records arose automatically in the ordinary sending of notices; receipts came from providers"
                f"{f' ({chr(44).join(providers)})' if providers else ''} and acts of the recipient, and were not made for litigation.")


def _subject(bundle: Mapping[str, Any]) -> Pair:
    return pair(f"由{bundle['issuer']}保存并提取。平台是通知的发送方；为使他人无须信任平台，证明可离线用公开标准的工具核验，检查点另存于平台数据库之外。",
                f"Kept and extracted by {bundle['issuer']}. The platform is the sender; so that nobody need trust it, the proof can be verified "
                "offline with tools of open standards, and checkpoints are kept outside its database too.")


def _others(bundle: Mapping[str, Any], entries: Sequence[Entry]) -> Pair:
    zh, en = [], []
    doubtful = sum(entry.is_evidence and not entry["authenticated"] for entry in entries)
    if doubtful:
        zh.append(f"{doubtful} 项证据来源未经验证，不予计入")
        en.append(f"{doubtful} items of evidence are not authenticated and do not count")
    if bundle["notice"]["service"]["conflict"]:
        zh.append("存在到达与失败并存的矛盾")
        en.append("evidence of arrival and failure conflicts")
    if bundle["destroyed"]:
        zh.append(f"因收件人匿名化，{len(bundle['destroyed'])} 项内容已销毁，其承诺与证明仍有效")
        en.append(f"{len(bundle['destroyed'])} values were destroyed when the recipient was anonymised; their commitments still verify")
    stamps, witnesses = len(bundle["timestamps"]), len(bundle["cosigners"])
    zh.append(f"外部时间戳 {stamps} 个，外部见证 {witnesses} 个" if stamps or witnesses else "检查点尚未附外部时间戳或见证，其时间以平台时钟为准")
    en.append(f"outside timestamps: {stamps}, witnesses: {witnesses}" if stamps or witnesses
              else "no outside timestamp or witness is attached yet, so times rest on the platform's clock")
    return pair("；".join(zh) + "。", "; ".join(en)[0].upper() + "; ".join(en)[1:] + ".")
