"""The models of a service: which are loaded, and who uses them. Whoever wants inference gets it here.

A model is loaded when it is first asked for, in a thread of its own, and stays while there is room. If there is none
for the next, the one used least recently goes, and never one in use: if all are in use, that one takes nobody new until
it is free. There are those that the operator named, and those that collections of the data folder were made with; what
a request says is looked up among their names and never loaded. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TypeVar

from base.errors import Busy, GlimpseError, ModelMismatch, ModelUnavailable
from base.machine.memory import give_back, memory
from encoder.known import ModelCard, noted_bytes
from encoder.model.device import device_memory
from encoder.model.dual_encoder import DualEncoder
from service.inference.fetch import Fetcher
from service.inference.inference import Inference, model_thread, warm_up
from service.inference.known_models import KnownModels, Loaded, ServedModel
from service.inference.labellers import Labellers
from service.inference.pool import Pool
from service.inference.shared_encoder import SharedEncoder, Stopped
from service.settings import Settings
from service.telemetry.metrics import MODEL_LOADS

R = TypeVar("R")

log = logging.getLogger(__name__)

SHARE = 0.5  # of the memory that there is for models, if the operator sets no other bound
WAIT = 30.0  # seconds that a request waits for its model
PATIENCE = 20.0  # seconds that a load waits for models in use
AGAIN = 30.0  # seconds after which a model that could not be loaded is tried again
SOON = 5  # seconds after which to ask again
LOOK = 0.5  # seconds from one look to the next whether a thread is to end that waits for a model


class Models(KnownModels):
    """The models of a service. Make it anywhere; `start` it in the event loop that uses it.

    Args:
        settings: which models, where they run, and what they may take.
        decoders: where images are decoded.
        encoder: the default model, if it is loaded already.

    Raises:
        InputError: two models have one name.
    """

    def __init__(self, settings: Settings, decoders: Pool, encoder: DualEncoder | None = None) -> None:
        super().__init__(settings.model, settings.models)
        self._settings = settings
        self._decoders = decoders
        self._given = encoder
        self._limit = settings.model_bytes
        self._turn = asyncio.Lock()  # of loading
        self._freed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = threading.Event()
        if encoder is not None:
            self.default.card = encoder.card
        self._loop: asyncio.AbstractEventLoop
        self._thread: ThreadPoolExecutor
        self._fetcher: Fetcher

    # --- use ---

    async def use(self, model: ServedModel) -> Loaded:
        """The model, loaded if it is not. It stays until `release` is called as often as this.

        Raises:
            Busy: there is no room beside those in use, or it takes long.
            ModelUnavailable: it cannot be loaded; the log says why.
            ModelMismatch: the same of a model that the operator did not name, or it is another one by now.
        """
        if model.loaded is not None and not model.is_leaving:
            return self._taken(model, model.loaded)
        waiter: asyncio.Future[Loaded] = self._loop.create_future()
        model.waiting.append(waiter)
        if model.loading is None:
            model.loading = self._loop.create_task(self._load(model))
        try:
            async with asyncio.timeout(WAIT):
                return await waiter
        except BaseException as error:
            if waiter in model.waiting:
                model.waiting.remove(waiter)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:  # it came as we left
                self.release(model)
            if isinstance(error, TimeoutError):
                raise Busy(f"the model {model.name!r} is being loaded; try again in {SOON} s", SOON) from None
            raise

    def release(self, model: ServedModel) -> None:
        """Let go of what `use` gave."""
        model.uses -= 1
        if not model.uses:
            self._freed.set()

    @contextmanager
    def lent(self, model: ServedModel, stop: threading.Event | None) -> Iterator[Inference]:
        """The model in use to the end of the block, for a thread.

        Args:
            model: that is wanted.
            stop: ends a wait that else lasts as long as there is no room; None: for a request, which waits as `use`.

        Raises:
            Stopped: `stop` was set, or the service ends.
            Busy: there is no room now, and no `stop` to wait by.
            ModelUnavailable, ModelMismatch: as `use`.
        """
        loaded = self._waited_for(model, stop)
        try:
            yield loaded.inference
        finally:
            self._let_go(model)

    def encoder(self, model: ServedModel, stop: threading.Event | None) -> SharedEncoder:
        """The model's encoder for a thread: in use, and loaded if need be, for each piece of work alone, as `lent`."""
        return SharedEncoder(lambda: self.lent(model, stop), stop)

    async def on_thread(self, work: Callable[[], R]) -> R:
        """What `work` gives, in turn with the batches of models: torch is called on their thread and on no other."""
        return await self._loop.run_in_executor(self._thread, work)

    def card(self, model: ServedModel) -> ModelCard:
        """What is known of a model, which is loaded to find out if it never was. In a thread; raises as `use`."""
        if model.card is None:
            loaded = asyncio.run_coroutine_threadsafe(self.use(model), self._loop).result()
            self._let_go(model)
            return loaded.inference.encoder.card
        return model.card

    def waiting(self) -> dict[str, int]:
        """What waits now, by queue, for all that are loaded."""
        loaded = [model.loaded.inference.waiting for model in self.all() if model.loaded]
        queues = {"text": 0, "image": 0, "fetch": self._fetcher.waiting}
        return {name: sum(one.get(name, 0) for one in (queues, *loaded)) for name in queues}

    # --- beginning and end ---

    async def start(self) -> None:
        """Load the default model, and behind it, as far as there is room, the others that the operator named.

        Raises:
            ModelError: the default model cannot be loaded.
        """
        self._loop = asyncio.get_running_loop()
        self._thread = model_thread()
        settings = self._settings
        self._fetcher = Fetcher(
            settings.fetch_hosts,
            max_bytes=settings.fetch_bytes,
            seconds=settings.fetch_seconds,
            queue_size=settings.queue_size,
        )
        await self._load(self.default)
        if self.default.loaded is None:
            raise self.default.problem or ModelUnavailable(self.default.ref)
        self._begin(self._preload())

    async def close(self) -> None:
        """Unload all."""
        self._ended.set()
        if not hasattr(self, "_thread"):  # it was never started
            return
        loading = [model.loading for model in self.all() if model.loading]
        for task in [*self._tasks, *loading]:
            task.cancel()
        await asyncio.gather(*self._tasks, *loading, return_exceptions=True)
        for model in self.all():
            if model.loaded is not None:
                await model.loaded.close()
        await self._fetcher.close()
        self._thread.shutdown(wait=True, cancel_futures=True)

    # --- loading ---

    async def _preload(self) -> None:
        for model in self.named_ahead:
            if model.loaded is None and self._needs(model) + self._in_memory() <= self._most():
                with suppress(GlimpseError):  # the log says it
                    await self.use(model)
                    self.release(model)

    async def _load(self, model: ServedModel) -> None:
        """Load a model if it is not, when its turn has come, and give it to all who wait for it, or why they cannot."""
        try:
            async with self._turn:
                if model.loaded is None:
                    self._check_again(model)
                    await self._make_room(model)
                    await self._loaded(model)
        except (GlimpseError, asyncio.CancelledError) as error:
            for waiter in model.waiting:
                if not waiter.done():
                    waiter.set_exception(self._told(model, error) if isinstance(error, GlimpseError) else _closing())
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            self._give(model)
        finally:
            model.waiting.clear()
            model.loading = None

    def _give(self, model: ServedModel) -> None:
        """A loaded model to all who wait for it."""
        assert model.loaded is not None
        for waiter in model.waiting:
            if not waiter.done():
                waiter.set_result(self._taken(model, model.loaded))
        model.waiting.clear()

    async def _make_room(self, model: ServedModel) -> None:
        """Unload others until there is room for one more, or none is left: one alone may be as large as it is. Busy."""
        marked: list[ServedModel] = []
        until = self._loop.time() + PATIENCE
        try:
            while others := [one for one in self.all() if one.loaded is not None]:
                if self._in_memory() + self._needs(model) <= self._most():
                    return
                self._freed.clear()
                if idle := [one for one in others if not one.uses]:
                    await self._unload(min(idle, key=lambda one: one.used_at))
                    continue
                oldest = min(others, key=lambda one: one.used_at)
                oldest.is_leaving = True
                marked.append(oldest)
                async with asyncio.timeout_at(until):  # nothing but this: what is being unloaded is not left half-way
                    await self._freed.wait()
        except TimeoutError:
            used = ", ".join(one.name for one in self.all() if one.uses)
            raise Busy(
                f"there is no room for the model {model.name!r} beside those in use ({used}); try again in {SOON} s, "
                "or let models take more (GLIMPSE_MODEL_BYTES)", SOON,
            ) from None  # fmt: skip
        finally:
            for one in marked:
                one.is_leaving = False
                if one.loaded is not None:
                    self._give(one)

    async def _loaded(self, model: ServedModel) -> None:
        """Load it. Whatever it raises is kept for who asks next."""
        started = time.perf_counter()
        thread = ThreadPoolExecutor(1, thread_name_prefix="load")  # which ends, and OpenMP's helpers of it with it
        try:
            encoder = await self._loop.run_in_executor(thread, self._read, model)
        except Exception as error:
            model.problem, model.failed_at = error, time.monotonic()
            log.error("model %s cannot be loaded: %s", model.name, error)
            MODEL_LOADS.labels(model.name, "failed").inc()
            raise error if isinstance(error, GlimpseError) else ModelUnavailable(str(error)) from error
        finally:
            thread.shutdown(wait=False)
        model.problem = None
        model.card, model.bytes = encoder.card, encoder.bytes
        model.device, model.precision = str(encoder.device), encoder.precision
        inference = Inference(encoder, self._thread, self._decoders, self._fetcher, self._settings)
        model.loaded = Loaded(inference, Labellers(inference, lambda: self._held(model)))
        model.used_at = time.monotonic()
        MODEL_LOADS.labels(model.name, "loaded").inc()
        seconds = time.perf_counter() - started
        log.info("model %s is loaded after %.1f s, on %s in %s", model.name, seconds, model.device, model.precision)

    def _read(self, model: ServedModel) -> DualEncoder:
        if model is self.default and self._given is not None:
            encoder = self._given
        else:
            # open_clip takes seconds to import: not before the server answers
            from encoder.model.load import load_encoder

            if gc.get_freeze_count() == 0:
                gc.collect()
                gc.freeze()  # the libraries stay; to look through them now and then stopped every request for 0.2 s
            encoder = load_encoder(model.ref, self._settings.device, self._settings.precision)
        if model.expected not in (None, encoder.fingerprint):
            raise ModelMismatch(f"{model.ref} has other files than when the collection was made")
        if self._limit is None:
            self._limit = int(SHARE * (device_memory(encoder.device) or memory()))
        warm_up(encoder)
        give_back()  # what reading the weights took
        return encoder

    async def _unload(self, model: ServedModel) -> None:
        loaded, model.loaded, model.is_leaving = model.loaded, None, False
        assert loaded is not None
        await loaded.close()
        del loaded
        await asyncio.sleep(0)  # until here this task's step knows of the queues that it cancelled
        gc.collect()  # tokenizers know themselves; without the libraries it is a millisecond
        await asyncio.to_thread(give_back)
        log.info("model %s is unloaded, to make room", model.name)

    def _check_again(self, model: ServedModel) -> None:
        """Raise what a load raised that is not long ago."""
        if model.problem is not None and time.monotonic() - model.failed_at < AGAIN:
            raise ModelUnavailable(str(model.problem)) from model.problem

    def _told(self, model: ServedModel, error: GlimpseError) -> GlimpseError:
        """The same without what only the operator is to know."""
        if isinstance(error, Busy):
            return error
        if not model.is_named:
            return ModelMismatch(
                f"the model {model.name!r} of a collection cannot be loaded (the service's log says why): what needs "
                "no words and no new images works there; for the rest bring that model's files back, or give the "
                "collection another model (POST /v1/jobs with kind reindex)"
            )
        return ModelUnavailable(
            f"the model {model.name!r} cannot be loaded: the service's log says why, and so does GET /v1/models with a "
            "key of the scope admin"
        )

    # --- counting ---

    def _taken(self, model: ServedModel, loaded: Loaded) -> Loaded:
        model.uses += 1
        model.used_at = time.monotonic()
        return loaded

    @contextmanager
    def _held(self, model: ServedModel) -> Iterator[None]:
        """One more use of a model that is in use."""
        model.uses += 1
        try:
            yield
        finally:
            self.release(model)

    def _waited_for(self, model: ServedModel, stop: threading.Event | None) -> Loaded:
        def is_over() -> bool:
            return (stop is not None and stop.is_set()) or self._ended.is_set()

        while not is_over():
            asked = asyncio.run_coroutine_threadsafe(self.use(model), self._loop)
            while not (asked.done() or is_over()):
                wait([asked], LOOK)
            if is_over():
                asked.add_done_callback(lambda done: self._given_back(model, done))
                break
            try:
                return asked.result()
            except Busy:
                if stop is None:
                    raise
        raise Stopped

    def _given_back(self, model: ServedModel, asked: Future[Loaded]) -> None:
        """Release what nobody waits for any more."""
        if not asked.cancelled() and asked.exception() is None:
            self._let_go(model)

    def _let_go(self, model: ServedModel) -> None:
        """`release` out of any thread."""
        with suppress(RuntimeError):  # the loop has ended, and the model with it
            self._loop.call_soon_threadsafe(self.release, model)

    def _in_memory(self) -> int:
        return sum(model.bytes or 0 for model in self.all() if model.loaded is not None)

    def _needs(self, model: ServedModel) -> int:
        """About what loading it takes; of one that is not known at all as much as the largest."""
        known = model.bytes or noted_bytes(model.ref)
        return max((one.bytes or 0 for one in self.all()), default=0) if known is None else known

    def _most(self) -> int:
        return self._limit or 0

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _closing() -> GlimpseError:
    return Busy("the service ends; try again", SOON)
