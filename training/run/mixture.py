"""The model between the start of a run and its best epoch: whether there is a better one there, and writing it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from base.errors import ModelError
from encoder.model.load import ClipParts, fingerprint, load_clip
from training.config import TrainConfig
from training.model.interpolate import interpolate, sweep
from training.model.starting_model import load_start
from training.records.checkpoint import TrainState, save_model
from training.run.held_out import HeldOut
from training.run_folder import LAST


class Mixture:
    """The weights of a run that has ended, mixed with those that it started from."""

    def __init__(self, config: TrainConfig, state: TrainState, held_out: HeldOut, device: torch.device) -> None:
        self._config, self._state, self._held_out, self._device = config, state, held_out, device
        self._out = Path(config.out)

    def sweep(self) -> dict[str, Any] | str:
        """The best mixture, or why none was looked for.

        Raises:
            InputError: as `training.run.held_out.HeldOut.measure`.
        """
        try:
            start = load_start(self._config)
        except ModelError as error:
            return f"Not mixed: the model that the run started from is no longer there ({error})."
        if self._state.start not in (None, fingerprint(start)):
            return f"Not mixed: {self._config.model} is no longer the model that the run started from."
        parts = load_clip(self._tuned)
        of = fingerprint(parts)
        tuned = {name: tensor.clone() for name, tensor in parts.clip.state_dict().items()}
        parts.clip.to(self._device)

        def evaluate(weights: dict[str, Tensor]) -> tuple[float, float | None]:
            parts.clip.load_state_dict(weights)
            marks = self._held_out.measure(parts)
            return marks.validation, marks.probe

        found = sweep(self._weights(start), tuned, evaluate)
        return {"alpha": found.alpha, "sweep": found.table, "of": of}

    def write(self) -> None:
        """Write the chosen mixture, unless it is what the run folder holds already."""
        found = self._state.interpolation
        if found is None or found["alpha"] == (1 if self._state.best_epoch else 0):
            return
        parts = load_clip(self._tuned)
        if fingerprint(parts) != found["of"]:
            return  # mixed before, by a run that was killed then
        start = load_start(self._config)
        parts.clip.load_state_dict(interpolate(self._weights(start), parts.clip.state_dict(), found["alpha"]))
        save_model(self._out, parts if found["alpha"] else replace(parts, read_tokens=start.read_tokens))

    @property
    def _tuned(self) -> Path:
        """The model to mix with the start: the best epoch, or the last one where none was better than the start."""
        return self._out if self._state.best_epoch else self._out / LAST

    def _weights(self, start: ClipParts) -> dict[str, Tensor]:
        """Those that the run started from, with the logit_bias that it fitted."""
        weights, bias = start.clip.state_dict(), self._state.start_bias
        return weights if bias is None else weights | {"logit_bias": torch.full_like(weights["logit_bias"], bias)}
