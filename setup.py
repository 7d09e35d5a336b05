"""The package lies in custom/threestudio_rsd, where threestudio looks for extensions; here it gets its plain name."""

from setuptools import find_packages, setup

setup(
    package_dir={"threestudio_rsd": "custom/threestudio_rsd"},
    # configs and load are links to the root folders: data, never packages.
    packages=find_packages(
        "custom",
        include=["threestudio_rsd", "threestudio_rsd.*"],
        exclude=["threestudio_rsd.configs*", "threestudio_rsd.load*"],
    ),
    package_data={
        "threestudio_rsd": ["py.typed", "configs/**/*.yaml", "load/**/*", "report/static/*", "report/templates/*"]
    },
    include_package_data=False,
)
