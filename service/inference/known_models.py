"""Which models a service has, by name and by fingerprint: those that the operator named, and those of collections.

Loads none; `service.inference.models` does.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.errors import InputError, ModelNotFound
from encoder.known import ModelCard, lasting, recall
from service.inference.inference import Inference
from service.inference.labellers import Labellers

DEFAULT = "default"  # in place of a name
NAME = re.compile(r"[\w.:@/+-]{1,200}")


@dataclass(frozen=True)
class Loaded:
    """A model that is loaded and warm."""

    inference: Inference
    labellers: Labellers

    async def close(self) -> None:
        """Stop what it does."""
        await self.labellers.close()
        await self.inference.close()


@dataclass(eq=False, slots=True)
class ServedModel:
    """A model that may be asked for.

    Attributes:
        name: that requests know it by.
        ref: what is loaded, as `encoder.model.load.load_encoder` takes it.
        is_named: by the operator; else it is a collection's.
        expected: fingerprint that one of a collection must have.
        card: what is known of it, as it was when it was last loaded here; None: it never was.
        device, precision: where and in what it ran when it was last loaded by this process.
        bytes: that it takes, or None; of one that is not loaded about so.
        loaded: if it is.
        problem: why it could not be loaded at `failed_at`.
    """

    name: str
    ref: str
    is_named: bool
    expected: str | None = None
    card: ModelCard | None = None
    device: str | None = None
    precision: str | None = None
    bytes: int | None = None
    loaded: Loaded | None = None
    problem: Exception | None = None
    failed_at: float = 0.0
    uses: int = 0
    used_at: float = 0.0
    is_leaving: bool = False  # who asks for it now waits until it is loaded anew
    waiting: list[asyncio.Future[Loaded]] = field(default_factory=list)
    loading: asyncio.Task[None] | None = None


class KnownModels:
    """The models that may be asked for. Threads may share it.

    Args:
        default: the reference of the model that answers where none is named.
        more: further ones, as NAME=REF or REF.

    Raises:
        InputError: a name cannot be one, names nothing, or two models have it.
    """

    def __init__(self, default: str, more: Sequence[str]) -> None:
        self._named = _named(default, more)
        self._others: dict[tuple[str, str], ServedModel] = {}
        self._adding = threading.Lock()

    @property
    def default(self) -> ServedModel:
        """The one that answers where none is named."""
        return self._named[0]

    @property
    def named_ahead(self) -> list[ServedModel]:
        """Those that the operator named beside it."""
        return self._named[1:]

    def all(self) -> list[ServedModel]:
        """Those that the operator named, the default first, then those of collections as far as they were met."""
        return [*self._named, *list(self._others.values())]

    def named(self, name: str | None) -> ServedModel:
        """The model of a name; of none, "" or "default" the default one. ModelNotFound, with the names there are."""
        if name in (None, "", DEFAULT):
            return self.default
        for model in self.all():
            if model.name == name:
                return model
        names = ", ".join(model.name for model in self.all())
        raise ModelNotFound(f"the model {name!r} is not served here; there are: {names}")

    def of(self, ref: str, fingerprint: str) -> ServedModel:
        """The model with that fingerprint, else the one that is to be loaded from `ref`, as a collection keeps them."""
        if found := self.with_fingerprint(fingerprint):
            return found
        for model in self._named:
            if model.card is None and model.ref == ref:  # whether it is that one is known once it is loaded
                return model
        with self._adding:
            if (ref, fingerprint) not in self._others:
                name = name_of(ref)
                if any(model.name == name for model in self.all()):
                    name = f"{name}-{fingerprint[:8]}"
                card = recall(ref)
                known = card if card is not None and card.fingerprint == fingerprint else None
                self._others[ref, fingerprint] = ServedModel(name, ref, False, fingerprint, known)
            return self._others[ref, fingerprint]

    def lying_at(self, ref: str) -> ServedModel:
        """The model that lies at a reference now, though nobody named it: other files there are another model."""
        ref = lasting(ref)
        if (card := recall(ref)) is not None:
            return self.of(ref, card.fingerprint)
        with self._adding:
            known = self._others.get((ref, ""))  # whose fingerprint was not known when it was asked for
            if known is not None and known.card is None:
                return known
            if known is not None and known.card is not None:  # other files lie there by now
                self._others.setdefault((ref, known.card.fingerprint), known)
            self._others[ref, ""] = ServedModel(self._free_name(name_of(ref)), ref, False)
            return self._others[ref, ""]

    def _free_name(self, name: str) -> str:
        taken = {model.name for model in self.all()}
        more = (f"{name}-{i}" for i in itertools.count(2))
        return next(one for one in itertools.chain((name,), more) if one not in taken)

    def meet(self, made_by: Iterable[tuple[str, str]]) -> None:
        """Give names to the models that collections were made with: reference and fingerprint of each."""
        for ref, fingerprint in made_by:
            self.of(ref, fingerprint)

    def with_fingerprint(self, fingerprint: str) -> ServedModel | None:
        """The model that has it, as far as is known."""
        return next((one for one in self.all() if one.card and one.card.fingerprint == fingerprint), None)

    def name_of(self, ref: str, fingerprint: str) -> str:
        """What a model is called that something was made with."""
        found = self.with_fingerprint(fingerprint)
        return found.name if found else name_of(ref)


def name_of(ref: str) -> str:
    """What a model is called if nobody named it: its reference, without the folders of this machine."""
    if match := re.fullmatch(r"([^/]+)/(/.+)", ref):  # an architecture and a file
        return f"{match[1]}/{Path(match[2]).name}"
    return Path(ref).name if ref.startswith("/") else ref


def _named(default: str, more: Sequence[str]) -> list[ServedModel]:
    """The models of the settings, the default first. One that is named twice is one. InputError."""
    models: dict[str, ServedModel] = {}
    for given in (f"={default}", *(one if "=" in one else f"={one}" for one in more)):
        name, _, ref = given.partition("=")
        if not ref.strip():
            raise InputError(f"{given!r} says no model: name it by NAME=REF")
        ref = lasting(ref.strip())
        models.setdefault(ref, ServedModel(name_of(ref), ref, True, card=recall(ref)))
        if name:
            models[ref].name = name.strip()
    names = [model.name for model in models.values()]
    for name in names:
        if name == DEFAULT or not NAME.fullmatch(name):
            raise InputError(f"{name!r} cannot name a model: name it by NAME=REF, with letters, digits and ._:@/+-")
        if names.count(name) > 1:
            raise InputError(f"two models are called {name!r}: name them apart by NAME=REF")
    return list(models.values())
