"""A step in chunks is the step at once, dropout is repeated, and what the loss does not reach stays as it is."""

from __future__ import annotations

import copy
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from encoder.model.dual_encoder import logit_bias_of, logit_scale_of
from encoder.model.load import ClipParts, build_clip, open_clip
from training.config import LOSSES, TrainConfig
from training.data.loader import Batch, text_id
from training.learner import Learner
from training.loss.objective import Features, Objective, positives_of
from training.model.distributed import Ranks
from training.model.optim import adamw
from training.model.starting_model import choose_trainable, load_start
from training.records.checkpoint import save_model
from training.step import Stepper, Towers

COLOURS = ("red", "green", "blue", "red", "black", "white", "pink", "grey", "gold", "brown", "cyan")


def batch_of(n: int, negatives: int = 0, views: bool = False, size: int = 32) -> Batch:
    rng = np.random.default_rng(n)
    captions = [f"a {COLOURS[i % len(COLOURS)]} thing" for i in range(n)]
    pixels = rng.integers(0, 256, (n, size, size, 3), np.uint8)
    ids = np.array([(text_id(caption), i + 1, 0) for i, caption in enumerate(captions)], np.int64)
    wrong = [f"no {COLOURS[i]} thing" for i in range(negatives)]
    return Batch(pixels, captions, ids, wrong, pixels[:, ::-1].copy() if views else None, [])


def stepper_of(parts: ClipParts, chunk_size: int | None = None, **settings: Any) -> Stepper:
    config = TrainConfig(**{"pairs": "", "out": "", "init": "x"} | settings)
    choose_trainable(parts.clip, config)
    optimizer = torch.optim.SGD([p for p in parts.clip.parameters() if p.requires_grad], lr=0.0)
    towers = Towers(parts, torch.device("cpu"), "fp32")
    parts.clip.train()
    objective = Objective(config, Ranks())
    return Stepper(towers, objective, optimizer, grad_clip=1e9, chunk_size=chunk_size, seed=0)


def gradients(parts: ClipParts) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in parts.clip.named_parameters() if p.grad is not None}


def built(tiny_config: Path) -> ClipParts:
    torch.manual_seed(0)
    return build_clip(tiny_config)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("chunk_size", [1, 3, 4])
def test_chunks_give_the_gradient_of_the_whole_batch(tiny_config: Path, loss: str, chunk_size: int) -> None:
    batch = batch_of(11, negatives=0 if loss == "nt-xent" else 3, views=loss == "nt-xent")
    whole, chunked = built(tiny_config), built(tiny_config)
    at_once = stepper_of(whole, loss=loss)(batch, 1, [(len(batch.ids), len(batch.negatives))])
    in_chunks = stepper_of(chunked, chunk_size, loss=loss)(batch, 1, [(len(batch.ids), len(batch.negatives))])
    assert in_chunks.loss == pytest.approx(at_once.loss, rel=1e-6)
    expected, got = gradients(whole), gradients(chunked)
    assert expected.keys() == got.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-4, atol=1e-5, msg=name)
    assert any(gradient.abs().max() > 1e-3 for gradient in expected.values())


def test_chunks_repeat_their_dropout(tiny_config: Path) -> None:
    """With patch dropout a second forward that drew anew would send gradients through other patches."""
    parts = built(tiny_config)
    cfg = copy.deepcopy(parts.model_cfg)
    cfg["vision_cfg"]["patch_dropout"] = 0.5
    path = tiny_config.with_name("dropout.json")
    path.write_text(json.dumps(cfg))
    seen: list[Tensor] = []
    dropping = built(path)
    stepper = stepper_of(dropping, 4)
    forward = dropping.clip.encode_image
    dropping.clip.encode_image = lambda x: (seen.append(y := forward(x)), y)[1]  # type: ignore[func-returns-value]
    stepper(batch_of(8), 1, [(8, 0)])
    assert len(seen) == 4  # two chunks, twice
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0][0], forward(torch.zeros(1, 3, 32, 32))[0])


def largest_held(stepper: Stepper, batch: Batch) -> int:
    """Bytes that autograd keeps for the backward pass of a step, at their most."""
    held = largest = 0

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal held, largest
            self.tensor = tensor
            held += tensor.numel() * tensor.element_size()
            largest = max(largest, held)

        def __del__(self) -> None:
            nonlocal held
            held -= self.tensor.numel() * self.tensor.element_size()

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        stepper(batch, 1, [(len(batch.ids), 0)])
    return largest


def test_memory_of_a_chunked_step_is_that_of_a_chunk(tiny_config: Path) -> None:
    batch = batch_of(64)
    in_chunks = largest_held(stepper_of(built(tiny_config), 8), batch)
    assert in_chunks < largest_held(stepper_of(built(tiny_config)), batch) / 5


