"""Addresses to which providers send their receipts, each with a token of ours. Made here, checked by the callbacks route."""

from noticesvc.vault import Vault


def token(vault: Vault, *, reference: str | None = None, provider: str | None = None) -> str:
    """The token of the address of an attempt, or of a provider where the vendor knows one address for all of them."""
    return vault.token("callback", reference if reference is not None else f"provider:{provider}")


def of_attempt(vault: Vault, public_url: str, provider: str, reference: str) -> str:
    """Where receipts of one attempt are sent."""
    return f"{public_url}/v1/providers/{provider}/callbacks?reference={reference}&token={token(vault, reference=reference)}"


def of_provider(vault: Vault, public_url: str, provider: str) -> str:
    """Where a vendor sends everything, as registered with it."""
    return f"{public_url}/v1/providers/{provider}/callbacks?token={token(vault, provider=provider)}"
