"""What a few labelled images a class buy, way by way: top-1 accuracy of zero-shot, examples and their rivals.

    python -m bench.labelling.few_shot FOLDER --model runs/mine
    python -m bench.labelling.few_shot pairs.csv --label-key type --model runs/mine --names part

Of each draw half of every class is for testing, and the k images come from the other half. Zero-shot uses the names
alone (CLIP, section 3.1). Prototypes are the classes' mean unit vectors (Snell et al. 2017). The linear probe is
logistic regression on unit vectors (CLIP, section 3.2). Tip-Adapter (arXiv 2111.03930) is the one without training, by
its own defaults, since there is nothing to tune it on. The forest is LightlyStudio's few-shot classifier, a random
forest of scikit-learn, where that is installed. Examples is `labelling.examples`. Fine-tuning is `glimpse train FOLDER
--folders` on the k images, of which it holds some out itself, then zero-shot.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from base.errors import ImageError
from base.sources.tables import Table
from base.sources.walk import class_folder, walk_images
from bench.common import machine
from bench.kept import mean_sd
from encoder.encoder import Vectors
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import load_encoder
from encoder.zero_shot.classifier import Classifier, build_classifier
from labelling.examples import Examples, fit
from training.config import TrainConfig
from training.train import train

try:
    from sklearn.ensemble import RandomForestClassifier
except ImportError:
    RandomForestClassifier = None

Labels = npt.NDArray[np.int64]
Way = Callable[[Vectors, Labels, Vectors], Vectors]  # examples, their labels, queries: a score a class
Images = Mapping[str, Sequence[Path]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a folder with a folder a class, or a table of images")
    parser.add_argument("--model", required=True, help="run folder, name/tag or hf-hub:org/name")
    parser.add_argument("--image-key", default="image", help="of a table: the column with the images")
    parser.add_argument("--label-key", default="label", help="of a table: the column with the classes")
    parser.add_argument("--least", type=int, default=40, help="images of a class, or it is left out")
    parser.add_argument("--most", type=int, default=100, help="images of a class for testing")
    parser.add_argument("--names", choices=["own", "part"], default="own", help="part: classes are named part-1 to n")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="images a class")
    parser.add_argument("--draws", type=int, default=5, help="how many")
    parser.add_argument("--fine-tune", action="store_true", help="too, which is slow")
    parser.add_argument("--epochs", type=int, default=10, help="of fine-tuning")
    parser.add_argument("--lr", type=float, default=1e-5, help="of fine-tuning")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    encoder = load_encoder(arguments.model)
    images_of = {name: paths for name, paths in read(arguments).items() if len(paths) >= arguments.least}
    vector_of = encode(encoder, [path for paths in images_of.values() for path in paths])
    images_of = {name: [path for path in paths if path in vector_of] for name, paths in images_of.items()}
    names = [f"part-{i}" for i in range(1, len(images_of) + 1)] if arguments.names == "part" else list(images_of)
    classifier = build_classifier(encoder, names)
    ways = ways_of(classifier)
    accuracy: dict[tuple[int, str], list[float]] = {}
    for draw in range(arguments.draws):
        pool, test = halve(images_of, draw, arguments.most)
        queries, truth = stack(test, vector_of)
        for k in arguments.shots:
            shots = {name: paths[:k] for name, paths in pool.items()}
            vectors, labels = stack(shots, vector_of)
            found = {way: scores(vectors, labels, queries) for way, scores in ways.items()}
            if arguments.fine_tune:
                found["fine-tuned"] = fine_tuned(arguments, shots, draw, names, [p for ps in test.values() for p in ps])
            for way, scores in found.items():
                accuracy.setdefault((k, way), []).append(float((scores.argmax(axis=1) == truth).mean()))

    columns = list(dict.fromkeys(way for _, way in accuracy))
    print(
        f"{machine()}\n{arguments.source}: {len(vector_of)} images, {len(images_of)} classes, named {arguments.names}"
    )
    print(f"{arguments.model}; top-1 accuracy, mean +- sd of {arguments.draws} draws\n")
    print(f"{'images a class':14}" + "".join(f"{way:>16}" for way in columns))
    for k in arguments.shots:
        print(f"{k:<14}" + "".join(f"{mean_sd(accuracy[k, way]):>16}" for way in columns))


def read(arguments: argparse.Namespace) -> dict[str, list[Path]]:
    """Images by class."""
    images_of: dict[str, list[Path]] = {}
    source: Path = arguments.source
    if source.is_dir():
        for path, _ in walk_images(source):
            if name := class_folder(path, source):
                images_of.setdefault(name, []).append(path)
    else:
        for _, row in Table(
            source, [(arguments.image_key, "--image-key"), (arguments.label_key, "--label-key")]
        ).rows():
            if row[arguments.label_key].strip():
                images_of.setdefault(row[arguments.label_key], []).append(source.parent / row[arguments.image_key])
    return images_of


def encode(encoder: DualEncoder, paths: Sequence[Path]) -> dict[Path, Vectors]:
    """The unit vector of each image that can be read."""
    encoded = [pair for batch in encoder.encode_stream(paths) for pair in batch]
    return {path: vector for path, vector in encoded if not isinstance(vector, ImageError)}


def halve(images_of: Images, draw: int, most: int) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Pool and test half of each class, shuffled; of the latter no more than `most`."""
    pool, test = {}, {}
    for name, paths in images_of.items():
        order = random.Random(f"{draw} {name}").sample(paths, len(paths))
        pool[name], test[name] = order[: len(order) // 2], order[len(order) // 2 :][:most]
    return pool, test


def stack(images_of: Images, vector_of: Mapping[Path, Vectors]) -> tuple[Vectors, Labels]:
    """Vectors (n, dim) and the row of each one's class in `images_of` (n,)."""
    vectors = [vector_of[path] for paths in images_of.values() for path in paths]
    return np.stack(vectors), np.repeat(np.arange(len(images_of)), [len(paths) for paths in images_of.values()])


def ways_of(classifier: Classifier) -> dict[str, Way]:
    """Each from examples (n, dim), their classes (n,) and queries (m, dim) to scores (m, n_classes)."""

    def examples(vectors: Vectors, labels: Labels, queries: Vectors) -> Vectors:
        learned = fit(Examples(vectors, one_hot(labels)), classifier.logits(vectors))
        return learned.logits(queries, classifier.logits(queries))

    def tip_adapter(vectors: Vectors, labels: Labels, queries: Vectors) -> Vectors:
        cache = np.exp(-5.5 * (1 - queries @ vectors.T)) @ one_hot(labels)
        return classifier.logits(queries) + cache

    ways: dict[str, Way] = {
        "zero-shot": lambda vectors, labels, queries: classifier.logits(queries),
        "prototypes": prototypes,
        "linear probe": linear_probe,
        "Tip-Adapter": tip_adapter,
        "forest": forest,
        "examples": examples,
    }
    if RandomForestClassifier is None:
        del ways["forest"]
    return ways


def one_hot(labels: Labels) -> Vectors:
    return np.eye(labels.max() + 1, dtype=np.float32)[labels]


def prototypes(vectors: Vectors, labels: Labels, queries: Vectors) -> Vectors:
    """Cosine of each query with each class's mean: (n_queries, n_classes)."""
    means = one_hot(labels).T @ vectors
    return queries @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T


def forest(vectors: Vectors, labels: Labels, queries: Vectors) -> Vectors:
    """A class's share of the votes of trees, which are as LightlyStudio asks for them."""
    trees = RandomForestClassifier(class_weight="balanced", random_state=42)
    with warnings.catch_warnings(action="ignore"):  # at one image a class it takes labels for numbers
        return trees.fit(vectors, labels).predict_proba(queries)


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


def fine_tuned(
    arguments: argparse.Namespace, shots: Images, seed: int, names: Sequence[str], queries: Sequence[Path]
) -> Vectors:
    """Zero-shot logits of queries by the model after training on a folder of links to the shots."""
    work = Path(tempfile.mkdtemp())
    lay_out(work / "shots", dict(zip(names, shots.values(), strict=True)))
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
    vector_of = encode(tuned, queries)
    return build_classifier(tuned, names).logits(np.stack([vector_of[path] for path in queries]))


def lay_out(folder: Path, shots: Images) -> None:
    """A folder a class with links to its images; a lone one is there twice, for the trainer holds out one at least."""
    for name, paths in shots.items():
        (folder / name).mkdir(parents=True)
        for i, path in enumerate(paths if len(paths) > 1 else [*paths, *paths]):
            (folder / name / f"{i}{path.suffix}").symlink_to(path.resolve())


if __name__ == "__main__":
    main()
