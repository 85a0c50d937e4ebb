"""DKIM signatures (RFC 6376) for outgoing mail: rsa-sha256 over the usual headers and the whole body.

Called by the providers that send mail, where a key is configured. The signature is one more header above the message; what is
below it stays byte for byte the message that was rendered, whose hash stands in the proof.
"""

import asyncio

import dkim
from pydantic import BaseModel, ConfigDict

from noticesvc.provider import ConfigurationError, SettingPath

_PROBE = b"From: a@b.example\r\n\r\n"


class DkimSettings(BaseModel):
    """Which key signs, and where receivers find its public half: `<selector>._domainkey.<domain>`. An empty domain signs nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    domain: str = ""
    selector: str = ""
    key_file: SettingPath = ""


class DkimSigner:
    """Signs messages with one key."""

    def __init__(self, settings: DkimSettings, key: bytes) -> None:
        self._settings, self._key = settings, key

    async def signed(self, mime: bytes) -> bytes:
        """Return the message with its signature on top; in a thread, since RSA takes its time."""
        return await asyncio.to_thread(self.sign, mime)

    def sign(self, mime: bytes) -> bytes:
        """Return the message with its signature on top."""
        settings = self._settings
        header: bytes = dkim.sign(mime, settings.selector.encode(), settings.domain.encode("idna"), self._key,
                                  canonicalize=(b"relaxed", b"simple"))
        return header + mime


def signer_of(name: str, settings: DkimSettings) -> DkimSigner | None:
    """Read the key; null where nothing is to be signed. Raises ConfigurationError for what cannot sign."""
    if not settings.domain:
        return None
    if not settings.selector or not settings.key_file:
        raise ConfigurationError(f"providers.{name}.dkim: domain, selector and key_file go together; set all three or none.")
    try:
        with open(settings.key_file, "rb") as file:  # noqa: PTH123 (a path as it stands in the configuration)
            signer = DkimSigner(settings, file.read())
        signer.sign(_PROBE)
    except OSError as error:
        raise ConfigurationError(
            f"providers.{name}.dkim.key_file: it cannot be read ({type(error).__name__}); correct the path.") from None
    except Exception:  # dkimpy has no closed set of errors for what is no key
        raise ConfigurationError(
            f"providers.{name}.dkim: this key cannot sign; key_file is an RSA private key as PEM, domain and selector are names.") from None
    return signer
