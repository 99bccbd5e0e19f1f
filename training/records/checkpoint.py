"""What a run writes: the model, in open_clip's `local-dir:` form, and what --resume goes on from.

Every file is written beside its name and renamed, so a kill leaves the old one or the new one, never half of one.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file

from base.errors import TrainingError
from encoder.model.hub.hf_text import TEXT_TOWER
from encoder.model.hub.repository import TOWER_CONFIG
from encoder.model.hub.timm_trunk import VISION_TOWER, trunk_config
from encoder.model.load import ClipParts
from encoder.model.text import Tokenizer, vocabulary_of
from encoder.model.weights import CONFIG, WEIGHTS
from encoder.unread import READ_TOKENS, ReadTokens
from training.records.events import Epoch
from training.run_folder import METRICS, STATE, artefact, write_json

NAMED = 100  # of a run's images that cannot be read


@dataclass
class TrainState:
    """Where a run stands. `step` counts batches of the whole run; `history` holds a record an epoch."""

    pairs_hash: str  # of the pairs it was begun with
    read: list[int] | None = None  # ids of the tokens that its text tower was ever fed, ascending; None: who knows
    start: str | None = None  # fingerprint of the model it was begun with, where that is fine-tuned, ...
    start_bias: float | None = None  # ... and the logit_bias that it was given then, where it had none
    step: int = 0
    epoch_loss_sum: float = 0.0  # over the steps of the epoch that is under way, ...
    epoch_guess_sum: float = 0.0  # ... what guessing would have cost, ...
    epoch_steps: int = 0  # ... and how many they are; a batch that could not be read makes none
    epoch_skipped: int = 0  # images of it that could not be read
    epoch_seconds: float = 0.0  # that it took before the run was stopped
    best_epoch: int = 0
    best_score: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    unreadable: dict[str, None] = field(default_factory=dict)  # images of the run, the first, with the reason
    confusions: list[dict[str, Any]] = field(default_factory=list)  # of the best epoch
    interpolation: dict[str, Any] | None = None  # at the end of the run

    @property
    def score(self) -> float:
        """Of what the run folder holds: an epoch, or a mixture of its weights with the start's."""
        found = self.interpolation
        return self.best_score if found is None else max(float(row["score"]) for row in found["sweep"])

    def skip(self, unreadable: Sequence[str]) -> None:
        """Count images of this epoch that could not be read, each told with its reason."""
        self.epoch_skipped += len(unreadable)
        self.unreadable |= dict.fromkeys(unreadable[: NAMED - len(self.unreadable)])

    def learn(self, loss: float, guess: float | None) -> None:
        """Count a step of this epoch; `guess` is its loss by guessing, where the loss has one."""
        self.epoch_loss_sum += loss
        self.epoch_guess_sum += guess or 0.0
        self.epoch_steps += 1

    def end_epoch(self, record: Epoch) -> None:
        """Keep what was measured of this epoch, and begin to count the next."""
        self.history.append(asdict(record))
        self.epoch_loss_sum, self.epoch_guess_sum, self.epoch_seconds = 0.0, 0.0, 0.0
        self.epoch_steps, self.epoch_skipped = 0, 0
        if record.best:
            self.best_epoch, self.best_score, self.interpolation = record.epoch, record.score, None


def save_model(folder: Path, parts: ClipParts) -> None:
    """Write config, weights and, where the model does not use CLIP's own, the tokenizer and the towers' configs."""
    folder.mkdir(parents=True, exist_ok=True)
    save_read_tokens(folder, parts.read_tokens, parts.tokenizer)  # first: a kill leaves more said to be read, not less
    config = {"model_cfg": parts.model_cfg, "preprocess_cfg": parts.preprocess.to_open_clip()}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in parts.clip.state_dict().items()}
    # safetensors begins a file of a name that says nothing, beside the one it is given: in a folder that is swept with
    # the part, a killed process leaves no weights that nobody removes.
    with artefact(folder / WEIGHTS) as part, TemporaryDirectory(prefix=f"{part.name}.", dir=folder) as beside:
        save_file(weights, file := Path(beside) / WEIGHTS, metadata={"format": "pt"})
        file.replace(part)
    save_tokenizer = getattr(parts.tokenizer, "save_pretrained", None)
    if save_tokenizer is not None:
        save_tokenizer(folder)
    tower_config = getattr(getattr(parts.clip, "text", None), "config", None)  # of a Hugging Face tower
    if tower_config is not None:
        (folder / TEXT_TOWER).mkdir(exist_ok=True)
        whole = json.loads(tower_config.to_json_string(use_diff=False))
        whole.pop("_name_or_path", None)  # of this machine
        write_json(folder / TEXT_TOWER / TOWER_CONFIG, whole)
    if trunk := trunk_config(parts.clip):
        (folder / VISION_TOWER).mkdir(exist_ok=True)
        write_json(folder / VISION_TOWER / TOWER_CONFIG, json.loads(trunk.read_bytes()))
    write_json(folder / CONFIG, config)


def save_read_tokens(folder: Path, read: ReadTokens | None, tokenizer: Tokenizer) -> None:
    """Write what a model has read, or remove what another one had there."""
    if read is None:
        (folder / READ_TOKENS).unlink(missing_ok=True)
        return
    with artefact(folder / READ_TOKENS) as part:
        part.write_text(read.as_text(vocabulary_of(tokenizer)), encoding="utf-8")


def save_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write `metrics.json`."""
    write_json(folder / METRICS, metrics)


def save_state(folder: Path, state: TrainState, learned: dict[str, Any]) -> None:
    """Write all that exact resuming needs, as one file; `learned` are the states of the model and the optimiser."""
    folder.mkdir(parents=True, exist_ok=True)
    with artefact(folder / STATE) as part, part.open("wb") as file:  # given a name, torch puts it into the file
        torch.save({"progress": vars(state)} | learned, file)


def load_state(folder: Path, restore: Callable[[dict[str, Any]], None]) -> TrainState:
    """Read a saved state; `restore` puts "model" and "optimizer" of it back.

    Raises:
        TrainingError: no saved state, a damaged one, or one of another model.
    """
    path = folder / STATE
    if not path.is_file():
        raise TrainingError(f"{folder.parent}: nothing to resume, it has no last/{STATE}; start without --resume")
    if not zipfile.is_zipfile(path):  # which has its end where a file that was cut short has none
        best = f"; --model {folder.parent} begins with its best epoch" if (folder.parent / WEIGHTS).is_file() else ""
        raise TrainingError(f"{path}: cut short or damaged; start anew with another --out{best}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        restore(content)
        return TrainState(**content["progress"])
    except pickle.UnpicklingError as error:  # torch's own words advise what glimpse has no option for
        raise TrainingError(f"{path}: not a state that glimpse saved; start anew with another --out") from error
    except Exception as error:  # torch.load raises whatever the bytes lead it to
        reason = " ".join((str(error) or type(error).__name__).split())[:200]  # torch says what differs in later lines
        raise TrainingError(f"{path}: not a state of this model ({reason}); start anew with another --out") from error
