"""Address of the app, and the mask that is painted in it."""

import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from threestudio_rsd.app.interface import check_address, painted_mask
from threestudio_rsd.cli.main import main
from threestudio_rsd.errors import UserError


@pytest.mark.parametrize("host", ["nosuch.invalid", "a b", "999.1.1.1", "." * 300])
def test_an_impossible_host_is_one_sentence(host: str) -> None:
    with pytest.raises(UserError, match=r"--host=.* cannot be used .*127\.0\.0\.1"):
        check_address(host, 0)


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"--port={port} cannot be used"):
            check_address("127.0.0.1", port)
    check_address("127.0.0.1", port)


@pytest.mark.parametrize("port", ["-1", "65536", "x", "9" * 5000])
def test_an_impossible_port_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["app", f"--port={port}"]) == 2
    assert "accepted: an integer from 0 to 65535" in capsys.readouterr().err


def test_painted_pixels_are_hidden(tmp_path: Path) -> None:
    layer = np.zeros((4, 4, 4), dtype=np.uint8)
    layer[1, 2, 3] = 255  # opaque where something is painted
    path = painted_mask([Image.fromarray(layer), Image.fromarray(np.zeros_like(layer))], tmp_path / "mask.png")
    assert path is not None
    mask = np.asarray(Image.open(path))
    assert mask[1, 2] == 0
    assert (mask == 255).sum() == 15
    assert painted_mask([Image.fromarray(np.zeros_like(layer))], tmp_path / "none.png") is None
