"""What happened: totals, series, funnels, cohorts, raw events."""
