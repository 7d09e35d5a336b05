"""Contract test of `threestudio_rsd.host`: checks that must pass with threestudio and with its stand-in.

Each `check_*` takes the module `threestudio_rsd.host`. As a program, which tests threestudio in a process of its own,
this file runs all checks and prints `{"host": ..., "results": {name: "" or traceback}}` as the last line.
"""

import json
import math
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn


def raises(function, *args, **kwargs) -> Exception:
    try:
        function(*args, **kwargs)
    except Exception as error:
        return error
    raise AssertionError("no error was raised")


def config(text: str = "", **kwargs):
    from threestudio_rsd import host

    defaults = {"tag": "contract", "use_timestamp": False, "exp_root_dir": tempfile.mkdtemp()}
    return host.load_config(text or "{}", from_string=True, **{**defaults, **kwargs})


def check_all_names_are_offered(host):
    missing = [name for name in host.__all__ if not hasattr(host, name)]
    assert not missing


def check_register_and_find(host):
    @host.register("contract-thing")
    class Thing(host.BaseObject):
        pass

    assert host.find("contract-thing") is Thing
    assert isinstance(raises(host.register("contract-thing"), Thing), ValueError)
    raises(host.find, "contract-nothing")


def check_find_composes_classes(host):
    @host.register("contract-main")
    class Main(host.BaseObject):
        @dataclass
        class Config(host.BaseObject.Config):
            n: int = 1

        def who(self):
            return "main"

    @host.register("contract-first")
    class First:
        def who(self):
            return "first, " + super().who()

    @host.register("contract-second")
    class Second:
        def who(self):
            return "second, " + super().who()

    assert host.find("contract-main:contract-first")({"n": 2}).who() == "first, main"
    both = host.find("contract-main:contract-first,contract-second")
    assert both.__mro__[1:4] == (First, Second, Main)
    assert both({"n": 3}).who() == "first, second, main"


def check_parse_structured(host):
    @dataclass
    class Config:
        n: int = 1
        rate: float = 0.5
        name: str | None = None
        part: dict = field(default_factory=dict)

    parsed = host.parse_structured(Config, {"n": 3, "part": {"a": [1, 2]}})
    assert (parsed.n, parsed.rate, parsed.name) == (3, 0.5, None)
    assert host.config_to_primitive(parsed.part) == {"a": [1, 2]}
    assert parsed.part.get("b", 7) == 7
    raises(host.parse_structured, Config, {"m": 3})
    raises(host.parse_structured, Config, {"n": "three"})


def check_resolvers(host):
    cfg = config(
        """
        data: {width: 64, path: /a/b.png, cloud: true, words: a red ball, rise: [0, 0, 5, 9], more: [0, 0, 0, 9, 1, 20]}
        system:
          half: ${div:${data.width},2}
          whole: ${idiv:7,2}
          sum: ${add:1,2}
          difference: ${sub:1,2}
          product: ${mul:3,2}
          base: ${basename:${data.path}}
          tag: ${rmspace:${data.words},_}
          positive: ${gt0:1}
          ever: ${cmaxgt0:${data.rise}}
          never: ${cmaxgt0:0}
          either: ${cmaxgt0orcmaxgt0:0,${data.more}}
          not: ${not:${data.cloud}}
          decay: ${calc_exp_lr_decay_rate:0.25,2}
        """
    )
    assert host.config_to_primitive(cfg.system) == {
        "half": 32,
        "whole": 3,
        "sum": 3,
        "difference": -1,
        "product": 6,
        "base": "b.png",
        "tag": "a_red_ball",
        "positive": True,
        "ever": True,
        "never": False,
        "either": True,
        "not": False,
        "decay": 0.5,
    }


