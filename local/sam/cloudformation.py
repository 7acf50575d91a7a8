"""Prints the CloudFormation template that SAM makes from template.yaml. `make check` runs checkov on it."""

import sys

from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse

from local.paths import TEMPLATE


def main() -> int:
    """Print the template."""
    template = yaml_parse(TEMPLATE.read_text("utf-8"))
    # The template uses no managed policy by name, so there is no need to ask AWS for their ARNs.
    print(SamTemplateValidator(template, None, region="us-east-1").get_translated_template_if_valid())
    return 0


if __name__ == "__main__":
    sys.exit(main())
