"""The configuration that `noticesvc init` writes: what an installation must decide, with the sandbox to try it by."""

import json

SQLITE = "sqlite+aiosqlite:///noticesvc.db"


def configuration(database_url: str, origin: str) -> str:
    """The text of a new config.toml."""
    def quoted(value: str) -> str:
        return json.dumps(value, ensure_ascii=False)  # a TOML basic string has JSON's escapes

    return f"""\
# noticesvc. Every setting with its default stands in config.example.toml; an unknown key is an error that names it.
# Relative paths are relative to this file. NOTICESVC_SECTION__KEY in the environment overrides a value.

[issuer]                                   # who sends: printed on proofs and certificates
name = "示例科技有限公司"
credit_code = ""
service_mailbox = "service@example.com"

[server]
host = "127.0.0.1"
port = 8080
public_url = "http://127.0.0.1:8080"       # how recipients and providers reach this service

[database]
url = {quoted(database_url)}

[ledger]
origin = {quoted(origin)}         # the log's name; choose it before the first notice, it cannot change later
key_file = "ledger.key"

[vault]
key_file = "vault.key"

# The sandbox: takes every message, sends none, and answers like real gateways. Replace it before anything counts.
[providers.mail]
kind = "sandbox"
channel = "email"

[providers.sms]
kind = "sandbox"
channel = "sms"
"""
