"""Metrics: totals, series, breakdowns, funnels, retention, raw events and exports."""
