"""What an operator sees: figures that Prometheus reads, ids, lines in the log, spans."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from scraping import samples_of, scrape, value

import flambeau as fb
from flambeau.serve import Limits, background_server
from flambeau.serve.metrics import STAGES, Metrics, exposition, lasting, summed
from flambeau.serve.observing import JsonLines, Lines

PNG = {"Content-Type": "image/png"}
DASHBOARD = Path(__file__).parents[2] / "flambeau" / "deployment" / "grafana.json"


@pytest.fixture(scope="module")
def records() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What the server logs, access lines included: as lines of text, and as JSON."""
    kept: list[tuple[str, dict[str, Any]]] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append((Lines().format(record), json.loads(JsonLines().format(record))))

    handler, logger = Kept(), logging.getLogger("flambeau")
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield kept
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_every_request_is_counted_by_model_version_and_status(
    predictor: fb.Predictor, rows_predictor: fb.Predictor, pictures: list[bytes]
) -> None:
    with background_server({"digits": predictor, "wines": rows_predictor}) as url:
        for picture in pictures[:5]:
            assert httpx.post(f"{url}/v1/predict", content=picture, headers=PNG).status_code == 200
        assert httpx.post(f"{url}/v1/predict", content=b"no picture", headers=PNG).status_code == 422
        assert httpx.post(f"{url}/v1/predict?model=none", content=pictures[0], headers=PNG).status_code == 404
        assert httpx.get(f"{url}/nowhere/at/all").status_code == 404
        rows = {"inputs": [[0.0] * 13] * 3}
        assert httpx.post(f"{url}/v1/predict?model=wines", json=rows).status_code == 200
        seen = scrape(url)
        requests, path = "flambeau_requests_total", "/v1/predict"
        assert value(seen, requests, model="digits", version="1", path=path, status="200") == 5
        assert value(seen, requests, model="digits", version="1", path=path, status="422") == 1
        assert value(seen, requests, model="wines", version="1", path=path, status="200") == 1
        assert value(seen, requests, model="", path=path, status="404") == 1
        # a path that no route has is not kept: whoever asks for many would fill the memory
        assert value(seen, requests, model="", path="", status="404") == 1
        assert value(seen, "flambeau_request_seconds_count", model="digits") == 6
        assert value(seen, "flambeau_rejections_total", code="not-a-picture", status="422") == 1
        assert value(seen, "flambeau_rejections_total", code="unknown-model") == 1
        counted = {"digits": 5, "wines": 3}  # inputs, of which a request may have several
        for model, inputs in counted.items():
            for stage in STAGES:
                assert value(seen, "flambeau_stage_seconds_count", model=model, stage=stage) == inputs, (model, stage)
            assert value(seen, "flambeau_batch_size_sum", model=model) == inputs
            assert value(seen, "flambeau_model_ready", model=model, version="1", role="current") == 1
        assert value(seen, "process_resident_memory_bytes") > 50e6
        assert value(seen, "flambeau_connections") == 1  # of the scrape


def test_the_queue_is_seen_while_requests_wait(braked: Any, pictures: list[bytes]) -> None:
    import threading

    with background_server(braked, title="digits", limits=Limits(max_queue=2)) as url:

        def ask() -> None:
            httpx.post(f"{url}/predict", content=pictures[0], headers=PNG, timeout=30)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        braked.wait_for_encoded(2)
        refused = httpx.post(f"{url}/predict", content=pictures[0], headers=PNG)
        seen = scrape(url)
        braked.gate.set()
        for thread in threads:
            thread.join()
        assert refused.status_code == 429 and value(seen, "flambeau_rejections_total", status="429") == 1
        assert value(seen, "flambeau_queue_requests") == 2 and value(seen, "flambeau_queue_limit") == 2
        assert value(seen, "flambeau_queue_inputs", model="digits") == 2


