"""Every table and column has its place in what anonymising destroys; a new one without a place fails here."""

from sqlalchemy import LargeBinary

from noticesvc.storage import erasure
from noticesvc.storage import tables as t


def test_every_table_and_every_sealed_or_indexed_column_has_its_place():
    """A table that nobody considered, or a new sealed or indexed column of a considered one, fails here."""
    places = [*erasure.BLANKED, *erasure.SEARCHED, *erasure.WITHOUT]
    assert len(places) == len(set(places))
    assert set(places) == set(t.metadata.tables.values()), "say in storage/erasure.py what anonymising does with a new table"
    for table, (_, columns) in erasure.BLANKED.items():
        bytes_ = {c.name for c in table.c if isinstance(c.type, LargeBinary)}
        assert bytes_ <= set(columns), f"{table.name}: say what becomes of {bytes_ - set(columns)}"
    for table in erasure.WITHOUT:
        assert not any(c.name.startswith("sealed") for c in table.c) or table in (t.template, t.broadcast), table.name
