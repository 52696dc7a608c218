"""What `kvsync import` proposes for App Configuration, where a namespace is what kvsync makes of the keys."""

from __future__ import annotations

from pathlib import Path

from kvsync.app.survey import Survey, survey
from tests.stores.azure_repo import Repo
from tests.stores.azure_service import Service


async def surveyed(folder: Path, service: Service, *keys: str) -> Survey:
    """What is found where other programs have set these keys."""
    for key in keys:
        service.set(key, "x")
    async with Repo(folder / "repo", service).open(None) as workspace:
        return await survey(workspace, "settings")


async def test_the_format_that_divides_all_keys_is_recommended(tmp_path: Path, service: Service) -> None:
    """Every key fits it, and the namespaces are those that people see in the keys."""
    found = await surveyed(tmp_path, service, "shop/a", "shop/b", "web/a:b")
    best = found.candidates[0]
    assert (found.keys, best.key_format, best.fits) == (3, "{namespace}/{key}", 3)
    assert best.namespaces == {"shop": 2, "web": 1}


async def test_no_key_is_left_out_for_a_division(tmp_path: Path, service: Service) -> None:
    """Where no divider is in all keys, one namespace holds all of them; the other formats follow by what they leave out."""
    found = await surveyed(tmp_path, service, "shop/a", "Logging:Level", "plain", ".appconfig.featureflag/beta")
    assert [(one.key_format, one.fits) for one in found.candidates[:2]] == [("{key}", 4), ("{namespace}/{key}", 2)]
