"""What the service is, its collections, and the images that it has."""

import io

from PIL import Image
from service_world import add_collection, client_of, picture, settings_for, tiny_encoder

from service.app import create_app

# --- what it is ---


def test_health_and_info(client):
    assert client.get("/health/live").json() == {"status": "ok"}
    assert client.get("/health/ready").json() == {"status": "ok", "read_only": False}
    info = client.get("/v1/info").json()
    assert (info["model"], info["dim"], info["fingerprint"], info["logit_scale"]) == ("tiny", 32, "tiny", 100.0)
    assert (info["device"], info["precision"]) == ("cpu", "fp32")
    assert info["version"]
    assert info["collections"][0]["counts"] == {"image": 6, "text": 2}


def test_collections(client):
    listed = client.get("/v1/collections").json()["collections"]
    assert [c["name"] for c in listed] == ["pictures"]
    one = client.get("/v1/collections/pictures").json()
    assert one["dim"] == 32
    assert one["problem"] is None


# --- stored images ---


def test_record(client, files):
    record = client.get("/v1/collections/pictures/images/1").json()
    assert record["path"] == str(files[0])
    assert client.get(record["content_url"]).content == files[0].read_bytes()


def test_content_is_the_file_with_a_safe_type(client, files):
    for i, file in enumerate(files, start=1):
        answer = client.get(f"/v1/collections/pictures/images/{i}/content")
        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"] == {".png": "image/png", ".jpg": "image/jpeg"}[file.suffix]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]


def test_thumbnail(client):
    url = "/v1/collections/pictures/images/1/thumbnail"
    answer = client.get(url, params={"size": 100})
    assert answer.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(answer.content)).size == (128, 96)  # the next that is not smaller
    assert "max-age" in answer.headers["cache-control"]
    again = client.get(url, params={"size": 100}, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get(url, params={"size": 129}, headers={"If-None-Match": answer.headers["etag"]})
    assert Image.open(io.BytesIO(other.content)).size == (256, 192)
    assert Image.open(io.BytesIO(client.get(url).content)).size == (256, 192)


def test_a_thumbnail_stands_upright(tmp_path):
    encoder = tiny_encoder(tmp_path)
    lying = Image.open(io.BytesIO(picture(3, (64, 32)))).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "turned.jpg", exif=exif)
    add_collection(tmp_path, encoder, [tmp_path / "turned.jpg"])
    with client_of(create_app(settings_for(tmp_path), encoder)) as client:
        thumbnail = client.get("/v1/collections/pictures/images/1/thumbnail").content
    assert Image.open(io.BytesIO(thumbnail)).size == (32, 64)
