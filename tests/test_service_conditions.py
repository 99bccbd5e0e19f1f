"""What is asked on condition: 304 for who has it already, at every door, and no change on a condition unheeded."""

from service_world import error_of, world


def test_who_has_it_already_is_told_so_at_every_door(tmp_path):
    with world(tmp_path, n=1, runs=tmp_path) as (client, _, _):
        client.put("/v1/label-sets/pets", json={"labels": ["a"]})
        one = "/v1/collections/pictures"
        tagged = [f"{one}/columns", f"{one}/images/1/thumbnail", "/v1/label-sets/pets", "/", "/docs", "/static/main.js"]
        for path in tagged:
            tag = client.get(path).headers["etag"]
            for has in (tag, f"W/{tag}", f'"other" , W/{tag}', f',"other",{tag},', "*"):
                for method in ("GET", "HEAD"):
                    answer = client.request(method, path, headers={"If-None-Match": has})
                    assert (answer.status_code, answer.content) == (304, b""), (path, has)
                    assert answer.headers["etag"] == tag
                    assert not {"content-type", "content-length", "content-encoding"} & answer.headers.keys()
            for has in ('"other"', f'"x{tag[1:]}', tag.strip('"'), ""):
                answer = client.get(path, headers={"If-None-Match": has})
                assert (answer.status_code, bool(answer.content)) == (200, True), (path, has)
            both = [("If-None-Match", '"other"'), ("If-None-Match", tag)]  # one header in two lines
            assert client.get(path, headers=both).status_code == 304, path
        for path in (one, f"{one}/images", f"{one}/images/1/content", "/v1/label-sets", "/openapi.json"):
            assert client.get(path, headers={"If-None-Match": "*"}).status_code == 304, path
            assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200, path
        for path in (f"{one}/images/99/thumbnail", "/v1/label-sets/none", "/nothing"):
            error_of(client.get(path, headers={"If-None-Match": "*"}), 404)
        for path in ("/", "/docs"):
            then = client.get(path).headers["last-modified"]
            assert client.get(path, headers={"If-Modified-Since": then}).status_code == 304
            before = "Thu, 01 Jan 1998 00:00:00 GMT"
            absurd = (f"Mon, 30 Nov 2026 02:00:00 +{'9' * 20}", f"Mon, {'9' * 20} Nov 2026 02:00:00 GMT")
            for since in (before, "yesterday", "", *absurd):
                assert client.get(path, headers={"If-Modified-Since": since}).status_code == 200
            newer = {"If-Modified-Since": then, "If-None-Match": '"other"'}  # which goes before
            assert client.get(path, headers=newer).status_code == 200
            part, tag = {"Range": "bytes=0-3"}, client.get(path).headers["etag"]
            assert client.get(path, headers=part).status_code == 206
            assert client.get(path, headers=part | {"If-None-Match": tag}).status_code == 304
        found = client.post(f"{one}/search", json={"text": "a boat"}, headers={"If-None-Match": "*"})
        assert found.status_code == 200


def test_a_change_on_a_condition_that_nobody_heeds_is_not_done(tmp_path):
    with world(tmp_path, n=1) as (client, _, _):
        one = "/v1/collections/pictures"
        client.put(f"{one}/entries/own", json={"text": "mine"})
        changes = [
            ("PUT", f"{one}/entries/own", {"text": "another"}, "If-None-Match"),
            ("PATCH", f"{one}/images/1", {"metadata": {"a": 1}}, "If-Match"),
            ("DELETE", f"{one}/images/1", None, "If-Match"),
            ("PUT", one, {"title": "another"}, "If-Match"),
            ("POST", f"{one}/texts", {"texts": ["a"]}, "If-Match"),
            ("DELETE", one, None, "If-Match"),
        ]
        before = client.get(f"{one}/changes").json()["cursor"]
        for method, path, body, name in changes:
            error = error_of(client.request(method, path, json=body, headers={name: "*"}), 422)
            assert (error["param"], error["code"]) == (name, "invalid_request"), (method, path)
        assert client.get(f"{one}/changes").json()["cursor"] == before
        assert client.get(one).json()["title"] is None
        assert client.get(f"{one}/entries/own").json()["text"] == "mine"
