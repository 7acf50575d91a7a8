"""Stands for API Gateway and Lambda: serves the routes of template.yaml."""
