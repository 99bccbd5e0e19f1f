"""What a run writes as it goes: its folder, which is a model from the first epoch on, and what trackers are told."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from encoder.model.load import ClipParts
from training.config import TrainConfig
from training.learner import Learner
from training.records.checkpoint import TrainState, save_metrics, save_model, save_state
from training.records.events import Epoch, Step
from training.records.journal import Journal
from training.records.model_card import write_card
from training.records.report import write_report
from training.records.trackers import Trackers
from training.run.fed import note_what_words_say
from training.run.held_out_table import write_held_out
from training.run.warnings import LOOKED_AT, RunWarnings
from training.run_folder import LAST, LAUNCH, launch, write_json
from training.source import Source


class RunWriter:
    """Writes the folder of one run. Of several processes the first one has it."""

    def __init__(
        self, config: TrainConfig, source: Source, learner: Learner, warnings: RunWarnings, *, resume_at: int
    ) -> None:
        """Write what is known before the first step: the settings, and what is held out."""
        self._source, self._learner, self._warnings = source, learner, warnings
        self._out = Path(config.out)
        self._out.mkdir(parents=True, exist_ok=True)
        config.save(self._out)
        if launch():
            write_json(self._out / LAUNCH, {"torchrun": launch()})
        write_held_out(config, source.val, source.val_shards)
        self._trackers = Trackers(config.track, self._out, asdict(config), resume_at)
        self._journal = Journal(self._out, self._trackers, resume_at=resume_at)

    def step(self, step: Step) -> None:
        """Into the diary."""
        self._journal.step(step.flat())

    def epoch(self, record: Epoch, plain: ClipParts) -> None:
        """The model as the last and, if it is that, as the best; then into the diary."""
        if record.best:
            save_model(self._out, plain)
        save_model(self._out / LAST, plain)
        self._journal.epoch(asdict(record))

    def state(self, state: TrainState, learned: dict[str, Any]) -> None:
        """What resuming needs, and what there is to report by now."""
        save_state(self._out / LAST, state, learned)
        self.results(state)

    def results(self, state: TrainState, *, ended: bool = False) -> None:
        """The measures, the report and the model's card."""
        save_metrics(
            self._out,
            {
                "data": {"train": self._source.n_train, "held_out": len(self._source.val)},
                "parameters": self._learner.parameters,
                "best_epoch": state.best_epoch,
                "best_score": state.score,
                "interpolation": state.interpolation,
                "unreadable": list(state.unreadable),
                "left_out": self._source.left_out.as_json(),
                "warnings": self._warnings.all(state, ended=ended),
                "epochs": state.history,
                "confusions": state.confusions,
            },
        )
        write_report(self._out)
        write_card(self._out)

    def what_words_say(self) -> None:
        """What is known of words that the model of the folder never read."""
        captions = (text for pair in self._source.at_hand[:LOOKED_AT] for text in pair.captions)
        note_what_words_say(self._out, captions, self._learner.device)

    def troubles(self) -> list[str]:
        """What went wrong with trackers."""
        return self._trackers.troubles()

    def end(self) -> None:
        """Tell the trackers that the run came to its end."""
        self._trackers.close(ended=True)

    def close(self) -> None:
        """Close the diary, however the run ended."""
        self._journal.close()
