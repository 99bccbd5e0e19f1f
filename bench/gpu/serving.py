"""Parts of bench/gpu that encode: the machine itself, vectors against a processor's, indexing, the service."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from base.machine.cpus import cpus
from base.read_ahead import READERS, read_batches
from bench.common import machine, photos, random_model
from bench.encoder.index_speed import OURS, index_rates
from bench.gpu.rows import Bench
from bench.service.service_speed import load_of, model_alone, requests_of, serving
from bench.training.training_speed import CAPTION, matrix_rate
from encoder.image import Pixels, read_picture
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import build_clip, load_encoder


def measure_machine(bench: Bench) -> None:
    """What all other rows stand on."""
    with bench.attempt("machine"):
        bench.row("machine", processor=machine(), cores=str(cpus()))
    with bench.attempt("card"):
        bench.need_cuda()
        card = torch.cuda.get_device_properties(0)
        bench.row(
            "card",
            name_=card.name,
            memory_GB=card.total_memory / 1e9,
            driver=driver(),
            CUDA=torch.version.cuda,
            cuDNN=torch.backends.cudnn.version(),
        )
    for precision in ("bf16", "fp32"):
        with bench.attempt(f"one {precision} matrix product"):
            bench.row(f"one {precision} matrix product", TFLOP_per_s=matrix_rate(precision, bench.device) / 1e12)
    parts = build_clip(bench.architecture)
    pictures = sorted(photos(*bench.pick((256, (400, 533)), (16, (160, 120)))).iterdir())
    for threads in sorted({1, READERS}):
        with bench.attempt(f"JPEGs to pixels, {threads} threads"):
            files = pictures * bench.pick(2 if threads == 1 else 16, 1)
            started = time.perf_counter()
            for _ in read_batches(
                lambda path: read_picture(path, parts.preprocess), files, 64, overlap=True, readers=threads
            ):
                pass
            rate = len(files) / (time.perf_counter() - started)
            bench.row(f"JPEGs to pixels, {threads} threads", images_per_s=rate)
    with bench.attempt("texts to tokens"):
        texts = [CAPTION.format(i) for i in range(bench.pick(4096, 64))]
        bench.row("texts to tokens", texts_per_s=len(texts) / bench.seconds(lambda: parts.tokenizer(texts), 1))
    with bench.attempt("a batch to the card"):
        bench.need_cuda()
        batch = torch.zeros(1024, 224, 224, 3, dtype=torch.uint8)
        pinned = batch.pin_memory()
        bench.row(
            "a batch to the card",
            GB_per_s=batch.nbytes / 1e9 / bench.seconds(lambda: batch.to("cuda"), 5),
            pinned_GB_per_s=batch.nbytes / 1e9 / bench.seconds(lambda: pinned.to("cuda", non_blocking=True), 5),
        )


def driver() -> str:
    """Version of the card's driver, where nvidia-smi tells."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown: no nvidia-smi"
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout.strip() or "unknown"


def measure_encoding(bench: Bench) -> None:
    """Vectors against those of a processor in fp32; images and texts a second, and what a CUDA graph would give."""
    model = random_model(bench.architecture)
    reference = load_encoder(model, "cpu", "fp32")
    files = sorted(photos(*bench.pick((256, (400, 533)), (16, (160, 120)))).iterdir())
    pixels = np.stack([read_picture(path, reference.preprocess).pixels for path in files])
    few, texts = pixels[: bench.pick(64, 8)], [f"a photo of {i} things" + " and more" * (i % 9) for i in range(64)]
    for precision in ("fp32", "bf16"):
        with bench.attempt(f"vectors, {precision}"):
            encoder = load_encoder(model, bench.device, precision)
            images = (encoder.encode_pixels(few) * reference.encode_pixels(few)).sum(1)
            words = (encoder.encode_texts(texts) * reference.encode_texts(texts)).sum(1)
            bench.row(
                f"vectors, {precision}",
                least_cosine_of_images=float(images.min()),
                least_cosine_of_texts=float(words.min()),
            )
    encoder = load_encoder(model, bench.device, "bf16")
    for size in bench.pick((1, 64, 256, 1024), (1, 8)):
        batch = np.resize(pixels, (size, *pixels.shape[1:]))
        for way, make in WAYS.items():
            with bench.attempt(f"encode {size} images, {way}"):
                encode = make(bench, encoder, batch)
                seconds = bench.seconds(encode, bench.pick(20, 1))
                right = (encode() * encoder.encode_pixels(batch)).sum(1).min()
                bench.row(
                    f"encode {size} images, {way}", images_per_s=size / seconds, ms=seconds * 1e3, cosine=float(right)
                )
    for size in bench.pick((1, 64, 256), (1, 8)):
        with bench.attempt(f"encode {size} texts"):
            many = (texts * 4)[:size]
            seconds = bench.seconds(lambda: encoder._encode_texts(many), bench.pick(20, 1))  # noqa: B023
            bench.row(f"encode {size} texts", texts_per_s=size / seconds, ms=seconds * 1e3)


Encode = Callable[[], np.ndarray]


