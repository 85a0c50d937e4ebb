"""Time-stamping services on loopback: one answers with `openssl ts`, one is written here (asn1crypto); both can be told to misbehave.

Called by the tests of anchors. The authority, a root with one certificate for time-stamping, is made anew for each test.
"""

import asyncio
import datetime as dt
import hashlib
import subprocess
from pathlib import Path

from aiohttp import web
from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CONFIGURATION = """
[tsa]
default_tsa = own
[own]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


class Authority:
    """A root and a certificate for time-stamping, with their files in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.key = rsa.generate_private_key(65537, 2048)
        root_key = rsa.generate_private_key(65537, 2048)
        self.root = _certificate("TSA test root", "TSA test root", root_key.public_key(), root_key, root=True)
        self.certificate = _certificate("TSA", "TSA test root", self.key.public_key(), root_key)
        (folder / "root.pem").write_bytes(self.root.public_bytes(serialization.Encoding.PEM))
        (folder / "tsa.pem").write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "tsa.key").write_bytes(self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        (folder / "serial").write_text("01\n")
        (folder / "tsa.cnf").write_text(CONFIGURATION.format(folder=folder))

    @property
    def roots_file(self) -> Path:
        return self.folder / "root.pem"

    def openssl(self, request: bytes) -> bytes:
        """The answer of `openssl ts -reply`."""
        (self.folder / "request.tsq").write_bytes(request)
        subprocess.run(["openssl", "ts", "-reply", "-config", "tsa.cnf", "-section", "own", "-queryfile", "request.tsq",
                        "-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "reply.tsr"],
                       cwd=self.folder, check=True, capture_output=True, timeout=60)
        return (self.folder / "reply.tsr").read_bytes()

    def own(self, request: bytes, *, message: bytes | None = None, nonce: int | None = None, off_s: int = 0,
            status: str = "granted") -> bytes:
        """The answer of the service that is written here; the named things can be other than what was asked for."""
        asked = tsp.TimeStampReq.load(request)
        imprint = asked["message_imprint"]
        if message is not None:
            imprint = tsp.MessageImprint({"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": hashlib.sha256(message).digest()})
        now = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=off_s)
        info = tsp.TSTInfo({
            "version": "v1", "policy": "1.2.3.4.2", "message_imprint": imprint, "serial_number": int(now.timestamp()), "gen_time": now,
            "nonce": asked["nonce"].native if nonce is None else nonce})
        answer = tsp.TimeStampResp({"status": {"status": status}, "time_stamp_token": self._signed(info)})
        return answer.dump()

    def _signed(self, info: tsp.TSTInfo) -> cms.ContentInfo:
        certificate = asn1_x509.Certificate.load(self.certificate.public_bytes(serialization.Encoding.DER))
        content = info.dump()
        attributes = cms.CMSAttributes([
            cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(content).digest()]}),
            cms.CMSAttribute({"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2({"certs": [tsp.ESSCertIDv2({
                "hash_algorithm": {"algorithm": "sha256"}, "cert_hash": hashlib.sha256(certificate.dump()).digest()})]})]})])
        signature = self.key.sign(attributes.dump(), padding.PKCS1v15(), hashes.SHA256())
        digest = algos.DigestAlgorithm({"algorithm": "sha256"})
        sid = {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
        signer = cms.SignerInfo({
            "version": "v1", "digest_algorithm": digest, "signature_algorithm": {"algorithm": "rsassa_pkcs1v15"}, "signature": signature,
            "sid": cms.SignerIdentifier({"issuer_and_serial_number": sid}), "signed_attrs": attributes})
        return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData({
            "version": "v3", "digest_algorithms": [digest], "certificates": [certificate], "signer_infos": [signer],
            "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content)}})})


def _certificate(subject, issuer, public_key, key, *, root=False):
    name = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (subject, issuer)]
    now = dt.datetime.now(dt.UTC)
    made = (x509.CertificateBuilder().subject_name(name[0]).issuer_name(name[1]).public_key(public_key).serial_number(
        x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(x509.KeyUsage(
            digital_signature=not root, content_commitment=not root, key_encipherment=False, data_encipherment=False, key_agreement=False,
            key_cert_sign=root, crl_sign=root, encipher_only=False, decipher_only=False), critical=True))
    if not root:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return made.sign(key, hashes.SHA256())


class Tsa:
    """A service over HTTP: `answer` makes bytes of a request; None hangs until the end."""

    def __init__(self, answer, *, status: int = 200) -> None:
        self._answer, self._status = answer, status
        self.asked = 0
        self._ended = asyncio.Event()

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/tsr", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/tsr"
        return self

    async def __aexit__(self, *_):
        self._ended.set()
        await self._runner.cleanup()

    async def _serve(self, request):
        self.asked += 1
        assert request.content_type == "application/timestamp-query"
        body = await request.read()
        if self._answer is None:
            await self._ended.wait()
            return web.Response(status=503)
        made = await asyncio.to_thread(self._answer, body)
        return web.Response(body=made, status=self._status, content_type="application/timestamp-reply")
