"""An XMP packet as bytes with places: what of it is of interest, and edits that leave every other byte alone.

Libraries that edit XML read a tree and write it anew: attributes on one line, other quotes, no padding, and with XMP
toolkits other forms of what they know. Here expat, of the standard library, says where an element stands, and only what
is added or taken away changes. So develop settings, unknown namespaces, comments, encoding and layout stay by
construction. Knows RDF's forms, and no keyword.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape

from labelling.xmp.words import XmpError

MOST_BYTES = 64 * 2**20  # of a packet; a sidecar with many masks has a few million
MOST_ELEMENTS = 200_000  # of those looked at
DEEPEST = 100  # elements in each other; keywords stand at the eighth
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XML_HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_ARRAYS = {f"{RDF} {name}" for name in ("Bag", "Seq", "Alt")}
_TAG = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*+>""")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=/>"']+)\s*=\s*("[^"]*"|'[^']*')""")
_DECLARED = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_MARKS = (  # of byte order, or what a packet begins with; the longer before those that they begin with
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)


class Edit(NamedTuple):
    """Bytes in place of others. Of those at one place the lower rank comes first, and equal ones count once."""

    start: int
    end: int
    new: bytes
    rank: int = 2


@dataclass(slots=True)
class Element:
    """An element of interest. Names are "namespace name"; places are offsets into the packet's UTF-8 bytes."""

    name: str
    attributes: list[tuple[str, str]]  # in order, without declarations of namespaces
    start: int  # of its start tag
    inner: int  # behind its start tag
    close: int = 0  # of its end tag; `end` for an empty element <a/>
    end: int = 0  # behind its end tag
    children: list[Element] = field(default_factory=list)
    others: int = 0  # children that are of no interest
    text: str = ""

    @property
    def is_empty_tag(self) -> bool:
        """Whether it is written as <a/>."""
        return self.close == self.inner == self.end

    def attribute(self, name: str) -> str | None:
        """The value of an attribute."""
        return next((value for known, value in self.attributes if known == name), None)


