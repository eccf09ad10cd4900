import re
from pathlib import Path

from setuptools import find_namespace_packages, setup

VERSION = "0.1a0"
URL = "https://github.com/datasette-imgsim/datasette-imgsim"

# What `datasette imgsim embed` and `map` need; a server that only shows and searches does without.
# torch 2.4 does not yet say what the processor can do; 2.5.1 passes the tests.
EMBED = [
    "torch>=2.5.1",
    "torchvision>=0.20.1",
    "timm>=1.0.31",
    "safetensors",
    "scikit-learn",
    "networkx>=3",
    "openTSNE",
    "pi-heif",
    "tqdm",
]
# What `export` and `import` need.
SHARDS = ["fsspec", "pyarrow>=17"]
# What `embed --ray` needs beside EMBED.
RAY = [*SHARDS, "ray[data]>=2.40"]
# What `push` and a server with the setting `engine` need.
MILVUS = ["milvus-lite>=3.2", "pymilvus>=3.0"]


def long_description():
    """README.md with absolute links and pictures, since a package index has no other files."""

    def absolute(link):
        kind = "raw" if link[1].endswith((".jpg", ".png", ".svg")) else "blob"
        return f"]({URL}/{kind}/main/{link[1]})"

    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    return re.sub(r"\]\((?![a-z]+:|#)([^)]+)\)", absolute, text)


setup(
    name="datasette-imgsim",
    description="Find similar pictures in Datasette, without any training",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author="the datasette-imgsim developers",
    url=URL,
    project_urls={
        "Issues": f"{URL}/issues",
        "CI": f"{URL}/actions",
        "Changelog": f"{URL}/blob/main/CHANGELOG.md",
    },
    license_expression="Apache-2.0 AND CC-BY-4.0",
    license_files=["LICENSE", "NOTICE"],
    classifiers=[
        "Framework :: Datasette",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
    version=VERSION,
    packages=find_namespace_packages(include=["datasette_imgsim", "datasette_imgsim.*"]),
    package_data={
        "datasette_imgsim": ["py.typed", "static/**", "templates/**"],
        "datasette_imgsim.models": ["*.safetensors", "*.md"],
    },
    entry_points={
        "datasette": ["imgsim = datasette_imgsim"],
        "sqlite_utils": ["imgsim = datasette_imgsim.sqlite_utils_plugin"],
    },
    install_requires=[
        "cachetools>=5.3",
        "click",
        "datasette>=0.65",
        "datasette-leaflet>=0.2.2",
        "numpy>=2",
        "pillow[xmp]>=11.3",
        "pluggy>=1.2",
        "sqlite-utils>=4.0",
    ],
    extras_require={"embed": EMBED, "shards": SHARDS, "ray": RAY, "milvus": MILVUS},
    python_requires=">=3.10",
)
