"""Runs the SAM CLI and reads template.yaml."""
