"""Signed commits: only those by keys that count are put in force."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvsync.config.model import GitVerify
from kvsync.errors import SourceError
from kvsync.git.source import Checkout
from tests.git.repos import WEB, Origin, checkout, command_lines


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def key(tmp_path: Path, home: Path) -> Path:
    """A key whose signatures count."""
    made = ssh_key(tmp_path / "ann")
    (home / "signers").write_text(f"ann@example.com {made.with_suffix('.pub').read_text()}")
    return made


def ssh_key(file: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file


def signed(origin: Origin, key: Path, text: str, *command: str) -> str:
    """Commit, or do another command, with a signature by an SSH key."""
    origin.write({"state/web.yaml": text})
    origin.git("add", "--all")
    words = command or ("commit", "--quiet", "--message=x", "--gpg-sign")
    origin.git("-c", "gpg.format=ssh", "-c", f"user.signingKey={key}", *words)
    return origin.git("rev-parse", "HEAD")


async def reason(one: Checkout, kept: str | None) -> str:
    """Fetch, and return why the newest commit is refused while `kept` stays."""
    fetched = await one.fetch()
    assert fetched.commit == kept
    assert fetched.refused is not None
    return fetched.refused.reason


async def test_only_signatures_that_count(origin: Origin, home: Path, key: Path, tmp_path: Path) -> None:
    """A commit by a key in the file is used; by another key, or without a signature, it is not, and the last good one stays."""
    good = signed(origin, key, WEB)
    one = checkout(home, origin.url, ref="main", verify=GitVerify(allowed_signers="signers"))
    assert (await one.fetch()).commit == good
    signed(origin, ssh_key(tmp_path / "eve"), "evil")
    assert await reason(one, good) == "it is signed with a key that is not trusted"
    origin.commit({"state/web.yaml": "unsigned"})
    assert await reason(one, good) == "it is not signed"
    later = signed(origin, key, "signed again")
    assert (await one.fetch()).commit == later
    one.close()


async def test_a_forged_signature(origin: Origin, home: Path, key: Path) -> None:
    """The signature of one commit under the content of another counts for nothing."""
    signed(origin, key, WEB)
    honest = origin.git("cat-file", "commit", "HEAD")
    origin.write({"state/web.yaml": "evil"})
    origin.git("add", "--all")
    forged = honest.replace(honest.split()[1], origin.git("write-tree"), 1) + "\n"
    (origin.path / "forged").write_text(forged)
    origin.git("reset", "--soft", origin.git("hash-object", "-t", "commit", "-w", "forged"))
    one = checkout(home, origin.url, ref="main", verify=GitVerify(allowed_signers="signers"))
    assert await reason(one, None) == "its signature is invalid"
    one.close()


async def test_a_signed_tag_counts_for_its_commit(origin: Origin, home: Path, key: Path) -> None:
    """Where the ref is a tag with a signature of its own, that is the one that counts."""
    commit = origin.commit({"state/web.yaml": WEB})
    signed(origin, key, WEB, "tag", "--sign", "--message=v1", "v1")
    one = checkout(home, origin.url, ref="v1", verify=GitVerify(allowed_signers="signers"))
    assert (await one.fetch()).commit == commit
    one.close()


async def test_a_signed_tag_under_another_name_is_refused(origin: Origin, home: Path, key: Path) -> None:
    """A server that answers `v2` with the signed tag that is called `v1` is not followed: the signature covers the tag's own
    name. A lightweight tag has none, and counts as the commit it names."""
    first = signed(origin, key, WEB)
    signed(origin, key, WEB, "tag", "--sign", "--message=v1", "v1")
    second = signed(origin, key, "two")
    signed(origin, key, "two", "tag", "--sign", "--message=v2", "v2")
    one = checkout(
        home, origin.url, ref="refs/tags/v2", verify=GitVerify(allowed_signers="signers"), allow_rewrites=True
    )
    assert (await one.fetch()).commit == second
    origin.git("update-ref", "refs/tags/v2", origin.git("rev-parse", "refs/tags/v1"))
    assert await reason(one, second) == "refs/tags/v2 points to a tag that is called v1"
    origin.git("update-ref", "refs/tags/v2", first)
    assert (await one.fetch()).commit == first
    one.close()


async def test_a_tag_by_its_id(origin: Origin, home: Path, key: Path) -> None:
    """The full id of a tag object names it beyond doubt, whatever the tag is called."""
    commit = origin.commit({"state/web.yaml": WEB})
    signed(origin, key, WEB, "tag", "--sign", "--message=v1", "v1")
    id_ = origin.git("rev-parse", "refs/tags/v1")
    one = checkout(home, origin.url, ref=id_, verify=GitVerify(allowed_signers="signers"))
    assert (await one.fetch()).commit == commit
    one.close()


async def test_a_branch_with_a_signed_tag_of_an_unsigned_commit(origin: Origin, home: Path, key: Path) -> None:
    """A signed tag that someone made for a commit that nobody reviewed is not taken for the branch."""
    good = signed(origin, key, WEB)
    one = checkout(home, origin.url, ref="main", verify=GitVerify(allowed_signers="signers"))
    await one.fetch()
    origin.commit({"state/web.yaml": "evil"})
    signed(origin, key, "evil", "tag", "--sign", "--message=x", "wip")
    (origin.path / ".git/refs/heads/main").write_text(origin.git("rev-parse", "refs/tags/wip") + "\n")
    assert await reason(one, good) == "refs/heads/main points to a tag object instead of a commit"
    one.close()


async def test_a_key_out_of_its_time(origin: Origin, home: Path, key: Path, tmp_path: Path) -> None:
    """A signature that was made after the key ended does not count."""
    good = signed(origin, key, WEB)
    old = ssh_key(tmp_path / "old")
    with (home / "signers").open("a") as signers:
        signers.write(f'old@example.com valid-before="20200101" {old.with_suffix(".pub").read_text()}')
    one = checkout(home, origin.url, ref="main", verify=GitVerify(allowed_signers="signers"))
    await one.fetch()
    signed(origin, old, "by the old key")
    assert await reason(one, good) == "it is signed with a key that is not trusted"
    one.close()


async def test_a_key_that_no_longer_counts(origin: Origin, home: Path, key: Path, tmp_path: Path) -> None:
    """A new process uses what was good before only if it still is."""
    good = signed(origin, key, WEB)
    verify = GitVerify(allowed_signers="signers")
    one = checkout(home, origin.url, ref="main", verify=verify)
    assert (await one.fetch()).commit == good
    one.close()
    (home / "signers").write_text(f"bob@example.com {ssh_key(tmp_path / 'bob').with_suffix('.pub').read_text()}")
    later = checkout(home, origin.url, ref="main", verify=verify)
    with pytest.raises(SourceError):
        await later.reopen()
    assert later.root is None


async def test_asking_for_signatures_begins_again(origin: Origin, home: Path, key: Path) -> None:
    """What was fetched without asking for signatures is not taken for signed."""
    origin.commit({"state/web.yaml": WEB})
    careless = checkout(home, origin.url, ref="main")
    await careless.fetch()
    careless.close()
    careful = checkout(home, origin.url, ref="main", verify=GitVerify(allowed_signers="signers"))
    assert await reason(careful, None) == "it is not signed"
    with pytest.raises(SourceError):
        await careful.reopen()


async def test_a_file_of_signers_that_is_missing(origin: Origin, home: Path) -> None:
    """Without the file nothing is used, and the error names it."""
    origin.commit({"state/web.yaml": WEB})
    one = checkout(home, origin.url, verify=GitVerify(allowed_signers="signers"))
    with pytest.raises(SourceError, match=r"source\.git\.verify\.allowed_signers: cannot read .*signers"):
        await one.fetch()
    one.close()


@pytest.fixture
def openpgp(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of someone who signs with gpg."""
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    folder = tmp_path / "gpg"
    folder.mkdir(mode=0o700)
    environ = {"GNUPGHOME": str(folder)}
    gpg(environ, "--passphrase", "", "--quick-gen-key", "Ann <ann@example.com>", "ed25519", "sign", "never")
    yield environ
    subprocess.run(["gpgconf", "--kill", "all"], env=os.environ | environ, check=True)


