"""Speaking to a running service over its HTTP API: where it is, with which key, and its problems as sentences with a next step.

Used by the verbs that have a second person or another host in mind (`broadcast`). The key comes from a file or the environment,
never from the command line, where every process of the machine could read it.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from noticesvc.errors import ConfigurationError, NoticesvcError

if TYPE_CHECKING:
    import httpx

F = TypeVar("F", bound=Callable[..., Any])
URL, KEY = "NOTICESVC_URL", "NOTICESVC_KEY"
_TIMEOUT_S = 60.0
_NEXT = {
    "four-eyes": f"Approve with the key of another person: --key-file FILE or {KEY}. "
                 "`noticesvc keys create --scope broadcasts:approve --name NAME` makes one.",
    "unauthenticated": f"Give a key that is not revoked: --key-file FILE or {KEY}; `noticesvc keys list` shows which there are.",
    "forbidden": "`noticesvc keys create` makes a key with the scopes that it needs.",
}

_OPTIONS = (
    click.option("--config", "config_file", metavar="FILE", envvar="NOTICESVC_CONFIG", type=click.Path(path_type=Path, dir_okay=False),
                 help="The installation's config.toml, whose public_url is asked [env: NOTICESVC_CONFIG]."),
    click.option("--url", metavar="URL", envvar=URL, help=f"Where the service answers, instead of --config [env: {URL}]."),
    click.option("--key-file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False),
                 help=f"A file that holds the API key; left out: the environment's {KEY}."),
)


class Refused(NoticesvcError):
    """The service refused a request; the message is its own, with what to do. `slug` is the problem's type."""

    def __init__(self, slug: str, message: str) -> None:
        super().__init__(message)
        self.slug = slug


class Unanswered(NoticesvcError):
    """Nobody answers at this address, or in the middle of an answer nothing more came."""


def remote_options(command: F) -> F:
    """Give a command the options that `connect` takes, as `config_file`, `url` and `key_file`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def connect(config_file: Path | None, url: str | None, key_file: Path | None) -> "httpx.Client":
    """A client of the service. ConfigurationError says which option is missing."""
    import httpx

    if url is None:
        if config_file is None:
            raise ConfigurationError(f"Say which service: --url URL or {URL}, or --config FILE or NOTICESVC_CONFIG.")
        from noticesvc.cli.running import load_settings
        url = load_settings(config_file).server.public_url
    key = key_file.read_text("utf-8").strip() if key_file is not None else os.environ.get(KEY, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigurationError(f"Give one API key, on one line: --key-file FILE or {KEY}.")
    no_url = ConfigurationError("The service's address is no URL; give one as http://HOST:PORT.")
    if not url.startswith(("http://", "https://")):
        raise no_url
    try:
        return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT_S, trust_env=False)
    except httpx.InvalidURL:
        raise no_url from None


def ask(http: "httpx.Client", method: str, path: str, **request: Any) -> "httpx.Response":
    """One request. Raises Refused with the problem's words, Unanswered where nobody answers."""
    import httpx

    try:
        answer = http.request(method, path, **request)
    except httpx.HTTPError as error:
        raise unanswered(http, error) from None
    check(answer)
    return answer


def unanswered(http: "httpx.Client", error: Exception) -> Unanswered:
    """What to say when a request had no answer."""
    return Unanswered(f"Nothing answers at {http.base_url} ({type(error).__name__}): is `noticesvc serve` running there? "
                      f"Another address is given with --url or {URL}.")


def check(answer: "httpx.Response") -> None:
    """Raise Refused unless the answer is a success."""
    if answer.is_success:
        return
    answer.read()
    try:
        problem = answer.json()
        slug, said = str(problem["type"]).rpartition(":")[2], str(problem["detail"])
        faults = [f"\n  {one['pointer'] or '(whole)'}: {one['detail']}" for one in problem.get("errors", ())]
    except (ValueError, KeyError, TypeError):
        raise Refused("", f"The answer was {answer.status_code} without a reason: is this address that of a noticesvc?") from None
    then = f" {_NEXT[slug]}" if slug in _NEXT else ""
    raise Refused(slug, f"{said}{then}{''.join(faults)}")
