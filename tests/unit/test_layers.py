"""`sam local` gets a version of each layer, by its files."""

import json
from pathlib import Path

from samcli.lib.providers.provider import LayerVersion

from local.sam.layers import with_layer_versions

TEMPLATE = """
Globals: {Function: {Layers: [!Ref Shared, !If [Traced, !Ref Shared, !Ref AWS::NoValue]]}}
Resources:
  Shared: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: shared}}
  Plain: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: plain}}
  Function: {Type: AWS::Serverless::Function, Properties: {Layers: [!Ref Plain, "arn:aws:lambda:x:1:layer:other:3"]}}
"""


def build_in(folder: Path) -> Path:
    for name in ("shared", "plain"):
        (folder / name).mkdir()
        (folder / name / "file").write_text(name, "utf-8")
    (folder / "template.yaml").write_text(TEMPLATE, "utf-8")
    return folder


def layers_of(build: Path) -> tuple[list[object], list[object]]:
    options = with_layer_versions(build)
    template = json.loads(Path(options[options.index("--template-file") + 1]).read_text("utf-8"))
    shared = template["Globals"]["Function"]["Layers"]
    return shared, template["Resources"]["Function"]["Properties"]["Layers"]


def test_functions_name_versions_and_other_values_stay(tmp_path: Path) -> None:
    (first, condition), (plain, other) = layers_of(build_in(tmp_path))
    assert str(first).startswith("arn:aws:lambda:us-east-1:000000000000:layer:Shared:")
    assert condition == {"Fn::If": ["Traced", first, {"Ref": "AWS::NoValue"}]}
    assert str(plain).startswith("arn:aws:lambda:us-east-1:000000000000:layer:Plain:")
    assert other == "arn:aws:lambda:x:1:layer:other:3"


def test_a_changed_file_changes_the_version_of_its_layer_alone(tmp_path: Path) -> None:
    build = build_in(tmp_path)
    (shared, _), (plain, _) = layers_of(build)
    (build / "shared" / "file").write_text("changed", "utf-8")
    (changed, _), (unchanged, _) = layers_of(build)
    assert (changed == shared, unchanged == plain) == (False, True)


def test_the_sam_cli_finds_each_version_as_downloaded(tmp_path: Path) -> None:
    build = build_in(tmp_path)
    (shared, _), _ = layers_of(build)
    options = with_layer_versions(build)
    cache = Path(options[options.index("--layer-cache-basedir") + 1])
    assert (cache / LayerVersion(shared, None).name / "file").read_text("utf-8") == "shared"
