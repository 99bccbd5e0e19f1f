"""Label sets kept under a name, for classifications and labelling that name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Response

from base.errors import ChangedMeanwhile, InputError, ModelMismatch
from base.names import NAME
from encoder.zero_shot.prompts import Label
from labelling.label_file import each_given
from labelling.label_sets import LabelSet, LabelSets
from service.deps import OnlyNew, SettingsDep, ToldDep
from service.errors import Refusal, documented
from service.http.conditions import TAGS, names
from service.http.json_bodies import JsonRoute
from service.inference.known_models import name_of
from service.schemas.labelling.labels import LabelSetAnswer, LabelSetRequest, LabelSetsAnswer, WholeLabel

router = APIRouter(prefix="/v1/label-sets", tags=["label sets"], route_class=JsonRoute)


def label_sets(settings: SettingsDep) -> LabelSets:
    """The label sets of the data folder."""
    return LabelSets(settings.data)


LabelSetsDep = Annotated[LabelSets, Depends(label_sets)]
NameDep = Annotated[str, Path(pattern=f"^{NAME.pattern}$")]
AS_SEEN = "the ETag of the set as you saw it: only if it still is that, else 412; *: only if there is one"
IfMatch = Annotated[str | None, Header(pattern=TAGS, description=AS_SEEN)]


@dataclass(frozen=True)
class OnlyIf:
    """On what condition a set may be changed: that there is none, or that it is one of those of a header If-Match."""

    is_new: bool
    if_match: str | None

    def check(self, name: str, now: LabelSet | None) -> None:
        """412 if it is none of those; None: none is there, or it is damaged."""
        if self.if_match is None:
            return
        if now is not None and (self.if_match == "*" or names(self.if_match, f'"{now.tag}"')):
            return
        became = "is no more" if now is None else "was changed"
        message = f"label set {name!r} {became} meanwhile, and stays as it is: look at it (GET), then change that one"
        raise Refusal(412, message, code=ChangedMeanwhile.code, param="If-Match")


async def only_if(only_new: OnlyNew = None, if_match: IfMatch = None) -> OnlyIf:
    """As the request's headers say."""
    return OnlyIf(only_new is not None, if_match)


OnlyIfDep = Annotated[OnlyIf, Depends(only_if)]


@router.get("", summary="All label sets")
def list_all(kept: LabelSetsDep) -> LabelSetsAnswer:
    """Their names."""
    return LabelSetsAnswer(label_sets=kept.names())


@router.get(
    "/{name}",
    summary="One label set",
    responses=documented(404, 422) | {304: {"description": "as you have it"}},
)
def get_one(name: NameDep, kept: LabelSetsDep, told: ToldDep, response: Response) -> LabelSetAnswer:
    """Its labels, templates and mode, and what was learned of them. Its `ETag` is another once anything of that is."""
    found = kept.get(name)
    response.headers["ETag"] = f'"{found.tag}"'
    return told.label_set(name, found)


@router.put(
    "/{name}",
    summary="Keep a label set",
    responses=documented(408, 412, 413, 415, 422)
    | {201: {"model": LabelSetAnswer, "description": "there was none of that name"}},
)
def put(
    name: NameDep,
    asked: LabelSetRequest,
    kept: LabelSetsDep,
    settings: SettingsDep,
    response: Response,
    only_if: OnlyIfDep,
) -> LabelSetAnswer:
    """Keep it, in place of one of that name; with `If-None-Match: *` only where there is none, with `If-Match` only in
    place of the one with that ETag. Labels are stripped and stand once; without templates it gets ours.

    What was learned of the same labels before stays, but for a calibration in another mode or with other templates;
    with other labels it goes. `warnings` say what did, and which labels stand there twice or have no name.
    """
    templates = [asked.templates] if isinstance(asked.templates, str) else asked.templates
    given = each_given(as_asked(asked.labels))
    label_set = LabelSet.of(given.labels, templates, asked.mode, abstains=asked.abstains)
    label_set.check_prompts(settings.max_prompts)
    warnings = given.left_out.lines()

    def made(before: LabelSet | None) -> LabelSet:
        only_if.check(name, before)
        found, lost = (label_set, []) if asked.forget_learned else _with_learned(before, label_set)
        warnings.extend(lost)
        return found

    put_there, is_new = kept.change(name, made, only_new=only_if.is_new)
    if is_new:
        response.status_code = 201
    response.headers["ETag"] = f'"{put_there.tag}"'
    return LabelSetAnswer.of(name, put_there, warnings)


def as_asked(labels: Sequence[str | WholeLabel]) -> list[str | Label]:
    """Labels of a request as a set takes them."""
    return [
        Label(one.name, tuple(one.synonyms), tuple(one.prompts)) if isinstance(one, WholeLabel) else one
        for one in labels
    ]


def check_learned(label_set: LabelSet, fingerprint: str, model: str) -> None:
    """409 if another model than the one of that fingerprint, `model`, learned it."""
    try:
        label_set.check_model(fingerprint, model)
    except InputError as error:
        learned = label_set.learned.model if label_set.learned else ""
        message = str(error).replace(learned, name_of(learned)) if learned else str(error)  # it may be any folder
        raise Refusal(409, message, code=ModelMismatch.code, param="label_set") from None


def _with_learned(before: LabelSet | None, asked: LabelSet) -> tuple[LabelSet, list[str]]:
    """With what was learned of the set of before, as far as it is true of this one; and what is not."""
    if before is None or before.learned is None:
        return asked, []
    if before.labels != asked.labels:
        return asked, ["the labels are others now: what was learned of those before is gone"]
    found = replace(before.with_templates(asked.templates).in_mode(asked.mode), abstains=asked.abstains)
    if before.is_calibrated and not found.is_calibrated:
        return found, ["mode or templates are others now: the calibration is gone; calibrate again"]
    return found, []


@router.delete("/{name}", summary="Delete a label set", status_code=204, responses=documented(404, 412, 422))
def delete(name: NameDep, kept: LabelSetsDep, if_match: IfMatch = None) -> None:
    """Classifications that name it are refused from now on."""
    kept.delete(name, partial(OnlyIf(False, if_match).check, name))
