"""The certificate: issued over the API on every database, read by the tools of others, kept, superseded and destroyed."""

import asyncio
import hashlib
import io
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pyhanko.pdf_utils.reader import PdfFileReader

from noticesvc.certificate import signing
from noticesvc.domain.contact import Wanted
from noticesvc.errors import ConfigurationError
from noticesvc.operations import anonymising, certificate_standing
from noticesvc.proof.verify import verify
from noticesvc.storage import tables as t
from tests.support import proofs
from tests.support.ledger import SIGNER

DAY = 86_400
ADDRESS = "北京市海淀区𠮷野路㛃巷9号"


@pytest.fixture
async def desk(database_url):
    """An installation whose notices are run by hand."""
    async with proofs.desk(database_url) as made:
        yield made


@pytest.fixture
async def light(sqlite_url):
    """The same on one database, for what no database decides."""
    async with proofs.desk(sqlite_url) as made:
        yield made


async def served(desk, **more):
    """A notice to one recipient that arrived in-site and by SMS, and was taken by a mail server."""
    await desk.recipient("u-1001", Wanted(channel="sms", address=proofs.PHONE, confirmation="confirmed"),
                         Wanted(channel="email", address=proofs.MAILBOX, confirmation="identified"),
                         Wanted(channel="postal", address=ADDRESS, confirmation="confirmed"))
    await desk.acceptance()
    notice_id = await desk.notice(**{"category": "judicial", "channels": ("sms", "email", "postal"), "subject": "应诉通知书",
                                     "body": "正文", "sms": "短信全文", "sms_carries": "full", "case": {
                                         "court": "北京市海淀区人民法院", "case_number": "(2026)京0108民初1号", "stage": "first_instance",
                                         "document_type": "应诉通知书"}} | more)
    await desk.dispatch(passed_over={"sms": (("first", "breaker_open"),)})
    desk.house.clock.move(60)
    if "sms" in more.get("channels", ("sms",)):
        await desk.answer(notice_id, "sms", "submitted", provider_reference="K-1")
    await desk.answer(notice_id, "email", "arrived", raw=b"250 taken")
    return notice_id


async def asked(desk, notice_id, **params):
    """The answer to a request for a certificate, while somebody signs checkpoints."""
    task = asyncio.create_task(desk.house.http.get(f"/v1/notices/{notice_id}/proof", params={"reason": "法院调取"} | params,
                                                   headers={"Accept": "application/pdf"}))
    while not task.done():
        await desk.sequence()
        await asyncio.wait({task}, timeout=0.05)
    return task.result()


async def issued(desk, notice_id, **params):
    """Number and bytes of a new certificate."""
    reply = await asked(desk, notice_id, **params)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/pdf"
    return reply.headers["content-location"].rpartition("/")[2], reply.content


def text_of(needs, tmp_path, pdf: bytes) -> str:
    """What pdftotext reads, white space dropped, since lines may break anywhere."""
    file = tmp_path / "c.pdf"
    file.write_bytes(pdf)
    done = subprocess.run([needs("pdftotext"), "-layout", file, "-"], capture_output=True, check=True)
    return "".join(done.stdout.decode().replace("\u200b", "").split())


async def state(desk, number):
    row = next(row for row in await desk.house.rows(t.certificate) if row.number == number)
    found = await desk.house.database.read(certificate_standing.standing, desk.house.world, number, row.proof_sha256)
    return found.state


