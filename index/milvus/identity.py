"""What a collection is, as the properties of Milvus's collection say it, to which an alias of its name leads.

    alias glimpse_pets -> glimpse_pets__18c3f2a91d04e5   properties glimpse.*: model, quota, index, the next id, ...

Another model's vectors are another collection of Milvus's, until the alias leads there: so name and model change in one
step. What no alias leads to, and no `glimpse.next`, a kill has left behind.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from base.errors import CollectionDamaged, CollectionError, InputError
from base.names import NAME, check_collection_name
from index.config import IndexConfig, Quota
from index.milvus.server import Described
from index.milvus.tuning import Tuning
from index.search.calibration import Rejection
from index.search.searches import check_model

PREFIX = "glimpse_"  # of aliases
OF_PROPERTY = "glimpse."
FORMAT = 1
SAID = ("model", "fingerprint", "dim", "created_at", "life")


@dataclass(frozen=True, slots=True)
class Identity:
    """One collection, now.

    Attributes:
        table: the name of Milvus's collection.
        life: another one for a collection that is made anew under its name.
        next_id: no entry has, or had, an id as high.
        next_table: that of another model's vectors, while they are gathered.
        tuning: of its index.
        tried: of how many rows an index was found to be no use; 0: of none.
    """

    name: str
    table: str
    model: str
    fingerprint: str
    dim: int
    created_at: str
    life: str
    quota: Quota = field(default_factory=Quota)
    title: str | None = None
    config: IndexConfig = field(default_factory=IndexConfig)
    rejection: Rejection | None = None
    next_id: int = 1
    next_table: str = ""
    tuning: Tuning | None = None  # None: all vectors are compared
    tried: int = 0

    @classmethod
    def new(cls, name: str, model: str, fingerprint: str, dim: int) -> Identity:
        """Of one that is about to be made."""
        if dim < 1:
            raise InputError(f"dim must be at least 1, not {dim}")
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(name, new_table(name), model, fingerprint, dim, created_at, uuid.uuid4().hex)

    @classmethod
    def of(cls, name: str, found: Described) -> Identity:
        """What the server says. CollectionError for one that is not glimpse's, CollectionDamaged if it says less."""
        properties = {key.removeprefix(OF_PROPERTY): value for key, value in found.properties.items()}
        if "format" not in properties:
            raise CollectionError(
                f"{found.name} on Milvus is not glimpse's: give the collection another name, or rename that one there"
            )
        if properties["format"] != str(FORMAT):
            raise CollectionError(f"collection {name!r} was made by a newer glimpse: use that one")
        try:
            said = json.loads(properties["made"])
            kept, tuning = (json.loads(properties.get(name, "null")) for name in ("rejection", "tuning"))
            made = cls(
                name=name, table=found.name, **{key: said[key] for key in SAID},
                quota=Quota(**json.loads(properties.get("quota", "{}"))),
                title=properties.get("title") or None,
                config=IndexConfig(**json.loads(properties.get("index", "{}"))),
                rejection=Rejection(**kept) if kept else None,
                next_id=int(properties.get("next_id", 1)),
                next_table=properties.get("next", ""),
                tuning=Tuning(**tuning) if tuning else None,
                tried=int(properties.get("tried", 0)),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise CollectionDamaged(
                f"collection {name!r}: properties of {found.name} are damaged ({error}): delete it, or set them right"
            ) from error
        if made.dim != found.dim:
            raise CollectionDamaged(
                f"collection {name!r}: {found.name} holds vectors of {found.dim} values and says {made.dim}: it is not "
                "as glimpse made it; delete it, and index or import anew"
            )
        return made

    def properties(self) -> dict[str, str]:
        """All of it, as properties."""
        return {
            OF_PROPERTY + "format": str(FORMAT),
            OF_PROPERTY + "made": json.dumps({key: getattr(self, key) for key in SAID}),
        } | changes(
            quota=asdict(self.quota),
            title=self.title or "",
            index=asdict(self.config),
            rejection=asdict(self.rejection) if self.rejection else None,
            next_id=self.next_id,
            tuning=asdict(self.tuning) if self.tuning else None,
            tried=self.tried,
        )

    def with_model(self, model: str, fingerprint: str, dim: int) -> Identity:
        """The same of another model, in another collection of Milvus's."""
        return replace(
            self,
            table=new_table(self.name),
            model=model,
            fingerprint=fingerprint,
            dim=dim,
            rejection=None,
            next_table="",
            tuning=None,
            tried=0,
        )

    def check_model(self, fingerprint: str) -> None:
        """ModelMismatch unless its vectors are of the model with that fingerprint."""
        check_model(self.name, self.model, self.fingerprint, fingerprint)


def changes(**values: object) -> dict[str, str]:
    """Some properties: texts as they are, else JSON."""
    return {OF_PROPERTY + key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def alias_of(name: str) -> str:
    """The alias of the collection `name`: Milvus takes letters, digits and _. InputError for what cannot be a name."""
    check_collection_name(name)
    return PREFIX + re.sub(r"[^a-z0-9]", lambda found: f"_{ord(found[0]):02x}", name)


def names_in(aliases: Iterable[str]) -> list[str]:
    """The names of the collections that these aliases are of, sorted."""
    ours = (alias.removeprefix(PREFIX) for alias in aliases if alias.startswith(PREFIX))
    names = (re.sub(r"_([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), alias) for alias in ours)
    return sorted(name for name in names if NAME.fullmatch(name))


def new_table(name: str) -> str:
    """A name for a collection of Milvus's that none has."""
    return f"{alias_of(name)}__{time.time_ns():x}"


def is_table_of(table: str, name: str) -> bool:
    """Whether a collection of Milvus's was made for the collection `name`."""
    return re.fullmatch(rf"{alias_of(name)}__[0-9a-f]+", table) is not None
