"""PAdES signatures by pyHanko: the operator's certificate, with a time stamp where a TSA is configured (ETSI EN 319 142, B-B or B-T).

Called by operations.certificates through what bootstrap loads. Blocking: a time stamp is fetched over the network, so it is called
outside any transaction and off the event loop.
"""

import io
from dataclasses import dataclass
from pathlib import Path

from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers
from pyhanko.sign.timestamps import HTTPTimeStamper

from noticesvc.errors import CertificateError, ConfigurationError, UnavailableError

_FIELD = "Issuer"
_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class PdfSigner:
    """Signs with one key; `tsa_url` empty: without a time stamp."""

    signer: signers.SimpleSigner
    tsa_url: str

    def sign(self, pdf: bytes, reason: str) -> bytes:
        """The file with a signature that covers all of it, the attachments included. CertificateError if it cannot
        be made, UnavailableError if the TSA does not answer.
        """
        metadata = signers.PdfSignatureMetadata(field_name=_FIELD, md_algorithm="sha256", reason=reason,
                                                subfilter=fields.SigSeedSubFilter.PADES)
        stamper = HTTPTimeStamper(self.tsa_url, timeout=_TIMEOUT_S) if self.tsa_url else None
        out = io.BytesIO()
        try:
            signers.PdfSigner(metadata, signer=self.signer, timestamper=stamper).sign_pdf(
                IncrementalPdfFileWriter(io.BytesIO(pdf)), output=out)
        except OSError as error:
            raise UnavailableError(f"The time-stamping service did not answer ({type(error).__name__}); repeat the request, or check "
                                   "certificate.tsa_url.") from None
        except Exception as error:
            raise CertificateError(f"The certificate cannot be signed ({type(error).__name__}); check the signing certificate.") from None
        return out.getvalue()


def load(pkcs12: Path, passphrase: str, tsa_url: str) -> PdfSigner:
    """The signer of a PKCS #12 file. ConfigurationError if it cannot be used."""
    try:
        data = pkcs12.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"certificate.pkcs12_file cannot be read ({type(error).__name__}); check the path.") from None
    try:
        signer = signers.SimpleSigner.load_pkcs12_data(data, other_certs=[], passphrase=passphrase.encode())
    except Exception:
        signer = None
    if signer is None:
        raise ConfigurationError("certificate.pkcs12_file is no PKCS #12 file that certificate.passphrase opens; correct one of them.")
    return PdfSigner(signer, tsa_url)
