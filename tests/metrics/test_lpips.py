"""Errors of LPIPS without its weights."""

from collections.abc import Callable
from urllib.error import URLError

import pytest
from threestudio_rsd.errors import UserError
from threestudio_rsd.metrics.lpips import load_lpips
from threestudio_rsd.repulsion import load_features


@pytest.mark.parametrize("load", [load_lpips, lambda: load_features("lpips")])
def test_missing_weights_raise_user_error(load: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lpips")
    models = pytest.importorskip("torchvision.models")

    def unreachable(*args: object, **options: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(models, "alexnet", unreachable)
    with pytest.raises(UserError, match=r"AlexNet.*no network.*alexnet-owt"):
        load()
