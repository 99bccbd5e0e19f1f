"""Words of ours in a packet beside those of people: added, told apart, taken away again.

Each word of ours has a mark, a structure in `glimpse:labels`: word, score, root, tool, model, run, and the fields that
got it from us. A word that stood in a field before is not in that list, so it is never claimed nor removed.

A field that we make carries people's words too, those of the other fields or of the image file: a program that reads
it passes by the others, and would take people's words for deleted. `glimpse:made` names such fields, `glimpse:carried`
those words. While a made field holds just that, it is ours and goes with our words; once a program has written to it,
it is people's, and only our words leave it. What it carries is renewed when people's words have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from labelling.xmp.packet import RDF, XML_HEAD, Edit, Element, Packet, array_of, content, quoted, struct_of, value_of
from labelling.xmp.words import (
    FIELDS,
    HIERARCHICAL,
    LAST_KEYWORD,
    SUBJECT,
    Field,
    Origin,
    Parts,
    Word,
    XmpError,
    clean,
    key,
    keys,
    merged,
    unique,
)

OURS = "urn:glimpse:labels:1/"
PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
SIDECAR_FOR = f"{PHOTOSHOP} SidecarForExtension"
_LABELS, _MADE, _CARRIED = (f"{OURS} {name}" for name in ("labels", "made", "carried"))
_NAMES = {field: f"{field.namespace} {field.name}" for field in FIELDS}
_WANTED = {name: name for name in (*_NAMES.values(), _LABELS, _MADE, _CARRIED, SIDECAR_FOR)} | {
    "http://ns.microsoft.com/photo/1.0 LastKeywordXMP": _NAMES[LAST_KEYWORD]  # as ExifTool writes it
}
_TOOLKIT = "adobe:ns:meta/ xmptk"
_EMPTY = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="glimpse">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 </rdf:RDF>
</x:xmpmeta>
"""
NEW_SIDECAR = XML_HEAD + _EMPTY
NEW_EMBEDDED = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'.encode() + _EMPTY + b'<?xpacket end="w"?>'


@dataclass(frozen=True, slots=True)
class Mark:
    """A word of ours in a packet.

    Attributes:
        root: what it lies under, ("ai",).
        fields: the names of those that got it from us.
    """

    word: Word
    root: Parts
    origin: Origin
    fields: frozenset[str] = frozenset()

    @property
    def path(self) -> Parts:
        """Under its root."""
        return self.root + self.word.path

    def spelled(self, field: Field) -> str:
        """As a field has it; a flat one without the root."""
        return field.spell(self.path)


def parse(data: bytes) -> Packet:
    """A packet with what is of interest here. XmpError."""
    return Packet(data, _WANTED)


def marks(packet: Packet) -> list[Mark]:
    """The words of ours in a packet; what others have done to the marks is read as far as it says anything."""
    found = []
    for _, child in packet.properties(_LABELS):
        if child is None or (array := array_of(child)) is None:
            continue
        for item in array.children:
            said = {name.split(" ")[-1]: value for name, value in struct_of(item).items()}
            if path := HIERARCHICAL.read(said.get("word", "")):
                word, root = Word(path, _number(said.get("score", ""))), HIERARCHICAL.read(said.get("root", ""))
                origin = Origin(said.get("tool", ""), said.get("model", ""), said.get("run", ""))
                found.append(Mark(word, root, origin, frozenset(said.get("in", "").split())))
    return found


def people_words(packet: Packet) -> list[Parts]:
    """The words in a packet that are not ours."""
    return _words(parse(stripped(packet)) if any(packet.properties(_LABELS)) else packet)


def written(
    data: bytes, words: Sequence[Word], origin: Origin, root: Parts, elsewhere: Callable[[], Iterable[Parts]]
) -> bytes:
    """A packet with these words of ours in place of those that it has under the same root.

    The bytes are the same where nothing new is said, whatever the run.

    Args:
        data: the packet as it is.
        words: none: those under the root go.
        origin: kept beside each word.
        root: what the words are put under.
        elsewhere: people's words outside of the packet, asked where it has none.

    Raises:
        XmpError: as `Packet`, or it has a form that nothing can be added to.
    """
    packet = parse(data)
    old = marks(packet)
    each = {tuple(map(key, word.path)): word for word in reversed(words)}  # the first of those alike
    new = [Mark(word, root, origin) for word in reversed(each.values())]
    if _said(mark for mark in old if mark.root == root) == _said(new):
        if not packet.items(_MADE) or keys(_carried(packet)) == keys(people_words(packet) or elsewhere()):
            return data
        new = [mark for mark in old if mark.root == root]
    return with_marks(packet, [*(mark for mark in old if mark.root != root), *new], elsewhere)


def with_marks(packet: Packet, wanted: Sequence[Mark], elsewhere: Callable[[], Iterable[Parts]]) -> bytes:
    """A packet with these words of ours, in place of all that it has. XmpError as `written`."""
    plain = stripped(packet)
    return _added(parse(plain), wanted, elsewhere) if wanted else plain


