"""What an operator sets: flags of `glimpse serve`, else the environment (`GLIMPSE_*`), else a file (GLIMPSE_CONFIG).

Reads and checks them; what they are worth on this machine is the concern of service/preflight.py.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_serializer, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from base.errors import InputError
from base.machine.cpus import MOST
from base.words import words_of
from index.collection import LOCAL
from index.milvus.address import Address
from service.keys import given_keys
from service.named_hosts import problem_of_fetch_host, problem_of_origin

PREFIX = "GLIMPSE_"
CONFIG = f"{PREFIX}CONFIG"
CLIENT = ("URL", "KEY")  # of who asks a service: no settings, and no mistakes
OWN = ("docs", "health", "knn-service", "metrics", "openapi.json", "static", "v1")  # what our own paths begin with
MAX_PREFIX = 200  # characters
_PREFIX = re.compile(r"(/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*")
Listed = Annotated[tuple[str, ...], NoDecode]  # with commas between in the environment, a list in TOML


class Settings(BaseSettings):
    """Settings of the service; every field is also an environment variable, `GLIMPSE_` and its name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # it may be a key
        protected_namespaces=(),
    )

    model: str = Field(description="model reference: name/tag, name/file, hf-hub:org/name or a run folder")
    models: Listed = Field((), description="more models that may be asked for: NAME=REF, or REF")
    model_bytes: int | None = Field(
        None, ge=1, description="memory that models may take together; none: half of what there is"
    )
    data: Path = Field(Path("glimpse-data"), description="folder with the collections")
    store: str = Field("local", description="where collections lie: local, or milvus://HOST:19530/DATABASE")
    runs: Path | None = Field(None, description="folder with training runs, which are shown; none: none are")
    device: str = "auto"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: int | None = Field(None, ge=1, le=MOST, description="of the model and the indexes; none: one a processor")
    read_only: bool = Field(False, description="change nothing in the data folder, which another process may write")
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    root_path: str = Field(
        "", description="path below which a proxy serves us, as /photos, whether it strips it or not"
    )
    trusted_proxies: Listed = Field(
        (), description="addresses and networks of proxies whose X-Forwarded-* are believed"
    )
    publish: str | None = Field(None, description="where a container's port is published, as 127.0.0.1:8000")
    api_keys: SecretStr = Field(SecretStr(""), description="NAME:SCOPE:KEY, ...; more than those of `glimpse keys`")
    allow_anonymous: bool = Field(False, description="serve other machines without any key")
    cors_origins: Listed = Field((), description="origins whose pages may ask; * is all")
    fetch_hosts: Listed = Field((), description="hosts that images are fetched from, as *.example.org")
    fetch_bytes: int = Field(16 * 2**20, ge=1, description="largest image that is fetched")
    fetch_seconds: float = Field(10.0, gt=0, description="longest that fetching an image takes")
    job_roots: Listed = Field((), description="folders that jobs may read, as /photos; none: no job reads any")
    max_upload_bytes: int = Field(32 * 2**20, ge=1024, description="largest body of a request")
    max_pixels: int = Field(120_000_000, ge=1, description="largest image that is decoded")
    max_batch: int = Field(64, ge=1, description="most images in one request")
    max_texts: int = Field(2048, ge=1, description="most texts in one request")
    max_entries: int = Field(1000, ge=1, description="most entries that are put by one request")
    max_prompts: int = Field(4096, ge=1, description="most labels times templates in one classification")
    thumbnail_bytes: int = Field(2**30, ge=0, description="most bytes of thumbnails that are kept; 0: none")
    filter_seconds: float = Field(5.0, gt=0, description="longest that a filter takes")
    keep_alive_seconds: int = Field(75, ge=1, description="how long a connection is kept between two requests")
    max_waiting: int = Field(100, ge=0, description="most requests that wait for changes at once; then it is 429")
    queue_size: int = Field(512, ge=1, description="images or texts that may wait; beyond it the answer is 429")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, else JSON")

    @field_validator("models", "cors_origins", "fetch_hosts", "job_roots", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("api_keys")
    @classmethod
    def _well_formed(cls, value: SecretStr) -> SecretStr:
        given_keys(value.get_secret_value())
        return value

    @field_validator("store")
    @classmethod
    def _is_store(cls, value: str) -> str:
        if value != LOCAL:
            Address.of(value)
        return value

    @field_serializer("store", when_used="json")
    def _without_password(self, value: str) -> str:
        return value if value == LOCAL else str(Address.of(value))

    @field_validator("root_path")
    @classmethod
    def _is_prefix(cls, value: str) -> str:
        path = value.rstrip("/")
        if problem := problem_of_prefix(path):
            raise ValueError(problem)
        return path

    @field_validator("trusted_proxies")
    @classmethod
    def _are_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        _each(value, _problem_of_proxy)
        if "*" in value and len(value) > 1:
            raise ValueError("* is all, so name no others")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each(value, problem_of_origin)

    @field_validator("fetch_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each(value, problem_of_fetch_host)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        name = self.host if self.publish is None else self.publish.rpartition(":")[0].strip("[]")
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return name == "localhost"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before environment before file."""
        path = os.environ.get(CONFIG)
        in_file = InitSettingsSource(settings_cls, _read_toml(Path(path))) if path else None
        return tuple(source for source in (init_settings, env_settings, in_file) if source is not None)


def read_settings(given: Mapping[str, Any]) -> Settings:
    """The settings, with those `given` before the environment and the file. InputError names what is wrong first."""
    try:
        return Settings(**given)
    except ValidationError as error:
        first, *more = problems_of(error)
        raise InputError(first + (f" (and {len(more)} more: glimpse serve --check)" if more else "")) from error


def problem_of_prefix(prefix: str) -> str | None:
    """Why the service cannot lie below this path; None if it can, or if it is empty."""
    if not _PREFIX.fullmatch(prefix) or len(prefix) > MAX_PREFIX:
        return "must be a path as /photos: letters, digits and . _ ~ - between slashes"
    if prefix.split("/")[1:2] and prefix.split("/")[1] in OWN:
        return f"/{prefix.split('/')[1]} is a path of the service itself; choose another"
    return None


def _each(values: tuple[str, ...], problem_of: Callable[[str], str | None]) -> tuple[str, ...]:
    """The values as they are. ValueError says what is wrong with the first that cannot be used."""
    if problem := next(filter(None, map(problem_of, values)), None):
        raise ValueError(problem)
    return values


def _problem_of_proxy(proxy: str) -> str | None:
    """Why this is no address or network of a proxy; None if it is, or is *."""
    try:
        if proxy != "*":
            ipaddress.ip_network(proxy)
    except ValueError:
        return f"{proxy} is no address or network, as 10.0.0.5 or 10.0.0.0/8"
    return None


def problems_of(error: ValidationError) -> list[str]:
    """A line for each setting that cannot be used, without its value."""
    lines = []
    for problem in error.errors(include_input=False):
        name = str(problem["loc"][0])
        where = f"{PREFIX}{name.upper()}"
        if problem["type"] == "extra_forbidden":
            lines.append(f"{CONFIG}: {_no_setting(name, list(Settings.model_fields))}")
        elif problem["type"] == "missing":
            lines.append(f"{name} is not set: give --{name} or {where}")
        else:
            lines.append(f"{name}: {words_of(problem)} ({where})")
    return lines


def unknown_variables(names: Iterable[str]) -> list[str]:
    """A warning for each variable that looks like a setting and is none."""
    known = ["CACHE", "CONFIG", *CLIENT, *(field.upper() for field in Settings.model_fields)]
    bare = sorted(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX))
    return [_no_setting(name, known, PREFIX) for name in bare if name not in known]


def _no_setting(name: str, known: list[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"{prefix}{name} is no setting" + (f"; is {prefix}{near[0]} meant?" if near else "")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise InputError(f"{CONFIG}: {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{CONFIG}: {path} is not TOML: {error}") from error