def gpg(environ: dict[str, str], *arguments: str) -> bytes:
    command = ["gpg", "--batch", "--quiet", *arguments]
    return subprocess.run(command, env=os.environ | environ, check=True, capture_output=True).stdout


@pytest.mark.parametrize("form", [("--export",), ("--export", "--armor")], ids=["binary", "armoured"])
async def test_openpgp_keys(origin: Origin, home: Path, openpgp: dict[str, str], form: tuple[str, ...]) -> None:
    """Signatures by a key in the keyring file count, and by no other; no agent of gpg is left running."""
    (home / "ring").write_bytes(gpg(openpgp, *form))
    origin.write({"state/web.yaml": WEB})
    origin.git("add", "--all")
    origin.git("commit", "--quiet", "--message=x", "--gpg-sign=ann@example.com", env=openpgp)
    one = checkout(home, origin.url, ref="main", verify=GitVerify(keyring="ring"))
    good = (await one.fetch()).commit
    assert good == origin.git("rev-parse", "HEAD")
    origin.commit({"a": "b"})
    assert await reason(one, good) == "it is not signed"
    one.close()
    (home / "signers").write_text("")
    other = checkout(home, origin.url, ref=str(good), verify=GitVerify(allowed_signers="signers"))
    assert "not trusted" in await reason(other, None)
    other.close()
    assert not [one for one in command_lines() if b"gpg-agent" in one and b"/kvsync-" in one]
