"""kvsync under a real systemd: a booted Debian, the units as they are shipped, a store that answers over HTTP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import parts
from tests.deploy.machine import Machine, booted, install

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

TOKEN = "token-that-is-nowhere-but-in-the-credential"
SERVICE = "kvsync.service"
ONCE = "kvsync-once@shop.service"
STORE = "edge-emulator.service"

CONFIG = """\
version: 1
owner: test
state_dir: .kvsync
stores:
  edge:
    type: cloudflare-kv
    account_id: 6b7673796e6300000000000000000000
    endpoint: http://127.0.0.1:8787/client/v4
    token: {credential: cloudflare-token}
    create_namespaces: true
policy: {prune: owned}
run: {every: 1h}
"""
STATE = "store: edge\nnamespace: web\nkeys: {greeting: Hello}\n"
LOCAL = """\
version: 1
owner: shop
stores: {local: {type: sqlite, path: /var/lib/kvsync-shop/store.db}}
policy: {prune: owned}
"""

STRICTER = "[Service]\nWatchdogSec=10\nRestartSec=0\nTimeoutStopSec=10\n"
"""So that a test need not wait for a minute, and a stop that takes longer than promised is a failure."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, debian: Path, wheels: Path) -> Iterator[Machine]:
    """A booted machine with kvsync and its units, and a running store."""
    parts.need(["systemd-nspawn", "nsenter"])
    with parts.large(tmp_path_factory.mktemp("machine")) as folder, booted(furnished(folder, debian, wheels)) as up:
        up.write("/etc/kvsync/credentials/cloudflare-token", TOKEN + "\n", 0o600)
        emulator = ("/opt/kvsync/bin/kvsync", "emulate", "cloudflare-kv", "--port", "8787", "--token", TOKEN)
        up.must("systemd-run", f"--unit={STORE}", *emulator)
        up.until(lambda: "emulator.ready" in up.journal(STORE), STORE)
        yield up


def furnished(folder: Path, debian: Path, wheels: Path) -> Path:
    """A system with kvsync, its units, and the drop-ins that the service of these tests has."""
    root = folder / "root"
    parts.must("cp", "-a", "--reflink=auto", debian, root)
    install(root, wheels)
    drop_ins = root / f"etc/systemd/system/{SERVICE}.d"
    drop_ins.mkdir()
    shutil.copy(parts.ROOT / "deploy/systemd/credentials.conf", drop_ins)
    (drop_ins / "stricter.conf").write_text(STRICTER)
    return root


@pytest.fixture
def service(machine: Machine) -> Iterator[Machine]:
    """The machine with the service running on fresh files; the store keeps what it has."""
    configure(machine)
    machine.must("systemctl", "start", SERVICE)
    yield machine
    machine.must("systemctl", "stop", SERVICE)
    machine.run("systemctl", "reset-failed", SERVICE)


def configure(machine: Machine) -> None:
    machine.write("/etc/kvsync/kvsync.yaml", CONFIG)
    machine.write("/etc/kvsync/state/web.yaml", STATE)


def greeting(machine: Machine) -> str | None:
    """What the store has under `greeting`, asked the way a worker at the edge would."""
    base = "http://127.0.0.1:8787/client/v4/accounts/6b7673796e6300000000000000000000/storage/kv/namespaces"
    script = (
        "import json, urllib.request as web\n"
        f"get = lambda url: web.urlopen(web.Request(url, headers={{'Authorization': 'Bearer {TOKEN}'}})).read()\n"
        f"found = json.loads(get('{base}'))['result']\n"
        f"ids = [each['id'] for each in found if each['title'] == 'web']\n"
        f"print(get('{base}/' + ids[0] + '/values/greeting').decode() if ids else '')\n"
    )
    done = machine.run("python3", "-c", script)
    return done.stdout.strip() if done.returncode == 0 else None


def test_it_is_ready_only_after_the_first_pass(machine: Machine) -> None:
    """While the store does not answer the service is starting; it is started once the entries are in the store."""
    configure(machine)
    machine.must("systemctl", "kill", "--signal=STOP", STORE)
    machine.must("systemctl", "start", "--no-block", SERVICE)
    machine.until(lambda: "daemon.started" in machine.journal(SERVICE), SERVICE)
    assert machine.show(SERVICE, "ActiveState") == "activating"
    machine.must("systemctl", "kill", "--signal=CONT", STORE)
    machine.until_shows(SERVICE, "ActiveState", "active")
    assert greeting(machine) == "Hello"
    machine.must("systemctl", "stop", SERVICE)


