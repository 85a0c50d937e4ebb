"""The command line: parse and print. Every verb calls one function of operations, proof, ledger, domain or a provider.

One module a family of verbs, registered in `main`. Modules import what is heavy inside their commands, so that
`noticesvc --help` stays quick.
"""
