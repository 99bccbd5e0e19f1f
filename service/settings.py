"""What an operator sets: by environment (`GLIMPSE_*`) or by the flags of `glimpse serve`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of the service; every field is also an environment variable, `GLIMPSE_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="GLIMPSE_", frozen=True, protected_namespaces=())

    data: Path = Field(description="folder with the collections")
    model: str = Field(description="model reference: name/tag, hf-hub:org/name or a run folder")
    device: str = "auto"
    precision: str = "auto"
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    max_upload_bytes: int = Field(32 * 2**20, ge=1024, description="largest body of a request")
    max_pixels: int = Field(120_000_000, ge=1, description="largest image that is decoded")
    max_batch: int = Field(64, ge=1, description="most images or texts in one request")
    max_prompts: int = Field(4096, ge=1, description="most labels times templates in one classification")
    queue_size: int = Field(512, ge=1, description="images or texts that may wait; beyond it the answer is 429")
