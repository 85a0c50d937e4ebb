"""Certificates and case bundles at the shell, beside a live service with its sandbox."""

import io
import zipfile

import pytest

from tests.acceptance.test_proof_cli import Service
from tests.support.waiting import seen

CASE = "(2026)京0105民初7号"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A live service with one served notice of a case."""
    made = Service(tmp_path_factory.mktemp("certificate") / "svc")
    try:
        answer = made.http.put("/v1/recipients/u-1/contacts", json={"source": "crm", "contacts": [
            {"channel": "email", "address": "li@example.cn", "confirmation": "confirmed"}]})
        assert answer.status_code == 200, answer.text
        answer = made.http.post("/v1/notices", json={
            "recipient_id": "u-1", "category": "judicial", "channels": ["in_site", "email"], "content": {"subject": "传票", "body": "正文"},
            "case": {"court": "法院", "case_number": CASE, "stage": "first_instance", "document_type": "传票"}})
        assert answer.status_code == 202, answer.text
        made.notice_id = answer.json()["id"]
        seen(lambda: made.http.get(f"/v1/notices/{made.notice_id}").json(), lambda notice: notice["state"] == "served")
        yield made
    finally:
        made.stop()
        made.http.close()


def test_a_certificate_is_made_and_fetched_again(service, tmp_path):
    """By notice a new one, by number its very bytes; the check page knows it; no file is overwritten; a reason is needed."""
    first, again = tmp_path / "a.pdf", tmp_path / "b.pdf"
    done = service.run("certificate", "get", service.notice_id, "--reason", "法院调取", "--grade", "brief", "-o", str(first))
    assert done.returncode == 0, done.stderr
    number = done.stdout.split()[1]
    assert service.run("certificate", "get", number, "-o", str(again)).returncode == 0
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes().startswith(b"%PDF-")
    page = service.http.post("/check", files={"file": ("a.pdf", first.read_bytes())}, headers={"Accept-Language": "en"})
    assert "Genuine and current" in page.text
    refused = service.run("certificate", "get", number, "-o", str(again))
    assert (refused.returncode, "not overwritten" in refused.stderr) == (2, True)
    assert service.run("certificate", "get", service.notice_id, "-o", str(tmp_path / "c.pdf")).returncode == 2
    unknown = service.run("certificate", "get", "20260101-AAAA-AAAA-AAAA", "-o", str(tmp_path / "c.pdf"))
    assert (unknown.returncode, unknown.stderr) == (1, "noticesvc: There is no such certificate.\n")
    assert not (tmp_path / "c.pdf").exists()


def test_a_case_is_one_zip(service, tmp_path):
    """It holds index, proof and certificate, and the proof verifies at the shell."""
    out = tmp_path / "case.zip"
    done = service.run("case", "get", CASE, "--reason", "法院调取", "-o", str(out))
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(io.BytesIO(out.read_bytes())) as archive:
        names = archive.namelist()
        assert len(names) == 3
        proof = next(name for name in names if name.endswith("proof.json"))
        (tmp_path / "proof.json").write_bytes(archive.read(proof))
    assert service.run("verify", str(tmp_path / "proof.json")).returncode == 0
    missing = service.run("case", "get", "nothing", "--reason", "x", "-o", str(tmp_path / "none.zip"))
    assert (missing.returncode, (tmp_path / "none.zip").exists()) == (1, False)