async def test_a_certificate_tells_everything_and_carries_the_proof(desk, needs, tmp_path):
    """Others' tools read its text and take out a proof that verifies; the bytes are kept; each request makes a new number."""
    notice_id = await served(desk)
    number, pdf = await issued(desk, notice_id)
    text = text_of(needs, tmp_path, pdf)
    for words in (
            "通知送达记录证明", "不是人民法院的送达回证", number, "示例科技有限公司", "u-1001", "应诉通知书", "(2026)京0108民初1号",
            proofs.PHONE, proofs.MAILBOX, ADDRESS, "本人提供或确认", "协议6.3（法律文书：以到达为准）", "最薄弱环节",
            "系统状态（民事证据规定第九十三条）", "（一）系统的硬件、软件环境是否完整、可靠",
            "（七）影响完整性和可靠性的其他因素", "越过 first：其连续失败，暂停使用",
            "法院调取", "test", "如何核验", "沙箱", "已送达"):
        assert "".join(words.split()) in text, words
    subprocess.run([needs("pdfdetach"), "-save", "1", "-o", tmp_path / "proof.json", tmp_path / "c.pdf"], check=True)
    attached = (tmp_path / "proof.json").read_bytes()
    report = verify(attached, [SIGNER.verifier])
    assert report.ok, report.failures
    assert hashlib.sha256(attached).hexdigest() in text
    kept = await desk.house.http.get(f"/v1/certificates/{number}")
    assert (kept.status_code, kept.content) == (200, pdf)
    again, _ = await issued(desk, notice_id)
    assert again != number
    assert (await state(desk, number), await state(desk, again)) == ("current", "current")
    bundle = await proofs.holds(desk, notice_id)
    assert proofs.types(bundle).count("certificate.issued") == 2
    assert proofs.types(bundle).count("certificate.read") == 1
    assert (await desk.house.http.get("/v1/certificates/20261126-XXXX-XXXX-XXXX")).status_code == 404


async def test_it_is_superseded_when_a_fact_in_it_differs(desk):
    """A receipt that means nothing changes nothing; the end of a provisional mark, and a bounce, each supersede."""
    notice_id = await served(desk, channels=("email",), sms=None, sms_carries=None)
    number, _ = await issued(desk, notice_id)
    await desk.receipt(notice_id, "email", "unmapped")
    assert await state(desk, number) == "current"
    desk.house.clock.move(6 * DAY)
    assert await state(desk, number) == "superseded"  # no longer provisional
    later, _ = await issued(desk, notice_id)
    assert await state(desk, later) == "current"
    await desk.receipt(notice_id, "email", "failed_permanent", raw=b"bounce")
    assert await state(desk, later) == "superseded"


async def test_it_is_destroyed_with_its_recipient(desk, needs, tmp_path):
    """The kept file goes, the number says so; a new one shows what is gone and still proves the result."""
    notice_id = await served(desk)
    number, _ = await issued(desk, notice_id)
    assert (await desk.house.http.post("/v1/recipients/u-1001/anonymise", json={"reason": "注销"})).status_code == 200
    desk.house.clock.move(1096 * DAY)
    assert await desk.house.database.write(anonymising.sweep, desk.house.world) == 1
    assert (await desk.house.http.get(f"/v1/certificates/{number}")).status_code == 404
    assert await state(desk, number) == "destroyed"
    _, pdf = await issued(desk, notice_id)
    text = text_of(needs, tmp_path, pdf)
    assert "已销毁" in text
    assert "已送达" in text
    for words in ("u-1001", proofs.PHONE, proofs.MAILBOX, ADDRESS, "(2026)京0108民初1号"):
        assert words not in text, words


@pytest.mark.parametrize(("params", "there", "absent"), [
    ({"grade": "full", "lang": "zh"}, ["当事方", "正文", "叶哈希"], ["Parties"]),
    ({"grade": "brief", "lang": "en"}, ["Parties", "Timelineofattempts", "RecordofServiceofNotice"],
     ["当事方", "leafhash"]),
    ({"grade": "summary", "lang": "both"}, ["当事方", "Parties", "各规则下的送达时间"], ["经过：发送与证据", "短信全文"])])
async def test_grades_and_languages(light, needs, tmp_path, params, there, absent):
    """Each grade leaves out what it should, each language speaks only itself."""
    notice_id = await served(light)
    _, pdf = await issued(light, notice_id, **params)
    text = text_of(needs, tmp_path, pdf)
    assert [words for words in there if words not in text] == []
    assert [words for words in absent if words in text] == []


