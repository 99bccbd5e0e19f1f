"""Files of weights: which one a folder has, and reading it into a model, with our words for what does not fit.

open_clip is imported by what reads weights, so that who asks for the files' names does not wait for it.
"""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from base.errors import ModelError

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
HUB_WEIGHTS = (WEIGHTS, "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
_USUAL_NAMES = (
    *HUB_WEIGHTS, "open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin", "pytorch_model.pth",
    "model.pth",
)  # fmt: skip
_POINTER = b"version https://git-lfs"
_DAMAGED = "is cut short or damaged; copy or download it again"
_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")  # the last is what open_clip's trainer writes, one an epoch
_NOT_WEIGHTS = ("training_state.pt", "training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt")


def weights_in(folder: Path, ref: str) -> Path:
    """The weights of a run folder, chosen as open_clip does; where there are none, its trainer's only checkpoint.

    Raises:
        ModelError: there are none, or several checkpoints.
    """
    files = _weights_files(folder)
    if not files:
        raise ModelError(
            f"{ref}: the folder has a config but no weights ({', '.join(_SUFFIXES)}); where glimpse trains into it, "
            "it has not finished an epoch"
        )
    usual = [folder / name for name in _USUAL_NAMES if folder / name in files]
    others = sorted((file for file in files if file.suffix != ".pt"), key=lambda f: (f.suffix != ".safetensors", f))
    if chosen := usual or others:
        return chosen[0]
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:4])
        raise ModelError(f"{ref}: the folder has several checkpoints ({names}); name one, as {files[-1]}")
    return files[0]


def _weights_files(folder: Path) -> list[Path]:
    """What may be weights in a folder, the newest last; nothing where there is no folder."""
    files = [file for file in folder.glob("*") if file.suffix in _SUFFIXES and file.name not in _NOT_WEIGHTS]
    return sorted((file for file in files if file.is_file()), key=lambda file: (file.stat().st_mtime, file.name))


def no_run_folder(folder: Path) -> str:
    """What a folder without a config is, as far as its files tell."""
    reason = f"not a run folder, it has no {CONFIG}"
    if (folder / "config.json").is_file():
        return f"{reason}; its config.json is of transformers, whose models glimpse does not take"
    if (folder / "visual.onnx").is_file():
        return f"{reason}; it is an export for other programs: give the model that it was made of"
    checkpoints = _weights_files(folder) or _weights_files(folder / "checkpoints")
    return f"{reason}; {checkpoints[-1].name} is {how_to_take(checkpoints[-1])}" if checkpoints else reason


def how_to_take(file: Path) -> str:
    """What to give for a file that has no config beside it."""
    if file.suffix not in _SUFFIXES:
        return f"not a model; give a run folder, or a file of weights ({', '.join(_SUFFIXES)})"
    if problem := _problem_of(file):
        return problem
    from encoder.model.lean_open_clip import open_clip

    architecture = _architecture_beside(file)
    if architecture in open_clip.list_models():
        return f"weights alone, of {architecture} as its params.txt says: give {architecture}/{file}"
    return (
        "weights alone, which do not say of which architecture: give ARCHITECTURE/FILE, as "
        f"ViT-B-32/{file} for a run of open_clip with --model ViT-B-32"
    )


def load_weights(clip: Any, file: Path, ref: str) -> None:
    """Read a file of weights into a model, in place.

    Raises:
        ModelError: it holds other things than weights, or weights of another architecture.
    """
    from encoder.model.lean_open_clip import open_clip

    with file.open("rb") as opened:
        if opened.read(len(_POINTER)) == _POINTER:
            raise ModelError(
                f"{ref}: {file.name} is a pointer of Git LFS, not the weights; fetch them with `git lfs pull`"
            )
    try:
        found = open_clip.load_checkpoint(clip, str(file), strict=False)
    except pickle.UnpicklingError as error:
        raise ModelError(f"{ref}: {_not_plain_weights(file, str(error))}") from error
    except (SafetensorError, EOFError) as error:
        raise ModelError(f"{ref}: {file.name} {_DAMAGED}") from error
    except (RuntimeError, AssertionError) as error:
        if "TorchScript" in str(error):
            raise ModelError(
                f"{ref}: {file.name} is a TorchScript archive, as OpenAI published its models; take one that "
                "`glimpse models openai` lists"
            ) from error
        if "zip archive" in str(error):
            raise ModelError(f"{ref}: {file.name} {_DAMAGED}") from error
        raise ModelError(f"{ref}: {_of_another(file)}: {' '.join(str(error).split())[:200]}") from error
    if found and (found.missing_keys or found.unexpected_keys):
        lacks, extra = _some(found.missing_keys), _some(found.unexpected_keys)
        parts = [f"it lacks {lacks}"] * bool(lacks) + [f"it has {extra} beside"] * bool(extra)
        raise ModelError(f"{ref}: {_of_another(file)}: {', '.join(parts)}")


def _problem_of(file: Path) -> str | None:
    """Why a file cannot hold weights, by how it begins; None where it may: only building the model can tell."""
    try:
        with file.open("rb") as opened:
            head = opened.read(len(_POINTER))
        if head == _POINTER:
            return "a pointer of Git LFS, not the weights; fetch them with `git lfs pull`"
        if head.startswith(b"PK") and zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                sound = any(name.endswith("data.pkl") for name in archive.namelist())
        else:  # the oldest of torch is a pickle; safetensors has a length and then JSON
            sound = head.startswith(b"\x80") or (file.suffix == ".safetensors" and head[8:9] == b"{")
    except (OSError, zipfile.BadZipFile):
        sound = False
    return None if sound else "no file of weights, or a damaged one; copy or download it again"


def _of_another(file: Path) -> str:
    return f"the model cannot be built: {file.name} holds weights of another architecture"


def _not_plain_weights(file: Path, reason: str) -> str:
    """What torch's restricted unpickler met, and how weights are taken out of such a file."""
    met = re.search(r"GLOBAL (\S+)", reason)
    if met is None:
        return f"{file.name} is no file of weights, or a damaged one; copy or download it again"
    alone = file.with_name(f"{file.stem}_weights.pt")
    return (
        f"{file.name} holds more than weights ({met[1]}), which could run code when it is loaded. If you trust it, "
        f"save its weights alone: python -c \"import torch; c = torch.load({str(file)!r}, map_location='cpu', "
        f"weights_only=False); torch.save(c.get('state_dict', c), {str(alone)!r})\", and give that file"
    )


def _architecture_beside(file: Path) -> str | None:
    """The architecture that open_clip's trainer noted beside a checkpoint or one folder up, in `params.txt`."""
    for folder in (file.parent, file.parent.parent):
        try:
            note = (folder / "params.txt").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        named = re.search(r"^model: (\S+)$", note, re.MULTILINE)
        if named:
            return named[1]
    return None


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}" if names else ""


def read_model_cfg(file: Path, ref: str, missing: str) -> dict[str, Any]:
    """The `model_cfg` in a config that open_clip wrote, with its `text_cfg`; both are objects.

    Raises:
        ModelError: as `read_json`, or it has none.
    """
    model_cfg = read_json(file, missing).get("model_cfg")
    if not isinstance(model_cfg, dict) or not isinstance(model_cfg.get("text_cfg"), dict):
        raise ModelError(f"{ref}: its {CONFIG} has no model_cfg, so it is not one that open_clip wrote")
    return model_cfg


def read_json(path: Path, missing: str) -> dict[str, Any]:
    """The object in a JSON file; `missing` is the message if there is no such file.

    Raises:
        ModelError: no such file, or not an object in JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ModelError(missing) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no JSON object")
    return content
