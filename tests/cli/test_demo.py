"""`rsd demo` end to end, and its mistakes."""

import json

import pytest
from threestudio_rsd.cli import main as cli
from threestudio_rsd.errors import UserError
from threestudio_rsd.reproduce.definitions import read_demo

LABELS = [setting.label for setting in read_demo().settings]


@pytest.mark.slow
def test_demo_ends_with_table_images_and_page_and_continues(tmp_path, capsys):
    output = tmp_path / "an output"
    prompt = 'a "red" house: yes #1'
    command = ["demo", "-n", "2", "--prompt", prompt, "--seeds", "3", "--workers", "2", "--output", str(output)]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    closing = printed[printed.index("diversity, DINO") :]
    assert all(label in closing for label in LABELS)
    assert "seconds per particle" in closing
    settings = json.loads((output / "reproduction.json").read_text())["settings"]
    assert [setting["label"] for setting in settings] == LABELS
    assert all(setting["figures"]["seconds_per_particle"]["mean"] > 0 for setting in settings)
    page = (output / "report.html").read_text()
    assert page.count('src="data:image/') == len(LABELS)
    assert "a &#34;red&#34; house: yes #1" in page
    assert prompt not in page, "it is escaped"
    assert cli.main(command) == 0
    assert "4 runs, 4 finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["--n-particles", "0"], ["--seeds", "x"], ["--workers", "0"], ["--prompt", " "]],
)
def test_impossible_arguments_are_one_sentence(arguments, tmp_path):
    with pytest.raises(UserError, match=arguments[0]):
        cli.run_command(["demo", *arguments, "--output", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()