class Packet:
    """A packet, parsed.

    Args:
        data: the bytes, in any encoding that they name.
        wanted: names of the properties of interest, and what they are called here, for one may have several.

    Raises:
        XmpError: it is no XML, no XMP, too large, or it declares entities.
    """

    def __init__(self, data: bytes, wanted: Mapping[str, str]) -> None:
        if len(data) > MOST_BYTES:
            raise XmpError(None, f"the XMP is larger than {MOST_BYTES >> 20} MiB")
        self.data, self._encoding = _as_utf8(data)
        bare = self.data.rstrip(b"\0")  # some programs end a packet as C ends a text
        self.data, self._behind = bare, self.data[len(bare) :]
        if not bare.strip():
            raise XmpError(None, "is no XML: it is empty, as a full disk leaves one; delete it")
        if b"\0" in bare:
            raise XmpError(None, "is no XML: it has zero bytes")
        parsed = _Parser(self.data, wanted)
        if parsed.rdf is None:
            raise XmpError(None, "is XML, but no XMP: it has no rdf:RDF")
        self.root = parsed.root
        self.rdf = parsed.rdf

    @property
    def descriptions(self) -> list[Element]:
        """The rdf:Description elements that hold the properties; there may be several."""
        return self.rdf.children

    def properties(self, name: str) -> Iterator[tuple[Element, Element | None]]:
        """Each (description, property) of that name; None for the property where it is an attribute."""
        for description in self.descriptions:
            for child in description.children:
                if child.name == name:
                    yield description, child
            if description.attribute(name) is not None:
                yield description, None

    def items(self, name: str) -> list[str] | None:
        """The values of a property in all its places; None if it is nowhere."""
        found: list[str] | None = None
        for description, child in self.properties(name):
            found = found or []
            if child is None:
                found.append(description.attribute(name) or "")
            elif array := array_of(child):
                found += map(value_of, array.children)
            elif child.text.strip() or child.children:
                found.append(value_of(child))
        return found

    def edited(self, edits: Iterable[Edit]) -> bytes:
        """The packet with pieces replaced, in its own encoding. Edits do not overlap."""
        pieces, place = [], 0
        for start, end, new, _ in sorted(dict.fromkeys(edits), key=lambda edit: (edit.start, edit.end, edit.rank)):
            pieces += [self.data[place:start], new]
            place = end
        data = b"".join([*pieces, self.data[place:], self._behind])
        if self._encoding is None:
            return data
        return data.decode().encode(self._encoding, "xmlcharrefreplace")

    # --- edits ---

    def add_items(self, description: Element, child: Element | None, name: str, values: list[str]) -> list[Edit]:
        """Add values to a property; one that is no list becomes one that holds its value first."""
        prefix = self._prefix(self.rdf)
        if child is None:
            return self._from_attribute(description, name, values)
        if array := array_of(child):
            prefix = self._prefix(array)
            inside = f"{prefix}li"
            between = self._before(array.children[-1]) if array.children else b""
            items = b"".join(between + _element(inside, value) for value in values)
            return self._insert(array, items)
        bag = f"{prefix}Bag"
        items = b"".join(_element(f"{prefix}li", value) for value in values)
        if child.children or child.text.strip():
            opened, closed = f"<{bag}><{prefix}li>".encode(), f"</{prefix}li>".encode() + items + f"</{bag}>".encode()
            return [Edit(child.inner, child.inner, opened), Edit(child.close, child.close, closed)]
        return self._insert(child, f"<{bag}>".encode() + items + f"</{bag}>".encode())

    def add_description(self, inside: str, namespaces: dict[str, str]) -> list[Edit]:
        """Add an rdf:Description with these properties behind the others; `inside` is XML that uses the prefixes."""
        line = b"\r\n" if b"\r\n" in self.data else b"\n"
        about = next((self._about(description) for description in self.descriptions), "")
        declared = "".join(f'\n    xmlns:{prefix}="{uri}"' for prefix, uri in sorted(namespaces.items()))
        head = f'<rdf:Description rdf:about="{quoted(about)}" xmlns:rdf="{RDF}"{declared}>'
        text = f"\n  {head}{inside}\n  </rdf:Description>"
        return self._insert(self.rdf, text.encode().replace(b"\n", line))

    def remove(self, element: Element) -> Edit:
        """Remove an element and the white space before it."""
        return Edit(element.start - len(self._before(element)), element.end, b"")

    def _insert(self, element: Element, text: bytes) -> list[Edit]:
        """Put text behind all that is in an element, before the white space that its end tag has before it."""
        if element.is_empty_tag:
            name = re.match(rb"<([^\s/>]+)", self.data[element.start : element.end])
            assert name is not None
            slash = self.data.rindex(b"/", element.start, element.end)
            closed = Edit(element.end, element.end, b"</" + name[1] + b">", rank=1)
            return [Edit(slash, element.end, b">"), Edit(element.end, element.end, text, rank=0), closed]
        place = element.inner + len(self.data[element.inner : element.close].rstrip(b" \t\r\n"))
        return [Edit(place, place, text)]

    def _before(self, element: Element) -> bytes:
        """The white space before an element."""
        before = self.data[max(0, element.start - 1000) : element.start]
        return before[len(before.rstrip(b" \t\r\n")) :]

    def _prefix(self, element: Element) -> str:
        """The prefix that an element is written with, and its colon."""
        tag = re.match(rb"<(?:([^\s:/>]+):)?", self.data[element.start : element.start + 200])
        return f"{tag[1].decode()}:" if tag and tag[1] else ""

    def _about(self, description: Element) -> str:
        return description.attribute(f"{RDF} about") or description.attribute("about") or ""

    def _from_attribute(self, description: Element, name: str, values: list[str]) -> list[Edit]:
        """An attribute's value and others as a list in an element of the same name."""
        tag = self.data[description.start : description.inner]
        written = [found for found in _ATTRIBUTE.finditer(tag) if not re.match(rb"xmlns[:\s]|xmlns$", found[1])]
        place = [known for known, _ in description.attributes].index(name)
        found, rdf = written[place], self._prefix(self.rdf)
        called = found[1].decode()
        items = b"".join(_element(f"{rdf}li", value) for value in [description.attributes[place][1], *values])
        text = f"<{called}><{rdf}Bag>".encode() + items + f"</{rdf}Bag></{called}>".encode()
        start = description.start + found.start()
        return [Edit(start, description.start + found.end(), b""), *self._insert(description, text)]


def array_of(element: Element) -> Element | None:
    """The list that a property holds."""
    return next((child for child in element.children if child.name in _ARRAYS), None)


