"""Serves a witness over HTTP: POST /add-checkpoint (C2SP tlog-witness), GET /key for people. Called by `noticesvc ledger witness`."""

import asyncio
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from noticesvc.errors import ConfigurationError
from noticesvc.witness.witness import MOST_BYTES, Answer, Witness


def application(witness: Witness, vkey: str) -> Starlette:
    """The routes of a witness with this verifier key."""
    async def add_checkpoint(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                return _response(Answer(413, "The request is too long.\n"))
        try:
            return _response(await asyncio.to_thread(witness.add_checkpoint, bytes(body)))
        except (ConfigurationError, OSError):
            return _response(Answer(503, "The witness cannot remember what it would sign; its operator must look.\n"))

    async def key(_request: Request) -> Response:
        return _response(Answer(200, f"{vkey}\n"))

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"]), Route("/key", key, methods=["GET"])])


def serve(app: Starlette, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. `announce` is told the URL once it listens. Raises ConfigurationError if it cannot."""
    config = uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False, lifespan="off", server_header=False, ws="none",
                            timeout_graceful_shutdown=5)
    server = _Announcing(config, announce)
    try:
        server.run()
    except SystemExit:
        raise ConfigurationError("The address of --listen cannot be listened on; choose another.") from None


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Listen, then say where."""
        await super().startup()
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, {"Content-Type": answer.media_type, "Cache-Control": "no-store"})