def test_every_answer_has_the_id_that_was_sent_or_a_new_one(
    url: str, pictures: list[bytes], braked: Any, blank: bytes
) -> None:
    sent = {"X-Request-ID": "mine/42"}
    for answer in (
        httpx.post(f"{url}/v1/predict", content=pictures[0], headers={**PNG, **sent}),
        httpx.post(f"{url}/v1/predict", content=b"?", headers={**PNG, **sent}),
        httpx.post(f"{url}/v1/predict", content=bytes(17 << 20), headers={**PNG, **sent}),
        httpx.get(f"{url}/nowhere", headers=sent),
        httpx.get(f"{url}/v2/models/none", headers=sent),
    ):
        assert answer.headers["x-request-id"] == "mine/42", answer.text
    made = {httpx.get(f"{url}/healthz").headers["x-request-id"] for _ in range(3)}
    made.add(httpx.get(f"{url}/healthz", headers={"X-Request-ID": "a b" * 99}).headers["x-request-id"])
    assert len(made) == 4 and all(re.fullmatch("[0-9a-f]{32}", one) for one in made)
    # what is no HTTP too
    import socket

    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"what?\r\n\r\n")
        assert re.search(rb"\r\nx-request-id: [0-9a-f]{32}\r\n", connection.recv(4096))


def test_lines_tell_the_request_and_nothing_of_its_contents(
    braked: Any, rows_predictor: fb.Predictor, blank: bytes, records: list[tuple[str, dict[str, Any]]]
) -> None:
    braked.gate.set()
    braked.outputs = lambda batch: 1 / 0
    with background_server({"digits": braked, "wines": rows_predictor}) as url:
        secret = "seen-by-nobody"
        body = {"inputs": [[secret] * 13]}
        sent = {"X-Request-ID": "one"}
        httpx.post(f"{url}/v1/predict?model=wines&secret={secret}", json=body, headers=sent)
        failed = httpx.post(f"{url}/v1/predict", content=blank, headers={**PNG, "X-Request-ID": "two"})
        assert failed.status_code == 500
    lines = [line for _, line in records]
    access = {line.get("request"): line for line in lines if line["logger"] == "flambeau.access"}
    one = access["one"]
    assert (one["method"], one["path"], one["status"], one["model"]) == ("POST", "/v1/predict", 422, "wines")
    assert one["client"] == "127.0.0.1" and one["ms"] >= 0
    (cause,) = (line for line in lines if line.get("request") == "two" and line["level"] == "error")
    assert cause["message"] == "the forward pass of 1 inputs failed" and "ZeroDivisionError" in cause["traceback"]
    said = [text for text, _ in records]
    assert secret not in "".join(said) + json.dumps(lines)
    shown = r'\S+Z info 127\.0\.0\.1 "POST /v1/predict" 422 [0-9.]+ ms wines/1 id=one'
    assert len([line for line in said if re.fullmatch(shown, line)]) == 1


