"""The vendors' own live tests, and their previous SDKs, unchanged, against the emulators."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.emulators.conftest import azure_emulator
from tests.support.emulator import emulator

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
PINS = HERE / "sdks"
SECONDS = 600


def python(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run this interpreter."""
    words = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=SECONDS, env={**os.environ, **(env or {})}
    )


def obtained(what: str, *arguments: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Let pip get packages with the hashes that are pinned; skips where no package index can be reached."""
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")
    done = python("-m", "pip", *arguments, *options, env=env)
    if done.returncode:
        pytest.skip(f"{what} are not tried: pip failed; it needs a package index ({done.stderr.strip()[-300:]})")


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the previous SDKs; the packages they depend on are those of the present ones."""
    folder = tmp_path_factory.mktemp("previous")
    obtained("previous SDKs", "install", "--target", folder, "-r", PINS / "previous.txt")
    return folder


@pytest.mark.parametrize(
    ("type_", "version"),
    [("azure-appconfig", "1.9."), ("apify", "2."), ("cloudflare-kv", "4.")],
    ids=lambda one: str(one),
)
def test_previous_sdks_work_too(previous: Path, type_: str, version: str) -> None:
    """An application that has not moved to the current SDK gets on with the emulator as well."""
    with emulator(type_) as server:
        done = python(PINS / f"{type_.replace('-', '_')}.py", env={**server.env, "PYTHONPATH": str(previous)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(version)


def test_the_live_tests_of_the_azure_sdk_pass(tmp_path: Path) -> None:
    """The tests in the source distribution of `azure-appconfiguration`, of its clients with and without asyncio, pass as live
    tests. What they import of the vendor's tools is in `vendor/`."""
    tests = live_tests(tmp_path)
    options = ("-q", "-c", os.devnull, "-p", "no:cacheprovider", "-p", "devtools_testutils", "-o", "asyncio_mode=auto")
    with azure_emulator(tls=True) as server:
        env = server.env | {
            "PYTHONPATH": str(HERE / "vendor"),
            "APPCONFIGURATION_ENDPOINT_STRING": server.url,
            "REQUESTS_CA_BUNDLE": server.env["SSL_CERT_FILE"],
        }
        done = python("-m", "pytest", *options, "--rootdir", tests, tests, env=env)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 284, done.stdout[-500:]


def live_tests(folder: Path) -> Path:
    """The folder of the tests in the source distribution. pip builds the metadata of one, with tools that are pinned too."""
    obtained("the vendor's tests", "install", "--target", folder / "tools", "-r", PINS / "build.txt")
    options = ("--no-binary", ":all:", "--no-build-isolation", "-d", folder, "-r", PINS / "vendor-tests.txt")
    obtained("the vendor's tests", "download", *options, env={"PYTHONPATH": str(folder / "tools")})
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (tests,) = folder.glob("*/tests")
    return tests
