"""Options that several commands share, each written once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from base.errors import InputError
from base.files import behind_links, is_closed, is_stream
from base.machine.cpus import MOST, fewer_taken, use_threads
from glimpse import completion

if TYPE_CHECKING:
    from encoder.zero_shot.prompts import Label
    from labelling.label_file import GivenLabels

OF_LABELS, OF_SOURCE, OF_MODEL = "Labels", "What is read", "Model and machine"  # groups in --help, where there are any
ELSEWHERE = {"glimpse reindex": "glimpse jobs start reindex"}  # the same of a service, where it is another command


def _look_here(context: typer.Context, data: Path) -> Path:
    """Say so if somebody may think that a service is asked: GLIMPSE_URL is set, and this command knows no service."""
    from glimpse import console

    if context.resilient_parsing:  # TAB was pressed
        return data
    asks = any(param.name == "url" for param in context.command.params)
    if os.environ.get("GLIMPSE_URL") and not asks and not _is_given(context, "data"):
        there = ELSEWHERE.get(context.command_path)
        hint = f"; of that: {there}" if there else ""
        console.err.print(f"{context.command_path}: of {data} on this machine, not of the service of GLIMPSE_URL{hint}")
    return data


Data = Annotated[
    Path,
    typer.Option("--data", envvar="GLIMPSE_DATA", callback=_look_here, help="Folder that holds the collections."),
]


def _use_store(context: typer.Context, given: str | None) -> str | None:
    """Have this process, and those that it starts, look for collections there."""
    if given and not context.resilient_parsing:
        os.environ["GLIMPSE_STORE"] = given
    return given


Store = Annotated[  # its callback says it to index.collection: a command need not look at it
    str | None,
    typer.Option(
        "--store",
        envvar="GLIMPSE_STORE",
        callback=_use_store,
        metavar="ADDRESS",
        help="Where collections lie: local is the data folder, else milvus://HOST:19530/DATABASE.",
    ),
]
Collection = Annotated[
    str,
    typer.Option("--collection", "-c", help="Name of the collection.", autocompletion=completion.collections),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        envvar="GLIMPSE_MODEL",
        help="Run folder, hf-hub:ORG/NAME, or open_clip's NAME/TAG or NAME/FILE.",
        autocompletion=completion.models,
    ),
]
ModelOfCollection = Annotated[
    str | None,
    typer.Option(
        "--model",
        envvar="GLIMPSE_MODEL",
        help="Default: the model that built the collection.",
        autocompletion=completion.models,
    ),
]
ModelOrServed = Annotated[
    str | None,
    typer.Option(
        "--model",
        envvar="GLIMPSE_MODEL",
        help="Run folder, hf-hub:ORG/NAME, or open_clip's NAME/TAG or NAME/FILE. With --url one of those that the "
        "service has, by its name (glimpse models --url).",
        autocompletion=completion.models,
        rich_help_panel=OF_MODEL,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        envvar="GLIMPSE_DEVICE",
        help="auto, cpu, cuda, cuda:1, mps.",
        rich_help_panel=OF_MODEL,
    ),
]
Precision = Annotated[
    Literal["auto", "bf16", "fp32"],
    typer.Option(
        envvar="GLIMPSE_PRECISION", help="auto: bf16 where the machine is quick at it.", rich_help_panel=OF_MODEL
    ),
]

QUICK = ("search", "create", "models")  # what seldom takes long


def _take_threads(context: typer.Context, given: int | None) -> int | None:
    """Before anything is imported that has threads; says if they are few, where it may take long, and here."""
    from glimpse import console

    if context.resilient_parsing:
        return given
    if given is not None:
        use_threads(given)
    elif (fewer := fewer_taken()) and context.info_name not in QUICK and context.params.get("url") is None:
        console.err.print(f"{fewer}; --threads takes another number")
    return given


Threads = Annotated[  # declared after `url`, for it is asked in that order
    int | None,
    typer.Option(
        envvar="GLIMPSE_THREADS",
        min=1,
        max=MOST,
        callback=_take_threads,
        help="Default: OMP_NUM_THREADS, else one for each processor that affinity and quota leave.",
        rich_help_panel=OF_MODEL,
    ),
]
Template = Annotated[
    list[str] | None,
    typer.Option(
        "--template", help='Prompt with {} for the label, as "a photo of a {}."; repeatable.', rich_help_panel=OF_LABELS
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        help="What to choose from: 'cat,dog,\"salt, or pepper\"'.",
        rich_help_panel=OF_LABELS,
    ),
]
LabelsFile = Annotated[
    Path | None,
    typer.Option(
        "--labels-file",
        help="The same from a file: one a line, JSON, or a table with a column label.",
        rich_help_panel=OF_LABELS,
    ),
]
Scores = Annotated[
    Literal["softmax", "sigmoid"] | None,
    typer.Option(
        "--scores",
        help="One of the labels, or each on its own.",
        show_default="as the model was trained",
        rich_help_panel=OF_LABELS,
    ),
]
Abstain = Annotated[
    bool,
    typer.Option(
        "--abstain",
        help="An image may be none of them: other words tell.",
        rich_help_panel=OF_LABELS,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        help="Leave out files and folders of this name, as '*_thumb*'; with a / in it, of this path below the folder, "
        "as 'old/*'. As in a shell; repeatable.",
        rich_help_panel=OF_SOURCE,
    ),
]
FollowLinks = Annotated[
    bool,
    typer.Option(
        "--follow-links",
        help="Also walk what links to folders lead to, each folder once.",
        rich_help_panel=OF_SOURCE,
    ),
]
AnyName = Annotated[
    bool,
    typer.Option(
        "--any-name",
        help="Files without a picture's suffix too, if their first bytes are a picture's.",
        rich_help_panel=OF_SOURCE,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="GLIMPSE_URL",
        help="Ask the service at this URL, with the key in GLIMPSE_KEY, instead of working on this machine.",
        rich_help_panel=OF_MODEL,
    ),
]
DATA = Path("glimpse-data")
LOCAL = ("data", "store", "model", "device", "precision", "threads")  # a service has its own


def labels_of(given: str, instead: str) -> GivenLabels:
    """The labels of --labels. InputError for the name of a file or folder; `instead` is how to give a file."""
    from labelling.label_file import labels_in

    if os.path.isfile(given):  # noqa: PTH113  Path.is_file fails on a name too long for a disk
        raise InputError(f"--labels {given}: that is a file; {instead}")
    if os.sep in given and os.path.isdir(os.path.expanduser(given)):  # noqa: PTH111, PTH112
        raise InputError(f"--labels {given}: that is a folder; name the labels with commas between, as cat,dog")
    if ";" in given and not any(mark in given for mark in ',"'):
        raise InputError(f"--labels {given}: put commas between labels, as cat,dog; or quotes around one that has a ;")
    if given.lstrip().startswith(('["', "['", '{"', "[{")):
        raise InputError(f"--labels {given}: that begins as JSON; {instead}, or name the labels as cat,dog")
    if "," not in given and given.lower().endswith((".txt", ".csv", ".tsv", ".json")):
        raise InputError(f"--labels {given}: no such file, and no label that a picture could have; {instead}")
    return labels_in(given)


def given_labels(labels: str | None, labels_file: Path | None) -> Sequence[Label]:
    """The labels of --labels or of --labels-file; none if neither is given. What is left out of them is printed.

    InputError for both.
    """
    from glimpse import console
    from labelling.label_file import read_labels

    if labels is not None and labels_file is not None:
        raise InputError('give either --labels "cat,dog" or --labels-file FILE')
    if labels is None and labels_file is None:
        return ()
    given = read_labels(labels_file) if labels_file else labels_of(str(labels), "give it by --labels-file")
    console.print_left_out(given.left_out)
    return given.labels


FILTER = '{"must": [{"key": "colour", "match": {"value": "red"}}]}'


def read_object(given: str | None, option: str, example: str) -> dict[str, Any] | None:
    """A JSON object of an option, or @ and the file that holds it."""
    from base.sources.texts import decode_text, parse_json

    if given is None:
        return None
    try:
        text = decode_text(Path(given[1:]).read_bytes()) if given.startswith("@") else given
    except OSError as error:
        raise InputError(f"{option} {given}: {error.strerror}; give JSON, or @FILE that holds it") from None
    except ValueError:
        raise InputError(f"{option} {given}: is not text in UTF-8; give JSON, or @FILE that holds it") from None
    try:
        found = parse_json(text)
    except ValueError as error:
        raise InputError(
            f"{option}: this cannot be read as JSON ({error}); give JSON, as {example}, or @FILE with it"
        ) from None
    if not isinstance(found, dict):
        raise InputError(f"{option}: give a JSON object, as {example}")
    return found


def read_filter(given: str | None) -> dict[str, Any] | None:
    """The filter of --filter."""
    return read_object(given, "--filter", FILTER)


def check_out(out: Path, example: str, option: str = "--out") -> None:
    """Refuse, before any work, a file that cannot be written; `example` is a name for one. InputError."""
    if out.is_dir():
        raise InputError(f"{option} {out}: a folder; name a file in it, as in {out / example}")
    if is_closed(out):
        raise InputError(f"{option} {out}: no open file of this process has that number")
    folder = behind_links(out).absolute().parent
    if not folder.is_dir():
        raise InputError(f"{option} {out}: there is no such folder to write it in")
    if not os.access(out if out.exists() else folder, os.W_OK):
        raise InputError(f"{option} {out}: cannot be written (Permission denied)")


def check_page(out: Path, example: str, option: str = "--out") -> None:
    """The same for a page; and a name that no page has, for what lies there would be lost."""
    if out.suffix.lower() not in (".html", ".htm") and not (out.is_dir() or is_stream(out)):
        raise InputError(f"{option} {out}: is written as a page; name it so, as {example}")
    check_out(out, example, option)


def given_options(context: typer.Context) -> frozenset[str]:
    """The parameters that stand on the command line."""
    return frozenset(name for name in context.params if _is_given(context, name))


def refuse(context: typer.Context, names: Sequence[str], why: str, remedy: str = "leave it out") -> None:
    """InputError for the first of these parameters that stands on the command line, where it would do nothing."""
    for name in names:
        if _is_given(context, name):
            [param] = [param for param in context.command.params if param.name == name]
            option = max(param.opts, key=len) if param.param_type_name == "option" else param.metavar or name
            raise InputError(f"{option.strip('[]')} {why}: {remedy}")


def is_remote(context: typer.Context, *local: str, served: Sequence[str] = ()) -> bool:
    """Whether a command is to ask a service. `local` are options beside LOCAL that none can be asked with.

    `served` are those of LOCAL that a service is asked with all the same.

    The command line comes before the environment: --data given there is meant, whatever GLIMPSE_URL says.
    """
    if context.params.get("url") is None:
        return False
    given = given_options(context)
    for name in [*LOCAL, *local]:
        if name in given and name not in served:
            if "url" in given or name in local:
                option = name.replace("_", "-")
                raise InputError(f"--{option} cannot be asked of a service: give it without --url and GLIMPSE_URL")
            return False
    return True


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
