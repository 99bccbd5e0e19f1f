"""A typed client of the service, for programs and for `glimpse ... --url`. Needs httpx; no torch, no model, no index.

    from glimpse.client import Client

    with Client("http://localhost:8000") as client:
        for hit in client.search("photos", "a red bicycle by the sea"):
            print(hit.score, hit.path)

docs/clients.md shows the rest.
"""

from glimpse.client.answers import (
    Classified,
    Collection,
    Deleted,
    Hit,
    Info,
    Job,
    LabelRun,
    LabelSet,
    Model,
    Patched,
    Put,
    Record,
    RunImage,
    SearchResult,
    TrainingRun,
    Uploaded,
)
from glimpse.client.catalogue import NewEntry
from glimpse.client.changes import Change, ChangePage
from glimpse.client.client import Client
from glimpse.client.columns import Columns, Map
from glimpse.client.entries import NewImage
from glimpse.client.errors import NoService, ServiceError
from glimpse.client.facets import FacetKey, FacetValue, Folder
from glimpse.client.searches import Part, Search

__all__ = [
    "Change",
    "ChangePage",
    "Classified",
    "Client",
    "Collection",
    "Columns",
    "Deleted",
    "FacetKey",
    "FacetValue",
    "Folder",
    "Hit",
    "Info",
    "Job",
    "LabelRun",
    "LabelSet",
    "Map",
    "Model",
    "NewEntry",
    "NewImage",
    "NoService",
    "Part",
    "Patched",
    "Put",
    "Record",
    "RunImage",
    "Search",
    "SearchResult",
    "ServiceError",
    "TrainingRun",
    "Uploaded",
]
