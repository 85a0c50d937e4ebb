"""The tamper-evident ledger as pure bytes and ints: Merkle trees, signed notes, checkpoints, tiles, entries, proofs.

Formats are open ones (RFC 6962, RFC 8785, C2SP signed-note and the tlog family), so that anyone can check us with tools
that we did not write. Nothing here knows of notices, reads a clock, draws random bytes or touches a file.
"""
