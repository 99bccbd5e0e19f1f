"""The service on a real server, under many clients at once."""

import base64
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from service_world import ask_and_leave, error_of, picture, serving, settings_for, tiny_encoder, until

from service.app import create_app

CLIENTS = 16


@pytest.fixture
def served(tmp_path):
    encoder = tiny_encoder(tmp_path)
    app = create_app(settings_for(tmp_path, queue_size=32), encoder)
    with serving(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        client.app, client.url = app, url
        encoder.texts.clear()
        encoder.images.clear()
        yield client, encoder


def embed(client, value):
    answer = client.post("/v1/embeddings", json={"input": value})
    assert answer.status_code == 200, answer.text
    return np.array([d["embedding"] for d in answer.json()["data"]], np.float32)


def data_uri(data):
    return "data:image/png;base64," + base64.b64encode(data).decode()


def together(work, items):
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(work, items))


def test_requests_that_come_together_run_together(served):
    client, encoder = served
    texts = [f"text number {i}" for i in range(CLIENTS - 1)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        with encoder.held():
            first = pool.submit(embed, client, "first")
            assert encoder.running.wait(10)
            others = [pool.submit(embed, client, text) for text in texts]
            until(lambda: queued(client) == len(texts))
        answers = [future.result() for future in [first, *others]]
    runs = [run for run in encoder.texts if run != ["first"]]
    assert sorted(map(len, runs)) == [len(texts)]
    np.testing.assert_allclose(np.concatenate(answers), encoder.encode_texts(["first", *texts]), atol=1e-5)


def queued(client):
    return sum(client.app.state.service.models.default.loaded.inference.waiting.values())


def test_answers_under_load_are_those_of_their_requests(served):
    client, encoder = served
    images = [picture(i) for i in range(24)]
    expected = {i: encoder.encode_images([image])[0] for i, image in enumerate(images)}
    words = encoder.encode_texts([f"word {i}" for i in range(24)])
    encoder.images.clear()

    def ask(i):
        if i % 3 == 2:  # now and then a broken one between the good
            error = error_of(client.post("/v1/embeddings", json={"input": data_uri(b"broken")}), 422)
            return error["param"] == "input[0]"
        n = i % 24
        image, text = embed(client, [data_uri(images[n]), f"word {n}"])
        return np.allclose(image, expected[n], atol=1e-4) and np.allclose(text, words[n], atol=1e-4)

    assert all(together(ask, range(150)))
    assert len(encoder.images) < 100  # fewer runs than images


def test_too_much_at_once_is_429_and_the_rest_is_answered(served):
    client, encoder = served

    def ask(i):
        return client.post("/v1/embeddings", json={"input": [f"{i} {j}" for j in range(16)]})

    with ThreadPoolExecutor(CLIENTS) as pool:
        with encoder.held():
            first = pool.submit(ask, 0)
            assert encoder.running.wait(10)
            others = [pool.submit(ask, i) for i in range(1, 9)]
            until(lambda: sum(future.done() for future in others) == 6)  # two times 16 wait, there is no more room
        answers = [first.result(), *(future.result() for future in others)]
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 6
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert error_of(refused, 429)["type"] == "rate_limit_error"
    assert refused.headers["retry-after"] == "1"
    assert len(embed(client, "and now again")) == 1


def test_a_request_whose_client_left_is_never_run(served):
    client, encoder = served
    with encoder.held():
        first = threading.Thread(target=embed, args=(client, "first"))
        first.start()
        assert encoder.running.wait(10)
        ask_and_leave(client.url, "/v1/embeddings", {"input": "abandoned"}, lambda: queued(client) == 1)
        until(lambda: queued(client) == 0)
    first.join()
    embed(client, "after")
    assert not any("abandoned" in run for run in encoder.texts)


def test_a_body_without_end_is_cut_off(tmp_path):
    app = create_app(settings_for(tmp_path, max_upload_bytes=50_000), tiny_encoder(tmp_path))
    with serving(app) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            head = "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(6):
                connection.sendall(b"2710\r\n" + b" " * 10_000 + b"\r\n")
            assert b" 413 " in connection.recv(200)
        assert httpx.get(f"{url}/health/ready").status_code == 200


def test_a_client_that_leaves_in_the_middle_of_its_body_does_no_harm(served):
    client, _ = served
    for _ in range(5):
        with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
            connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n{")
    assert len(embed(client, "still here")) == 1


def test_a_stop_finishes_what_was_accepted(tmp_path):
    encoder = tiny_encoder(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        with serving(create_app(settings_for(tmp_path), encoder)) as url:
            encoder.go.clear()
            encoder.running.clear()
            asked = pool.submit(httpx.post, f"{url}/v1/embeddings", json={"input": "last"}, timeout=20)
            assert encoder.running.wait(10)
            threading.Timer(0.3, encoder.go.set).start()  # when the server has been told to stop
        assert asked.result().status_code == 200
