"""`rsd demo` end to end, and its mistakes."""

import pytest
from threestudio_rsd.cli import main as cli
from threestudio_rsd.errors import UserError


@pytest.mark.slow
def test_demo_ends_with_table_grids_and_page(tmp_path, capsys):
    output = tmp_path / "an output"
    prompt = 'a "red" house: yes #1'
    assert cli.main(["demo", "--steps", "2", "-n", "2", "--prompt", prompt, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    closing = printed[printed.index("diversity, DINO") :]
    for label in ("without repulsion", "gamma = 20", "plain sampling"):
        assert label in closing
    assert len(list(output.glob("runs/gamma-*/save/it2-test.png"))) == 2
    page = (output / "demo.html").read_text()
    assert page.count('src="data:image/') == 3
    assert "a &#34;red&#34; house: yes #1" in page
    assert prompt not in page, "it is escaped"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--n-particles", "0"],
        ["--steps", "-1"],
        ["--gamma", "nan"],
        ["--gamma", "0"],
        ["--seed", "-1"],
        ["--prompt", " "],
    ],
)
def test_impossible_arguments_are_one_sentence(arguments, tmp_path):
    with pytest.raises(UserError, match=arguments[0]):
        cli.run_command(["demo", *arguments, "--output", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()
