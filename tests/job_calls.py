"""Jobs as tests ask for them over REST, and wait for them."""

import json
from contextlib import contextmanager

from service_world import draw, until, world

JOBS = "/v1/jobs"


@contextmanager
def world_with_photos(folder):
    """A service with the collection `pictures`, that may read `photos`, where 10 pictures lie."""
    photos, data = folder / "photos", folder / "data"
    draw(photos, 10)
    data.mkdir()  # what lies in it is never watched
    with world(data, n=2, job_roots=str(photos)) as (client, encoder, _):
        yield client, encoder, photos


def ask(client, kind="index", **fields):
    if kind in ("index", "watch", "reindex"):
        fields.setdefault("collection", "photos")
    answer = client.post(JOBS, json={"kind": kind, **fields})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"{JOBS}/{answer.json()['id']}"
    return answer.json()["id"]


def job_of(client, key):
    answer = client.get(f"{JOBS}/{key}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def ended(client, key, state="succeeded"):
    until(lambda: job_of(client, key)["ended_at"])
    job = job_of(client, key)
    assert job["state"] == state, job
    return job


def count(client, name="photos"):
    answer = client.get(f"/v1/collections/{name}")
    return answer.json()["counts"]["image"] if answer.status_code == 200 else 0


def events_of(client, key):
    """(name, job) of each event of a stream, to its end."""
    with client.stream("GET", f"{JOBS}/{key}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        blocks = [block for block in "".join(answer.iter_text()).split("\n\n") if block and block[0] != ":"]
    fields = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    assert all(field["id"].isdigit() for field in fields)
    return [(field["event"], json.loads(field["data"])) for field in fields]
