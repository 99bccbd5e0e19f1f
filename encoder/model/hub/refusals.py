"""What a hub says when it gives no file, in one line with its remedy. Reads huggingface_hub's errors, asks nothing."""

from __future__ import annotations

import os
from typing import Any

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from base.errors import ModelError, ModelUnavailable
from encoder.model.hub.published import repository_misspelt


def no_such_file(error: Exception) -> bool:
    """Whether the hub has the repository, but not this file in it; a mirror may tell a bare 404."""
    cause = _cause(error)
    if isinstance(cause, (RepositoryNotFoundError, RevisionNotFoundError, LocalEntryNotFoundError)):
        return False
    return isinstance(cause, EntryNotFoundError) or status_of(cause) == 404


def status_of(error: BaseException) -> int:
    """The HTTP status that an error is about; 0 where nobody answered."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def refused(error: Exception, ref: str, repository: str, file: str) -> ModelError:
    """The error to raise for what huggingface_hub raised when it was asked for a file of a repository."""
    cause = _cause(error)
    status = status_of(cause)
    terms = f"accept its terms at {constants.ENDPOINT}/{repository}"
    token = "set HF_TOKEN to a token that may read it"
    if isinstance(cause, RevisionNotFoundError):
        return ModelError(f"{ref}: the repository has no such revision; without @REVISION it is the latest")
    if isinstance(cause, DisabledRepoError):
        return ModelError(f"{ref}: the hub has disabled this repository")
    if isinstance(cause, GatedRepoError):
        whose = "the account of your token has not been let in" if get_token() else "it takes a token to read it"
        return ModelUnavailable(f"{ref}: the repository is gated, and {whose}: {terms}, then {token}")
    if status == 404:
        return ModelError(f"{ref}: no such repository, check its name{_meant(repository)}; if it is private, {token}")
    if status == 401 and get_token():
        return ModelUnavailable(f"{ref}: the hub does not take your token (401): {token}, or unset it")
    if status == 401 or isinstance(cause, RepositoryNotFoundError):
        return ModelUnavailable(
            f"{ref}: no such repository, or it is private or gated ({status}): "
            f"check its name{_meant(repository)}; else {terms}, and {token}"
        )
    if status == 403:
        said = getattr(cause, "server_message", None)
        return ModelUnavailable(f"{ref}: the hub forbids it (403{f', {said}' if said else ''}): {terms}, and {token}")
    if status:
        return not_here(ref, f"{constants.ENDPOINT} answers {status} for {repository}/{file}; it may be better later")
    return not_here(ref, f"{repository}/{file} of {constants.ENDPOINT}: {_first_line(cause)}{_circumstances(cause)}")


def not_here(ref: str, reason: str) -> ModelUnavailable:
    """The error for a model that the cache lacks and nobody gives."""
    return ModelUnavailable(
        f"{ref}: not on this machine (looked in {constants.HF_HUB_CACHE}) and it cannot be downloaded: {reason}. "
        "Run once where there is a network and copy that folder here, give a run folder that glimpse trained, "
        "or what `glimpse models --here` lists"
    )


def _cause(error: Exception) -> Any:
    """What huggingface_hub met, before it looked for the file on this machine instead."""
    return error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error


def _meant(repository: str) -> str:
    near = repository_misspelt(repository)
    return f" (did you mean hf-hub:{near}?)" if near and near != repository else ""


def _circumstances(error: BaseException) -> str:
    """What an operator may have set that led there, or could set; a proxy's address may hold a password."""
    proxies = sorted(name for name in os.environ if name.lower() in ("all_proxy", "http_proxy", "https_proxy"))
    if "Timeout" in type(error).__name__:
        return "; HF_HUB_DOWNLOAD_TIMEOUT=60 waits a minute for each answer"
    return f"; asked by the proxy of {', '.join(proxies)}" if proxies else ""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
