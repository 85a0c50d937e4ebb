"""The only room that speaks SQL: tables, the database and its transactions, migrations, and one file a family of statements.

Operations call it with a transaction (`storage.transaction.Tx`); nothing above operations does.
"""
