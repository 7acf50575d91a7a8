"""Keys, and what each kind may do."""
