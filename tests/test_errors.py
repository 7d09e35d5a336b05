"""What a missing optional library says."""

import pytest
from threestudio_rsd.errors import UserError, require


@pytest.mark.parametrize(("extra", "package"), [("lpips", r"threestudio-rsd\[lpips\]"), (None, "no_such_module")])
def test_a_missing_library_says_what_to_install(extra: str | None, package: str) -> None:
    with pytest.raises(UserError, match=f"no_such_module.*pip install {package}"):
        require("no_such_module", extra)
