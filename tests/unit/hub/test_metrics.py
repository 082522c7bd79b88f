"""Counters that processes share."""

from __future__ import annotations

from wherry.hub.metrics import Board, Metrics, labelled


def test_parts_add_up_and_a_successor_goes_on() -> None:
    board = Board(2)
    for part in (0, 1, 1):  # the second of part 1 comes after the first has died
        Metrics(board, part).request("GET", "blobs", 200, 0.02)
    text = Metrics(board, 0).render({labelled("job_runs", job="x"): 3.0, "users": 2.0})
    assert 'wherry_hub_requests_total{method="GET",area="blobs",status="200"} 3\n' in text
    assert 'wherry_hub_request_seconds_bucket{area="blobs",le="0.01"} 0\n' in text
    assert 'wherry_hub_request_seconds_bucket{area="blobs",le="0.025"} 3\n' in text
    assert 'wherry_hub_request_seconds_bucket{area="blobs",le="+Inf"} 3\n' in text
    assert 'wherry_hub_request_seconds_sum{area="blobs"} 0.060000\n' in text
    assert '# TYPE wherry_hub_job_runs gauge\nwherry_hub_job_runs{job="x"} 3\n' in text


def test_labels_are_few_whatever_clients_send() -> None:
    metrics = Metrics()
    for number in range(5000):
        metrics.request(f"M{number}", "site", 405, 20.0)
    text = metrics.render({})
    assert text.count("wherry_hub_requests_total{") == 1
    assert 'method="other"' in text


def test_a_full_part_takes_no_more() -> None:
    board = Board(2)
    metrics = Metrics(board, 0)
    for number in range(3000):
        metrics.event(f"event{number}")
    metrics.event("x" * 500)
    Metrics(board, 1).event("event0")
    text = metrics.render({})
    assert "wherry_hub_event0_total 2\n" in text
    assert text.count("_total counter") == 1024 + 1
