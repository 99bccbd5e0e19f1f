"""Few-shot classification of a folder of class folders: what k labelled images a class buy, way by way.

    python bench/few_shot.py FOLDER --model runs/mine --shots 1 4 16

Each seed halves every class into a pool, where the k images come from, and a test half. Zero-shot uses the names alone
(CLIP, section 3.1). Prototypes are the classes' mean unit vectors (Snell et al. 2017). The linear probe is logistic
regression on unit vectors (CLIP, section 3.2). Fine-tuning is `glimpse train FOLDER --folders` on the k images, of
which it holds some out itself, then zero-shot.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from common import machine

from base.errors import ImageError
from base.walk import walk_images
from encoder.encoder import Vectors
from encoder.load import load_encoder
from encoder.model import DualEncoder
from encoder.zero_shot import build_classifier
from training.config import TrainConfig
from training.train import train

Labels = npt.NDArray[np.int64]
WAYS = ("zero-shot", "prototypes", "linear probe", "fine-tune")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds a folder a class")
    parser.add_argument("--model", required=True, help="run folder, name/tag or hf-hub:org/name")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16], help="images a class")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--epochs", type=int, default=10, help="of fine-tuning")
    parser.add_argument("--lr", type=float, default=1e-5, help="of fine-tuning")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    encoder = load_encoder(arguments.model)
    vector_of = encode(encoder, [path for path, _ in walk_images(arguments.folder)])
    images_of: dict[str, list[Path]] = {}
    for path in vector_of:
        images_of.setdefault(path.relative_to(arguments.folder).parts[0], []).append(path)
    accuracy: dict[tuple[int, str], list[float]] = {(k, way): [] for k in arguments.shots for way in WAYS}
    for seed in range(arguments.seeds):
        pool, test = halve(images_of, seed)
        test_vectors, truth = stack(test, vector_of)
        for k in arguments.shots:
            shots = {name: paths[:k] for name, paths in pool.items()}
            vectors, labels = stack(shots, vector_of)
            tuned = fine_tune(arguments, shots, seed)
            tuned_vector_of = encode(tuned, [path for paths in test.values() for path in paths])
            for way, scores in {
                "zero-shot": build_classifier(encoder, list(test)).scores(test_vectors),
                "prototypes": prototypes(vectors, labels, test_vectors),
                "linear probe": linear_probe(vectors, labels, test_vectors),
                "fine-tune": build_classifier(tuned, list(test)).scores(stack(test, tuned_vector_of)[0]),
            }.items():
                accuracy[k, way].append(float((scores.argmax(axis=1) == truth).mean()))

    print(
        f"{machine()}\n{arguments.folder}: {len(vector_of)} images, {len(images_of)} classes, half of each for testing"
    )
    print(f"{arguments.model}; top-1 accuracy, mean +- sd of {arguments.seeds} seeds\n")
    print(f"{'images a class':16}" + "".join(f"{way:>18}" for way in WAYS))
    for k in arguments.shots:
        print(f"{k:<16}" + "".join(f"{mean_sd(accuracy[k, way]):>18}" for way in WAYS))


def encode(encoder: DualEncoder, paths: Sequence[Path]) -> dict[Path, Vectors]:
    """The unit vector of each image that can be read."""
    encoded = [pair for batch in encoder.encode_stream(paths) for pair in batch]
    return {path: vector for path, vector in encoded if not isinstance(vector, ImageError)}


def halve(images_of: Mapping[str, list[Path]], seed: int) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Pool and test half of each class, shuffled."""
    pool, test = {}, {}
    for name, paths in images_of.items():
        order = random.Random(f"{seed} {name}").sample(paths, len(paths))
        pool[name], test[name] = order[: len(order) // 2], order[len(order) // 2 :]
    return pool, test


def stack(images_of: Mapping[str, list[Path]], vector_of: Mapping[Path, Vectors]) -> tuple[Vectors, Labels]:
    """Vectors (n, dim) and the row of each one's class in `images_of` (n,)."""
    vectors = [vector_of[path] for paths in images_of.values() for path in paths]
    return np.stack(vectors), np.repeat(np.arange(len(images_of)), [len(paths) for paths in images_of.values()])


def prototypes(vectors: Vectors, labels: Labels, queries: Vectors) -> Vectors:
    """Cosine of each query with each class's mean: (n_queries, n_classes)."""
    means = np.stack([vectors[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    return queries @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T


def linear_probe(vectors: Vectors, labels: Labels, queries: Vectors) -> Vectors:
    """Logits (n_queries, n_classes) of logistic regression with L2 on its weights.

    Vectors are centred on the shots' mean and scaled to mean square 1 a dimension, so that one strength fits any model:
    1 / n, a Gaussian prior of variance 1 on each weight.
    """
    x, target, q = torch.from_numpy(vectors), torch.from_numpy(labels), torch.from_numpy(queries)
    centre = x.mean(dim=0)
    scale = (x - centre).square().mean().sqrt()
    x, q = (x - centre) / scale, (q - centre) / scale
    weight = torch.zeros(x.shape[1], int(target.max()) + 1, requires_grad=True)
    bias = torch.zeros(weight.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight + bias, target) + weight.square().sum() / (2 * len(x))
        loss.backward()
        return loss

    optimizer.step(closure)
    return (q @ weight + bias).detach().numpy()


def fine_tune(arguments: argparse.Namespace, shots: Mapping[str, list[Path]], seed: int) -> DualEncoder:
    """The model after training on a folder of links to the shots."""
    work = Path(tempfile.mkdtemp())
    for name, paths in shots.items():
        (work / "shots" / name).mkdir(parents=True)
        # the trainer holds out one image a class at least, so a lone one is given twice
        for i, path in enumerate(paths if len(paths) > 1 else 2 * paths):
            (work / "shots" / name / f"{i}{path.suffix}").symlink_to(path.resolve())
    n = sum(map(len, shots.values()))
    config = TrainConfig(
        pairs=str(work / "shots"),
        folders=True,
        out=str(work / "run"),
        model=arguments.model,
        epochs=arguments.epochs,
        batch_size=max(2, min(32, n // 2)),
        lr=arguments.lr,
        seed=seed,
    )
    for _ in train(config):
        pass
    tuned = load_encoder(config.out)
    shutil.rmtree(work)
    return tuned


def mean_sd(values: Sequence[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} +- {spread:.3f}"


if __name__ == "__main__":
    main()
