"""How often a key may ask: 429 beyond it, which says when; one key takes nothing from another."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_world import create_app, error_of, serving, settings_for, tiny_encoder, until

from base.errors import InputError
from glimpse.client import Client
from service import keys
from service.http.rates import Rates
from service.keys import Key, Keyring, Rate

SHA = "0" * 64


def key(name: str = "shop", rate: Rate | None = None) -> Key:
    return Key(name, "read", SHA, a_second=rate.a_second if rate else None, burst=rate.burst if rate else None)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(
    st.floats(0.01, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 3), min_size=1, max_size=200),
)
def test_no_more_than_burst_and_rate_pass_in_any_time_and_who_waits_passes(
    a_second: float, burst: int, pauses: list[float]
) -> None:
    clock = Clock()
    rates, one = Rates(clock), key(rate=Rate(a_second, burst))
    passed: list[float] = []
    for pause in pauses:
        clock.now += pause
        taken = rates.take(one)
        assert taken is not None
        if taken.wait:
            clock.now += taken.wait
            again = rates.take(one)
            assert again is not None
            assert again.wait == 0
        passed.append(clock.now)
    for i, begin in enumerate(passed):
        for j in range(i, len(passed)):
            assert j - i + 1 <= burst + (passed[j] - begin) * a_second + 1e-3


def test_keys_take_nothing_from_each_other_and_one_without_a_rate_is_not_held() -> None:
    clock = Clock()
    rates = Rates(clock)
    slow, other, free = key("slow", Rate(1, 2)), key("other", Rate(1, 2)), key("free")
    assert [rates.take(slow).wait for _ in range(4)] == [0, 0, 1, 1]  # type: ignore[union-attr]
    assert rates.take(other).wait == 0  # type: ignore[union-attr]
    assert rates.take(free) is None
    changed = key("slow", Rate(10, 10))  # by the operator: it begins anew
    assert rates.take(changed).wait == 0  # type: ignore[union-attr]


def test_what_a_client_is_told() -> None:
    rates = Rates(Clock())
    one = key(rate=Rate(2, 5))
    told = [rates.take(one).headers for _ in range(6)]  # type: ignore[union-attr]
    assert told[0] == {"ratelimit": '"key";r=4;t=1', "ratelimit-policy": '"key";q=5;w=3'}
    assert [re.findall(r"r=(\d+)", one["ratelimit"])[0] for one in told] == ["4", "3", "2", "1", "0", "0"]


@pytest.mark.parametrize(
    ("text", "a_second", "burst"),
    [("20/s", 20, 20), ("0.5/s", 0.5, 1), ("600/m", 10, 10), ("1800/h", 0.5, 1), (" 2.5/s ", 2.5, 3)],
)
def test_rates_as_people_say_them(text: str, a_second: float, burst: int) -> None:
    assert Rate.of(text) == Rate(a_second, burst)
    assert Rate.of(text, 99).burst == 99


@pytest.mark.parametrize("text", ["20", "20/d", "0/s", "-1/s", "/s", "1e3/s", "nan/s", "9999999/s", "20/s/s", "٣/s"])
def test_what_is_no_rate_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="is no rate"):
        Rate.of(text)
    done = subprocess.run(
        [sys.executable, "-m", "glimpse", "keys", "add", "shop", f"--rate={text}", "--data", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, keys.read_keys(tmp_path)) == (2, [])


@pytest.mark.parametrize("fields", [{"a_second": 5}, {"burst": 5}, {"a_second": "5", "burst": 5},
                                    {"a_second": 0, "burst": 5}, {"a_second": 5, "burst": 0}])  # fmt: skip
def test_a_damaged_rate_opens_nothing(tmp_path: Path, fields: dict[str, object], caplog) -> None:
    secret = keys.add_key(tmp_path, "shop", "read")
    kept = json.loads((tmp_path / "keys.json").read_text())
    assert "a_second" not in kept["keys"][0]
    kept["keys"][0] |= fields
    (tmp_path / "keys.json").write_text(json.dumps(kept))
    ring = Keyring(tmp_path)
    assert ring.find(secret) is None
    assert ring.required


def ran(*asked: object) -> str:
    command = [str(Path(sys.executable).with_name("glimpse")), *map(str, asked)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_running_service_holds_keys_to_their_rates(tmp_path: Path) -> None:
    slow = json.loads(ran("keys", "add", "slow", "--rate", "5/s", "--burst", "3", "--data", tmp_path, "--json"))["key"]
    free = json.loads(ran("keys", "add", "free", "--data", tmp_path, "--json"))["key"]
    app = create_app(settings_for(tmp_path, cors_origins="https://shop.example"), tiny_encoder(tmp_path))
    with serving(app) as url:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {slow}"}) as client:
            answers: list[httpx.Response] = []

            def is_refused() -> bool:
                answers.append(client.get("/v1/collections", headers={"Origin": "https://shop.example"}))
                return answers[-1].status_code == 429

            started = time.monotonic()
            until(is_refused)
            assert len(answers) - 1 <= 3 + 5 * (time.monotonic() - started)
            refused = answers[-1]
            assert [answer.status_code for answer in answers[:3]] == [200, 200, 200]
            assert answers[0].headers["RateLimit-Policy"] == '"key";q=3;w=1'
            assert answers[0].headers["RateLimit"].startswith('"key";r=2;t=')
            assert "RateLimit" in answers[0].headers["Access-Control-Expose-Headers"]
            error = error_of(refused, 429)
            assert (error["code"], error["type"]) == ("rate_limited", "rate_limit_error")
            assert "this key may ask 5/s, 3 at once: wait 1 s" in error["message"]
            assert refused.headers["Retry-After"] == "1"
            assert refused.headers["RateLimit"].startswith('"key";r=0;')
            assert httpx.get(f"{url}/health/ready").status_code == 200
            others = [httpx.get(f"{url}/v1/collections", headers={"Authorization": f"Bearer {free}"}) for _ in range(9)]
            assert {answer.status_code for answer in others} == {200}
            assert "RateLimit" not in others[0].headers
        with Client(url, slow) as patient:  # which waits as it is told
            started = time.monotonic()
            for _ in range(6):
                patient.collections()
            assert time.monotonic() - started > 0.3
        assert "5/s, 3 at once" in ran("keys", "list", "--data", tmp_path)
        ran("keys", "limit", "slow", "--rate", "none", "--data", tmp_path)
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {slow}"}) as client:
            assert {client.get("/v1/collections").status_code for _ in range(9)} == {200}
    with pytest.raises(InputError, match="no key 'none'"):
        keys.limit_key(tmp_path, "none", None)
