"""Settings from flags, environment and file, and `glimpse serve --check`, which says how it would start."""

import json
import re
import shutil
import socket

import pytest
from service_world import add_collection, draw, tiny_encoder
from typer.testing import CliRunner

from base.errors import InputError
from glimpse.cli import app
from labelling.label_sets import LabelSet, LabelSets
from service.app import serve
from service.jobs.store import JobStore
from service.keys import add_key
from service.preflight import check
from service.settings import Settings, read_settings, unknown_variables

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No variable of the shell that runs the tests."""
    for name in [f"GLIMPSE_{field.upper()}" for field in [*Settings.model_fields, "config"]]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Writes the file that GLIMPSE_CONFIG names."""

    def write(text):
        (tmp_path / "glimpse.toml").write_text(text)
        monkeypatch.setenv("GLIMPSE_CONFIG", str(tmp_path / "glimpse.toml"))

    return write


def run(*arguments):
    return CliRunner().invoke(app, ["serve", *map(str, arguments)], env={"COLUMNS": "200"})


# --- where they come from ---


def test_flags_go_before_the_environment_before_the_file(config, monkeypatch):
    config('model = "of the file"\nport = 1001\nqueue_size = 7\nfetch_hosts = ["a.example", "b.example"]\n')
    monkeypatch.setenv("GLIMPSE_PORT", "1002")
    monkeypatch.setenv("GLIMPSE_CORS_ORIGINS", "https://a.example, https://b.example,")
    monkeypatch.setenv("GLIMPSE_DEVICE", "")  # as compose gives what is not set
    settings = read_settings({"host": "::1"})
    assert (settings.model, settings.port, settings.queue_size) == ("of the file", 1002, 7)
    assert (settings.host, settings.device, str(settings.data)) == ("::1", "auto", "glimpse-data")
    assert settings.fetch_hosts == ("a.example", "b.example")
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert read_settings({"port": 1003}).port == 1003


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = ", "glimpse.toml is not TOML"),
        ('model = "x"\nprot = 9\n', "GLIMPSE_CONFIG: prot is no setting; is port meant?"),
        ('model = "x"\nport = "high"\n', "port: must be a whole number"),
        ("port = 9\n", "model is not set: give --model or GLIMPSE_MODEL"),
        ('model = "x"\n[service]\nport = 9\n', "service is no setting"),
        (f'model = "x"\napi_keys = "{SECRET}"\n', "number 1 is not NAME:SCOPE:KEY"),
        (f'model = "x"\napi_keys = "a:read:{SECRET[:31]}"\n', "fewer than 32 characters"),
    ],
)
def test_what_is_wrong_in_the_file_is_one_line(config, text, message):
    config(text)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        read_settings({})
    assert "\n" not in str(error.value)
    assert SECRET[:31] not in str(error.value)
    assert message in check({}).problems[0]
    done = run()
    assert isinstance(done.exception, InputError)


def test_a_file_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setenv("GLIMPSE_CONFIG", "gone.toml")
    monkeypatch.setenv("GLIMPSE_MODEL", "x")
    with pytest.raises(InputError, match=r"gone.toml cannot be read \(No such file"):
        read_settings({})


def test_keys_are_never_shown(monkeypatch):
    monkeypatch.setenv("GLIMPSE_API_KEYS", f"a:read:{SECRET}")
    settings = read_settings({"model": "x"})
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert SECRET not in shown


def test_unknown_variables_are_named():
    assert unknown_variables(["GLIMPSE_PORT", "GLIMPSE_CONFIG", "PATH"]) == []
    assert unknown_variables(["GLIMPSE_QUEUESIZE", "GLIMPSE_NOTHING"]) == [
        "GLIMPSE_NOTHING is no setting",
        "GLIMPSE_QUEUESIZE is no setting; is GLIMPSE_QUEUE_SIZE meant?",
    ]


# --- serve --check ---


@pytest.fixture(scope="module")
def data(tiny_run, encoder, tmp_path_factory):
    """A collection of the model in `tiny_run`, and one of another."""
    data = tmp_path_factory.mktemp("check")
    files = draw(data / "files", 1)
    add_collection(data, encoder, files)
    add_collection(data, tiny_encoder(data, fingerprint="another"), files, "others")
    return data


