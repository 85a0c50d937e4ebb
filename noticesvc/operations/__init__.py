"""The verbs. Each public function is one transaction: it changes state and appends the ledger entries of that change.

Functions take a `Tx` (storage.transaction) and the `World` (operations.world) and know nothing of HTTP or of processes.
"""
