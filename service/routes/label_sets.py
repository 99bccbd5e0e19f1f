"""Label sets: labels and templates that are kept under a name, for classifications that name them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from base.names import NAME
from labelling.label_sets import LabelSet, LabelSets
from service.deps import SettingsDep, json_body
from service.errors import documented
from service.schemas.labels import LabelSetAnswer, LabelSetRequest, LabelSetsAnswer

router = APIRouter(prefix="/v1/label-sets", tags=["label sets"])


def label_sets(settings: SettingsDep) -> LabelSets:
    """The label sets of the data folder."""
    return LabelSets(settings.data)


LabelSetsDep = Annotated[LabelSets, Depends(label_sets)]
NameDep = Annotated[str, Path(pattern=f"^{NAME.pattern}$")]


@router.get("", summary="All label sets")
def list_all(kept: LabelSetsDep) -> LabelSetsAnswer:
    """Their names."""
    return LabelSetsAnswer(label_sets=kept.names())


@router.get("/{name}", summary="One label set", responses=documented(404, 422))
def get_one(name: NameDep, kept: LabelSetsDep) -> LabelSetAnswer:
    """Its labels and templates."""
    found = kept.get(name)
    return LabelSetAnswer(name=name, labels=list(found.names), templates=list(found.templates))


@router.put(
    "/{name}",
    summary="Keep a label set",
    dependencies=[Depends(json_body)],
    responses=documented(408, 413, 415, 422)
    | {201: {"model": LabelSetAnswer, "description": "there was none of that name"}},
)
def put(
    name: NameDep, asked: LabelSetRequest, kept: LabelSetsDep, settings: SettingsDep, response: Response
) -> LabelSetAnswer:
    """Keep it, in place of one of that name. Labels are stripped and stand once; without templates it gets ours."""
    label_set = LabelSet.of(asked.labels, asked.templates)
    label_set.check_prompts(settings.max_prompts)
    if kept.put(name, label_set):
        response.status_code = 201
    return get_one(name, kept)


@router.delete("/{name}", summary="Delete a label set", status_code=204, responses=documented(404, 422))
def delete(name: NameDep, kept: LabelSetsDep) -> None:
    """Classifications that name it are refused from now on."""
    kept.delete(name)