def test_status_shows_what_it_is_at(service: Machine) -> None:
    """`systemctl status` has a line with the number of targets, and `kvsync status` finds the daemon."""
    assert service.show(SERVICE, "StatusText") == "1 targets"
    status = json.loads(kvsync(service, "status", "-o", "json"))
    assert status["daemon"]["running"]
    assert status["daemon"]["ready"]


def kvsync(machine: Machine, *arguments: str) -> str:
    """Run a command as an administrator does, see docs/systemd.md."""
    where = ("STATE_DIRECTORY=/var/lib/kvsync", "KVSYNC_CONFIG=/etc/kvsync/kvsync.yaml")
    return machine.must("env", *where, "/opt/kvsync/bin/kvsync", *arguments)


def test_an_administrator_pauses_and_resumes_it(service: Machine) -> None:
    """What root writes into the state directory reaches the daemon at once, and does not lock it out of its own files."""
    kvsync(service, "pause", "edge/web")
    service.write("/etc/kvsync/state/web.yaml", STATE.replace("Hello", "Paused"))
    service.until(lambda: "1 with changes pending" in service.show(SERVICE, "StatusText"), SERVICE)
    assert greeting(service) == "Hello"
    kvsync(service, "resume", "edge/web")
    service.until(lambda: greeting(service) == "Paused", SERVICE)


def test_the_credential_reaches_only_the_service(service: Machine) -> None:
    """The token, which is root's alone, opens the store, and stands in no journal, environment or argument."""
    assert greeting(service) == "Hello"
    pid = service.show(SERVICE, "MainPID")
    assert TOKEN not in service.journal(SERVICE)
    assert TOKEN not in service.must("cat", f"/proc/{pid}/environ", f"/proc/{pid}/cmdline").replace("\0", "\n")


def test_it_is_nobody_and_can_write_nothing_but_its_state(service: Machine) -> None:
    """The process has no name that stays, no capability, and meets a read-only system; its state is where systemd keeps it."""
    pid = service.show(SERVICE, "MainPID")
    status = service.must("cat", f"/proc/{pid}/status")
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert service.must("stat", "-c", "%u", f"/proc/{pid}") != "0"
    for folder in ("/etc/kvsync", "/usr", "/opt/kvsync"):
        refused = service.run("nsenter", "-t", pid, "--mount", "touch", f"{folder}/intruder")
        assert "Read-only file system" in refused.stderr
    assert "state.db" in service.must("ls", "/var/lib/kvsync/")
    assert ".kvsync" not in service.must("ls", "-a", "/etc/kvsync")


def test_an_edit_reaches_the_store(service: Machine) -> None:
    """A file that changes under /etc is noticed from inside the sandbox, and applied."""
    service.write("/etc/kvsync/state/web.yaml", STATE.replace("Hello", "Good evening"))
    service.until(lambda: greeting(service) == "Good evening", SERVICE)


def test_killed_it_comes_back_and_converges(service: Machine) -> None:
    """After SIGKILL systemd starts it again, and what changed meanwhile reaches the store."""
    first = service.show(SERVICE, "MainPID")
    service.write("/etc/kvsync/state/web.yaml", STATE.replace("Hello", "Back again"))
    service.must("systemctl", "kill", "--signal=KILL", "--kill-whom=main", SERVICE)
    service.until(lambda: service.show(SERVICE, "MainPID") not in (first, "0"), SERVICE)
    service.until_shows(SERVICE, "ActiveState", "active")
    assert greeting(service) == "Back again"


def test_a_loop_that_hangs_is_killed_by_the_watchdog(service: Machine) -> None:
    """A daemon whose loop is stuck (reading a pipe that nobody writes to) is killed by the watchdog, and started again."""
    restarts = int(service.show(SERVICE, "NRestarts"))
    service.must("mkfifo", "/etc/kvsync/pipe")
    service.must("mv", "/etc/kvsync/pipe", "/etc/kvsync/kvsync.yaml")
    service.must("systemctl", "kill", "--signal=HUP", SERVICE)
    service.until_shows(SERVICE, "SubState", "reload", "reload-notify")
    service.must("rm", "/etc/kvsync/kvsync.yaml")
    configure(service)
    service.until(lambda: int(service.show(SERVICE, "NRestarts")) == restarts + 1, SERVICE)
    service.until_shows(SERVICE, "ActiveState", "active")
    assert "watchdog" in service.must("journalctl", "-u", SERVICE, "-o", "cat", "--no-pager").lower()


