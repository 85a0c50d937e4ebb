"""Throw-away certificates: an authority of a test's own, and server contexts whose certificates it signed or nobody did."""

import datetime as dt
import functools
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_START = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_END = dt.datetime(2090, 1, 1, tzinfo=dt.UTC)


@functools.cache
def _authority():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
            .not_valid_before(_START).not_valid_after(_END).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256()))
    return key, made


def authority_pem() -> bytes:
    """The authority's certificate."""
    return _authority()[1].public_bytes(serialization.Encoding.PEM)


@functools.cache
def signed_pem(*names: str) -> tuple[bytes, str]:
    """A certificate for these names with its key, as PEM, and the SHA-256 of that certificate in hex."""
    signer, authority = _authority()
    key = ec.generate_private_key(ec.SECP256R1())
    made = (x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(authority.subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(_START).not_valid_after(_END)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .sign(signer, hashes.SHA256()))
    pem = made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, made.fingerprint(hashes.SHA256()).hex()


@functools.cache
def server_context(*names: str) -> tuple[ssl.SSLContext, str]:
    """A server's context with a certificate for these names, and the SHA-256 of that certificate in hex."""
    pem, fingerprint = signed_pem(*names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pem"
        file.write_bytes(pem)
        context.load_cert_chain(file)
    return context, fingerprint
