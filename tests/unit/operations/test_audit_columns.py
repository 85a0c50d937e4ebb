"""Every column of every table is held against the ledger, or left out by a sentence: none is forgotten when one is added."""

from noticesvc.operations.audit_columns import DERIVED, LEFT_OUT, SAME, TABLES_LEFT_OUT
from noticesvc.storage import tables as t


def test_each_column_stands_in_exactly_one_place():
    """A new column or table must be compared (audit_open) or named in audit_columns with the reason why not."""
    for name, table in t.metadata.tables.items():
        if name in TABLES_LEFT_OUT:
            assert name not in SAME.keys() | DERIVED.keys() | LEFT_OUT.keys()
            continue
        placed = [*SAME.get(name, {}), *DERIVED.get(name, ()), *LEFT_OUT.get(name, {})]
        assert sorted(placed) == sorted(column.name for column in table.columns), name


def test_each_reason_is_one():
    """What is left out is left out by words, and nothing is named that does not exist."""
    assert all(len(reason) > 20 for reasons in [TABLES_LEFT_OUT, *LEFT_OUT.values()] for reason in reasons.values())
    assert (SAME.keys() | DERIVED.keys() | LEFT_OUT.keys() | TABLES_LEFT_OUT.keys()) == t.metadata.tables.keys()