def as_it_is(_: Bench, encoder: DualEncoder, pixels: Pixels) -> Encode:
    return lambda: encoder.encode_pixels(pixels)


def pinned(bench: Bench, encoder: DualEncoder, pixels: Pixels) -> Encode:
    """As it is, out of memory that the card reads by itself."""
    bench.need_cuda()
    source = torch.from_numpy(pixels).pin_memory()

    @torch.inference_mode()
    def encode() -> np.ndarray:
        return unit(encoder, encoder._normalise(source)).cpu().numpy()

    return encode


def with_graph(bench: Bench, encoder: DualEncoder, pixels: Pixels) -> Encode:
    """The model's kernels recorded once and played again: nothing of it is launched from Python."""
    bench.need_cuda()
    source = torch.from_numpy(pixels).pin_memory()
    held = source.to(encoder.device)
    with torch.inference_mode():
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # what is chosen or allocated at a first call must not be recorded
            for _ in range(3):
                unit(encoder, encoder._normalise(held))
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            rows = unit(encoder, encoder._normalise(held))

    @torch.inference_mode()
    def encode() -> np.ndarray:
        held.copy_(source, non_blocking=True)
        graph.replay()
        return rows.cpu().numpy()

    return encode


def unit(encoder: DualEncoder, pixels: Tensor) -> Tensor:
    return F.normalize(encoder._clip.encode_image(pixels).float(), dim=-1)


WAYS: dict[str, Callable[[Bench, DualEncoder, Pixels], Encode]] = {
    "as it is": as_it_is,
    "pinned": pinned,
    "with CUDA graph": with_graph,
}


def measure_index(bench: Bench) -> None:
    """Indexing with decoding, the model's share of it, and the plain loop."""
    with bench.attempt("index"):
        encoder = load_encoder(random_model(bench.architecture), bench.device, "bf16")
        encoder.batch_size = bench.pick(encoder.batch_size, 8)
        drawn = photos(*bench.pick((256, (400, 533)), (16, (160, 120))))
        folder = unlike(drawn, bench.work / "photos", bench.pick(8192, 24))
        rates = index_rates(folder, encoder, plain=bench.pick(512, 8), rounds=bench.pick(2, 1))
        for name, rate in rates.items():
            bench.row(f"index, {name}", images_per_s=rate, glimpse_per_this=rates[OURS] / rate)
    with bench.attempt("JPEGs decoded and resized on the card"):
        bench.need_cuda()
        rate = rate_on_card(photos(256, (400, 533)))
        bench.row("JPEGs decoded and resized on the card", images_per_s=rate)


def rate_on_card(drawn: Path) -> float:
    """Images a second of nvJPEG, as torchvision has it, and torch's resize: what indexing could do and does not."""
    from torchvision.io import ImageReadMode, decode_jpeg

    files = [torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in sorted(drawn.iterdir())]

    def read() -> None:
        for start in range(0, len(files), 64):
            images = decode_jpeg(files[start : start + 64], mode=ImageReadMode.RGB, device="cuda")
            F.interpolate(torch.stack(images).float(), size=(224, 299), mode="bicubic", antialias=True)
        torch.cuda.synchronize()

    read()
    started = time.perf_counter()
    read()
    return len(files) / (time.perf_counter() - started)


def unlike(drawn: Path, folder: Path, n: int) -> Path:
    """A folder of `n` JPEGs that go round the drawn ones, each with bytes of its own behind its end."""
    folder.mkdir()
    contents = [path.read_bytes() for path in sorted(drawn.iterdir())]
    for i in range(n):
        (folder / f"{i:05}.jpg").write_bytes(contents[i % len(contents)] + f"{i:05}".encode())
    return folder


def measure_service(bench: Bench) -> None:
    """The service under load against the model alone; server, decoding and clients share the processor."""
    model = random_model(bench.architecture)
    pictures = sorted(photos(*bench.pick((128, (640, 480)), (16, (160, 120)))).iterdir())
    alone: dict[str, float] = {}
    for kind in ("texts", "images"):
        with bench.attempt(f"{kind}, the model alone"):
            rates = model_alone(kind, model, pictures, bench.pick((32, 64, 128), (4, 8)), bench.pick(1024, 8))
            alone[kind] = max(rates.values())
            bench.row(f"{kind}, the model alone", **{f"by_{size}_per_s": rate for size, rate in rates.items()})
    with bench.attempt("service"), serving("glimpse", model) as (port, _):
        for kind in alone:
            requests = requests_of(kind, pictures)
            load_of(requests, port, bench.pick(32, 2), 1)  # warms up
            for clients in bench.pick((32, 128), (2, 4)):
                with bench.attempt(f"{kind}, {clients} clients"):
                    load = load_of(requests, port, clients, bench.pick(4, 1))
                    bench.row(
                        f"{kind}, {clients} clients",
                        answers_per_s=load.rate,
                        of_the_model=load.rate / alone[kind],
                        p50_ms=load.p50 * 1e3,
                        p99_ms=load.p99 * 1e3,
                        failed=load.failed,
                        load_maker=load.cpu,
                    )
