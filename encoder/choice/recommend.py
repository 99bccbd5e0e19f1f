"""One of the models worth knowing for a machine, a number of photos and languages, with the reason in words.

What counts is how often a caption in these languages finds its photo, where somebody has measured that. Of the models
that fit into memory and have the photos encoded in a night, it is the best one; of those about as good, the fastest;
of those whose licence forbids commerce, one only where the others are far behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from base.errors import InputError
from encoder.choice.languages import LANGUAGES, SOURCE, recall
from encoder.choice.machine import Machine
from encoder.choice.models import MODELS, KnownModel

NIGHT = 8 * 3600.0  # seconds
AS_GOOD = 2.0  # points of recall
FAR_BEHIND = 10.0
MOST_MEMORY = 0.7  # of what there is: the index and other programs take some
_ON_DEVICE = 2e9  # bytes beside the weights that a batch takes on a GPU


@dataclass(frozen=True)
class Choice:
    """A model as it is chosen.

    Attributes:
        model: what is known of it.
        recall: percent, in the languages asked for; None: nobody has measured it.
        seconds: to decode and encode the photos here, about.
        why: the reason, in words.
    """

    model: KnownModel
    recall: float | None
    seconds: float
    why: str


@dataclass(frozen=True)
class Recommendation:
    """What to take, and what else there is to say.

    Attributes:
        take: the model.
        faster: a faster one, if any is good enough to be named.
        better: a better one, whatever it takes, if there is one.
    """

    take: Choice
    faster: Choice | None
    better: Choice | None


def recommend(machine: Machine, photos: int, languages: Sequence[str]) -> Recommendation:
    """Choose for a machine and so many photos; languages are codes of `languages.LANGUAGES`.

    Raises:
        InputError: no model that is worth knowing fits into the memory.
    """
    said = " and ".join(LANGUAGES[code] for code in languages)
    fitting = [model for model in MODELS if fits(model, machine)]
    if not fitting:
        least = min(MODELS, key=lambda model: model.memory_megabytes)
        raise InputError(
            f"no model fits into {machine.memory / 1e9:.1f} GB: the smallest, {least.ref}, takes "
            f"{least.memory_megabytes / 1e3:.1f} GB while it indexes"
        )
    measured = {model: found for model in fitting if (found := recall(model.ref, languages)) is not None}
    if not measured:
        return _without_recall(machine, photos, fitting, said)
    by_night = {model: found for model, found in measured.items() if seconds(model, machine, photos) <= NIGHT}
    slow = not by_night
    if slow:
        quickest = min(measured, key=lambda model: model.gflops)
        by_night = {quickest: measured[quickest]}
    take, aside = _best(by_night)
    why = _why(machine, take, by_night, said, slow=slow)
    if aside is not None:
        why += f"; the best that commerce may use, {aside.ref}, comes to {measured[aside]:.0f} %"

    def chosen(model: KnownModel, why: str) -> Choice:
        return Choice(model, measured[model], seconds(model, machine, photos), why)

    faster = [m for m in measured if m.gflops < take.gflops / 2 and m.is_for_commerce >= take.is_for_commerce]
    fast = max(faster, key=lambda model: measured[model], default=None)
    best = max(measured, key=lambda model: measured[model])
    return Recommendation(
        chosen(take, why),
        chosen(fast, f"{take.gflops / fast.gflops:.0f} times as fast") if fast else None,
        chosen(best, _terms(best)) if measured[best] > measured[take] + AS_GOOD else None,
    )


def fits(model: KnownModel, machine: Machine) -> bool:
    """Whether it leaves room on the machine, and on its GPU where that has memory of its own."""
    there = machine.device_memory is None or model.megabytes * 1e6 / 2 + _ON_DEVICE <= machine.device_memory
    return there and model.memory_megabytes * 1e6 <= machine.memory * MOST_MEMORY


def seconds(model: KnownModel, machine: Machine, photos: int) -> float:
    """For so many photos of 12 megapixels, about: decoded and encoded, by the same processors or beside each other."""
    encode, decode = model.gflops / machine.gflops, machine.seconds_a_photo / machine.threads
    return photos * (encode + decode if machine.device == "cpu" else max(encode, decode))


def _best(found: dict[KnownModel, float]) -> tuple[KnownModel, KnownModel | None]:
    """The model to take; and if its licence forbids commerce, the best one whose does not."""
    free = {model: value for model, value in found.items() if model.is_for_commerce}
    best = max(found, key=lambda model: found[model])
    best_free = max(free, key=lambda model: free[model], default=None)
    among = free if best_free is not None and free[best_free] + FAR_BEHIND >= found[best] else found
    top = max(among.values())
    take = min((model for model in among if among[model] + AS_GOOD >= top), key=lambda model: model.gflops)
    return take, best_free if not take.is_for_commerce else None


def _why(machine: Machine, take: KnownModel, found: dict[KnownModel, float], said: str, *, slow: bool) -> str:
    """The reason: `found` are those that it was chosen of."""
    done = f"of the {len(found)} that fit into {machine.memory / 1e9:.0f} GB and are done in a night"
    best = max(found.values())
    if slow:
        why = f"the fastest of those measured in {said}; none that fits has so many photos done in a night"
    elif len(found) == 1:
        why = f"the only one measured in {said} that fits into {machine.memory / 1e9:.0f} GB and is done in a night"
    elif found[take] == best:
        why = f"the best {done}"
    else:
        why = f"the fastest of those as good as the best ({best:.0f} %), {done}"
    finds = f"a caption in {said} finds its photo in {found[take]:.0f} % (recall, {SOURCE})"
    return "; ".join(filter(None, [why, finds, _terms(take)]))


def _terms(model: KnownModel) -> str:
    return "" if model.is_for_commerce else f"its licence ({model.licence}) forbids commerce"


def _without_recall(machine: Machine, photos: int, fitting: list[KnownModel], said: str) -> Recommendation:
    """Nothing that fits was measured in these languages."""
    best = max(fitting, key=lambda model: (model.is_for_commerce, model.zero_shot or 0.0))
    why = (
        f"of the {len(fitting)} that fit into {machine.memory / 1e9:.1f} GB none was measured in {said}; this "
        f"one names most of ImageNet's things ({best.zero_shot:.0f} %, {best.source})"
    )
    return Recommendation(Choice(best, None, seconds(best, machine, photos), why), None, None)