def value_of(element: Element) -> str:
    """The text of a value; one that has qualifiers keeps it in rdf:value."""
    value = element.attribute(f"{RDF} value")
    if value is not None:
        return value
    for child in element.children:
        if child.name == f"{RDF} value":
            return child.text
        if child.name == f"{RDF} Description":
            return value_of(child)
    return element.text


def struct_of(element: Element) -> dict[str, str]:
    """The fields of a structure, in each form that RDF has for it: attributes, elements, a description inside."""
    found = dict(element.attributes)
    for child in element.children:
        if child.name == f"{RDF} Description":
            found |= struct_of(child)
        else:
            found[child.name] = value_of(child)
    return found


def quoted(value: str) -> str:
    """A value as what stands between the quotes of an attribute."""
    return escape(value, {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def content(value: str) -> str:
    """A value as what stands between two tags."""
    return escape(value, {"\r": "&#13;"})


def _element(name: str, value: str) -> bytes:
    return f"<{name}>{content(value)}</{name}>".encode()


def _as_utf8(data: bytes) -> tuple[bytes, str | None]:
    """A packet as UTF-8, and the encoding that it has if it is another."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None and (declared := _DECLARED.match(data.removeprefix(b"\xef\xbb\xbf")[:200])):
        encoding = declared[1].decode().lower()
    if encoding is None or encoding in ("utf-8", "utf8", "us-ascii", "ascii"):
        return data, None
    try:
        text = data.decode(encoding)
        if text.encode(encoding) == data:
            return text.encode(), encoding
    except (LookupError, ValueError):
        pass
    raise XmpError(None, f"is not in {encoding}, the encoding that it says")


class _Parser:
    """Finds rdf:RDF, its descriptions, and of their properties those that are wanted."""

    def __init__(self, data: bytes, wanted: Mapping[str, str]) -> None:
        self.root: Element | None = None
        self.rdf: Element | None = None
        self._data = data
        self._wanted = wanted
        self._stack: list[Element | None] = []
        self._made = 0
        self._expat = expat.ParserCreate("utf-8", " ")
        self._expat.buffer_text = True
        self._expat.ordered_attributes = True
        self._expat.StartElementHandler = self._starts
        self._expat.EndElementHandler = self._ends
        self._expat.CharacterDataHandler = self._says
        self._expat.StartDoctypeDeclHandler = self._declares
        try:
            self._expat.Parse(data, True)
        except expat.ExpatError as error:
            what = expat.ErrorString(error.code)
            raise XmpError(None, f"is no XML: {what}, line {error.lineno}") from error

    def _starts(self, name: str, attributes: list[str]) -> None:
        if len(self._stack) >= DEEPEST:
            raise XmpError(None, f"the XMP has more than {DEEPEST} elements in each other")
        parent = self._stack[-1] if self._stack else None
        if not self._is_wanted(name, parent):
            if parent is not None:
                parent.others += 1
            self._stack.append(None)
            return
        self._made += 1
        if self._made > MOST_ELEMENTS:
            raise XmpError(None, f"the XMP has more than {MOST_ELEMENTS} keywords")
        start = self._expat.CurrentByteIndex
        tag = _TAG.match(self._data, start)
        if tag is None:
            raise XmpError(None, "is no XML that can be edited")
        name = self._wanted.get(name, name)
        element = Element(name, list(zip(attributes[::2], attributes[1::2], strict=True)), start, tag.end())
        if name == f"{RDF} RDF" and self.rdf is None:
            self.rdf = element
        elif parent is not None:
            parent.children.append(element)
        if not self._stack:
            self.root = element
        self._stack.append(element)

    def _is_wanted(self, name: str, parent: Element | None) -> bool:
        if not self._stack or (self.rdf is None and name == f"{RDF} RDF"):
            return True
        if parent is None or self.rdf is None:
            return False
        if parent is self.rdf:
            return name == f"{RDF} Description"
        if any(parent is description for description in self.rdf.children[-1:]):
            return name in self._wanted
        return parent is not self.root

    def _ends(self, name: str) -> None:
        element = self._stack.pop()
        if element is None:
            return
        if self._data.endswith(b"/>", element.start, element.inner):
            element.close = element.end = element.inner
            return
        element.close = self._expat.CurrentByteIndex
        element.end = self._data.index(b">", element.close) + 1

    def _says(self, text: str) -> None:
        if self._stack and (element := self._stack[-1]) is not None:
            element.text += text

    def _declares(self, *doctype: object) -> None:
        raise XmpError(None, "declares a document type, which XMP never does; it could hold anything")
