"""bench/index/capacity.py against what queueing theory says of the queues it simulates."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from tiny_world import ROOT

from bench.index import capacity


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
@pytest.mark.parametrize("variable", [False, True], ids=["M/D/1", "M/M/1"])
def test_one_server_waits_as_pollaczek_and_khinchine_say(load, variable):
    rng, n = np.random.default_rng(0), 200_000
    came = capacity.arrivals(rng, load, n)
    times = rng.exponential(1, n) if variable else np.ones(n)
    waited = (capacity.queue(came, times, 1) - came - times).mean()
    second_moment = 2 if variable else 1
    assert waited == pytest.approx(load * second_moment / (2 * (1 - load)), rel=0.05)


def test_more_servers_wait_less_than_one_that_is_as_busy():
    rng, n = np.random.default_rng(0), 50_000
    times = np.ones(n)
    one = capacity.arrivals(rng, 0.8, n)
    four = one / 4
    waits = [(capacity.queue(came, times, servers) - came - 1).mean() for came, servers in ((one, 1), (four, 4))]
    assert 0 < waits[1] < waits[0] / 2


def test_a_batch_takes_all_who_wait_and_no_more_than_it_may():
    alone = capacity.batches(np.array([0.0, 10.0]), fixed=1, each=0.1, servers=1)
    assert alone == pytest.approx([1.1, 11.1])
    together = capacity.batches(np.array([0.0, 0.2, 0.4, 0.6]), fixed=1, each=0.1, servers=1, most=2)
    assert together == pytest.approx([1.1, 2.3, 2.3, 3.4])


def test_a_plan_answers_in_time_and_grows_with_what_is_asked():
    given = json.loads((ROOT / "bench" / "index" / "capacity_rates.json").read_text())
    rates = capacity.Rates(**{name: rate["value"] for name, rate in given["rates"].items()})
    machine = capacity.Machine(**given["machine"])
    plans = [capacity.cheapest(rates, machine, n, 100, 0.2) for n in (10**6, 10**8, 10**10)]
    assert all(0 < p.p50 <= p.p99 <= 0.2 for p in plans)
    assert [p.month for p in plans] == sorted(p.month for p in plans)
    assert plans[0].shards == plans[0].replicas == 1
    assert plans[0].encoders == 0  # the machine that searches encodes too
    assert capacity.cheapest(rates, machine, 10**6, 10, 0.001) is None  # the text tower alone takes longer


def test_the_command_prints_every_size_under_every_load():
    command = [sys.executable, "-m", "bench.index.capacity", "plan"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| 1")]
    assert [len(row) for row in rows] == [10] * 9 + [2] * 3
