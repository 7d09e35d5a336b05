"""The wheel contains the package with its configs and data, and works in an empty folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    finished = subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True, **options)
    assert finished.returncode == 0, f"{arguments}\n{finished.stdout}\n{finished.stderr}"
    return finished


def shipped_files(folder: str, pattern: str) -> set[str]:
    found = (ROOT / folder).rglob(pattern)
    return {f"threestudio_rsd/{path.relative_to(ROOT)}" for path in found if is_data(path)}


def is_data(path: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in path.parts)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Copy of the sources, without the files of earlier builds, which a wheel would include."""
    target = tmp_path_factory.mktemp("source") / "threestudio-rsd"
    unwanted = (".git", ".venv", "build", "dist", "outputs", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, target, symlinks=True, ignore=shutil.ignore_patterns(*unwanted))
    return target


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    (path,) = folder.glob("threestudio_rsd-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("site")
    run("-m", "pip", "install", "--no-deps", "--target", str(target), str(wheel))
    return target


def test_wheel_contains_configs_and_data(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = shipped_files("configs", "*.yaml") | shipped_files("load", "*")
    assert "threestudio_rsd/configs/text2image/sds.yaml" in expected
    assert not expected - names


def test_wheel_from_sdist_equals_wheel(source, wheel, tmp_path):
    """The links `configs` and `load` become folders in the sdist."""
    code = "import sys, setuptools.build_meta as backend; backend.build_sdist(sys.argv[1])"
    run("-c", code, str(tmp_path), cwd=source)
    (sdist,) = tmp_path.glob("*.tar.gz")
    run("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(sdist))
    (second,) = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(second).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_installed_wheel_runs_from_an_empty_folder(installed, tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "RSD_"))}
    environment |= {"PYTHONPATH": str(installed), "RSD_HOST": "embedded", "RSD_CACHE": str(tmp_path / "cache")}
    where = run("-c", "import threestudio_rsd; print(threestudio_rsd.__file__)", cwd=tmp_path, env=environment)
    assert Path(where.stdout.strip()).is_relative_to(installed)
    config = "configs/text2image/sds.yaml"
    run(
        *("-m", "threestudio_rsd.cli", "launch", "--config", config, "--train"),
        *(
            "trainer.max_steps=2",
            "trainer.val_check_interval=2",
            "system.particles.n_particles=2",
            "system.guidance.gamma=1",
        ),
        cwd=tmp_path,
        env=environment,
    )
    assert list(tmp_path.glob("outputs/**/metrics.json"))
    assert list(tmp_path.glob("outputs/**/*-test.png"))


REGISTERED = """
import importlib.util, os, sys, types
sys.modules["threestudio"] = types.ModuleType("threestudio")
for name in sorted(os.listdir("custom")):  # as threestudio's launch.py does
    path = os.path.join("custom", name, "__init__.py") if os.path.isdir(f"custom/{name}") else f"custom/{name}"
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py"), path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
from threestudio_rsd.host import find
print(find("repulsive-vsd-guidance").__name__, find("particles-geometry").__name__)
"""


@pytest.mark.parametrize("way", ["link", "copy", "clone", "pip"])
def test_every_way_of_installing_into_threestudio_registers_the_modules(way, source, installed, tmp_path):
    custom = tmp_path / "custom"
    custom.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "RSD_"))}
    environment["RSD_HOST"] = "embedded"  # stands in for threestudio's modules
    if way == "link":
        (custom / "threestudio_rsd").symlink_to(source / "custom" / "threestudio_rsd")
    elif way == "copy":
        shutil.copytree(source / "custom" / "threestudio_rsd", custom / "threestudio_rsd")
    elif way == "clone":
        shutil.copytree(source, custom / "threestudio-rsd", symlinks=True)
    else:
        (custom / "rsd.py").write_text("import threestudio_rsd\n")
        environment["PYTHONPATH"] = str(installed)
    printed = run("-c", REGISTERED, cwd=tmp_path, env=environment).stdout
    assert "RepulsiveVSD" in printed or "Guidance" in printed
    assert "ParticlesGeometry" in printed
