"""`README.md` of a run folder: the model's card, as model hubs read it. Says what the run knows, and asks for the rest.

The fields at its head are those of Hugging Face's model cards. It names files without their folders, so that it can be
given away; what only a person can say (who, for what, under which licence) it asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from encoder.model.hub.published import on_hub
from encoder.model.weights import CONFIG
from training.config import in_effect
from training.reading.measures import GROUPS, Record, group, number, telling
from training.run_folder import METRICS, TRAIN_CONFIG, artefact, read_json

CARD = "README.md"
OURS = "<!-- Written by glimpse. A run that goes on writes it anew, unless this line is gone. -->"
TOLD = ("loss", "epochs", "batch_size", "lr", "lora", "lock_image", "lock_text", "temperature", "seed", "precision")
LIMITS = """The figures hold for images and words like those it was measured on; for others measure it first, with
`glimpse eval`. It knows what its data shows, and shares what the data has wrong, leaves out or is unfair in. It does
not know people, and a score is no probability unless it was calibrated on your own data.

To be filled in before it is given away: who made it, whose data it is and whether it may be used so, what the model is
meant for, what it must not be used for, and its licence."""
HUB = "https://huggingface.co/"


def write_card(out: Path) -> None:
    """Write the card from what the run folder holds by now; one that a person has made theirs stays.

    Raises:
        TrainingError: it cannot be written.
    """
    path = out / CARD
    if path.is_file() and OURS not in path.read_text(encoding="utf-8", errors="replace"):
        return
    text = "\n".join(_lines(out))
    with artefact(path) as part:
        part.write_bytes(text.encode("utf-8", "replace"))  # a name may hold any bytes


def _lines(out: Path) -> Iterator[str]:
    config, result = read_json(out / TRAIN_CONFIG), read_json(out / METRICS)
    name = out.resolve().name
    repository, start = start_of(config)
    yield "---"
    yield "library_name: open_clip"
    yield "pipeline_tag: zero-shot-image-classification"
    yield "tags: [clip, image-text-retrieval, glimpse]"
    if repository:
        yield f"base_model: {repository}"
    yield "# license: yours to say; what the weights it began with and the data allow, binds it"
    yield "---"
    yield OURS
    yield f"\n# {_plain(name)}\n"
    yield "A dual encoder in the style of CLIP: images and texts become vectors in one space, and the nearer, the"
    yield "better they fit. It finds images by words and tells which of some labels fits an image.\n"
    yield f"- **Model**: {_model(out, result)}"
    yield f"- **Began with**: {start}"
    yield f"- **Data**: {_data(config, result)}"
    counted = in_effect(config)
    settings = ", ".join(f"{key} {counted[key]}" for key in TOLD if counted.get(key) not in (None, False))
    yield f"- **Training**: {settings or 'not said'}, by `glimpse train`"
    yield from _figures(result)
    yield "\n## Use\n"
    yield "```python"
    yield "import open_clip"
    yield ""
    yield f'model, _, preprocess = open_clip.create_model_and_transforms("local-dir:{name}")'
    yield f'tokenizer = open_clip.get_tokenizer("local-dir:{name}")'
    yield "```\n"
    yield f"Or with glimpse: `glimpse index PHOTOS --collection photos --model {name}`.\n"
    yield "## Intended use and limits\n"
    yield LIMITS
    yield ""


def start_of(config: Record) -> tuple[str, str]:
    """(the hub's repository of the weights that a run began with, or ""; the same in words, with whose licence it is).

    Through run folders down to the first one.
    """
    model, seen = str(config.get("model") or ""), list[str]()
    while model and model not in seen and (before := read_json(Path(model) / TRAIN_CONFIG)):
        seen.append(model)
        config, model = before, str(before.get("model") or "")
    if not model:
        repository = ""
        words = f"random weights ({_plain(Path(str(config.get('init'))).name)}), so nobody else's licence is on them"
    else:
        repository = model.removeprefix("hf-hub:").partition("@")[0] if model.startswith("hf-hub:") else ""
        repository = repository or on_hub().get(model, ("", ()))[0]
        where = f"[{repository}]({HUB}{repository})" if repository else "its publisher"
        name = _plain(Path(model).name if Path(model).exists() else model)
        words = f"{name}; its licence binds this model too: see {where}"
    through = "".join(f"{_plain(Path(run).name)}, a run that began with " for run in seen)
    return repository, through + words


def _model(out: Path, result: Record) -> str:
    config = group(read_json(out / CONFIG).get("model_cfg"))
    size = group(config.get("vision_cfg")).get("image_size")
    parts = [f"vectors of {config.get('embed_dim')} numbers", f"images of {size} pixels" if size else ""]
    parameters = number(result, "parameters")
    parts.append(f"{parameters / 1e6:.1f} M parameters" if parameters else "")
    return ", ".join(filter(None, parts))


def _data(config: Record, result: Record) -> str:
    train, held_out = number(result, "data", "train"), number(result, "data", "held_out")
    what = (
        "images in class folders" if config.get("folders") else "images" if config.get("loss") == "nt-xent" else "pairs"
    )
    name = _plain(Path(str(config.get("pairs"))).name)
    counts = (
        "" if train is None or held_out is None else f"{train:,.0f} {what} to learn from, {held_out:,.0f} held out; "
    )
    if config.get("val"):
        split = f"held out are those of {_plain(Path(str(config['val'])).name)}"
    else:
        split = f"{config.get('val_fraction', 0):.0%} held out by seed {config.get('seed')}"
    return f"{counts}{name}, {split}"


def _figures(result: Record) -> Iterator[str]:
    epochs = result.get("epochs") or []
    best = next((epoch for epoch in epochs if epoch["epoch"] == result.get("best_epoch")), None)
    if best is None:
        return
    start, after = group(epochs[0].get("metrics")), group(best.get("metrics"))
    yield "\n## Figures\n"
    texts = f" and {after['n_texts']:,} texts" if after.get("n_texts") else ""
    yield f"On {after.get('n_images', 0):,} held-out images{texts}, before training and after epoch {best['epoch']}:\n"
    yield "| | before | after |\n|---|---|---|"
    for path, name in [*GROUPS.items(), ("", "")]:
        for key, measure in telling(after).items():
            where = (path, key) if path else (key,)
            if (reached := number(after, *where)) is not None:
                before = number(start, *where)
                yield f"| {measure}{f', {name}' if name else ''} | {_digits(before)} | {_digits(reached)} |"
    if (mix := number(result, "interpolation", "alpha")) is not None and mix != 1:
        score = _digits(number(result, "best_score"))
        yield f"\nThe weights are {mix:.0%} trained, the rest as before; that scores {score}."
    for warning in result.get("warnings") or []:
        yield f"\n> {_plain(warning)}"


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _plain(text: str) -> str:
    """A text that Markdown leaves as it is, on one line."""
    return " ".join("".join(f"\\{c}" if c in "\\`*[]<>|#" else c for c in text).split())
