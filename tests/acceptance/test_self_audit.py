"""The service audits itself beside its work, and says on /readyz what it found."""

import sqlite3

import pytest

from tests.acceptance.test_ledger_keys import house, posted, proof  # noqa: F401 (the fixture)
from tests.support.waiting import seen


def degraded(house):  # noqa: F811
    return {one["name"]: one["detail"] for one in house.get("/readyz").json().get("degraded", [])}


def kept(house):  # noqa: F811
    database = sqlite3.connect(house.folder / "noticesvc.db")
    try:
        return database.execute("select findings, says from ledger_audit order by id").fetchall()
    finally:
        database.close()


@pytest.mark.timeout(300)
def test_what_somebody_changed_is_told_by_the_service_itself(house):  # noqa: F811
    """A sound database gives no finding; a changed row is found by the next audit and told until it is mended."""
    house.serve(NOTICESVC_LEDGER__SELF_AUDIT_EVERY_H="0.0003")
    proof(house, posted(house))
    assert seen(lambda: kept(house), bool)[0] == (0, "")
    assert "self_audit" not in degraded(house)
    database = sqlite3.connect(house.folder / "noticesvc.db", timeout=20)
    with database:
        database.execute("update notice set category = 'commercial'")
    database.close()
    said = seen(lambda: degraded(house).get("self_audit"), bool)
    assert "differs from entry" in said
    assert house.get("/readyz").status_code == 200
    database = sqlite3.connect(house.folder / "noticesvc.db", timeout=20)
    with database:
        database.execute("update notice set category = 'platform'")
    database.close()
    seen(lambda: degraded(house), lambda found: "self_audit" not in found)