def test_checkpointing_keeps_less_and_changes_nothing(tiny_config: Path) -> None:
    plain, sparing = built(tiny_config), built(tiny_config)
    sparing.clip.set_grad_checkpointing(True)  # type: ignore[operator]
    batch = batch_of(16)
    assert largest_held(stepper_of(sparing), batch) < largest_held(stepper_of(plain), batch) / 2
    for name, gradient in gradients(plain).items():
        torch.testing.assert_close(gradients(sparing)[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_what_belongs_together_is_not_pushed_apart() -> None:
    ids = torch.tensor([[7, 1, 0], [7, 2, 0], [8, 2, 5], [9, 3, 5]])
    positives = positives_of(ids, torch.tensor([7, 4]))
    assert positives.tolist() == [
        [True, True, False, False, True, False],
        [True, True, True, False, True, False],
        [False, True, True, True, False, False],
        [False, False, True, True, False, False],
    ]


@pytest.mark.parametrize("alone", [False, True], ids=["with equals", "alone"])
@pytest.mark.parametrize(("loss", "negatives"), [*itertools.product(LOSSES[:3], (0, 5)), ("nt-xent", 0)])
def test_embeddings_that_say_nothing_cost_what_guessing_costs(loss: str, negatives: int, alone: bool) -> None:
    config = TrainConfig(pairs="", out="", init="x", loss=loss, multi_positive=not alone)
    batch = batch_of(13, negatives)
    nothing = torch.eye(1, 8).repeat(13 + negatives, 1)
    features = Features(nothing[:13], nothing, torch.tensor(10.0), torch.tensor(0.0))
    wrong = torch.tensor([text_id(text) for text in batch.negatives], dtype=torch.int64)
    cost, measures = Objective(config, Ranks())(features, torch.from_numpy(batch.ids), wrong, [(13, negatives)])
    assert measures["guess"] == pytest.approx(float(cost), rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "still"),
    [
        ({"lock_image": True}, "visual."),
        ({"lock_text": True}, "transformer."),
        ({"loss": "nt-xent"}, "transformer."),
        ({"temperature": 0.07}, "logit_scale"),
        ({"loss": "triplet"}, "logit_scale"),
    ],
)
def test_what_is_locked_or_not_reached_stays(tiny_config: Path, settings: dict[str, Any], still: str) -> None:
    parts = built(tiny_config)
    config = TrainConfig(pairs="", out="", init="x", **settings)
    choose_trainable(parts.clip, config)
    before = {name: p.detach().clone() for name, p in parts.clip.named_parameters()}
    towers = Towers(parts, torch.device("cpu"), "fp32")
    optimizer = adamw(parts.clip, lr=1e-2, weight_decay=0.2)
    stepper = Stepper(towers, Objective(config, Ranks()), optimizer, grad_clip=1.0, chunk_size=None, seed=0)
    stepper(batch_of(6, views=config.images_only), 1, [(6, 0)])
    changed = {name for name, p in parts.clip.named_parameters() if not torch.equal(p, before[name])}
    assert not any(name.startswith(still) for name in changed)
    assert changed


def test_batch_hard_from_random_weights_begins_semi_hard(tiny_config: Path, tiny_run: Path) -> None:
    def loss(progress: float, **settings: Any) -> float:
        return stepper_of(built(tiny_config), loss="triplet", **settings)(batch_of(11), 1, [(11, 0)], progress).loss

    semi_hard, hard = loss(1.0, mining="semi-hard"), loss(1.0, mining="batch-hard")
    assert hard > semi_hard == loss(0.0, mining="semi-hard")
    assert [loss(progress, mining="batch-hard") for progress in (0.0, 0.6, 0.8)] == [semi_hard, semi_hard, hard]
    assert loss(0.0, init=None, model=str(tiny_run), mining="batch-hard") == hard


def test_the_sigmoid_loss_brings_its_bias(tiny_config: Path, tmp_path: Path) -> None:
    parts = load_start(TrainConfig(pairs="", out="", init=str(tiny_config), loss="siglip"))
    assert parts.clip.logit_bias.item() == -10.0  # type: ignore[operator]
    assert logit_scale_of(parts.clip) == pytest.approx(10)
    save_model(tmp_path / "run", parts)
    made = open_clip.create_model(f"local-dir:{tmp_path / 'run'}")  # by open_clip itself
    assert (made.logit_bias.item(), made.logit_scale.item()) == (-10.0, pytest.approx(math.log(10)))
    fixed = load_start(TrainConfig(pairs="", out="", init=str(tiny_config), loss="siglip", temperature=0.05))
    assert logit_scale_of(fixed.clip) == pytest.approx(20)


def test_a_bias_that_a_model_was_trained_with_is_not_fitted_anew(
    tiny_config: Path, tiny_run: Path, tmp_path: Path
) -> None:
    def lacks_bias(*, resume: bool = False, **model: str) -> bool:
        config = TrainConfig(pairs="", out=str(tmp_path), loss="siglip", device="cpu", **model)  # type: ignore[arg-type]
        return Learner(config, Ranks(), resume=resume).lacks_bias

    save_model(tmp_path / "run", load_start(TrainConfig(pairs="", out="", init=str(tiny_config), loss="siglip")))
    assert not lacks_bias(model=str(tmp_path / "run"))  # it is -10, as one that is given anew
    assert not lacks_bias(init=str(tiny_config))
    assert lacks_bias(model=str(tiny_run))
    assert not lacks_bias(model=str(tiny_run), resume=True)


@pytest.mark.parametrize("chunk_size", [None, 3])
def test_a_trained_model_keeps_its_scale_and_gets_the_bias_that_fits_a_batch(
    tiny_run: Path, chunk_size: int | None
) -> None:
    config = TrainConfig(pairs="", out="", model=str(tiny_run), loss="siglip")
    parts = load_start(config)
    with torch.no_grad():
        parts.clip.logit_scale.fill_(math.log(100))  # type: ignore[operator]
    batch, counts = batch_of(11, negatives=2), [(11, 2)]
    stepper = stepper_of(parts, chunk_size, loss="siglip")
    best = stepper.fit_bias(batch, counts)
    assert logit_bias_of(parts.clip) == pytest.approx(best)
    assert logit_scale_of(parts.clip) == pytest.approx(100)

    def loss(bias: float) -> float:
        with torch.no_grad():
            parts.clip.logit_bias.fill_(bias)  # type: ignore[operator]
        return stepper(batch, 1, counts).loss

    assert loss(best) < min(loss(best - 0.5), loss(best + 0.5), loss(-10.0))
