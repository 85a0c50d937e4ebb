"""Proof bundles: the types of ledger entries, the openings of commitments, the bundle, and its verification in steps.

Pure, over domain and ledger: it reads no database and no clock, so that anyone can verify a bundle offline.
"""