def test_reload_reads_the_configuration_again(service: Machine) -> None:
    """`systemctl reload` works without procps; a broken configuration is refused with priority `err`, and the old one stays."""
    assert service.run("which", "kill").returncode, "this machine must be one without /bin/kill"
    service.write("/etc/kvsync/kvsync.yaml", CONFIG.replace("1h", "never"))
    service.must("systemctl", "reload", SERVICE)
    errors = ("journalctl", "-u", SERVICE, "-p", "err", "-o", "cat", "--no-pager")
    service.until(lambda: "config.invalid" in service.must(*errors), SERVICE)
    service.write("/etc/kvsync/kvsync.yaml", CONFIG.replace("1h", "2h"))
    service.must("systemctl", "reload", SERVICE)
    service.until(lambda: "config.reloaded" in service.journal(SERVICE), SERVICE)
    assert service.show(SERVICE, "ActiveState") == "active"


def test_notify_reload_returns_when_the_configuration_is_read(machine: Machine) -> None:
    """With the drop-in for newer systemd, `systemctl reload` is over only when the new configuration is in force."""
    drop_in = machine.root / f"etc/systemd/system/{SERVICE}.d/notify-reload.conf"
    shutil.copy(parts.ROOT / "deploy/systemd/notify-reload.conf", drop_in)
    try:
        machine.must("systemctl", "daemon-reload")
        configure(machine)
        machine.must("systemctl", "start", SERVICE)
        before = machine.journal(SERVICE).count("config.reloaded")
        machine.must("systemctl", "reload", SERVICE)
        assert machine.journal(SERVICE).count("config.reloaded") == before + 1
        machine.must("systemctl", "stop", SERVICE)
    finally:
        drop_in.unlink()
        machine.must("systemctl", "daemon-reload")


def test_it_stops_in_time_and_in_good_order(service: Machine) -> None:
    """A stop is clean: exit code 0, within the 10 seconds after which this machine would call it a failure."""
    service.must("systemctl", "stop", SERVICE)
    assert service.show(SERVICE, "Result") == "success"
    assert service.show(SERVICE, "ExecMainStatus") == "0"
    assert '"event": "daemon.stopped"' in service.journal(SERVICE).replace('":"', '": "')


def test_an_invalid_configuration_is_not_tried_again(machine: Machine) -> None:
    """A configuration that is wrong ends the start with 78 and its place in the journal, and no restart is wasted on it."""
    configure(machine)
    machine.write("/etc/kvsync/kvsync.yaml", CONFIG + "ownr: x\n")
    assert machine.run("systemctl", "start", SERVICE).returncode
    assert machine.show(SERVICE, "ExecMainStatus") == "78"
    assert machine.show(SERVICE, "ActiveState") == "failed"
    assert "kvsync.yaml:13:1" in machine.journal(SERVICE)
    machine.must("systemctl", "reset-failed", SERVICE)


def test_a_timer_makes_single_passes_and_gives_way_to_the_daemon(machine: Machine) -> None:
    """The timer of a repository makes a pass; the daemon of the same repository goes on from its state."""
    machine.write("/etc/kvsync/shop/kvsync.yaml", LOCAL)
    machine.write("/etc/kvsync/shop/state/web.yaml", STATE.replace("edge", "local"))
    machine.write(
        f"/etc/systemd/system/{ONCE.replace('service', 'timer')}.d/soon.conf",
        "[Timer]\nOnActiveSec=0\nRandomizedDelaySec=0\n",
    )
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "start", "kvsync-once@shop.timer")
    machine.until(lambda: "change.applied" in machine.journal(ONCE), ONCE)
    machine.until_shows(ONCE, "ActiveState", "inactive")
    assert (machine.show(ONCE, "Result"), machine.show(ONCE, "ExecMainStatus")) == ("success", "0")
    machine.must("systemctl", "stop", "kvsync-once@shop.timer")
    machine.must("systemctl", "start", "kvsync@shop.service")
    assert "change.applied" not in machine.journal("kvsync@shop.service")
    machine.must("systemctl", "stop", "kvsync@shop.service")
