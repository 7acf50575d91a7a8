"""What was rejected, and its replay."""