def check_overrides_and_trial_folder(host):
    cfg = config("{name: run, trainer: {max_steps: 3}}", cli_args=["trainer.max_steps=5", "system.a.b=[1,2]"])
    assert cfg.trainer.max_steps == 5
    assert host.config_to_primitive(cfg.system) == {"a": {"b": [1, 2]}}
    assert cfg.trial_dir == str(Path(cfg.exp_root_dir, "run", "contract"))
    stamped = config("name: run", use_timestamp=True)
    assert stamped.trial_dir.startswith(str(Path(stamped.exp_root_dir, "run", "contract@")))
    again = config("name: run", use_timestamp=True, timestamp="@then")
    assert again.trial_name == "contract@then"


def check_schedules(host):
    from omegaconf import OmegaConf

    for value, epoch, step, expected in [
        (3, 0, 0, 3),
        (0.5, 0, 9, 0.5),
        ([10, 1.0, 3.0, 20], 0, 5, 1.0),
        ([10, 1.0, 3.0, 20], 0, 15, 2.0),
        ([10, 1.0, 3.0, 20], 0, 99, 3.0),
        ([1.0, 3.0, 20], 0, 10, 2.0),
        ([0, 0.0, 1.0, 10.0], 5, 9999, 0.5),
        ([0, 0.0, 1.0, 10, 3.0, 30], 0, 5, 0.5),
        ([0, 0.0, 1.0, 10, 3.0, 30], 0, 20, 2.0),
        ([0, 0.0, 1.0, 10, 3.0, 30], 0, 40, 3.0),
    ]:
        schedule = OmegaConf.create(value) if isinstance(value, list) else value
        assert host.C(schedule, epoch, step) == expected, (value, epoch, step)
    assert math.isclose(host.C(OmegaConf.create([0, 1.0, 4.0, 10]), 0, 5, interpolation="exp"), 2.0)
    raises(host.C, "fast", 0, 0)
    raises(host.C, None, 0, 0)


class Recorder:
    """Mixin that notes its updates."""

    def configure(self, *args, **kwargs):
        self.steps = []
        self.ends = []

    def update_step(self, epoch, global_step, on_load_weights=False):
        self.steps.append((epoch, global_step, on_load_weights))

    def update_step_end(self, epoch, global_step):
        self.ends.append((epoch, global_step))


def check_updates_reach_public_attributes(host):
    class Leaf(Recorder, host.BaseModule):
        pass

    class Tree(Recorder, host.BaseObject):
        def configure(self):
            super().configure()
            self.leaf = Leaf({})
            self._hidden = Leaf({})
            self.listed = [Leaf({})]
            self.modules = nn.ModuleList([Leaf({})])

    tree = Tree({})
    host.update_if_possible(tree, 1, 7)
    host.update_if_possible("no module", 1, 7)
    tree.do_update_step_end(1, 7)
    assert tree.steps == tree.leaf.steps == [(1, 7, False)]
    assert tree.ends == tree.leaf.ends == [(1, 7)]
    assert tree._hidden.steps == tree.listed[0].steps == tree.modules[0].steps == []


def check_base_classes(host):
    class Object(host.BaseObject):
        def configure(self, friend=None):
            self.friend = friend

    class Module(host.BaseModule):
        @dataclass
        class Config(host.BaseModule.Config):
            width: int = 2

        def configure(self):
            self.layer = nn.Linear(self.cfg.width, 1)

    assert Object({}, friend=3).friend == 3
    module = Module({"width": 5})
    assert module.layer.in_features == 5
    assert set(module.state_dict()) == {"layer.weight", "layer.bias"}
    assert torch.device(module.device) == torch.device(host.get_device())
    assert isinstance(module, host.Updateable)
    assert host.get_rank() == 0


def make_system(host):
    class System(host.BaseSystem):
        @dataclass
        class Config(host.BaseSystem.Config):
            width: int = 2

        def configure(self):
            self.points = nn.Parameter(torch.zeros(self.cfg.width))
            self.layer = nn.Linear(2, 1)

    optimizer = {"name": "Adam", "args": {"lr": 0.1, "betas": [0.9, 0.99]}, "params": {"points": {"lr": 0.5}}}
    scheduler = {"name": "ExponentialLR", "args": {"gamma": 0.5}, "interval": "step"}
    return System(config(system={"width": 3, "optimizer": optimizer, "scheduler": scheduler}).system)