async def test_bad_queries_are_refused_before_anything_is_recorded(light):
    """An unknown grade or language, and no reason, are 422."""
    notice_id = await served(light)
    for params in ({"grade": "x"}, {"lang": "fr"}, {"reason": ""}):
        assert (await asked(light, notice_id, **params)).status_code == 422
    assert await light.house.rows(t.certificate) == []


HOSTILE = '#set page(fill: red) $x$ *b* _i_ `c` <a> @r // /* "q" \\n ]] }} #pdf.attach("x") = h'


async def test_what_others_wrote_is_shown_and_never_run(light, needs, tmp_path):
    """Typst's own marks in subject, body, case and address stand in the text as they were written."""
    await light.recipient("u-1001", Wanted(channel="postal", address=f"路 {HOSTILE}", confirmation="confirmed"))
    notice_id = await light.notice(category="judicial", channels=("postal",), subject=HOSTILE, body=HOSTILE.replace("_i_", "i"), case={
        "court": HOSTILE, "case_number": HOSTILE.replace("/", ""), "stage": "other", "document_type": "x"})
    await light.dispatch()
    _, pdf = await issued(light, notice_id, reason=HOSTILE)
    text = text_of(needs, tmp_path, pdf)
    assert text.count("".join(HOSTILE.split())) >= 3  # subject, court, reason; the address stands in a narrow column


async def test_rare_characters_are_kept_and_missing_ones_named(light, needs, tmp_path):
    """Characters beyond the usual planes are in the text; one that no font has is named, and no file is made."""
    notice_id = await served(light, subject="𠮷田㛃诉")
    _, pdf = await issued(light, notice_id)
    assert "𠮷田㛃诉" in text_of(needs, tmp_path, pdf)
    missing = await served(light, subject="甲\U000323ae乙")
    reply = await asked(light, missing)
    assert reply.status_code == 422
    assert "U+323AE" in reply.json()["detail"]
    assert "\U000323ae" in reply.json()["detail"]
    assert len(await light.house.rows(t.certificate)) == 1


def throwaway(folder, passphrase=b"pass"):
    """A PKCS #12 file with a fresh key and its own certificate."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Throwaway Issuer"), x509.NameAttribute(NameOID.COUNTRY_NAME, "CN")])
    now = datetime.now(UTC)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
            .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
            .add_extension(x509.KeyUsage(True, True, False, False, False, False, False, False, False), critical=True)
            .sign(key, hashes.SHA256()))
    file = folder / "issuer.p12"
    file.write_bytes(pkcs12.serialize_key_and_certificates(b"issuer", key, made, None, serialization.BestAvailableEncryption(passphrase)))
    return file


async def test_pdfsig_accepts_the_signature(light, needs, tmp_path):
    """With a configured certificate the file is signed as a whole; changing a byte of it breaks the signature."""
    signer = signing.load(throwaway(tmp_path), "pass", "")
    light.house.house.world = light.house.world = replace(light.house.world, sign_pdf=signer.sign)
    notice_id = await served(light)
    _, pdf = await issued(light, notice_id)
    assert "PAdES" in text_of(needs, tmp_path, pdf)
    for data, verdict in ((pdf, "Signature is Valid."), (pdf.replace(b"proof.json", b"proof.jsom", 1), "Digest Mismatch")):
        (tmp_path / "s.pdf").write_bytes(data)
        done = subprocess.run([needs("pdfsig"), "-nocert", tmp_path / "s.pdf"], capture_output=True, check=False)
        assert verdict in done.stdout.decode(), done.stdout.decode()
    whole = subprocess.run([needs("pdfsig"), "-nocert", tmp_path / "s.pdf"], capture_output=True, check=False).stdout.decode()
    assert "ETSI.CAdES.detached" in whole
    assert "Total document signed" in whole


def test_a_bad_signing_file_is_refused_with_the_setting(tmp_path):
    """No file, and one that the passphrase does not open."""
    with pytest.raises(ConfigurationError, match="pkcs12_file"):
        signing.load(tmp_path / "none", "x", "")
    with pytest.raises(ConfigurationError, match="passphrase"):
        signing.load(throwaway(tmp_path), "wrong", "")


async def test_documents_are_attached_in_full(light, needs, tmp_path):
    """A full certificate carries the notice's documents as files, a brief one only their hashes."""
    body = b"%PDF-1.7 document"
    document = (await light.house.http.post("/v1/documents", files={"file": ("a.pdf", body, "application/pdf")})).json()
    notice_id = await served(light, documents=(document["id"],))
    for grade, files in (("full", 2), ("brief", 1)):
        _, pdf = await issued(light, notice_id, grade=grade)
        assert document["sha256"] in text_of(needs, tmp_path, pdf)
        listed = subprocess.run([needs("pdfdetach"), "-list", tmp_path / "c.pdf"], capture_output=True, check=True).stdout.decode()
        assert f"{files} embedded files" in listed


