"""Spans, sent to a real collector of OTLP over HTTP on this machine."""

import gzip
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from service_world import world

from base.extras import install

ASK = """
import sys
from pathlib import Path
from service_world import world

with world(Path(sys.argv[1]), n=2) as (client, _, _):
    trace = {"traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", "X-Request-Id": "abc"}
    client.post("/v1/collections/pictures/search", json={"text": "grandmother"}, headers=trace)
    client.get("/v1/collections/pictures/images/1/thumbnail")
    client.get("/?q=grandmother")
"""


@pytest.fixture
def collector():
    """Its address, and the bodies that it was sent."""
    bodies = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()
    thread.join()


def test_requests_and_their_stages_are_sent_below_the_callers_span(collector, tmp_path):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    address, bodies = collector
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", ASK, tmp_path], env=env, check=True)  # sends the rest at its end
    sent = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    scopes = [scope for one in sent for resource in one.resource_spans for scope in resource.scope_spans]
    spans = [span for scope in scopes for span in scope.spans]
    (search,) = (s for s in spans if s.name == "POST /v1/collections/{collection}/search")
    assert search.trace_id.hex() == "0123456789abcdef0123456789abcdef"
    assert search.parent_span_id.hex() == "0123456789abcdef"
    attributes = {a.key: a.value.string_value or a.value.int_value for a in search.attributes}
    assert attributes["http.response.status_code"] == 200
    assert attributes["glimpse.request_id"] == "abc"
    assert {s.name for s in spans if s.parent_span_id == search.span_id} == {"index", "catalog"}
    (thumbnail,) = (s for s in spans if s.name.endswith("/thumbnail"))
    assert [s.name for s in spans if s.parent_span_id == thumbnail.span_id] == ["decode"]
    assert not any(b"grandmother" in body or b"pictures" in body for body in bodies)


def test_without_the_extra_it_says_so_and_serves(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with world(tmp_path, n=1) as (client, _, _):
        assert client.get("/v1/info").status_code == 200
    assert "nothing is sent: " + install("otel") in caplog.text
