"""What open_clip publishes, and which of it someone may have meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from encoder.model.lean_open_clip import open_clip
from encoder.model.weights import HUB_WEIGHTS

_WEIGHTS_FILE = re.compile(r"\.(pt|pth|bin|safetensors)$")
_SIZES = {"base": "b", "large": "l", "huge": "h", "giant": "g", "gigantic": "bigg"}
_HUB_ADDRESS = re.compile(
    r"^(?:hf-hub:)?(?:https?://[^/]+/|(?:hf|hf_?hub|huggingface):(?://)?|huggingface\.co/|hf\.co/)"
    r"(?P<name>[\w.-]+/[\w.-]+)(?:/(?:tree|blob|resolve)/(?P<revision>[^/?#]+).*)?/?(?:[?#].*)?$"
)


def published_models() -> list[str]:
    """Every `name/tag` that open_clip can download."""
    return [f"{name}/{tag}" for name, tag in open_clip.list_pretrained()]


def no_such_model(ref: str) -> str:
    """Why a reference that is no folder here leads nowhere, and what may have been meant."""
    if address := hub_address(ref):
        return f"an address, not a model's name; did you mean {address}?"
    name, _, tag = ref.partition("/")
    if name in open_clip.list_models():
        return _no_such_weights(name, tag)
    if _WEIGHTS_FILE.search(ref):
        return "no such file"
    near = difflib.get_close_matches(name, open_clip.list_models(), n=3, cutoff=0.6 if tag else 0.4)
    repository = [f"hf-hub:{ref.rstrip('/')}"] if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?/?", ref) else []
    meant = f"did you mean {' or '.join(near or repository)}?"
    if not (near or repository):
        meant = "`glimpse models --all` lists what there is"
    return f"neither a folder here nor a model that open_clip knows; {meant}"


def architectures_like(name: str, ours: Iterable[str]) -> str:
    """A sentence with the architectures, `ours` or open_clip's, whose names are like one that is none."""
    near = difflib.get_close_matches(name, [*ours, *open_clip.list_models()], n=3, cutoff=0.4)
    return f"did you mean {' or '.join(near)}?" if near else "`glimpse train --init list` lists small ones"


def hub_address(ref: str) -> str | None:
    """`hf-hub:ORG/NAME` for what was pasted from a browser; None for anything else."""
    found = _HUB_ADDRESS.match(ref)
    if found is None:
        return None
    revision = found["revision"]
    return f"hf-hub:{found['name']}" + (f"@{revision}" if revision not in (None, "main") else "")


def repository_like(name: str) -> str | None:
    """The published `ORG/NAME` that shares most words with another repository's name; None where none is near."""
    wanted = _words(name)
    likeness = {hub: len(wanted & _words(hub)) / len(wanted | _words(hub)) for hub in _repositories()}
    best = max(likeness, key=lambda hub: likeness[hub])
    return best if likeness[best] >= 0.4 else None


def repository_misspelt(name: str) -> str | None:
    """The published `ORG/NAME` that is spelt nearly like this one."""
    near = difflib.get_close_matches(name, _repositories(), n=1, cutoff=0.85)
    return near[0] if near else None


def tag_of(repository: str) -> str | None:
    """The `name/tag` whose weights a repository holds."""
    return next((model for model, (name, _) in on_hub().items() if name == repository), None)


def on_hub() -> dict[str, tuple[str, tuple[str, ...]]]:
    """For each `name/tag` the repository of its weights, and the names that their file may have there."""
    return {
        f"{name}/{tag}": repository_of(open_clip.get_pretrained_cfg(name, tag))
        for name, tag in open_clip.list_pretrained()
    }


def repository_of(published: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The same for one of open_clip's entries; "" where its weights are not on the hub."""
    repository, _, file = published.get("hf_hub", "").rpartition("/")
    return repository, (f"{Path(file).stem}.safetensors", file) if file else HUB_WEIGHTS


def usual_preprocessing(name: str) -> dict[str, Any]:
    """How images are prepared for an architecture, as far as all its published weights agree."""
    published = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
    keys = {"mean", "std", "interpolation", "resize_mode"}.intersection(*published) if published else ()
    return {key: published[0][key] for key in keys if all(each[key] == published[0][key] for each in published)}


def _no_such_weights(name: str, tag: str) -> str:
    if _WEIGHTS_FILE.search(tag):
        return f"there is no file {tag} here; NAME/FILE takes the weights of a training run of open_clip from a file"
    tags = open_clip.list_pretrained_tags_by_model(name)
    near = difflib.get_close_matches(tag, tags, n=3, cutoff=0.3) or tags[:3]
    if not near:
        return f"open_clip has no published weights for {name}; `glimpse models --all` lists those that have"
    return f"no such weights; for {name} there are {', '.join(f'{name}/{tag}' for tag in near)}"


def _repositories() -> list[str]:
    return sorted({repository for repository, _ in on_hub().values() if repository})


def _words(name: str) -> set[str]:
    """What a repository's name says, in one spelling: base and b, patch16 and 16."""
    words = re.findall(r"siglip2|[a-z]+|\d+", name.lower())
    return {_SIZES.get(word, word) for word in words} - {"patch", "timm", "laion", "google", "facebook", "vit"}