def check_system(host):
    system = make_system(host)
    assert system.points.shape == (3,)
    assert not system.resumed
    assert (system.true_global_step, system.true_current_epoch) == (0, 0)
    system.set_resume_status(2, 40)
    assert (system.true_global_step, system.true_current_epoch) == (40, 2)
    assert system.C(5.0) == 5.0


def check_optimizer_and_scheduler(host):
    system = make_system(host)
    made = system.configure_optimizers()
    (group,) = made["optimizer"].param_groups
    assert group["name"] == "points"
    assert group["lr"] == group["initial_lr"] == 0.5
    assert tuple(group["betas"]) == (0.9, 0.99)
    assert group["params"][0] is system.points
    assert made["lr_scheduler"]["interval"] == "step"
    everything = host.parse_optimizer(config(system={"name": "SGD", "args": {"lr": 0.1}}).system, system)
    assert sum(len(group["params"]) for group in everything.param_groups) == 3
    raises(host.parse_optimizer, config(system={"name": "Adamant", "args": {}}).system, system)


def check_saving(host):
    import numpy as np
    from PIL import Image

    saver = type("Saver", (host.SaverMixin,), {})()
    folder = tempfile.mkdtemp()
    saver.set_save_dir(folder)
    assert saver.get_save_dir() == folder
    assert Path(saver.get_save_path("deep/er/file.txt")).parent.is_dir()

    red = torch.zeros(4, 6, 3)
    red[..., 0] = 1.0
    cell = {"type": "rgb", "img": red, "kwargs": {"data_format": "HWC", "data_range": (0, 1)}}
    depth = {"type": "grayscale", "img": torch.rand(4, 6), "kwargs": {"cmap": None, "data_range": (0, 1)}}
    path = saver.save_image_grid("grid.png", [cell, cell, depth], name="train_step", step=3)
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.shape == (4, 18, 3)
    assert pixels[0, 0].tolist() == [255, 0, 0]
    saver.save_image_grid("rows.png", [[cell, cell], [cell, cell]])
    assert Image.open(Path(folder) / "rows.png").size == (12, 8)

    saver.save_image("image.png", (red * 255).byte())
    assert np.asarray(Image.open(Path(folder) / "image.png"))[0, 0].tolist() == [255, 0, 0]
    saver.save_json("numbers.json", {"a": 1})
    assert json.loads((Path(folder) / "numbers.json").read_text()) == {"a": 1}
    assert np.load(saver.save_data("array", torch.ones(2))).tolist() == [1, 1]
    assert np.load(saver.save_data("arrays", {"a": torch.ones(2)}))["a"].tolist() == [1, 1]


def make_prompts(host, **cfg):
    class Prompts(host.PromptProcessor):
        """Embeds a prompt as its length."""

        def prepare_text_embeddings(self):
            self.prepared = [self.prompt, self.negative_prompt, *self.prompts_vd, *self.negative_prompts_vd]

        def load_from_cache(self, prompt):
            assert prompt in self.prepared
            return torch.full((2, 3), float(len(prompt)))

    return Prompts({"prompt": "a fox", **cfg})


def check_prompts_without_views(host):
    output = make_prompts(host, negative_prompt="bad")()
    assert isinstance(output, host.PromptProcessorOutput)
    views = torch.zeros(2)
    embeddings = output.get_text_embeddings(views, views, views, view_dependent_prompting=False)
    assert embeddings.shape == (4, 2, 3)
    assert embeddings[:, 0, 0].tolist() == [5, 5, 3, 3]


def check_prompts_with_views(host):
    output = make_prompts(host)()
    assert all(isinstance(direction, host.DirectionConfig) for direction in output.directions)
    assert [direction.name for direction in output.directions] == ["side", "front", "back", "overhead"]
    elevation = torch.tensor([0.0, 0.0, 0.0, 80.0, 0.0])
    azimuth = torch.tensor([0.0, 90.0, 180.0, 0.0, 330.0])
    embeddings = output.get_text_embeddings(elevation, azimuth, torch.ones(5))
    expected = [
        "a fox, front view",
        "a fox, side view",
        "a fox, back view",
        "a fox, overhead view",
        "a fox, front view",
    ]
    assert embeddings[:5, 0, 0].tolist() == [len(prompt) for prompt in expected]
    assert embeddings[5:, 0, 0].tolist() == [0] * 5


