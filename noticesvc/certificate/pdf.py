"""The file: typst sets the story in PDF/A-3, with the proof bundle (and, in full, the notice's documents) attached inside.

Called by operations.certificates. In PDF/A a character without a glyph is an error and never a box; it is told by its name.
"""

import io
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

import pylopdf_fonts_zh_cn
import segno
import typst

from noticesvc.certificate import story
from noticesvc.certificate.story import Issue
from noticesvc.errors import CertificateError, VerificationError
from noticesvc.proof.verify import verify

_SUFFIX = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}
_MISSING = re.compile(r'the text `"(.*?)"` could not be displayed', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document of the notice, attached in a full certificate."""

    sha256: str
    media_type: str
    data: bytes


def make(bundle: Mapping[str, Any], data: bytes, issue: Issue, documents: Sequence[Attachment] = ()) -> bytes:
    """The certificate of a bundle, unsigned. `data` are the bundle's bytes, which are attached.

    Raises VerificationError for a bundle that does not hold, and CertificateError naming a character that no font has.
    """
    report = verify(data)
    if not report.ok:
        raise VerificationError(f"The proof does not verify, so no certificate is made of it: {report.failures[0]}")
    told = story.tell(bundle, data, report, issue)
    files = {f"document-{n}.{_SUFFIX.get(one.media_type, 'bin')}": one for n, one in enumerate(documents, 1)}
    told["attached"] = [{"path": name, "media_type": one.media_type, "description": f"SHA-256 {one.sha256}"} for name, one in files.items()]
    return typeset("certificate.typ", told, {
        "proof.json": data, "qr.svg": _qr(told["check_url"])} | {name: one.data for name, one in files.items()})


def typeset(form: str, told: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """The PDF/A-3 of a form of this room and its story. Raises CertificateError naming a character that no font has."""
    source = resources.files("noticesvc.certificate").joinpath(form).read_bytes()
    given = {"main.typ": source, "story.json": json.dumps(told, ensure_ascii=False).encode(), **files}
    try:
        # A table of files is taken, although the type information that typst ships does not say so.
        made: bytes = typst.compile(cast("bytes", given), font_paths=_fonts(), pdf_standards=["a-3b"])
    except typst.TypstError as error:
        raise _refused(str(error)) from None
    return made


@lru_cache(maxsize=1)
def _fonts() -> typst.Fonts:
    """The fonts of the host (fonts-noto-cjk is preferred, for its weights), and those of the package that are always there."""
    return typst.Fonts(font_paths=[str(Path(pylopdf_fonts_zh_cn.serif_path()).parent)])


def _refused(message: str) -> CertificateError:
    found = _MISSING.search(message)
    if found is None:
        return CertificateError("The certificate cannot be typeset; this is a fault of its template, please report it.")
    text = found[1]
    if text.startswith("\\u{"):
        text = chr(int(text[3:text.index("}")], 16))
    name = unicodedata.name(text[0], "a character without a name")
    return CertificateError(f"No installed font has the character {text[0]} (U+{ord(text[0]):04X}, {name}), and a certificate must not lose "
                            "it; install a font that has it on the host of the service (for Chinese: fonts-noto-cjk, fonts-hanazono).")


def _qr(url: str) -> bytes:
    out = io.BytesIO()
    segno.make(url, error="m", micro=False).save(out, kind="svg", border=1, dark="#1b2330", xmldecl=False)
    return out.getvalue()
