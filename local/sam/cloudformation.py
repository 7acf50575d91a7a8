"""Prints the CloudFormation template that SAM makes of template.yaml: what policies are checked against."""

import sys

from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse

from local.paths import TEMPLATE


def main() -> int:
    """The command line: the template goes to standard output."""
    template = yaml_parse(TEMPLATE.read_text("utf-8"))
    # No managed policy is named, so that nobody need be asked for their ARNs.
    print(SamTemplateValidator(template, None, region="us-east-1").get_translated_template_if_valid())
    return 0


if __name__ == "__main__":
    sys.exit(main())
