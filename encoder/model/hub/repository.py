"""Files of Hugging Face repositories: from this machine's cache, else by download, or why not.

The only import of huggingface_hub, so one library asks and downloads, with its proxies, its mirror (HF_ENDPOINT) and
its token (HF_TOKEN). `encoder/model/hub/refusals.py` has the words for what a hub answers.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from base.errors import ModelError, ModelUnavailable
from base.extras import install
from base.files import file_sha256
from encoder.model.hub.published import hub_address, on_hub, repository_like, tag_of
from encoder.model.hub.refusals import no_such_file, not_here, refused, status_of
from encoder.model.weights import CONFIG, HUB_WEIGHTS, read_json, read_model_cfg

VOCABULARIES = (  # a tokenizer has one of them
    "tokenizer.json", "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "sentencepiece.bpe.model",
    "tokenizer.model",
)  # fmt: skip
TOWER_CONFIG = "config.json"  # of a text or image tower in a repository of its own, and in a run folder's for it
_BESIDE = ("config.json", "special_tokens_map.json", "added_tokens.json")  # the first names an old repository's kind
_LAST = "tokenizer_config.json"  # where it is cached, the others were looked for
_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 60.0  # a dead network is soon told; a mirror may think


@dataclass(frozen=True)
class Repository:
    """A model repository. `ref` is the model that someone asked for, which errors name."""

    name: str  # ORG/NAME; a few old ones have no ORG
    revision: str | None  # branch, tag or commit; None is the default branch
    ref: str

    @classmethod
    def of(cls, ref: str) -> Repository:
        """The repository of `hf-hub:ORG/NAME` or `hf-hub:ORG/NAME@REVISION`.

        Raises:
            ModelError: it is neither.
        """
        name, at, revision = ref.removeprefix("hf-hub:").rstrip("/").partition("@")
        name = name.rstrip("/")
        try:
            validate_repo_id(name)
            if at and (".." in revision or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", revision)):
                raise HFValidationError(revision)
        except HFValidationError as error:
            meant = hub_address(ref)
            hint = f"; did you mean {meant}?" if meant else ""
            raise ModelError(f"{ref}: a repository is hf-hub:ORG/NAME, or hf-hub:ORG/NAME@REVISION{hint}") from error
        return cls(name, revision or None, ref)


def require_transformers(text_cfg: dict[str, Any], ref: str) -> None:
    """Say so before anything is downloaded, where the text tower takes transformers and it is not installed.

    Raises:
        ModelError: it is not.
    """
    needed = text_cfg.get("hf_model_name") or text_cfg.get("hf_tokenizer_name")
    if needed and importlib.util.find_spec("transformers") is None:
        raise ModelError(f"{ref}: needs `{install('hf')}` for its text tower or tokenizer ({needed})")


def hub_folder(repository: Repository) -> Path:
    """The cached snapshot of an open_clip repository with its config, weights and tokenizer: a run folder.

    Raises:
        ModelError: the repository is not one of open_clip, or there is none of that name.
        ModelUnavailable: it is not on this machine and cannot be downloaded.
    """
    for _ in range(2):  # a commit may come between two files: then both of the new one
        config = hub_file(repository, CONFIG)
        if config is None:
            raise ModelError(_not_of_open_clip(repository))
        text_cfg = read_model_cfg(config, repository.ref, f"{config}: not there")["text_cfg"]
        require_transformers(text_cfg, repository.ref)
        if text_cfg.get("hf_tokenizer_name"):
            with contextlib.suppress(ModelUnavailable):  # it need not have one of its own
                tokenizer_folder(repository)
        weights = hub_file(repository, *HUB_WEIGHTS)
        if weights is None:
            raise ModelError(f"{repository.ref}: the repository has no weights, none of {', '.join(HUB_WEIGHTS)}")
        if weights.parent == config.parent:
            return config.parent
    raise ModelUnavailable(f"{repository.ref}: the repository changes while it is downloaded; try again")


def tower_folder(repository: Repository, tower: str, kept: Path | None) -> Path:
    """The folder with the config.json of a tower that a model's config names by its repository.

    Args:
        repository: of the tower; its `ref` is the model.
        tower: what the tower is, as in "text tower".
        kept: where the run folder would hold that file, if the model is one.

    Raises:
        ModelError: the repository has no such file.
        ModelUnavailable: it is not on this machine and cannot be downloaded.
    """
    asked_for = replace(repository, ref=f"{repository.ref}: its {tower} {repository.name}")
    try:
        config = hub_file(asked_for, TOWER_CONFIG)
    except ModelUnavailable as error:
        if kept is None:
            raise
        raise ModelUnavailable(f"{error}, or put {TOWER_CONFIG} of {repository.name} into {kept}") from error
    if config is None:
        raise ModelError(f"{repository.ref}: its {tower} is {repository.name}, which has no {TOWER_CONFIG}")
    return config.parent


def tokenizer_folder(repository: Repository) -> Path | None:
    """The cached snapshot of a repository with the files of its tokenizer; None if it has no tokenizer.

    Raises:
        ModelError, ModelUnavailable: as `hub_folder`.
    """
    if not (_cached(repository, _LAST) and _cached(repository, *VOCABULARIES)):
        try:
            for name in (*_BESIDE, *VOCABULARIES, _LAST):
                if _try_cache(repository, name) is None:  # neither there nor known to be nowhere
                    hub_file(repository, name)
        except ModelUnavailable:
            if not _cached(repository, *VOCABULARIES):
                raise
    found = _cached(repository, *VOCABULARIES)
    return found and found.parent


def models_here() -> list[str]:
    """Each `name/tag` and `hf-hub:ORG/NAME` whose weights are in the cache of this machine."""
    tags = [tag for tag, (name, files) in on_hub().items() if _cached(Repository(name, None, tag), *files)]
    names = sorted(
        folder.name.split("--", 1)[1].replace("--", "/") for folder in Path(constants.HF_HUB_CACHE).glob("models--*")
    )
    repositories = [Repository(name, None, f"hf-hub:{name}") for name in names]
    return tags + [each.ref for each in repositories if _cached(each, CONFIG) and _cached(each, *HUB_WEIGHTS)]


def hub_file(repository: Repository, *names: str) -> Path | None:
    """The first of `names` that a repository has, from the cache if one is there, else downloaded; None for none.

    Raises:
        ModelError, ModelUnavailable: as `hub_folder`.
    """
    if cached := _cached(repository, *names):
        return cached
    if constants.HF_HUB_OFFLINE:
        raise not_here(repository.ref, f"HF_HUB_OFFLINE is set, and the cache has no {names[0]} of {repository.name}")
    for name in names:
        try:
            return _download(repository, name)
        except ModelError:
            raise
        except Exception as error:  # of whatever library huggingface_hub asks with
            if not no_such_file(error):
                raise refused(error, repository.ref, repository.name, name) from error
    return None


def _download(repository: Repository, name: str) -> Path:
    """A file of the hub in the cache; raises what huggingface_hub does, and ModelUnavailable for a damaged one.

    It is asked for once with a limit first: the download itself tries again for minutes where nobody answers.
    """
    url = hf_hub_url(repository.name, name, revision=repository.revision)
    try:
        etag = get_hf_file_metadata(url, timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS)).etag
    except Exception as error:
        if not status_of(error):
            raise
        etag = None  # someone answers: the download notes what there is not, and has patience with who is busy
    path = Path(hf_hub_download(repository.name, name, revision=repository.revision, etag_timeout=_ANSWER_SECONDS))
    etag = etag or path.resolve().name  # the cache names what it keeps so
    if not _is_whole(path, etag):
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise ModelUnavailable(
            f"{repository.ref}: {name} was damaged on the way, its checksum is not the hub's; "
            "it is deleted again: try once more, and look at the network or the proxy if that does not help"
        )
    return path


def _is_whole(path: Path, etag: str) -> bool:
    """Whether a file has the hash that the hub names it by: SHA-256 for large files, git's SHA-1 for small ones."""
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        return file_sha256(path) == etag
    if re.fullmatch(r"[0-9a-f]{40}", etag):
        content = path.read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
        plain = hashlib.sha1(content, usedforsecurity=False)  # as some mirrors do
        return etag in (git.hexdigest(), plain.hexdigest())
    return True  # a mirror's own way to name a version


def _cached(repository: Repository, *names: str) -> Path | None:
    found = (_try_cache(repository, name) for name in names)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _try_cache(repository: Repository, name: str) -> Any:
    """A path, None where nothing is known, or a mark that the repository has no such file."""
    return try_to_load_from_cache(repository.name, name, revision=repository.revision)


def _not_of_open_clip(repository: Repository) -> str:
    """What a repository without open_clip's config is, and which to take instead."""
    other = hub_file(repository, "config.json")
    if other is None:
        return f"{repository.ref}: it has no {CONFIG}: no repository of open_clip, or none of that name; check it"
    kind = read_json(other, f"{other}: not there").get("model_type")
    is_dual = isinstance(kind, str) and re.search("clip|siglip|align", kind)
    near = repository_like(repository.name) if is_dual else None
    take = (
        f"take hf-hub:{near}, which is {tag_of(near)}"
        if near
        else "`glimpse models --all` lists what open_clip publishes"
    )
    what = f"a repository of transformers ({kind})" if kind else "a repository of another library"
    return f"{repository.ref}: {what}, not one of open_clip: it has a config.json but no {CONFIG}; {take}"
