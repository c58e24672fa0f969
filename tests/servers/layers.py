"""Configurations of a collector or a Jaeger, one over the other: files, and settings that become files."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Layer = Path | Mapping[str, Any]


def arguments(folder: Path, layers: Iterable[Layer]) -> list[str]:
    """Return the options that name the layers, a later one over an earlier one, map by map."""
    files = [_file(folder / f"{number}.yaml", layer) for number, layer in enumerate(layers)]
    return [f"--config=file:{path}" for path in files]


def _file(path: Path, layer: Layer) -> Path:
    if isinstance(layer, Path):
        return layer
    # JSON is YAML.
    path.write_text(json.dumps(layer, indent=1))
    return path