def _authority(folder):
    """A root and its time-stamping certificate, as files that `openssl ts` reads."""
    root_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    root_name, name = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in ("Throwaway TSA root", "Throwaway TSA"))
    now = datetime.now(UTC)

    def made(subject, public, *extensions):
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(root_name).public_key(public)
                   .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
                   .not_valid_after(now + timedelta(days=30)))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(root_key, hashes.SHA256())
    root = made(root_name, root_key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
    tsa = made(name, key.public_key(), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]))
    (folder / "root.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    (folder / "tsa.pem").write_bytes(tsa.public_bytes(serialization.Encoding.PEM))
    (folder / "tsa.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                       serialization.NoEncryption()))
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text("[tsa]\ndefault_tsa = own\n[own]\nserial = serial\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\n"
                                    "digests = sha256\naccuracy = secs:1\ness_cert_id_alg = sha256\n")


@contextmanager
def stamping(folder, openssl):
    """A time-stamping service on loopback that answers with `openssl ts`."""
    _authority(folder)

    class Stamps(BaseHTTPRequestHandler):
        def do_POST(self):
            (folder / "q").write_bytes(self.rfile.read(int(self.headers["content-length"])))
            subprocess.run([openssl, "ts", "-reply", "-config", "tsa.cnf", "-section", "own", "-queryfile", "q", "-signer", "tsa.pem",
                            "-inkey", "tsa.key", "-chain", "root.pem", "-out", "r"], cwd=folder, check=True, capture_output=True)
            self.send_response(200)
            self.send_header("content-type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write((folder / "r").read_bytes())

        def log_message(self, *_):
            pass
    with ThreadingHTTPServer(("127.0.0.1", 0), Stamps) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


async def test_the_signature_is_time_stamped(light, needs, tmp_path):
    """With a TSA the signature carries its token; a TSA that does not answer makes no certificate and keeps none."""
    with stamping(tmp_path, needs("openssl")) as url:
        signer = signing.load(throwaway(tmp_path), "pass", url)
        light.house.house.world = light.house.world = replace(light.house.world, sign_pdf=signer.sign)
        notice_id = await served(light)
        _, pdf = await issued(light, notice_id)
    reader = PdfFileReader(io.BytesIO(pdf))
    signature, = reader.embedded_signatures
    assert b"Throwaway TSA root" in signature.pkcs7_content
    (tmp_path / "s.pdf").write_bytes(pdf)
    done = subprocess.run([needs("pdfsig"), "-nocert", tmp_path / "s.pdf"], capture_output=True, check=False)
    assert "Signature is Valid." in done.stdout.decode()
    reply = await asked(light, notice_id)
    assert (reply.status_code, "tsa_url" in reply.json()["detail"]) == (503, True)
    assert len(await light.house.rows(t.certificate)) == 1