def test_what_is_right_is_shown_and_exits_with_0(data, tiny_run, monkeypatch):
    monkeypatch.setenv("GLIMPSE_API_KEYS", f"a:read:{SECRET}")
    monkeypatch.setenv("GLIMPSE_PRECISON", "fp32")
    done = run("--check", "--model", tiny_run, "--data", data, "--port", 0, "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    lines = (re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines())
    shown = {line[0]: line[1] for line in lines if len(line) == 2}
    assert shown["model"] == str(tiny_run)
    assert shown["data"] == str(data)
    assert shown["api_keys"] == "**********"
    assert SECRET not in done.output
    assert "warning: GLIMPSE_PRECISON is no setting; is GLIMPSE_PRECISION meant?" in done.stderr
    assert "warning: collection others was made by tiny" in done.stderr
    assert "wrong:" not in done.stderr
    looked = {line[0]: line[2] for line in map(list, (re.split(r"\s{2,}", row) for row in done.stdout.splitlines()))
              if line[1:2] == ["ok"]}  # fmt: skip
    assert looked.keys() == {"address", "data", "keys", "processors", "model", "collection pictures"} - (
        {"processors"} if "other programs keep" in done.stderr else set()
    )
    assert re.fullmatch(rf"{re.escape(str(data))} can be written to, [\d.]+ GB free", looked["data"])
    assert looked["keys"] == "1 key, 0 of them admin"
    assert looked["model"].endswith("32 dimensions")
    assert re.fullmatch(r"3 entries, [\d.]+ MB, read whole", looked["collection pictures"])
    assert re.fullmatch(r"verdict: ready to serve, with [23] warnings", done.stdout.splitlines()[-1])


def test_everything_that_is_wrong_is_named_at_once(data, tmp_path):
    (tmp_path / "keys.json").write_text("{")
    (tmp_path / "collections" / "broken").mkdir(parents=True)
    (tmp_path / "collections" / "broken" / "catalog.sqlite").write_bytes(b"not a database" * 100)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--check", "--json", "--model", "no/model", "--data", tmp_path, "--port", port)
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["settings"]["port"] == port
    for part in ("cannot be listened on", "keys.json: not a file of keys", "neither a folder", "collection broken: "):
        assert sum(part in problem for problem in found["problems"]) == 1, part
    assert len(found["problems"]) == 4
    assert re.match(r"would not start: 4 problems( and \d warnings?)?$", found["verdict"])
    wrong = [one for one in found["checks"] if one["state"] == "wrong"]
    assert [one["what"] for one in wrong] == ["address", "keys", "model", "collection broken"]


def test_a_damaged_page_of_a_collection_is_found(data, tiny_run, tmp_path):
    shutil.copytree(data / "collections" / "pictures", tmp_path / "collections" / "pictures")
    catalog = tmp_path / "collections" / "pictures" / "catalog.sqlite"
    content = catalog.read_bytes()
    at = content.index(b"a red boat")
    catalog.write_bytes(content[:at] + b"a bed boat" + content[at + 10 :])
    done = run("--check", "--json", "--model", tiny_run, "--data", tmp_path, "--port", 0, "--device", "cpu")
    found = json.loads(done.stdout)
    assert done.exit_code == 1
    assert any("1 entries are not what was written" in line for line in found["problems"])
    assert found["verdict"].startswith("would start, and not serve all: 1 problem")


def test_a_further_model_that_cannot_be_loaded_leaves_the_service_to_start_without_it(tiny_run, tmp_path):
    asked = ("--check", "--json", "--model", tiny_run, "--models", f"mine={tiny_run},lost=no/model")
    done = run(*asked, "--data", tmp_path, "--port", 0, "--device", "cpu")
    found = json.loads(done.stdout)
    assert done.exit_code == 1
    assert found["verdict"].startswith("would start, and not serve all: 1 problem")
    [problem] = found["problems"]
    assert problem.startswith("model lost: no/model: neither a folder here")
    states = {one["what"]: one["state"] for one in found["checks"]}
    assert (states["model"], states["model lost"]) == ("ok", "wrong")


def test_a_replica_is_told_of_a_data_folder_that_is_not_there(data, tmp_path):
    there, lost = (
        check({"model": "x", "data": folder, "port": 0, "read_only": True}) for folder in (data, tmp_path / "no")
    )
    assert any("is not there" in line for line in lost.warnings)
    assert not any("is not there" in line for line in there.warnings)
    assert f"{data} is read, and never written to" in [one.said for one in there.checks]


def test_a_disk_that_is_full_or_cannot_be_written_to_is_a_warning(tmp_path, on_own_disk):
    on_own_disk(
        """
from service.preflight import check
given = {"model": "x", "data": disk / "data", "port": 0}
(disk / "data").mkdir()
assert any("GB free: writes that do not fit are refused" in line for line in check(given).warnings)
mount("-o", "remount,ro")
assert any("cannot be written to: searches work" in line for line in check(given).warnings)
"""
    )


def test_settings_that_cannot_be_read_are_all_named(monkeypatch):
    monkeypatch.setenv("GLIMPSE_PORT", "70000")
    monkeypatch.setenv("GLIMPSE_QUEUE_SIZE", "0")
    monkeypatch.setenv("GLIMPSE_LOG_LEVEL", "loud")
    done = run("--check", "--model", "x")
    assert done.exit_code == 1
    assert [re.match(r"wrong: (\w+): .*\(GLIMPSE_\w+\)$", line)[1] for line in done.stderr.splitlines()] == [
        "port",
        "queue_size",
        "log_level",
    ]
    failed = run("--model", "x")
    assert "and 2 more: glimpse serve --check" in str(failed.exception)


def test_others_may_not_reach_it_without_a_key(tmp_path):
    given = {"model": "x", "data": tmp_path, "host": "0.0.0.0", "port": 0}
    assert any("glimpse keys add NAME" in problem for problem in check(given).problems)
    with pytest.raises(InputError, match="GLIMPSE_ALLOW_ANONYMOUS=1"):
        serve(read_settings(given))
    add_key(tmp_path, "first", "read")
    (tmp_path / "keys.json").chmod(0o644)
    found = check(given)
    assert not any("reached by" in problem for problem in found.problems)
    assert found.warnings == [f"{tmp_path / 'keys.json'} can be read by other users: chmod 600"]


def test_damaged_label_sets_jobs_and_labelling_runs_are_named(tmp_path):
    for name in ("good", "harmed"):
        LabelSets(tmp_path).put(name, LabelSet.of(["cat", "dog"]))
    harmed = tmp_path / "label-sets" / "harmed.json"
    harmed.write_text(harmed.read_text().replace("cat", "cow"))
    jobs = JobStore(tmp_path)
    good, bad = jobs.new("label", {}, None, {}), jobs.new("label", {}, None, {})
    (jobs.folder / f"{bad.id}.json").write_text("{")
    run = tmp_path / "label-runs" / "pets-1" / "run.sqlite"
    run.parent.mkdir(parents=True)
    run.write_bytes(b"SQLite format 3\0" + bytes(50))
    warnings = check({"data": tmp_path, "model": "no/model", "port": 0}).warnings
    assert any(line.startswith("labelling run pets-1: ") and "is damaged" in line for line in warnings)
    assert any("label set 'harmed' is damaged" in line for line in warnings)
    assert any(bad.id in line and "is damaged" in line for line in warnings)
    assert not any("good" in line or good.id in line for line in warnings)


def test_checking_changes_nothing(tmp_path):
    check({"model": "x", "data": tmp_path / "new", "port": 0})
    assert list(tmp_path.iterdir()) == []


# --- glimpse keys ---


def test_keys_on_the_command_line(tmp_path):
    def keys(*arguments):
        return CliRunner().invoke(app, ["keys", *arguments, "--data", str(tmp_path)])

    made = keys("add", "shop")
    assert re.fullmatch(r"glimpse_[\w-]{43}\n", made.stdout)
    boss = json.loads(keys("add", "boss", "--scope", "admin", "--json").stdout)
    assert (boss["name"], boss["scope"]) == ("boss", "admin")
    assert isinstance(keys("add", "shop").exception, InputError)
    assert keys("add", "x", "--scope", "write").exit_code == 2
    listed = keys("list")
    assert re.search(r"boss +admin .*\nshop +read ", listed.stdout)
    assert made.stdout.strip() not in listed.stdout
    keys("remove", "boss")
    assert [key["name"] for key in json.loads(keys("list", "--json").stdout)["keys"]] == ["shop"]


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("cors_origins", "https://shop.example/", "https://shop.example meant?"),
        ("cors_origins", "https://Shop.Example", "https://shop.example meant?"),
        ("cors_origins", "https://shop.example:443", "https://shop.example meant?"),
        ("cors_origins", "http://shop.example:80/a?b#c", "http://shop.example meant?"),
        ("cors_origins", "shop.example", "https://shop.example meant?"),
        ("cors_origins", "localhost:5173", "https://localhost:5173 meant?"),
        ("cors_origins", "https://bücher.example", "https://xn--bcher-kva.example meant?"),
        ("cors_origins", "https://ann@shop.example", "https://shop.example meant?"),
        ("cors_origins", "https://*.shop.example", "is no origin: give each as"),
        ("cors_origins", "https://a.example https://b.example", "is no origin: give each as"),
        ("cors_origins", "https://a.example:port", "is no origin: give each as"),
        ("cors_origins", "https://[::1", "is no origin: give each as"),
        ("cors_origins", "http://", "is no origin: give each as"),
        ("cors_origins", "https://a.example,null", "null is what any page can make itself"),
        ("fetch_hosts", "https://cdn.example.org", "cdn.example.org meant?"),
        ("fetch_hosts", "cdn.example.org/images", "cdn.example.org meant?"),
        ("fetch_hosts", "cdn.example.org.", "cdn.example.org meant?"),
        ("fetch_hosts", "cdn.example.org:443", "cdn.example.org meant?"),
        ("fetch_hosts", "ann@cdn.example.org", "cdn.example.org meant?"),
        ("fetch_hosts", ".example.org", "*.example.org meant?"),
        ("fetch_hosts", "bücher.example", "xn--bcher-kva.example meant?"),
        ("fetch_hosts", "a.example b.example", "a.example meant?"),
        ("fetch_hosts", "http://", "is no host, as"),
        ("fetch_hosts", "[2606:4700::1111]", "an IPv6 address is named without brackets"),
    ],
)
def test_what_no_page_and_no_address_can_match_is_refused(name, given, said):
    with pytest.raises(InputError) as refused:
        read_settings({"model": "x", name: given})
    assert said in str(refused.value)
    assert f"(GLIMPSE_{name.upper()})" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("cors_origins", "*"),
        ("cors_origins", "https://shop.example,http://localhost:5173,http://[::1]:8080,https://a_b.example:8443"),
        ("cors_origins", "chrome-extension://abcdefghijklmnop,capacitor://localhost,tauri://localhost"),
        ("fetch_hosts", "*"),
        ("fetch_hosts", "CDN.example.org,*.example.com,img?.example.com:8443,cdn[0-9].example.com,a_b.example,*:8443"),
        ("fetch_hosts", "93.184.216.34,93.184.216.34:8080,2606:4700::1111,xn--bcher-kva.example"),
    ],
)
def test_what_can_match_is_taken(name, given):
    assert list(getattr(read_settings({"model": "x", name: given}), name)) == given.split(",")


def test_hosts_that_are_never_fetched_from_are_a_warning(tmp_path, tiny_run):
    hosts = ["localhost:9000", "a.localhost", "10.0.0.5", "192.168.1.2:9000", "::1", "cdn.example.org", "93.184.216.34"]
    found = check({"model": str(tiny_run), "data": tmp_path, "port": 0, "fetch_hosts": hosts})
    said = [line for line in found.warnings if line.startswith("fetch_hosts: ")]
    assert [line.split()[1] for line in said] == hosts[:5]
    assert "is not on the public internet, so nothing is fetched from it" in said[0]
