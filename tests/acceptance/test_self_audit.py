"""The service audits itself beside its work, and says on /readyz what it found."""

import sqlite3
import time

from tests.acceptance.test_ledger_keys import house, posted, proof  # noqa: F401 (the fixture)

PATIENCE_S = 60


def degraded(house):  # noqa: F811
    return {one["name"]: one["detail"] for one in house.get("/readyz").json().get("degraded", [])}


def kept(house):  # noqa: F811
    database = sqlite3.connect(house.folder / "noticesvc.db")
    try:
        return database.execute("select findings, says from ledger_audit order by id").fetchall()
    finally:
        database.close()


def until(look):
    ends = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < ends
        time.sleep(0.1)
    return found


def test_what_somebody_changed_is_told_by_the_service_itself(house):  # noqa: F811
    """A sound database gives no finding; a changed row is found by the next audit and told until it is mended."""
    house.serve(NOTICESVC_LEDGER__SELF_AUDIT_EVERY_H="0.0003")
    proof(house, posted(house))
    until(lambda: kept(house))
    assert kept(house)[0] == (0, "")
    assert "self_audit" not in degraded(house)
    database = sqlite3.connect(house.folder / "noticesvc.db", timeout=20)
    with database:
        database.execute("update notice set category = 'commercial'")
    database.close()
    said = until(lambda: degraded(house).get("self_audit"))
    assert "differs from entry" in said
    assert house.get("/readyz").status_code == 200
    database = sqlite3.connect(house.folder / "noticesvc.db", timeout=20)
    with database:
        database.execute("update notice set category = 'platform'")
    database.close()
    until(lambda: "self_audit" not in degraded(house))
