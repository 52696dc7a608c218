"""The units of systemd as files: they are right, and let kvsync do little."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.parts import ROOT

UNITS = ROOT / "deploy/systemd"
SERVICES = ("kvsync.service", "kvsync@.service", "kvsync-once@.service")

analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian: systemd)")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as they would be installed here: what they start exists."""
    for unit in UNITS.glob("*kvsync*"):
        text = unit.read_text(encoding="utf-8").replace("/opt/kvsync/bin/kvsync", shutil.which("true") or "")
        (tmp_path / unit.name.replace("@.", "@shop.")).write_text(text)
    return tmp_path


def systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


@analyze
def test_systemd_has_nothing_to_say_against_the_units(units: Path) -> None:
    """`systemd-analyze verify` is silent about every unit, with every drop-in that this systemd knows."""
    drop_ins = units / "kvsync.service.d"
    drop_ins.mkdir()
    for name in ("credentials.conf", "checkout.conf", "fleet.conf"):
        shutil.copy(UNITS / name, drop_ins)
    done = systemd_analyze("verify", *sorted(path for path in units.iterdir() if path.is_file()))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@analyze
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_exposed_to_little(service: str, units: Path) -> None:
    """The exposure of every service, as systemd counts it, is 1.2 at most of 10."""
    done = systemd_analyze("security", "--offline=true", "--threshold=12", units / service.replace("@.", "@shop."))
    assert done.returncode == 0, done.stdout.splitlines()[-1:]


@pytest.mark.parametrize("service", SERVICES[1:])
def test_the_sandbox_is_the_same_in_every_service(service: str) -> None:
    """What kvsync may do on a host does not depend on the way it is started."""
    assert sandbox(service) == sandbox(SERVICES[0])


def sandbox(service: str) -> str:
    """The part of a unit that says what the service may do."""
    text = (UNITS / service).read_text(encoding="utf-8")
    return text[text.index("# What it may do") :].partition("\n[Install]")[0].strip()


@pytest.mark.parametrize("service", SERVICES)
def test_the_configuration_is_roots_own(service: str) -> None:
    """Every service reads its configuration from /etc/kvsync, where no author of a repository writes, and cannot write it."""
    unit = read(service)["Service"]
    assert unit["Environment"].startswith("KVSYNC_CONFIG=/etc/kvsync/")
    assert unit["ProtectSystem"] == "strict"


def test_daemon_and_one_shot_of_a_repository_share_user_and_state() -> None:
    """Daemon and timer of a repository have one state directory: neither takes the other's work for drift."""
    first, second = (read(service) for service in SERVICES[1:])
    for name in ("User", "StateDirectory", "Environment", "EnvironmentFile"):
        assert first["Service"][name] == second["Service"][name]
    assert second["Unit"]["Conflicts"] == "kvsync@%i.service"


def read(unit: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / unit)
    return parser