def test_a_failure_of_the_server_has_an_id_safe_headers_and_a_traceback(
    predictor: fb.Predictor, blank: bytes, records: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flambeau.serve.service import Service

    async def broken(*_: Any) -> None:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr(Service, "predict", broken)
    with background_server(predictor) as url:
        answer = httpx.post(f"{url}/predict", content=blank, headers={**PNG, "X-Request-ID": "three"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
        assert answer.headers["x-request-id"] == "three" and answer.headers["x-content-type-options"] == "nosniff"
        assert "secret" not in answer.text
        assert value(scrape(url), "flambeau_rejections_total", code="internal") == 1
    (line,) = (line for _, line in records if line.get("request") == "three" and "traceback" in line)
    assert "secret of the inside" in line["traceback"]


def test_workers_are_added_up_and_what_the_dead_have_counted_stays() -> None:
    one, other = Metrics(), Metrics()
    for metrics, requests in ((one, 2), (other, 3)):
        for _ in range(requests):
            metrics.request("m", "1", "/v1/predict", 200, 0.003)
    seen = samples_of(exposition(summed([one.told(), other.told()])).decode())
    of = {"model": "m", "path": "/v1/predict"}
    assert value(seen, "flambeau_requests_total", **of) == 5
    assert value(seen, "flambeau_request_seconds_bucket", le="0.0025", **of) == 0
    assert value(seen, "flambeau_request_seconds_bucket", le="0.005", **of) == 5
    both = value(seen, "process_resident_memory_bytes")
    dead = json.loads(json.dumps(lasting(one.told())))  # as it comes from another process
    seen = samples_of(exposition(summed([dead, other.told()])).decode())
    assert value(seen, "flambeau_requests_total", **of) == 5
    assert 0.4 * both < value(seen, "process_resident_memory_bytes") < 0.6 * both


def test_spans_are_parts_of_the_callers_trace(predictor: fb.Predictor, blank: bytes) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with background_server(predictor, title="digits") as url:
        httpx.post(f"{url}/v1/predict", content=blank, headers={**PNG, "traceparent": parent, "X-Request-ID": "four"})
    made = {one.name: one for one in spans.get_finished_spans()}
    whole = made["POST /v1/predict"]
    assert whole.attributes["flambeau.model"] == "digits" and whole.attributes["flambeau.request_id"] == "four"
    for stage in ("decode", "model", "encode"):
        assert f"{made[stage].context.trace_id:032x}" == parent.split("-")[1]


WATCHED = {
    "model": "digits", "version": "0123", "predictions": 50, "feedback": {"rows": 40, "name": "accuracy", "value": 0.75,
    "low": 0.6, "high": 0.9}, "alerts": ["drift"],
    "drift": [{"name": "brightness", "test": "ks", "size": 0.4, "alert": True}],
}  # fmt: skip


def test_what_watch_has_found_is_told_too(digits: tuple[np.ndarray, list[str]], tmp_path: Path) -> None:
    from flambeau.production.watching import gauges
    from flambeau.serve import watched

    assert not [*watched.readings([str(tmp_path / "none")])]
    (tmp_path / "watch.prom").write_text(gauges(WATCHED))
    run, data = tmp_path / "run", fb.Dataset.from_arrays(digits[0][:200], digits[1][:200])
    fb.Learner(data, model="mlp", run=run, quiet=True, epochs=1, baseline=False).fit(check=False)
    with background_server(run, title="digits") as url:
        assert not value(scrape(url), "flambeau_watch_alerts")
        (run / "watch.prom").write_text(gauges(WATCHED))
        assert value(scrape(url), "flambeau_watch_alerts", model="digits") == 1
    metrics = Metrics()
    metrics.readings.append(lambda: watched.readings([str(tmp_path), str(tmp_path)]))
    seen = samples_of(exposition(metrics.told()).decode())
    assert value(seen, "flambeau_watch_alerts", model="digits") == 1
    assert value(seen, "flambeau_watch_drift", model="digits", signal="brightness", test="ks") == 0.4
    assert value(seen, "flambeau_watch_score", model="digits", metric="accuracy", bound="low") == 0.6
    assert 0 <= value(seen, "flambeau_watch_age_seconds", model="digits") < 3600
    (tmp_path / "watch.prom").write_bytes(b"\xff nonsense {")
    assert not [*watched.readings([str(tmp_path)])]


NAME = re.compile(r"\b(?:flambeau|process)_[a-z_]+\b")
LATER = {"flambeau_workers", "flambeau_worker_restarts_total"}


def test_the_dashboard_asks_for_nothing_that_is_not_told(
    predictor: fb.Predictor, pictures: list[bytes], post: Callable[..., httpx.Response], tmp_path: Path
) -> None:
    from flambeau.production.log import PredictionLog
    from flambeau.production.tables import LogTables
    from flambeau.production.watching import gauges

    board = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    queries += [one["query"]["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    asked = {name for query in queries for name in NAME.findall(query)}
    log = PredictionLog(LogTables(str(tmp_path / "log.db")), tmp_path / "waiting")
    with background_server(predictor, kept_in=log) as url:
        post(url, pictures[0])
        post(url, b"no picture")
        told = {name for name, _ in scrape(url)}
    assert len(asked) > 15
    told |= {name for name, _ in samples_of(gauges(WATCHED))}
    assert not asked - told - LATER
