"""Lets the SAM CLI build the image of a layer once, not at the start of every function."""

import hashlib
import json
from pathlib import Path
from typing import Any

from local.sam.template import parse_template

ARN = "arn:aws:lambda:us-east-1:000000000000:layer"
LAYER = "AWS::Serverless::LayerVersion"


def with_layer_versions(build: Path) -> list[str]:
    """Write a template whose functions name versions of the layers. Return the options of `sam local` for it.

    The SAM CLI builds an image for a layer of the template whenever a function starts, which takes seconds.
    It keeps the image of a published version. Here the version is a digest of the layer's files.
    """
    template = parse_template(build / "template.yaml")
    cache = build / "layer-versions"
    cache.mkdir(exist_ok=True)
    versions = {}
    for name, resource in template["Resources"].items():
        if resource["Type"] == LAYER:
            versions[name] = f"{ARN}:{name}:{_version(source := build / resource['Properties']['ContentUri'])}"
            # The SAM CLI looks for a downloaded version under this name.
            digest = hashlib.sha256(versions[name].encode()).hexdigest()[:10]
            link = cache / f"{name}-{versions[name].rpartition(':')[2]}-{digest}"
            if not link.is_symlink():
                link.symlink_to(source.resolve())
    shared = template.get("Globals", {}).get("Function", {})
    for properties in (shared, *(resource.get("Properties", {}) for resource in template["Resources"].values())):
        if "Layers" in properties:
            properties["Layers"] = _with_versions(properties["Layers"], versions)
    # The SAM CLI parses JSON several times as fast as YAML.
    target = build / "layer-versions.json"
    target.write_text(json.dumps(template), "utf-8")
    return ["--template-file", str(target), "--layer-cache-basedir", str(cache)]


def _version(folder: Path) -> int:
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return int(digest.hexdigest()[:12], 16)


def _with_versions(value: Any, versions: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_with_versions(each, versions) for each in value]
    if isinstance(value, dict):
        named = value.get("Ref")
        return versions.get(named, value) if named else {k: _with_versions(v, versions) for k, v in value.items()}
    return value
