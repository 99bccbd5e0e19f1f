"""The tables of docs/architecture.md, held: who may import whom, and who alone touches which library."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = runpy.run_path(str(ROOT / "docs" / "make_house.py"))
PACKAGES: tuple[str, ...] = HOUSE["PACKAGES"]
FILES: list[Path] = HOUSE["source_files"]()
MAY_IMPORT = {  # of the other packages: a whole one, or single modules of it
    "base": set(),
    "encoder": {"base"},
    "index": {"base"},
    "index.bulk": {"base", "encoder"},
    "index.ingest": {"base", "encoder"},
    "labelling": {"base", "encoder", "index"},
    "training": {"base", "encoder"},
    "service": {
        "base",
        "encoder",
        "index",
        "labelling",
        "training.loss.forces",
        "training.reading",
        "training.run_folder",
    },
    "glimpse": {"base", "encoder", "index", "labelling", "training", "service"},
    "glimpse.client": {"base.errors", "base.names", "base.reading"},
}
INSIDE = {  # of its own package: what a folder may import beside itself
    "encoder.picture": set(),
    "encoder.towers": {
        "encoder.cut",
        "encoder.unread",
        "encoder.encoder",
        "encoder.image",
        "encoder.known",
        "encoder.model",
    },
    "encoder.export": {"encoder.image", "encoder.known", "encoder.model", "encoder.towers", "encoder.unread"},
    "encoder.zero_shot": {"encoder.cut", "encoder.encoder"},
    "encoder.model": {
        "encoder.cut",
        "encoder.unread",
        "encoder.encoder",
        "encoder.image",
        "encoder.known",
        "encoder.processor",
    },
    "encoder.model.hub": {"encoder.model.weights", "encoder.model.lean_open_clip"},
    "index.search": {"index.entry", "index.rows"},
    "index.local": {
        "index.batch",
        "index.columns",
        "index.entry",
        "index.rows",
        "index.config",
        "index.search",
        "index.writer_lock",
    },
    "index.local.catalog": {
        "index.batch",
        "index.columns",
        "index.entry",
        "index.config",
        "index.facets",
        "index.matching",
        "index.search",
        "index.local.snapshot",
    },
    "index.local.catalog.sqlite": set(),
    "index.local.vectors": {"index.entry", "index.rows", "index.config", "index.local.catalog", "index.local.snapshot"},
    "index.map": {"index.columns", "index.collection", "index.local.vectors.ann", "index.rows"},
    "index.milvus": {
        "index.batch",
        "index.columns",
        "index.entry",
        "index.rows",
        "index.config",
        "index.facets",
        "index.matching",
        "index.search",
        "index.writer_lock",
    },
    "index.bulk": {
        "index.batch",
        "index.collection",
        "index.entry",
        "index.ingest.captions",
        "index.parquet.rows",
        "index.rows",
        "index.uploads",
    },
    "index.ingest": {"index.collection", "index.entry", "index.search.calibration"},
    "labelling.outputs": {"labelling.rows", "labelling.xmp"},
    "labelling.runs": {
        "labelling.label_sets",
        "labelling.labeller",
        "labelling.learned",
        "labelling.outputs",
        "labelling.rows",
        "labelling.xmp",
    },
    "labelling.xmp": set(),
    "training.data": set(),
    "training.evaluation": {"training.data"},
    "training.loss.losses": set(),
    "training.loss.forces": {"training.loss.losses", "training.evaluation.geometry", "training.evaluation.warnings"},
    "training.reading": {"training.config", "training.run_folder"},
    "training.run_folder": set(),
    "service.telemetry": {"service.settings"},
    "service.http": {
        "service.disk",
        "service.errors",
        "service.keys",
        "service.settings",
        "service.signing",
        "service.telemetry",
    },
    "service.inference": {"service.settings", "service.telemetry"},
    "service.collections": {"service.inference"},
    "service.jobs": {"service.errors", "service.settings", "service.inference", "service.collections"},
    "service.schemas": {"service.errors", "service.collections.metadata", "service.jobs.store"},
    "glimpse.client": {"glimpse.__version__"},
}
WITHOUT_TORCH = (  # what a command line, a client or a page imports before it knows whether there is work for a model
    "base.errors", "base.files", "base.sources.walk", "encoder.choice.languages", "encoder.choice.models",
    "encoder.known", "encoder.lazy", "encoder.query", "encoder.zero_shot.word_bank",
    "encoder.picture.sandbox", "encoder.picture.twins", "glimpse.catalogue", "glimpse.cli",
    "glimpse.client", "index.collection", "index.duplicates", "index.ingest.sync",
    "labelling.examples", "labelling.label_sets", "labelling.outputs.table", "labelling.rejection",
    "labelling.rows", "labelling.runs.kept", "labelling.vocabulary", "labelling.xmp.change", "training.config",
    "training.reading.comparison", "training.reading.diary", "training.run_folder",
)  # fmt: skip
ONLY_IN = {
    "open_clip": {"encoder/model/lean_open_clip.py"},
    "huggingface_hub": {"encoder/model/hub/repository.py", "encoder/model/hub/refusals.py"},
    "PIL": {
        "encoder/picture/",
        "encoder/image.py",
        "encoder/encoder.py",
        "encoder/choice/machine.py",
        "training/data/augment.py",
        "training/data/grounds.py",
        "service/inference/images.py",
        "glimpse/demo/postcards/",
        "glimpse/finding/previews.py",
    },
    "pillow_heif": {"encoder/picture/decode.py"},
    "ray": {"index/bulk/on_ray.py"},
    "faiss": {"index/local/vectors/ann.py"},
    "pymilvus": {"index/milvus/server.py"},
    "sqlite3": {"index/local/catalog/sqlite/", "labelling/runs/database.py"},
    "onnx": {"encoder/towers/export.py"},
    "onnxruntime": {"encoder/towers/encoder.py"},
    "tokenizers": {"encoder/towers/", "encoder/export/"},
    "orjson": {"service/routes/embeddings.py", "labelling/outputs/jsonl.py", "labelling/runs/"},
    "watchfiles": {"index/ingest/watch.py"},
    "pyarrow": {"index/bulk/", "index/parquet/rows.py", "labelling/outputs/parquet.py"},
    "fastapi": {"service/"},
    "starlette": {"service/"},
    "uvicorn": {"service/"},
    "pydantic_settings": {"service/settings.py"},
    "prometheus_client": {"service/telemetry/metrics.py"},
    "opentelemetry": {"service/telemetry/tracing.py"},
    "httpx": {"service/inference/fetch.py", "glimpse/client/connection.py"},
    "mcp": {"glimpse/agents/server.py", "glimpse/agents/tools.py"},
    "umap": {"index/map/umap.py"},
    "webdataset": {"base/sources/shards.py", "training/data/shards.py"},
    "tensorboardX": {"training/records/trackers.py"},
    "mlflow": {"training/records/trackers.py"},
    "wandb": {"training/records/trackers.py"},
    "typer": {"glimpse/"},
    "rich": {"glimpse/"},
    "textual_image": {"glimpse/finding/previews.py"},
    "torch": {"encoder/", "training/", "glimpse/demo/run.py"},
}


def lies_in(module: str, place: str) -> bool:
    """Whether a module is this place or in it."""
    return f"{module}.".startswith(f"{place}.")


def rule_for(module: str, rules: dict[str, set[str]]) -> tuple[str, set[str]] | None:
    """The rule of the innermost place that a module lies in."""
    places = [place for place in rules if lies_in(module, place)]
    return (max(places, key=len), rules[max(places, key=len)]) if places else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_layer_may(path: Path) -> None:
    name, own = path.relative_to(ROOT).as_posix(), HOUSE["module_of"](path)
    for module in HOUSE["imports"](path):
        top = module.split(".")[0]
        rule = rule_for(own, INSIDE if top == own.split(".")[0] else MAY_IMPORT)
        if top in PACKAGES and rule is not None and not lies_in(module, rule[0]):
            assert any(lies_in(module, allowed) for allowed in rule[1]), f"{name} imports {module}"
        if top in ONLY_IN:
            allowed = ONLY_IN[top]
            assert any(name == place or (place.endswith("/") and name.startswith(place)) for place in allowed), (
                f"{name} imports {module}; only {', '.join(sorted(allowed))} may"
            )


def test_no_imports_run_in_a_circle() -> None:
    for folder, graph in HOUSE["graphs"]():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            pytest.fail(f"in {folder or 'the house'}: {error}")


def test_what_is_imported_first_brings_no_torch() -> None:
    block = "import sys; sys.modules['torch'] = None\n" + "\n".join(f"import {name}" for name in WITHOUT_TORCH)
    subprocess.run([sys.executable, "-c", block], check=True, cwd=ROOT)


def test_a_service_brings_no_open_clip_and_of_the_training_only_what_looks_at_losses_and_reads_runs() -> None:
    block = "import sys, service.app; print(*sys.modules)"
    asked = subprocess.run([sys.executable, "-c", block], check=True, cwd=ROOT, capture_output=True, text=True)
    brought = {name for name in asked.stdout.split() if name.startswith(("training.", "open_clip"))}
    evaluation = {f"training.evaluation{part}" for part in ("", ".geometry", ".metrics", ".warnings")}
    loss = {f"training.loss{part}" for part in ("", ".forces", ".losses")}
    settings = {"training.config", "training.data", "training.data.keys", "training.run_folder"}
    allowed = {*loss, *settings, *evaluation}
    assert {name for name in brought if not lies_in(name, "training.reading")} <= allowed


def test_a_training_that_spreads_no_model_brings_nothing_that_does_and_no_compiler(
    colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    block = "import sys; from glimpse.cli import perform; perform(sys.argv[1:]); print(*sys.modules)"
    few = ("--epochs=1", "--batch-size=8", "--device=cpu")
    train = ["train", colour_pairs(40), "--init", tiny_config, "--out", tmp_path / "run", *few]
    asked = subprocess.run(
        [sys.executable, "-c", block, *map(str, train)], check=True, cwd=ROOT, capture_output=True, text=True
    )
    unwanted = {"torch.distributed.tensor", "torch.distributed.checkpoint", "sympy", "torch._dynamo"}
    assert unwanted.isdisjoint(asked.stdout.split())
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_first_what_it_is_and_its_functions_are_short_and_take_few_arguments(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    if "commands" in path.relative_to(ROOT).parts:  # an option is an argument there
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            names = [argument.arg for argument in given if argument.arg not in ("self", "cls")]
            assert len(names) <= 7, f"{node.name}: give it a dataclass of the field for some of {', '.join(names)}"
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} is longer than a page"
