"""The address of a Milvus store: milvus://HOST[:PORT][/DATABASE], or milvus:///FOLDER.db for Milvus Lite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from base.errors import InputError

SCHEME = "milvus"
PORT = 19530
DATABASE = "default"
FOLDER = "milvus"  # of a data folder: what is of this machine alone
FORMS = "milvus://HOST:19530/DATABASE for a server, milvus:///FOLDER/NAME.db for Milvus Lite, or local"


@dataclass(frozen=True, slots=True)
class Address:
    """Where collections lie.

    Attributes:
        uri: as pymilvus takes it.
        database: of a server.
        user, password: of a server that asks for them.
        folder: of Milvus Lite; None: a server.
    """

    uri: str
    database: str = DATABASE
    user: str = ""
    password: str = ""
    folder: Path | None = None

    @classmethod
    def of(cls, given: str) -> Address:
        """What somebody wrote. InputError for anything else than FORMS."""
        try:
            url = urlsplit(given)
            port = url.port or PORT
        except ValueError as error:
            raise InputError(f"store {given!r}: {error}; an address is {FORMS}") from None
        if url.scheme != SCHEME or url.query or url.fragment:
            raise InputError(f"store {_without_password(given)!r}: an address is {FORMS}")
        if url.hostname is None:
            folder = Path(f"/{unquote(url.path).lstrip('/')}" if url.path.startswith("/") else unquote(url.path))
            if not folder.is_absolute() or folder.suffix != ".db":
                raise InputError(f"store {given!r}: Milvus Lite's folder is an absolute path that ends in .db; {FORMS}")
            return cls(str(folder), folder=folder)
        database = unquote(url.path.strip("/")) or DATABASE
        if "/" in database:
            raise InputError(f"store {_without_password(given)!r}: one database is named behind the host; {FORMS}")
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        return cls(f"http://{host}:{port}", database, unquote(url.username or ""), unquote(url.password or ""))

    def __str__(self) -> str:
        """As it may be shown: without the password."""
        if self.folder is not None:
            return f"{SCHEME}://{self.folder}"
        return f"{SCHEME}://{self.uri.partition('://')[2]}/{self.database}"


def _without_password(given: str) -> str:
    before, at, host = given.rpartition("@")
    return f"{before.partition('://')[0]}://***@{host}" if at else given
