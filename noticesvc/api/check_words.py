"""The words of the check page in Chinese and English."""

from collections.abc import Mapping
from typing import Final

_ZH: Final[Mapping[str, str]] = {
    "html": "zh-CN", "other": "English", "other_lang": "en",
    "sandbox": "沙箱（sandbox）：这是试用系统，没有真实发送。",
    "title": "核验送达记录证明", "lead": "核对一份《通知送达记录证明》是否由本平台出具、是否仍为最新，或核验一份证明文件。",
    "current_title": "真实，且为最新", "current": "本平台出具过该证明，其所载送达结果与联系方式至今没有变化。",
    "superseded_title": "真实，但已被取代", "superseded": "本平台出具过该证明，但其后送达结果、暂定状态或联系方式有变化。请索取新的证明。",
    "destroyed_title": "真实，原件已销毁", "destroyed": "本平台出具过该证明。收件人已匿名化，平台保存的原件已随之销毁；您手中的文件可用下方方式核验。",
    "unknown_title": "无法确认", "unknown": "没有找到编号与指纹都相符的证明。请核对编号和指纹；若仍不符，该证明可能不是本平台出具的，或已被改动。",
    "holds_title": "证明文件核验通过", "holds": "文件中的每一步核验都成立，所载结果可由账本条目推导得出。",
    "fails_title": "证明文件核验不通过", "fails": "文件被改动、不完整，或不属于本平台的账本。下列步骤说明原因。",
    "unreadable_title": "无法读取该文件", "unreadable": "请选择证明文件（proof.json，不超过 20 MB）或本平台出具的 PDF 证明。",
    "foreign_title": "不是本平台出具的 PDF", "foreign": "没有出具过与该文件逐字节相同的证明。文件可能被改动过（例如重新保存、打印成 PDF）。可取出其中的 proof.json 再核验。",
    "busy_title": "正忙，请稍后再试", "busy": "同时核验的人较多。文件没有被保存，请稍后重新选择。",
    "number": "证明编号", "issued": "出具时间", "grade": "版本", "pdf": "PDF 指纹（SHA-256）", "proof": "所附证明指纹（SHA-256）",
    "grade_full": "详本", "grade_brief": "简本", "grade_summary": "摘要", "zone": "（北京时间）",
    "ledger": "账本", "size": "检查点条目数", "file": "文件指纹（SHA-256）", "failed": "不成立", "skipped": "未进行",
    "drop_title": "核验文件", "drop": "将证明文件 proof.json 或 PDF 证明拖到下框，或点击选择。文件仅用于本次核验，不会保存。", "verify": "核验",
    "by_number": "按编号核对", "by_number_hint": "编号印在证明首页；指纹为“附件指纹”或 PDF 文件本身的 SHA-256。", "hash": "指纹（SHA-256，64 位）", "look": "核对",
    "private": "本页面不显示任何个人信息。核验程序与格式均公开，也可以离线进行：noticesvc verify proof.json。",
}
_EN: Final[Mapping[str, str]] = {
    "html": "en", "other": "中文", "other_lang": "zh",
    "sandbox": "Sandbox: this is a trial system, nothing was really sent.",
    "title": "Check a record of service", "lead": "Whether a certificate was issued here and is still current; or verify a proof file.",
    "current_title": "Genuine and current", "current": "This certificate was issued here, and its results and contact facts have not changed since.",
    "superseded_title": "Genuine, but superseded",
    "superseded": "This certificate was issued here, but a result, a provisional mark or a contact fact has changed since. Ask for a new one.",
    "destroyed_title": "Genuine; the kept copy is destroyed",
    "destroyed": "This certificate was issued here. Its recipient was anonymised and the copy kept here was destroyed with their data; the file "
                 "in your hands can still be verified below.",
    "unknown_title": "Not confirmed",
    "unknown": "No certificate has both this number and this hash. Compare them again; if they still do not fit, the certificate was not issued "
               "here or was changed.",
    "holds_title": "The proof holds", "holds": "Every step of verification holds: what the file shows follows from entries of the ledger.",
    "fails_title": "The proof does not hold", "fails": "The file was changed, is incomplete, or is not of this ledger. The steps say why.",
    "unreadable_title": "This file cannot be read", "unreadable": "Choose a proof file (proof.json, at most 20 MB) or a PDF issued here.",
    "foreign_title": "Not a PDF issued here",
    "foreign": "No certificate with exactly these bytes was issued. The file may have been changed, for instance saved again or printed. Take "
               "proof.json out of it and verify that.",
    "busy_title": "Busy, please try again", "busy": "Many are verifying at this moment. The file was not kept; choose it again soon.",
    "number": "Certificate number", "issued": "Issued", "grade": "Grade", "pdf": "SHA-256 of the PDF", "proof": "SHA-256 of the proof in it",
    "grade_full": "full", "grade_brief": "brief", "grade_summary": "summary", "zone": " (Beijing time)",
    "ledger": "Ledger", "size": "Entries in the checkpoint", "file": "SHA-256 of the file", "failed": "does not hold", "skipped": "not taken",
    "drop_title": "Verify a file", "drop": "Drop proof.json or a PDF certificate on the box, or press it to choose. The file is used for this "
                                           "check alone and not kept.", "verify": "Verify",
    "by_number": "Check by number",
    "by_number_hint": "The number stands on the first page; the hash is that of the attachment, or the SHA-256 of the PDF itself.",
    "hash": "SHA-256 (64 digits)", "look": "Check",
    "private": "This page shows nothing personal. Program and formats are open, and it works offline too: noticesvc verify proof.json.",
}
_WORDS: Final = {"zh": _ZH, "en": _EN}
_STEPS: Final[Mapping[str, str]] = {
    "The file has the form of a proof bundle.": "文件具有证明文件的格式。",
    "The ledger's key is known.": "账本密钥是本平台的密钥。",
    "Every entry stands in the ledger, all under one signed checkpoint.": "每条条目都在账本中，且属于同一个已签名的检查点。",
    "No entry is missing, and none is there without need.": "没有缺少条目，也没有多余的条目。",
    "Every commitment is opened or destroyed, and each opening fits.": "每项承诺均已开示或已销毁，且开示相符。",
    "What the entries say of contacts, content and evidence agrees.": "各条目关于联系方式、内容和证据的记载一致。",
    "What the bundle shows follows from its entries.": "所示结果可由条目推导得出。",
}


def words(lang: str) -> Mapping[str, str]:
    """The words of a language."""
    return _WORDS[lang]


def step(title: str, lang: str) -> str:
    """The title of a verification step; one that has no Chinese words yet stays in English."""
    return _STEPS.get(title, title) if lang == "zh" else title
