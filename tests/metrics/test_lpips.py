"""The network of LPIPS where its weights cannot be had."""

from collections.abc import Callable
from urllib.error import URLError

import pytest
from threestudio_rsd.errors import UserError
from threestudio_rsd.metrics.lpips import load_lpips
from threestudio_rsd.repulsion import load_features


@pytest.mark.parametrize("load", [load_lpips, lambda: load_features("lpips")])
def test_weights_that_cannot_be_downloaded_give_one_sentence(load: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lpips")
    models = pytest.importorskip("torchvision.models")

    def unreachable(*args: object, **options: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(models, "alexnet", unreachable)
    with pytest.raises(UserError, match=r"AlexNet.*no network.*alexnet-owt"):
        load()