def check_prompts_for_perp_neg(host):
    output = make_prompts(host, negative_prompt="bad", use_perp_neg=True, prompt_side="aside")()
    assert output.use_perp_neg
    side, front, back, overhead = (len(text) for text in output.prompts_vd)
    elevation = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 80.0])
    azimuth = torch.tensor([0.0, -45.0, 90.0, 225.0, 180.0, 0.0])
    text, weights = output.get_text_embeddings_perp_neg(elevation, azimuth, torch.ones(6))
    assert text.shape == (24, 2, 3)
    assert weights.shape == (6, 2)
    positive, negative, negatives = text[:, 0, 0].split([6, 6, 12])
    expected = [front, (front + side) / 2, side, (side + back) / 2, back, overhead]
    torch.testing.assert_close(positive, torch.tensor(expected).float())
    assert negative.tolist() == [3] * 6
    pairs = [[front, side]] * 2 + [[side, front]] * 3 + [[3, 3]]  # one view after the other
    assert negatives.view(6, 2).tolist() == pairs

    def decay(a, c, r):
        return a * math.exp(-r / 2) + c

    steering = [
        [decay(4, -2.426, 1), decay(4, -2.426, 0)],
        [decay(4, -2.426, 0.5), decay(4, -2.426, 0.5)],
        [decay(1, -0.606, 1), decay(1, 0.967, 1)],
        [decay(1, -0.606, 0.5), decay(1, 0.967, 0.5)],
        [decay(1, -0.606, 0), decay(1, 0.967, 0)],
        [0, 0],
    ]
    torch.testing.assert_close(weights, -torch.tensor(steering))
    raises(output.get_text_embeddings_perp_neg, elevation, azimuth, torch.ones(6), False)


def check_prompts_of_a_direction(host):
    processor = make_prompts(host, prompt_back="tail", view_dependent_prompt_front=True)
    assert processor.prompts_vd == ["side view of a fox", "front view of a fox", "tail", "overhead view of a fox"]


def check_batches_update_the_system_and_the_data(host):
    import pytorch_lightning as pl
    from torch.utils.data import DataLoader, Dataset

    class Data(Dataset, host.Updateable):
        steps: list = []  # noqa: RUF012 all copies of the data set share it

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return {"x": torch.ones(2)}

        def update_step(self, epoch, global_step, on_load_weights=False):
            self.steps.append(global_step)

    class System(host.BaseSystem):
        def configure(self):
            self.layer = nn.Linear(2, 1)
            self.seen = []

        def preprocess_data(self, batch, stage):
            self.seen.append((stage, self.true_global_step))

        def training_step(self, batch, batch_idx):
            return self.layer(batch["x"]).sum()

    cfg = config(system={"optimizer": {"name": "SGD", "args": {"lr": 0.1}}}).system
    system = System(cfg)
    trainer = pl.Trainer(
        max_steps=3,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    data = Data()
    trainer.fit(system, DataLoader(data))
    assert [step for stage, step in system.seen] == [0, 1, 2]
    assert {stage for stage, step in system.seen} == {"train"}
    assert data.steps == sorted(data.steps)
    assert set(data.steps) >= {0, 1, 2}


CHECKS = {name: function for name, function in list(globals().items()) if name.startswith("check_")}


def failure(check, host) -> str:
    """Traceback of a check, or an empty string if it passes."""
    try:
        check(host)
    except Exception:
        return traceback.format_exc()
    return ""


def main() -> None:
    from real_threestudio import prelude

    prelude()
    from threestudio_rsd import host

    results = {name: failure(check, host) for name, check in CHECKS.items()}
    print(json.dumps({"host": host.HOST, "results": results}))


if __name__ == "__main__":
    main()
