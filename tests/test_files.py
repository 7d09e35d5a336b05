"""Shipped files, and copies of the package without them."""

from pathlib import Path

import pytest
from threestudio_rsd import files
from threestudio_rsd.errors import UserError


def test_a_copy_whose_links_dangle_explains_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cp -r custom/threestudio_rsd` copies configs and load as links, whose targets stay behind."""
    (tmp_path / "configs").symlink_to("../../configs")
    monkeypatch.setattr(files, "__file__", str(tmp_path / "files.py"))
    with pytest.raises(UserError, match=r"is a link to a folder that was not copied along; copy .* with `cp -rL`"):
        files.data_path("configs/text2image/sds.yaml")
    with pytest.raises(UserError, match="reinstall the package"):
        files.data_path("load/toyworld")