def stripped(packet: Packet) -> bytes:
    """A packet without anything of ours."""
    ours, made = marks(packet), set(packet.items(_MADE) or ())
    gone = [child for name in (_LABELS, _MADE, _CARRIED) for _, child in packet.properties(name) if child]
    edits: list[Edit] = []
    for field, name in _NAMES.items():
        spelled = {mark.spelled(field) for mark in ours if field.name in mark.fields}
        carried = {key(field.spell(path)) for path in _carried(packet)}
        is_ours = carried <= {key(item) for item in packet.items(name) or ()} <= carried | set(map(key, spelled))
        for _, child in packet.properties(name):
            if child is None:
                continue
            if field.name in made and is_ours:
                gone.append(child)
            elif array := array_of(child):
                for item in reversed(array.children):
                    if (value := clean(value_of(item))) in spelled:
                        spelled.remove(value)
                        edits.append(packet.remove(item))
    for description in packet.descriptions:
        parts = [child for child in description.children if any(child is each for each in gone)]
        if parts and _is_nothing(description, parts):
            edits.append(packet.remove(description))
        else:
            edits += map(packet.remove, parts)
    return packet.edited(edits)


def is_nothing(packet: Packet) -> bool:
    """Whether a packet was made by us and holds nothing any more."""
    toolkit = packet.root.attribute(_TOOLKIT) if packet.root else None
    return toolkit == "glimpse" and all(
        _is_nothing(each, [child for child in each.children if child.name == SIDECAR_FOR])
        for each in packet.descriptions
    )


def with_extension(data: bytes, extension: str) -> bytes:
    """A packet that says which of the files of its name it belongs to."""
    packet = parse(data)
    inside = f"\n   <photoshop:SidecarForExtension>{content(extension)}</photoshop:SidecarForExtension>"
    return packet.edited(packet.add_description(inside, {"photoshop": PHOTOSHOP}))


def extension_of(packet: Packet) -> str | None:
    """Which of the files of its name a sidecar says that it belongs to, as "CR2"."""
    return next(iter(packet.items(SIDECAR_FOR) or ()), None)


def _added(packet: Packet, wanted: Sequence[Mark], elsewhere: Callable[[], Iterable[Parts]]) -> bytes:
    """A packet that has nothing of ours with marks and their words."""
    people = _words(packet) or list(elsewhere())
    edits: list[Edit] = []
    inside, namespaces, made = "", {"glimpse": OURS}, []
    given: dict[Field, set[str]] = {}
    after: dict[Field, list[str]] = {}
    for field, name in _NAMES.items():
        items = packet.items(name)
        before = unique(field.spell(path) for path in people) if items is None else items
        known = set(map(key, before))
        new = unique(item for mark in wanted if key(item := mark.spelled(field)) not in known)
        given[field], after[field] = set(map(key, new)), [*before, *new]
        if items is None:
            made.append(field.name)
            namespaces[field.prefix] = field.namespace
            inside += _array(f"{field.prefix}:{field.name}", field.array, after[field])
        elif new:
            description, child = next(packet.properties(name))
            edits += packet.add_items(description, child, name, new)
    inside += _marks(wanted, given)
    inside += _array("glimpse:made", "Bag", made)
    inside += _array("glimpse:carried", "Bag", ["|".join(path) for path in people] if made else [])
    data = packet.edited([*edits, *packet.add_description(inside, namespaces)])
    merged_packet = parse(data)
    if any(sorted(merged_packet.items(_NAMES[field]) or ()) != sorted(items) for field, items in after.items()):
        raise XmpError(None, "its XMP has a form that nothing can be added to safely")
    return data


def _words(packet: Packet) -> list[Parts]:
    """The words of all fields."""
    read = {field: [field.read(item) for item in packet.items(name) or ()] for field, name in _NAMES.items()}
    flat = read.pop(SUBJECT)
    return merged((path for paths in read.values() for path in paths if path), filter(None, flat))


def _carried(packet: Packet) -> list[Parts]:
    """People's words in the fields that we made."""
    return [path for item in packet.items(_CARRIED) or () if (path := HIERARCHICAL.read(item))]


def _is_nothing(description: Element, parts: Sequence[Element]) -> bool:
    """Whether a description holds nothing but these parts."""
    said = [name for name, _ in description.attributes if name not in (f"{RDF} about", "about")]
    return not said and not description.others and len(parts) == len(description.children)


def _said(some: Iterable[Mark]) -> set[tuple[object, ...]]:
    """What marks say, but for the run."""
    return {(mark.word.path, _score(mark.word), mark.origin.tool, mark.origin.model) for mark in some}


def _array(name: str, kind: str, items: Sequence[str]) -> str:
    """A property that is a list; nothing for an empty one."""
    lines = "".join(f"\n     <rdf:li>{content(item)}</rdf:li>" for item in items)
    return f"\n   <{name}>\n    <rdf:{kind}>{lines}\n    </rdf:{kind}>\n   </{name}>" if items else ""


def _marks(some: Sequence[Mark], given: Mapping[Field, set[str]]) -> str:
    """The marks of words, of which each field was given some."""
    lines = ""
    for mark in some:
        fields = {
            "word": "|".join(mark.word.path),
            "score": _score(mark.word),
            "root": "|".join(mark.root),
            "tool": clean(mark.origin.tool),
            "model": clean(mark.origin.model),
            "run": clean(mark.origin.run),
            "in": " ".join(field.name for field, items in given.items() if key(mark.spelled(field)) in items),
        }
        said = "".join(f'\n      glimpse:{name}="{quoted(value)}"' for name, value in fields.items() if value)
        lines += f"\n     <rdf:li{said}/>"
    return f"\n   <glimpse:labels>\n    <rdf:Bag>{lines}\n    </rdf:Bag>\n   </glimpse:labels>"


def _score(word: Word) -> str:
    return "" if word.score is None else f"{word.score:.4f}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
