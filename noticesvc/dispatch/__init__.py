"""What runs beside the API: the worker that claims and sends, housekeeping, and the sequencer of the ledger."""
