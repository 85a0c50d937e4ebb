"""The documents of a notice as attachments of its mails: opened once for many mails, and forgotten when others need the room.

Called by the worker before a call, outside any transaction.
"""

from collections import OrderedDict

from noticesvc.errors import UnavailableError
from noticesvc.operations import documents
from noticesvc.operations.seal import Sealed
from noticesvc.operations.world import World
from noticesvc.rendering.mail import Attachment
from noticesvc.storage.database import Database

_ROOM = 64 << 20  # bytes kept
_ENDINGS = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}


class Attachments:
    """Opened documents by hash, the ones used last."""

    def __init__(self, database: Database, world: World) -> None:
        self._database, self._world = database, world
        self._opened: OrderedDict[str, tuple[str, bytes]] = OrderedDict()

    async def of(self, sealed: Sealed) -> tuple[tuple[Attachment, ...] | None, bool]:
        """What a mail carries beside its text, in the order of its content, null where a document can never be opened again; and
        whether the database could be read at all.
        """
        if sealed.channel != "email" or not sealed.content.documents:
            return (), True
        made = []
        for number, sha256 in enumerate(sealed.content.documents, 1):
            try:
                found = self._opened.pop(sha256, None) or await self._database.read(documents.opened_by_hash, self._world, sha256)
            except UnavailableError:
                return None, False
            if found is None:
                return None, True
            self._keep(sha256, found)
            media_type, data = found
            made.append(Attachment(f"document-{number}.{_ENDINGS.get(media_type, 'bin')}", media_type, data))
        return tuple(made), True

    def _keep(self, sha256: str, found: tuple[str, bytes]) -> None:
        self._opened[sha256] = found
        while len(self._opened) > 1 and sum(len(data) for _, data in self._opened.values()) > _ROOM:
            self._opened.popitem(last=False)
